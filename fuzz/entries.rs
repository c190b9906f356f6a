//! One entry for each parser of foreign bytes, shared by the fuzz targets beside this file and by the bounded run in
//! `tests/it/fuzz_short.rs`. An entry must come back whatever the bytes are; what it accepts must read back the same.

use postern::dsse::Envelope;
use postern::limits::ENVELOPE_BYTES_MAX;
use postern::oci::digest::Digest;
use postern::oci::manifest::Manifest;
use postern::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use postern::oci::name::{ImageReference, Reference, RepositoryName, Tag};
use postern::oci::signature_tag;

/// A parser, and inputs that it accepts, from which mutations begin.
pub struct Entry {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every parser that bytes from outside can reach.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "digest", run: digest, seeds: || texts(&[SHA256, "sha512:00"]) },
    Entry {
        name: "name",
        run: name,
        seeds: || texts(&["a.b/c/d:1.27", "a@sha256:00", "sha256-00.sig", "a__b--c.d/e"]),
    },
    Entry { name: "manifest", run: manifest, seeds: || texts(&[MANIFEST, INDEX]) },
    Entry { name: "envelope", run: envelope, seeds: || texts(&[ENVELOPE]) },
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const SHA256: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"a":"b"}}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"annotations":{"c":"d"}}"#;

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"architecture":"arm","os":"linux","variant":"v7","os.version":"1"}}]}"#;

const ENVELOPE: &str =
    r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"k","sig":"AAECAw=="}]}"#;

fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

pub fn digest(bytes: &[u8]) {
    if let Ok(digest) = text(bytes).parse::<Digest>() {
        assert_eq!(digest.to_string(), text(bytes));
    }
    if let Some(digest) = Digest::from_key(bytes) {
        assert!(bytes.starts_with(&digest.to_key()));
    }
}

pub fn name(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert!(!name.as_str().split('/').any(|part| part.is_empty() || part == "." || part == ".."));
    }
    if let Ok(tag) = text.parse::<Tag>()
        && let Some((subject, kind)) = signature_tag::parse(&tag)
    {
        assert_eq!(kind.tag_for(&subject), tag);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    let _ = text.parse::<ImageReference>();
    let _ = text.parse::<postern::device_id::DeviceId>();
}

pub fn manifest(bytes: &[u8]) {
    for media_type in [OCI_MANIFEST, OCI_INDEX, ""] {
        if let Ok(manifest) = Manifest::parse(bytes, media_type) {
            assert_eq!(manifest.digest, Digest::of(bytes));
            assert!(manifest.edges().count() <= manifest.parts.len() + 1);
        }
    }
}

pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::parse(bytes, ENVELOPE_BYTES_MAX) {
        let again = Envelope::parse(&envelope.to_json(), ENVELOPE_BYTES_MAX).expect("what was written reads back");
        assert_eq!(again.signed_bytes(), envelope.signed_bytes());
    }
}
