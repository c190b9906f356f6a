//! Images in a small repository made of maps, judged whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    AdmissionError, AdmittedImage, Candidate, Content, ContentError, Destination, Document, DocumentForm, DocumentKind,
    Judgement, Stream, describe, judge,
};
use crate::oci::digest::Digest;
use crate::oci::media_type::{COSIGN_SIMPLE_SIGNING, DSSE_ENVELOPE, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::Tag;
use crate::oci::signature_tag::SignatureTagKind;
use crate::store::{Change, LinkVia};
use crate::verify::cosign_legacy::SIGNATURE_ANNOTATION;
use crate::verify::test_keys::{TestKey, provenance, signature_statement, simple_signing};
use crate::verify::{NotCovered, Refusal, TrustPolicy};

mod content;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

struct World {
    key: TestKey,
    policy: TrustPolicy,
    manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    tags: BTreeMap<Tag, Digest>,
    /// Whether there is a referrers API.
    referrers_api: bool,
    broken: bool,
}

impl World {
    fn new() -> Self {
        let key = TestKey::p256();
        let text = format!(
            "version = 1\n[keys.release]\npem = \"\"\"{}\"\"\"\n[[rule]]\nname = \"signed\"\nrepositories = [\"apps/*\"]\n[rule.signature]\nkeys = [\"release\"]\n",
            key.public_pem()
        );
        Self {
            key,
            policy: TrustPolicy::parse(text.as_bytes()).unwrap(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tags: BTreeMap::new(),
            referrers_api: true,
            broken: false,
        }
    }

    fn put_blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest, bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn manifest(&mut self, media_type: &str, body: &Value) -> Digest {
        let bytes = serde_json::to_vec(body).unwrap();
        let digest = Digest::of(&bytes);
        self.manifests.insert(digest, (media_type.to_owned(), bytes));
        digest
    }

    fn image(&mut self, content: &str) -> Digest {
        let config = self.put_blob(OCI_CONFIG, format!("{{\"os\":\"{content}\"}}").as_bytes());
        let layer = self.put_blob(LAYER, content.as_bytes());
        self.manifest(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}))
    }

    fn listed(&self, digest: &Digest) -> Value {
        let (media_type, bytes) = &self.manifests[digest];
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn index(&mut self, children: &[Digest]) -> Digest {
        let children: Vec<Value> = children.iter().map(|child| self.listed(child)).collect();
        self.manifest(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": children}))
    }

    /// A referrer of `subject` that holds one layer.
    fn refer(&mut self, subject: &Digest, media_type: &str, bytes: &[u8]) -> Digest {
        let (config, layer) = (self.put_blob(OCI_EMPTY, b"{}"), self.put_blob(media_type, bytes));
        let subject = self.listed(subject);
        let body = json!({"schemaVersion": 2, "config": config, "layers": [layer], "subject": subject});
        self.manifest(OCI_MANIFEST, &body)
    }

    fn sign(&mut self, subject: &Digest) -> Digest {
        let bundle = self.key.bundle(&signature_statement(subject));
        self.refer(subject, BUNDLE, &bundle)
    }

    /// A cosign `.sig` manifest that says `signed`, under the tag made from `subject`.
    fn sign_legacy(&mut self, subject: &Digest, signed: &Digest) -> Digest {
        let payload = simple_signing(signed);
        let mut layer = self.put_blob(COSIGN_SIMPLE_SIGNING, &payload);
        let signature = data_encoding::BASE64.encode(&self.key.sign(&payload));
        layer["annotations"] = json!({SIGNATURE_ANNOTATION: signature});
        let config = self.put_blob(OCI_CONFIG, b"{}");
        let digest = self.manifest(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
        self.tags.insert(SignatureTagKind::Signature.tag_for(subject), digest);
        digest
    }

    fn fallback(&mut self, subject: &Digest, referrers: &[Digest]) -> Digest {
        let list = self.index(referrers);
        self.tags.insert(SignatureTagKind::ReferrersFallback.tag_for(subject), list);
        self.referrers_api = false;
        list
    }

    fn judge(&self, root: Digest) -> Result<Judgement, AdmissionError> {
        let candidate = Candidate {
            repository: "apps/a".parse().unwrap(),
            original: None,
            root,
            tags: vec!["v1".parse().unwrap()],
        };
        judge(&self.policy, &candidate, self, jiff::Timestamp::UNIX_EPOCH)
    }

    #[track_caller]
    fn admitted(&self, root: Digest) -> AdmittedImage {
        match self.judge(root).unwrap() {
            Judgement::Admitted(image) => *image,
            Judgement::Refused { refusal, .. } => panic!("{refusal}"),
        }
    }

    #[track_caller]
    fn refused(&self, root: Digest) -> Refusal {
        match self.judge(root).unwrap() {
            Judgement::Admitted(_) => panic!("admitted"),
            Judgement::Refused { refusal, .. } => refusal,
        }
    }
}

impl Content for World {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        Ok(self.manifests.get(digest).cloned())
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        if self.broken { Err("the source hung up".into()) } else { Ok(self.tags.get(tag).copied()) }
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        if !self.referrers_api {
            return Ok(Vec::new());
        }
        let named = subject.to_string();
        let speaks_of = |bytes: &[u8]| {
            serde_json::from_slice::<Value>(bytes).unwrap()["subject"]["digest"].as_str() == Some(&named)
        };
        Ok(self.manifests.iter().filter(|(_, (_, bytes))| speaks_of(bytes)).map(|(digest, _)| *digest).collect())
    }

    fn blob(&self, digest: &Digest, _limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        Ok(self.blobs.get(digest).cloned())
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        let bytes = self.blobs.get(digest).cloned();
        Ok(bytes.map(|bytes| Box::new(std::io::Cursor::new(bytes)) as Stream))
    }
}

fn companions(image: &AdmittedImage) -> Vec<Digest> {
    image.companions.iter().map(|(_, companion)| companion.get().digest).collect()
}

/// Pitfall 1: signing an index does not sign its platforms, which are covered by being members of it.
#[test]
fn a_signed_index_brings_its_platforms_and_what_speaks_of_them() {
    let mut world = World::new();
    let (amd64, arm64) = (world.image("amd64"), world.image("arm64"));
    let index = world.index(&[amd64, arm64]);
    let signature = world.sign(&index);
    let of_child = world.sign(&amd64);
    let image = world.admitted(index);
    let children: Vec<Digest> = image.children.iter().map(|child| child.get().digest).collect();
    assert_eq!(children, [amd64, arm64]);
    assert_eq!(companions(&image), [signature, of_child]);
    // The platform alone is not covered: nobody signed it.
    assert!(world.refused(arm64).reason.contains("not signed"));
}

#[test]
fn the_fallback_list_and_cosigns_tags_are_read_and_travel() {
    let mut world = World::new();
    let image = world.image("amd64");
    let signature = world.sign(&image);
    let list = world.fallback(&image, &[signature]);
    let legacy = world.sign_legacy(&image, &image);
    let admitted = world.admitted(image);
    assert_eq!(companions(&admitted), [legacy, list, signature]);
    let tags: Vec<String> = admitted.companions.iter().filter_map(|(tag, _)| Some(tag.as_ref()?.to_string())).collect();
    assert_eq!(tags, [format!("sha256-{}.sig", image.hex()), format!("sha256-{}", image.hex())]);
}

/// Pitfall 2: subjects, lists and tags can be written by whoever may push; what was signed is compared.
#[test]
fn what_a_pusher_can_write_proves_nothing() {
    let mut world = World::new();
    let (signed, other) = (world.image("signed"), world.image("other"));
    let signature = world.sign(&signed);
    // A list that names another image's signature.
    world.fallback(&other, &[signature]);
    assert!(world.refused(other).reason.contains("copied"));
    world.tags.clear();
    // A subject that was rewritten: the same bundle beside another image.
    let bundle = world.key.bundle(&signature_statement(&signed));
    world.referrers_api = true;
    world.refer(&other, BUNDLE, &bundle);
    assert!(world.refused(other).reason.contains("copied"));
    // A tag that was moved.
    world.sign_legacy(&other, &signed);
    assert!(world.refused(other).reason.contains("copied"));
}

/// Pitfall 3.
#[test]
fn an_attestation_is_no_signature() {
    let mut world = World::new();
    let image = world.image("amd64");
    let envelope = world.key.envelope(&provenance(&image, "b", "t"));
    world.refer(&image, DSSE_ENVELOPE, &envelope);
    assert!(world.refused(image).reason.contains("an attestation is no signature"));
}

#[test]
fn a_referrer_cannot_carry_an_image_in() {
    let mut world = World::new();
    let image = world.image("amd64");
    let signature = world.sign(&image);
    let evil = world.image("evil");
    let evil_index = world.index(&[evil]);
    // An image, and an index of one, with the good image as their subject.
    let layer = world.put_blob(LAYER, b"evil");
    let config = world.put_blob(OCI_CONFIG, b"{}");
    let subject = world.listed(&image);
    let body = json!({"schemaVersion": 2, "config": config, "layers": [layer], "subject": subject.clone()});
    let runnable = world.manifest(OCI_MANIFEST, &body);
    let empty = world.put_blob(OCI_EMPTY, b"{}");
    let disguised = json!({"schemaVersion": 2, "config": empty, "layers": [layer], "subject": subject.clone()});
    let disguised = world.manifest(OCI_MANIFEST, &disguised);
    let listing = world.listed(&evil_index);
    let index = world.manifest(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": [listing], "subject": subject}));
    let admitted = world.admitted(image);
    assert_eq!(companions(&admitted), [signature]);
    for refused in [NotCovered::Runnable(runnable), NotCovered::Runnable(disguised), NotCovered::Runnable(index)] {
        assert!(admitted.not_carried.contains(&refused), "{refused}");
    }
    // The fallback list may name the evil image, but does not cover it.
    world.fallback(&image, &[signature, evil]);
    let admitted = world.admitted(image);
    assert!(!companions(&admitted).contains(&evil));
    let (_, list) = admitted.companions.iter().find(|(tag, _)| tag.is_some()).unwrap();
    let evil = crate::oci::manifest::Manifest::parse(&world.manifests[&evil].1, OCI_MANIFEST).unwrap();
    assert!(matches!(list.child(evil), Err(NotCovered::Companion(_))));
}

/// Pitfall 5: what could not be read is no absence.
#[test]
fn a_broken_source_is_no_proof_of_anything() {
    let mut world = World::new();
    let image = world.image("amd64");
    world.sign(&image);
    world.broken = true;
    let error = world.judge(image).unwrap_err();
    assert!(matches!(error, AdmissionError::Unread { .. }) && error.refusal().is_none());
    world.broken = false;
    assert!(matches!(world.judge(Digest::of(b"absent")), Err(AdmissionError::Missing(_))));
    // Evidence whose bytes were changed on the way is unusable, and so is evidence without bytes.
    let bundles: Vec<Digest> =
        world.blobs.iter().filter(|(_, bytes)| bytes.starts_with(b"{\"dsse")).map(|(digest, _)| *digest).collect();
    world.blobs.insert(bundles[0], b"{}".to_vec());
    assert!(world.refused(image).reason.contains("do not hash to their digest"));
    world.blobs.remove(&bundles[0]);
    assert!(world.refused(image).reason.contains("its bytes are not there"));
    let (_, bytes) = world.manifests.get_mut(&image).unwrap();
    bytes.push(b' ');
    assert_eq!(world.judge(image).unwrap_err().refusal().unwrap().rule, "integrity");
}

/// Pitfall 5: too much evidence denies.
#[test]
fn too_many_referrers_deny() {
    let mut world = World::new();
    let image = world.image("amd64");
    world.sign(&image);
    for number in 0..=crate::limits::EVIDENCE_MANIFESTS_COUNT_MAX {
        world.refer(&image, "text/plain", &number.to_be_bytes());
    }
    assert_eq!(world.refused(image).rule, "evidence-limit");
}

/// Pitfall 9: no image stands under a tag that is kept for signatures.
#[test]
fn nesting_is_bounded_and_signature_tags_are_kept_free() {
    let mut world = World::new();
    let mut root = world.image("amd64");
    for _ in 0..=crate::limits::INDEX_DEPTH_COUNT_MAX {
        root = world.index(&[root]);
    }
    world.sign(&root);
    assert!(matches!(world.judge(root), Err(AdmissionError::TooDeep)));
    let tags = vec![SignatureTagKind::ReferrersFallback.tag_for(&root)];
    let candidate = Candidate { repository: "apps/a".parse().unwrap(), original: None, root, tags };
    let judged = judge(&world.policy, &candidate, &world, jiff::Timestamp::UNIX_EPOCH);
    assert!(matches!(judged, Err(AdmissionError::ReservedTag(_))));
}

#[test]
fn changes_put_parts_before_the_whole_and_mark_what_is_sparse() {
    let mut world = World::new();
    let (amd64, absent) = (world.image("amd64"), world.image("absent"));
    let index = world.index(&[amd64, absent]);
    world.manifests.remove(&absent);
    let signature = world.sign(&index);
    let list = world.fallback(&index, &[signature]);
    let image = world.admitted(index);
    let layer = Digest::of(b"amd64");
    let describe = |change: &Change| match change {
        Change::Publish { manifest, sparse, .. } => format!("publish {} {sparse}", manifest.get().digest),
        Change::LinkBlob { digest, .. } => format!("link {digest}"),
        Change::MoveTag { tag, target, .. } => format!("tag {tag} {target}"),
        other => format!("{other:?}"),
    };
    let changes = |present: &dyn Fn(&Digest) -> bool| {
        let changes = image.changes(&Destination { via: LinkVia::Mirror, origin: None, present });
        changes.iter().map(describe).filter(|text| !text.starts_with("link")).collect::<Vec<_>>()
    };
    let fallback_tag = SignatureTagKind::ReferrersFallback.tag_for(&index);
    let expected = |amd64_sparse: bool| {
        vec![
            format!("publish {amd64} {amd64_sparse}"),
            format!("publish {index} true"),
            format!("publish {signature} false"),
            format!("publish {list} false"),
            format!("tag {fallback_tag} {list}"),
            format!("tag v1 {index}"),
        ]
    };
    assert_eq!(changes(&|digest| *digest != layer), expected(true));
    assert_eq!(changes(&|_| true), expected(false));
}

#[test]
fn what_is_attached_is_listed_for_each_platform() {
    const SLSA: &str = "https://slsa.dev/provenance/v1";
    let mut world = World::new();
    let (amd64, arm64) = (world.image("amd64"), world.image("arm64"));
    // As BuildKit writes them: a manifest for no platform, with a layer a statement.
    let config = world.put_blob(OCI_CONFIG, b"{}");
    let mut layers = Vec::new();
    for predicate in ["https://spdx.dev/Document", SLSA] {
        let mut layer = world.put_blob("application/vnd.in-toto+json", predicate.as_bytes());
        layer["annotations"] = json!({"in-toto.io/predicate-type": predicate});
        layers.push(layer);
    }
    let attestation = world.manifest(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}));
    let mut children = Vec::new();
    for (digest, os, architecture) in
        [(amd64, "linux", "amd64"), (arm64, "linux", "arm64"), (attestation, "unknown", "unknown")]
    {
        let mut child = world.listed(&digest);
        child["platform"] = json!({"os": os, "architecture": architecture});
        children.push(child);
    }
    children[2]["annotations"] =
        json!({"vnd.docker.reference.digest": amd64, "vnd.docker.reference.type": "attestation-manifest"});
    let absent = Digest::of(b"absent");
    children.push(json!({"mediaType": OCI_MANIFEST, "digest": absent, "size": 9, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}));
    let index = world.manifest(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": children}));
    // What speaks of the whole, in the other forms.
    let bundle = world.key.bundle(&provenance(&index, "https://builder", "https://type"));
    world.refer(&index, BUNDLE, &bundle);
    world.sign_legacy(&index, &index);
    world.refer(&arm64, "application/vnd.cyclonedx+json", b"{}");

    let described = describe(&world, &index).unwrap().unwrap();
    let kinds = |documents: &[Document]| -> Vec<(DocumentKind, DocumentForm, String)> {
        documents.iter().map(|found| (found.kind, found.form, found.document_type.clone())).collect()
    };
    let whole = kinds(&described.documents);
    assert_eq!(whole.len(), 2, "{whole:?}");
    assert_eq!(whole[0], (DocumentKind::Signature, DocumentForm::Tag, COSIGN_SIMPLE_SIGNING.to_owned()));
    assert_eq!((whole[1].0, whole[1].1), (DocumentKind::Provenance, DocumentForm::Referrer));
    let platforms: Vec<_> = described.platforms.iter().map(|of| (of.platform.as_str(), of.present)).collect();
    assert_eq!(platforms, [("linux/amd64", true), ("linux/arm64", true), ("linux/arm/v7", false)]);
    let expected = [
        (DocumentKind::Sbom, DocumentForm::Index, "https://spdx.dev/Document".to_owned()),
        (DocumentKind::Provenance, DocumentForm::Index, SLSA.to_owned()),
    ];
    assert_eq!(kinds(&described.platforms[0].documents), expected);
    let of_arm64 = kinds(&described.platforms[1].documents);
    assert_eq!(of_arm64, [(DocumentKind::Sbom, DocumentForm::Referrer, "application/vnd.cyclonedx+json".to_owned())]);
    assert_eq!(describe(&world, &absent).unwrap(), None);
}

/// Pitfall 11: revoking a platform leaves the index, and the platform stays outside.
#[test]
fn pitfall_11_a_denied_platform_does_not_come_in_with_its_index() {
    let mut world = World::new();
    let (amd64, arm64) = (world.image("amd64"), world.image("arm64"));
    let index = world.index(&[amd64, arm64]);
    world.sign(&index);
    let text = format!(
        "version = 1\n[keys.release]\npem = \"\"\"{}\"\"\"\n[[deny]]\ndigest = \"{arm64}\"\nreason = \"stolen\"\n\
         [[rule]]\nname = \"signed\"\nrepositories = [\"apps/*\"]\n[rule.signature]\nkeys = [\"release\"]\n",
        world.key.public_pem()
    );
    world.policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    let image = world.admitted(index);
    let children: Vec<Digest> = image.children.iter().map(|child| child.get().digest).collect();
    assert_eq!((children, image.not_carried.as_slice()), (vec![amd64], &[NotCovered::Denied(arm64)][..]));
    world.sign(&arm64);
    assert_eq!(world.refused(arm64).rule, "deny-list");
}
