//! `PUT /v2/<name>/manifests/<reference>`.
//!
//! What is pushed goes through the same door as what is mirrored or imported. A manifest is judged for itself; what
//! speaks of an image that is here (a signature, an attestation, an SBOM) enters through that image, judged anew.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use ::http::{Response, StatusCode};
use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::conditions::Conditions;
use super::error::{PushError, RegistryError};
use super::respond;
use super::route::Place;
use super::staging::{is_known, staged_under, tags_waiting_for};
use super::uploads::{Pieces, UploadSettings, text_header};
use super::{Asked, Noted, Registry};
use crate::access::{Action, Enforcement};
use crate::admission::{
    AdmissionError, AdmittedImage, Allowance, Bytes, Candidate, Content, ContentError, Judgement, Stream, judge,
    raise_time,
};
use crate::http::Body;
use crate::limits::{MANIFEST_BYTES_MAX, REFERRERS_COUNT_MAX};
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::oci::signature_tag;
use crate::store::{
    Change, CommitError, Conflict, PrincipalRef, StagedRecord, Store, StoreError, Transaction, kill_point,
};
use crate::sys::clock::trusted_now;
use crate::verify::{Admitted, Refusal, TrustPolicy};

/// The subject of what was pushed (distribution specification, "Pushing Manifests with Subject").
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// The tags that were moved (distribution specification, main branch).
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// A whole manifest must come within this many times what one piece of it may take.
const WHOLE_MANIFEST_IDLES_COUNT: u32 = 10;

/// The policy in force.
pub type PolicySource = Arc<dyn Fn() -> Arc<TrustPolicy> + Send + Sync>;

/// How much is pushed at once, and by what it is judged.
#[derive(Clone)]
pub struct PushSettings {
    /// Whether manifests are taken whose parts are not all here.
    pub sparse: bool,
    pub uploads: UploadSettings,
    pub policy: PolicySource,
}

impl std::fmt::Debug for PushSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushSettings").field("uploads", &self.uploads).finish_non_exhaustive()
    }
}

impl PushSettings {
    /// With the usual bounds.
    pub fn new(policy: PolicySource) -> Self {
        Self { sparse: false, uploads: UploadSettings::default(), policy }
    }
}

/// What was pushed, at the gate.
pub(super) struct Pushed {
    pub(super) repository: RepositoryName,
    pub(super) manifest: Manifest,
    pub(super) bytes: Vec<u8>,
    pub(super) tags: Vec<Tag>,
    conditions: Conditions,
    /// Whether its parts may be missing.
    may_be_sparse: bool,
    /// What becomes of it where a rule refuses it.
    pub(super) enforcement: Enforcement,
    /// What may be read to judge it.
    judged_bytes_max: Option<usize>,
    pub(super) principal: PrincipalRef,
    /// Whether the principal is one account, and not whoever is near.
    pub(super) is_somebodys: bool,
    /// What waits in the repository.
    waiting: Vec<StagedRecord>,
    now: Timestamp,
}

/// What became of it.
pub(super) enum Entered {
    /// It is served.
    Admitted,
    /// It is served, although a rule refuses it.
    Audited(Refusal),
    /// It waits.
    Staged { refusal: Refusal, until: Timestamp },
}

impl Entered {
    /// What whoever pushed is to be told.
    fn warning(&self) -> Option<String> {
        match self {
            Self::Admitted => None,
            Self::Audited(refusal) => Some(format!("admitted under audit, although {refusal}")),
            Self::Staged { refusal, until } => {
                Some(format!("not served yet, and seen by you alone until {until}: {refusal}; sign it"))
            }
        }
    }
}

/// What may come in: what was pushed, and with it an image that waited for it.
struct Entry {
    own: Admitted<Manifest>,
    image: Option<Box<AdmittedImage>>,
}

impl Registry {
    /// The repository that a push means: exactly what it says, and none that an upstream fills.
    pub(super) async fn pushed_repository(
        self: &Arc<Self>,
        place: Place,
        asked: &Asked,
    ) -> Result<RepositoryName, RegistryError> {
        self.changed_repository(place, asked, Action::Push).await
    }

    /// The same for whatever changes it, by somebody who may do that.
    pub(super) async fn changed_repository(
        self: &Arc<Self>,
        place: Place,
        asked: &Asked,
        action: Action,
    ) -> Result<RepositoryName, RegistryError> {
        if let Some(namespace) = place.namespace {
            return Err(RegistryError::NamespaceUnknown(namespace.chars().take(200).collect()));
        }
        self.access.decide(&asked.caller, &place.path, action)?;
        let located = self.blocking({
            let place = place.clone();
            move |registry| registry.locate_for_push(&place)
        });
        // A name that stands for an upstream's image when it is pulled must not come to mean another one by a push.
        let located = located.await?;
        if located.is_mirrored {
            return Err(PushError::Mirrored(place.path).into());
        }
        if located.is_held && located.repository != place.path {
            return Err(PushError::StandsFor { pushed: place.path, pulled: located.repository }.into());
        }
        Ok(place.path)
    }

    pub(super) async fn put_manifest(
        self: &Arc<Self>,
        place: Place,
        reference: Reference,
        mut tags: Vec<Tag>,
        pieces: Pieces,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let repository = self.pushed_repository(place, asked).await?;
        noted.repository = Some(repository.to_string());
        let idle = Duration::from_secs(self.uploads.settings.body_idle_seconds_max);
        // Held until it was judged: its bytes are in memory until then.
        let places = Arc::clone(&self.uploads.manifests);
        let waited = tokio::time::timeout(idle, places.acquire_owned()).await;
        let Ok(Ok(place_held)) = waited else { return Err(PushError::TooMany.into()) };
        // And nobody holds it longer by sending a byte now and then.
        let whole = tokio::time::timeout(idle * WHOLE_MANIFEST_IDLES_COUNT, collect(pieces, idle)).await;
        let bytes = whole.map_err(|_| PushError::Stalled)??;
        let media_type = asked.header(&CONTENT_TYPE).unwrap_or_default();
        let algorithm = match &reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let manifest = Manifest::parse_with(&bytes, media_type, algorithm).map_err(PushError::from)?;
        let by_digest = match reference {
            Reference::Digest(digest) if digest != manifest.digest => {
                return Err(PushError::ManifestDigest(digest).into());
            }
            Reference::Digest(_) => true,
            Reference::Tag(tag) => {
                tags = vec![tag];
                false
            }
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::CREATED;
        let headers = response.headers_mut();
        headers.insert(LOCATION, text_header(format!("/v2/{repository}/manifests/{}", manifest.digest)));
        headers.insert(respond::CONTENT_DIGEST, text_header(manifest.digest.to_string()));
        if let Some(subject) = &manifest.subject {
            headers.insert(SUBJECT, text_header(subject.digest.to_string()));
        }
        for tag in tags.iter().filter(|_| by_digest) {
            headers.append(TAG, text_header(tag.to_string()));
        }
        let judged_bytes_max = self.uploads.settings.judged_bytes_max;
        let principal = asked.caller.principal();
        let (conditions, may_be_sparse) = (asked.conditions(), self.push.sparse);
        let enforcement = self.access.enforcement(&repository);
        let is_somebodys = asked.caller.is_somebody();
        let entered = self.blocking(move |registry| {
            // A client that goes away ends the request and not this.
            let _place = place_held;
            let now = trusted_now(registry.store.clock().wall(), registry.store.time_floor());
            let waiting = registry.store.staged_in(&repository, now)?;
            let pushed = Pushed {
                repository,
                manifest,
                bytes,
                tags,
                conditions,
                may_be_sparse,
                enforcement,
                judged_bytes_max,
                principal,
                is_somebodys,
                waiting,
                now,
            };
            pushed.enter(registry, &(registry.push.policy)())
        });
        if let Some(warning) = entered.await?.warning() {
            respond::warn(&mut response, &warning);
        }
        Ok(response)
    }
}

async fn collect(mut pieces: Pieces, idle: Duration) -> Result<Vec<u8>, PushError> {
    let mut bytes = Vec::new();
    while let Some(piece) = tokio::time::timeout(idle, pieces.next()).await.map_err(|_| PushError::Stalled)? {
        let piece = piece.map_err(PushError::Body)?;
        if bytes.len() + piece.len() > MANIFEST_BYTES_MAX {
            return Err(PushError::ManifestTooLarge);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

impl Pushed {
    fn enter(mut self, registry: &Registry, policy: &TrustPolicy) -> Result<Entered, RegistryError> {
        const ATTEMPTS_COUNT: usize = 3;
        for _ in 1..ATTEMPTS_COUNT {
            let entered = self.enter_once(registry, policy)?;
            if !matches!(entered, Entered::Staged { .. }) {
                return Ok(entered);
            }
            // Two signatures that come at once may be enough together: whoever comes last sees both.
            let waiting = registry.store.staged_in(&self.repository, self.now)?;
            let is_news =
                |record: &StagedRecord| record.digest != self.manifest.digest && self.waiting(&record.digest).is_none();
            if !waiting.iter().any(is_news) {
                return Ok(entered);
            }
            self.waiting = waiting;
        }
        self.enter_once(registry, policy)
    }

    fn enter_once(&self, registry: &Registry, policy: &TrustPolicy) -> Result<Entered, RegistryError> {
        let store = &registry.store;
        let moves = self.tag_moves(store)?;
        self.check_referrers(store)?;
        let sparse = self.check_edges(store)?;
        let Entry { own: admitted, image } = match self.admit(store, policy) {
            Err(RegistryError::Refused(refusal)) if !sparse && self.may_wait(&refusal) => {
                return self.stage(registry, refusal);
            }
            admitted => admitted?,
        };
        let is_known = store.manifest(&self.repository, &self.manifest.digest)?.is_some();
        if !is_known {
            registry.take_bytes(&self.repository, self.manifest.size)?;
        }
        // A manifest whose bytes are lost gets them back.
        if !is_known || !store.blobs().has(&self.manifest.digest) {
            store.blobs().put_with(&self.bytes, self.manifest.digest.algorithm())?;
        }
        let mut changes = match &image {
            Some(image) => self.release(store, image)?,
            None if self.waiting(&self.manifest.digest).is_some() => {
                let (repository, digests) = (self.repository.clone(), vec![self.manifest.digest]);
                vec![Change::EndStaging { repository, digests }]
            }
            None => Vec::new(),
        };
        if image.is_none()
            && store.manifest(&self.repository, &self.manifest.digest)?.is_none_or(|record| record.sparse && !sparse)
        {
            let (repository, manifest) = (self.repository.clone(), admitted.clone());
            changes.push(Change::Publish { repository, manifest, sparse, origin: None });
        }
        changes.extend(moves);
        let audited = admitted.verdict().refusal().filter(|_| self.enforcement == Enforcement::Audit);
        let entered = audited.map_or(Entered::Admitted, Entered::Audited);
        if changes.is_empty() {
            return Ok(entered);
        }
        changes.extend(raise_time(admitted.verdict()));
        registry.take_tags(&self.repository, &self.tags)?;
        let policy = Some(*admitted.verdict().policy_digest());
        store.commit(Transaction { policy, ..Transaction::new(self.principal.clone(), changes) }).map_err(not_kept)?;
        kill_point("push.published");
        Ok(entered)
    }

    /// The tags that have to move, if they are where the client wants them to be.
    fn tag_moves(&self, store: &Store) -> Result<Vec<Change>, RegistryError> {
        let target = self.manifest.digest;
        let mut moves = Vec::new();
        for tag in &self.tags {
            let current = store.resolve(&self.repository, tag)?;
            let expected = self.conditions.admit_change(current.as_ref())?;
            if current != Some(target) {
                let (repository, tag) = (self.repository.clone(), tag.clone());
                moves.push(Change::MoveTag { repository, tag, target, expected });
            }
        }
        if self.tags.is_empty() {
            let current = store.manifest(&self.repository, &target)?.map(|_| target);
            self.conditions.admit_change(current.as_ref())?;
        }
        Ok(moves)
    }

    /// Pushes that come at the same time may exceed it by their number; that is what the distance between the limits is for.
    fn check_referrers(&self, store: &Store) -> Result<(), RegistryError> {
        if let Some(subject) = &self.manifest.subject
            && store.manifest(&self.repository, &self.manifest.digest)?.is_none()
            && store.referrers_page(&self.repository, &subject.digest, None, REFERRERS_COUNT_MAX)?.len()
                == REFERRERS_COUNT_MAX
        {
            return Err(PushError::TooManyReferrers(subject.digest).into());
        }
        let listed_for = self.tags.iter().find_map(signature_tag::parse).map(|(subject, _)| subject);
        match listed_for.filter(|_| self.manifest.is_index() && self.manifest.parts.len() > REFERRERS_COUNT_MAX) {
            Some(subject) => Err(PushError::TooManyReferrers(subject).into()),
            None => Ok(()),
        }
    }

    /// Knowing a digest opens nothing: what the manifest needs must belong to this repository, or it is missing here even if
    /// another one holds it. Whether anything is missing that may be.
    fn check_edges(&self, store: &Store) -> Result<bool, RegistryError> {
        let mut sparse = false;
        for edge in self.manifest.edges() {
            let held_bytes = match edge.kind {
                EdgeKind::Blob => store.held_blob(&self.repository, &edge.digest)?,
                EdgeKind::Manifest => {
                    let here = store.manifest(&self.repository, &edge.digest)?.map(|manifest| manifest.size_bytes);
                    here.or_else(|| self.waiting(&edge.digest).map(|record| record.size_bytes))
                }
            };
            let may_be_elsewhere = edge.kind == EdgeKind::Blob && media_type::is_non_distributable(&edge.media_type);
            match held_bytes {
                Some(bytes) if bytes == edge.size => {}
                Some(bytes) => {
                    return Err(PushError::EdgeSize { digest: edge.digest, said_bytes: edge.size, bytes }.into());
                }
                None if self.may_be_sparse || may_be_elsewhere => sparse = true,
                None => return Err(PushError::EdgeUnknown(edge.digest).into()),
            }
        }
        Ok(sparse)
    }

    /// What waits under this digest.
    pub(super) fn waiting(&self, digest: &Digest) -> Option<&StagedRecord> {
        self.waiting.iter().find(|record| record.digest == *digest)
    }

    fn admit(&self, store: &Store, policy: &TrustPolicy) -> Result<Entry, RegistryError> {
        let spoken_of = self.tags.iter().find_map(signature_tag::parse).map(|(subject, _)| subject);
        if let Some(subject) = spoken_of {
            // Nothing but evidence stands under a tag that is looked for as evidence, and evidence under no other: what was let
            // in as something said of an image was judged as no image.
            let speaks_of_it = |tag: &Tag| signature_tag::parse(tag).is_some_and(|(of, _)| of == subject);
            if !self.tags.iter().all(speaks_of_it) {
                return Err(PushError::MixedTags.into());
            }
            return self.admit_as_companion(store, policy, subject)?.ok_or(PushError::SpeaksOfNothing.into());
        }
        if let Some(subject) = self.manifest.subject.as_ref().filter(|_| self.tags.is_empty())
            && let Some(companion) = self.admit_as_companion(store, policy, subject.digest)?
        {
            return Ok(companion);
        }
        match self.judge(store, policy, self.manifest.digest)? {
            Judgement::Admitted(image) => {
                let own = image.root.clone();
                // Its parts, and signatures, were pushed before it, and may have waited for it.
                let waited = self.has_waited(&image);
                Ok(Entry { own, image: waited.then_some(image) })
            }
            Judgement::Refused { mut refusal, verdict } => {
                if self.enforcement != Enforcement::Enforce
                    && let Ok(own) = verdict.admit_unenforced(self.manifest.clone())
                {
                    return Ok(Entry { own, image: None });
                }
                if !self.may_wait(&refusal) {
                    refusal.next_step = Some(format!(
                        "{}a push is judged by what is here when it comes, so a rule that asks for signatures is met by \
                         whoever signs in, pushes and signs afterwards, and by `postern mirror fetch` or `postern bundle \
                         import`, which carry them",
                        refusal.next_step.map(|step| format!("{step}; ")).unwrap_or_default()
                    ));
                }
                Err(RegistryError::Refused(refusal))
            }
        }
    }

    /// As something said about an image that is here or waits, if it is that and the image is admitted today.
    fn admit_as_companion(
        &self,
        store: &Store,
        policy: &TrustPolicy,
        subject: Digest,
    ) -> Result<Option<Entry>, RegistryError> {
        if subject == self.manifest.digest || !is_known(store, &self.waiting, &self.repository, &subject)? {
            return Ok(None);
        }
        match self.judge(store, policy, subject)? {
            // It is judged by itself, as its image was.
            Judgement::Refused { .. } if self.enforcement != Enforcement::Enforce => Ok(None),
            Judgement::Refused { refusal, .. } => Err(RegistryError::Refused(refusal)),
            Judgement::Admitted(image) => {
                let mut companions = image.companions.iter().map(|(_, companion)| companion);
                let own = companions.find(|companion| companion.get().digest == self.manifest.digest).cloned();
                let waited = self.has_waited(&image);
                Ok(own.map(|own| Entry { own, image: waited.then_some(image) }))
            }
        }
    }

    fn judge(&self, store: &Store, policy: &TrustPolicy, root: Digest) -> Result<Judgement, RegistryError> {
        let is_own = root == self.manifest.digest;
        let candidate = Candidate {
            repository: self.repository.clone(),
            original: None,
            root,
            tags: if is_own {
                self.tags.clone()
            } else {
                tags_waiting_for(store, &self.repository, &self.waiting, &root)?
            },
        };
        let offered = Offered { store, pushed: self, allowance: Allowance::of(self.judged_bytes_max) };
        judge(policy, &candidate, &offered, self.now).map_err(|error| match error.refusal() {
            Some(refusal) => RegistryError::Refused(refusal),
            None => unread(error),
        })
    }
}

fn unread(error: AdmissionError) -> RegistryError {
    match error {
        AdmissionError::Missing(digest) => PushError::EdgeUnknown(digest).into(),
        error => PushError::Admission(Box::new(error)).into(),
    }
}

/// Why a commit failed, as far as a client can do something about it.
pub(super) fn not_kept(error: CommitError) -> RegistryError {
    match error {
        CommitError::Full { .. } => PushError::Full.into(),
        CommitError::Conflict(Conflict::TagMoved { .. }) => RegistryError::Precondition,
        CommitError::Conflict(Conflict::BytesMissing { digest, .. }) => PushError::Swept(digest).into(),
        CommitError::Conflict(Conflict::EdgeMissing { edge, .. }) => PushError::EdgeUnknown(edge).into(),
        error => PushError::Commit(Box::new(error)).into(),
    }
}

/// The repository as it would be with what was pushed.
struct Offered<'a> {
    store: &'a Store,
    pushed: &'a Pushed,
    allowance: Allowance,
}

impl Content for Offered<'_> {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        if *digest == self.pushed.manifest.digest {
            return Ok(Some((self.pushed.manifest.media_type.clone(), self.pushed.bytes.clone())));
        }
        let record = self.store.manifest(&self.pushed.repository, digest)?.map(|record| record.media_type);
        let media_type = record.or_else(|| self.pushed.waiting(digest).map(|record| record.media_type.clone()));
        let Some(media_type) = media_type else { return Ok(None) };
        let read = self.allowance.take(self.store.blobs().read(digest, MANIFEST_BYTES_MAX)?)?;
        Ok(read.map(|bytes| (media_type, bytes)))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        if self.pushed.tags.contains(tag) {
            return Ok(Some(self.pushed.manifest.digest));
        }
        // What waits under a signature's tag holds what was signed before, and more.
        if signature_tag::parse(tag).is_some()
            && let Some(waiting) = staged_under(&self.pushed.waiting, tag)
        {
            return Ok(Some(waiting.digest));
        }
        Ok(self.store.resolve(&self.pushed.repository, tag)?)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        let pushed = &self.pushed.manifest;
        let own = pushed.subject.as_ref().filter(|named| named.digest == *subject).map(|_| pushed.digest);
        let stored = self.store.referrers(&self.pushed.repository, subject)?;
        let waiting = self.pushed.waiting.iter().filter(|record| record.subject == Some(*subject));
        let others = stored.iter().map(|referrer| referrer.digest).chain(waiting.map(|record| record.digest));
        let mut referrers: Vec<_> = own.into_iter().chain(others).collect();
        referrers.sort_unstable();
        referrers.dedup();
        Ok(referrers)
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        let held: Option<u64> =
            self.store.held_blob(&self.pushed.repository, digest).map_err(Box::<StoreError>::new)?;
        match held {
            Some(size_bytes) if size_bytes <= limit_bytes as u64 => {
                self.allowance.take(self.store.blobs().read(digest, limit_bytes)?)
            }
            _ => Ok(None),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        let held: Option<u64> =
            self.store.held_blob(&self.pushed.repository, digest).map_err(Box::<StoreError>::new)?;
        match held {
            Some(_) => Ok(self.store.blobs().open(digest)?.map(Bytes::of)),
            None => Ok(None),
        }
    }
}
