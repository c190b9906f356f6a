//! What the site itself says of images: signatures, attestations and summaries by its key, attached to the image here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::kinds::Kind;
use super::report::JudgementReport;
use super::signer::Signer;
use super::{images, verify};
use crate::admission::{AttachError, Attachment, Stored};
use crate::limits::{
    ATTESTATION_BYTES_MAX, EVIDENCE_BYTES_MAX, MANIFEST_BYTES_MAX, PRIVATE_KEY_BYTES_MAX, REFERRERS_COUNT_MAX,
};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::name::{ImageReference, RepositoryName};
use crate::store::{ManifestRecord, Store, Transaction};
use crate::sys::clock::trusted_now;
use crate::sys::dir::{Dir as _, read_bounded};
use crate::sys::dir_real::RealDir;
use crate::sys::site_key::{CREDENTIAL, SiteKey, SiteKeyError};
use crate::verify::key::PublicKey;
use crate::verify::sigstore::{self, Bundle, Material, SignedContent, compose};
use crate::verify::statement::{PAYLOAD_TYPE, Statement};

/// What is to be signed of an image: that the site stands for it, or that something is true of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOrder {
    pub reference: ImageReference,
    /// None for a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<Predicate>,
}

/// What is attested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// Its type, as a URI.
    pub predicate_type: String,
    pub content: Value,
}

/// A bundle that was made elsewhere, to be attached here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachOrder {
    pub reference: ImageReference,
    /// The bundle; it is JSON.
    pub bundle: String,
    /// The public key that has signed it, in PEM.
    pub public_key: String,
}

/// What now stands beside an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedReport {
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// The manifest that attaches the bundle to it.
    pub attached: Digest,
    pub predicate_type: String,
    /// SHA-256 of the public key that signed.
    pub key: Digest,
    /// The same had been said by the same key before; nothing was done.
    pub already_there: bool,
}

/// The public half of the site's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteKeyReport {
    pub public_key: String,
    /// SHA-256 of the key.
    pub fingerprint: Digest,
    /// Whether the service manager handed it over, so that it does not lie in the data directory.
    pub from_credential: bool,
    /// Whether it was made just now.
    pub created: bool,
}

/// A summary of a judgement, signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedSummary {
    pub admitted: bool,
    /// A Sigstore bundle.
    pub bundle: Value,
}

impl Kind for SiteKeyError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Missing | Self::NotPem | Self::Public | Self::Password | Self::Algorithm => FailureKind::Usage,
            Self::Damaged | Self::Envelope(_) | Self::Statement(_) => FailureKind::Damaged,
            Self::Dir(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Module => FailureKind::Failed,
        }
    }
}

impl Kind for AttachError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Refused(_) => FailureKind::Refused,
            Self::TooMany(_) => FailureKind::Usage,
            Self::Manifest(_) | Self::Admission(_) => FailureKind::Failed,
            Self::Store(error) => error.kind(),
            Self::Blob(error) => error.kind(),
        }
    }
}

/// The site's key as others are to know it; with `create` it is made where there is none.
pub fn key(appliance: &Appliance, create: bool) -> Result<SiteKeyReport, Failure> {
    let dir = appliance.store.dir().as_ref();
    let handed = handed_over(appliance)?;
    let from_credential = handed.is_some();
    let (key, created) = match handed {
        Some(key) => (key, false),
        None => match SiteKey::open(dir, &appliance.keys) {
            Err(SiteKeyError::Missing) if create => (own(appliance)?, true),
            Err(error @ SiteKeyError::Missing) => {
                return Err(Failure::from(error).next("make one with `postern key create`, or sign something"));
            }
            opened => (opened?, false),
        },
    };
    Ok(SiteKeyReport { public_key: key.public_pem(), fingerprint: key.fingerprint(), from_credential, created })
}

/// Signs an image, or attests something about it, by the site's key.
pub fn sign(appliance: &Appliance, order: SignOrder) -> Result<AttachedReport, Failure> {
    let record = images::found(&appliance.store, &order.reference)?;
    let statement = statement(&record.digest, order.predicate.as_ref());
    let key = signing_key(appliance)?;
    let bundle = signed_bundle(&key, &statement)?;
    attach_bundle(appliance, &order.reference.repository, &record, bundle, &key.public_pem())
}

/// Attaches what was signed elsewhere. It must be about this image, and by the key that is named.
pub fn attach(appliance: &Appliance, order: AttachOrder) -> Result<AttachedReport, Failure> {
    let record = images::found(&appliance.store, &order.reference)?;
    attach_bundle(appliance, &order.reference.repository, &record, order.bundle.into_bytes(), &order.public_key)
}

/// A summary of what the policy says of an image, signed by the site's key: a bundle.
pub fn summary(
    appliance: &Appliance,
    reference: &ImageReference,
    policy: Option<&str>,
) -> Result<SignedSummary, Failure> {
    signed_summary(
        &signing_key(appliance)?,
        &images::test_by(appliance, reference, policy, images::OtherNames::default())?,
    )
}

/// The bundle around a summary.
pub fn signed_summary(key: &Signer, judgement: &JudgementReport) -> Result<SignedSummary, Failure> {
    let bundle = signed_bundle(key, &verify::required_summary(judgement)?)?;
    let bundle = serde_json::from_slice(&bundle);
    let bundle = bundle.map_err(|error| Failure::failed("a bundle cannot be read back").because(&error))?;
    Ok(SignedSummary { admitted: judgement.admitted, bundle })
}

/// The Statement that says what is to be signed of the image `digest`.
pub fn statement(digest: &Digest, predicate: Option<&Predicate>) -> Value {
    match predicate {
        None => compose::signature(digest),
        Some(predicate) => compose::attestation(digest, &predicate.predicate_type, &predicate.content),
    }
}

/// A bundle around a Statement.
pub fn signed_bundle(key: &Signer, statement: &Value) -> Result<Vec<u8>, Failure> {
    let payload = serde_json::to_vec(statement)
        .map_err(|error| Failure::failed("a statement cannot be written as JSON").because(&error))?;
    if payload.len() > ATTESTATION_BYTES_MAX {
        return Err(Failure::usage(format!(
            "what is to be attested is {} bytes long, the most is {ATTESTATION_BYTES_MAX}",
            payload.len()
        ))
        .next("attest the digest of the document, and store the document as an artifact of its own"));
    }
    Ok(compose::bundle(&key.sign(PAYLOAD_TYPE, payload)?, &key.fingerprint()))
}

fn signing_key(appliance: &Appliance) -> Result<Signer, Failure> {
    Ok(Signer::Key(match handed_over(appliance)? {
        Some(key) => key,
        None => own(appliance)?,
    }))
}

fn own(appliance: &Appliance) -> Result<SiteKey, Failure> {
    let store = &appliance.store;
    Ok(SiteKey::open_or_create(store.dir().as_ref(), &appliance.keys, store.clock().wall())?)
}

/// The key that the service manager hands over, where it does.
fn handed_over(appliance: &Appliance) -> Result<Option<SiteKey>, Failure> {
    let Some(place) = &appliance.config.credentials else { return Ok(None) };
    let dir = RealDir::open(place)?;
    if dir.stat(CREDENTIAL)?.is_none() {
        return Ok(None);
    }
    let bytes = zeroize::Zeroizing::new(read_bounded(&dir, CREDENTIAL, PRIVATE_KEY_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| SiteKeyError::NotPem)?;
    SiteKey::from_pem(text)
        .map(Some)
        .map_err(|error| Failure::from(error).next(format!("mend the credential '{CREDENTIAL}' of the service")))
}

fn attach_bundle(
    appliance: &Appliance,
    repository: &RepositoryName,
    record: &ManifestRecord,
    bundle: Vec<u8>,
    public_key: &str,
) -> Result<AttachedReport, Failure> {
    let key = PublicKey::parse_pem(public_key)
        .map_err(|error| Failure::usage("the public key cannot be used").because(&error))?;
    let refuse = |why: &str| Failure::new(FailureKind::Refused, format!("the bundle is not attached: {why}"));
    let signed =
        payload_by(&sigstore::parse(&bundle).map_err(|error| refuse("it cannot be read").because(&error))?, &key)
            .ok_or_else(|| refuse("it is not an envelope with a Statement that this key has signed"))?;
    let statement = Statement::parse(&signed).map_err(|error| refuse("its Statement is none").because(&error))?;
    if statement.subjects != [record.digest] {
        return Err(refuse("it is not about this image alone"));
    }
    let stored = Stored { store: &appliance.store, repository };
    let report = |attached, already_there| AttachedReport {
        repository: repository.clone(),
        digest: record.digest,
        attached,
        predicate_type: statement.predicate_type.clone(),
        key: *key.fingerprint(),
        already_there,
    };
    if let Some(attached) = said_before(&stored, &record.digest, &signed, &key)? {
        return Ok(report(attached, true));
    }
    let attachment = Attachment::new(record, bundle, &statement.predicate_type)?;
    let now = now(&appliance.store);
    let policy = appliance.policy.current();
    let changes = attachment.admit(&stored, &policy, now).map_err(|error| {
        let failure = Failure::from(error);
        if failure.kind == FailureKind::Refused {
            return failure.next("the policy in force refuses the image itself: `postern verify --explain` says why");
        }
        failure
    })?;
    let transaction =
        Transaction { policy: Some(*policy.digest()), ..Transaction::new(Appliance::operator(), changes) };
    appliance.store.commit(transaction)?;
    tracing::info!(%repository, digest = %record.digest, attached = %attachment.digest(), "attached");
    Ok(report(*attachment.digest(), false))
}

fn now(store: &Store) -> Timestamp {
    trusted_now(store.clock().wall(), store.time_floor())
}

/// What an envelope says that `key` has signed.
fn payload_by(bundle: &Bundle, key: &PublicKey) -> Option<Vec<u8>> {
    let (Material::Key { .. }, SignedContent::Envelope(envelope)) = (&bundle.material, &bundle.content) else {
        return None;
    };
    let good = envelope.payload_type == PAYLOAD_TYPE && key.verifies(&envelope.signed_bytes(), &envelope.signature);
    good.then(|| envelope.payload.clone())
}

/// The manifest by which the same key has said the same before. Signing again would only add a second one.
fn said_before(
    stored: &Stored<'_>,
    image: &Digest,
    payload: &[u8],
    key: &PublicKey,
) -> Result<Option<Digest>, Failure> {
    let Stored { store, repository } = stored;
    for referrer in store.referrers_page(repository, image, None, REFERRERS_COUNT_MAX)? {
        if referrer.artifact_type.as_deref() != Some(compose::BUNDLE_TYPE) {
            continue;
        }
        let Some(bytes) = store.blobs().read(&referrer.digest, MANIFEST_BYTES_MAX)? else { continue };
        let Ok(manifest) = Manifest::parse(&bytes, &referrer.media_type) else { continue };
        for layer in manifest.parts.iter().filter(|layer| layer.size <= EVIDENCE_BYTES_MAX as u64) {
            let Some(bundle) = store.blobs().read(&layer.digest, EVIDENCE_BYTES_MAX)? else { continue };
            let said = sigstore::parse(&bundle).ok().and_then(|bundle| payload_by(&bundle, key));
            if said.is_some_and(|said| said == payload) {
                return Ok(Some(referrer.digest));
            }
        }
    }
    Ok(None)
}
