//! Files and Sigstore bundles on the disk of whoever asks: nothing of it touches a data directory.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::Failure;
use crate::limits::{ARTIFACT_BYTES_MAX, EVIDENCE_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::sys::clock::{Clock as _, RealClock};
use crate::sys::dir::read_bounded;
use crate::sys::dir_real::RealDir;
use crate::verify::artifact::{Artifact, KeyValidity, Wanted, verify_bundle};
use crate::verify::identity_rule::IdentityRule;
use crate::verify::key::PublicKey;
use crate::verify::pattern::Pattern;
use crate::verify::sigstore::{Instance, TrustedRoot};

/// A question about one artifact.
#[derive(Clone, Debug)]
pub struct ArtifactOrder {
    pub bundle: PathBuf,
    pub what: What,
    pub signer: Signer,
}

/// What must be signed.
#[derive(Clone, Debug)]
pub enum What {
    File(PathBuf),
    Digest(Digest),
}

/// Who must have signed.
#[derive(Clone, Debug)]
pub enum Signer {
    Key(PathBuf),
    /// As the root in a file vouches, or the public-good instance's.
    Identity {
        subject: String,
        issuer: String,
        root: Option<PathBuf>,
    },
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct ArtifactReport {
    pub verified: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Who signed without a lasting key.
    pub subject: Option<String>,
    pub issuer: Option<String>,
    /// What was attested, where it was more than a signature.
    pub predicate_type: Option<String>,
}

/// Answers it.
pub fn verify(order: &ArtifactOrder) -> Result<ArtifactReport, Failure> {
    let bundle = read(&order.bundle, EVIDENCE_BYTES_MAX)?;
    let bytes = match &order.what {
        What::File(path) => Some(read(path, ARTIFACT_BYTES_MAX)?),
        What::Digest(_) => None,
    };
    let artifact = match (&bytes, &order.what) {
        (Some(bytes), _) => Artifact::Bytes(bytes),
        (None, What::Digest(digest)) => Artifact::Digest(*digest),
        (None, What::File(_)) => return Err(Failure::failed("the file was not read")),
    };
    let result = match &order.signer {
        Signer::Key(path) => {
            let text = String::from_utf8(read(path, EVIDENCE_BYTES_MAX)?).unwrap_or_default();
            let key = PublicKey::parse_pem(&text).map_err(|error| unusable("key", path).because(&error))?;
            let validity = KeyValidity { span: None, root: None, now: RealClock.wall() };
            verify_bundle(&bundle, artifact, Wanted::Key { key: &key, validity })
        }
        Signer::Identity { subject, issuer, root } => {
            let root = match root {
                Some(path) => TrustedRoot::parse(&read(path, EVIDENCE_BYTES_MAX)?, Instance::Logged)
                    .map_err(|error| unusable("trusted root", path).because(&error))?,
                None => TrustedRoot::public_good().map_err(|error| {
                    Failure::failed("the trusted root of this release cannot be read").because(&error)
                })?,
            };
            let rule = IdentityRule {
                issuer: Pattern::new(issuer),
                subject: Pattern::new(subject),
                claims: std::collections::BTreeMap::new(),
            };
            verify_bundle(&bundle, artifact, Wanted::Identity { root: &root, rule: &rule })
        }
    };
    let none = ArtifactReport { verified: false, reason: None, subject: None, issuer: None, predicate_type: None };
    Ok(match result {
        Ok(proved) => ArtifactReport {
            verified: true,
            subject: proved.signer.as_ref().map(|signer| signer.identity.subject.clone()),
            issuer: proved.signer.map(|signer| signer.identity.issuer),
            predicate_type: proved.statement.map(|statement| statement.predicate_type),
            ..none
        },
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            ArtifactReport { reason: Some(format!("{error}{cause}")), ..none }
        }
    })
}

fn unusable(what: &str, path: &Path) -> Failure {
    Failure::usage(format!("the {what} in '{}' cannot be used", path.display()))
}

fn read(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Failure> {
    let failed = || {
        let next = format!("name a file of at most {limit_bytes} bytes; of a larger one give the digest");
        Failure::usage(format!("cannot read '{}'", path.display())).next(next)
    };
    let is_absent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let real = path.canonicalize().map_err(|error| match is_absent(&error) {
        true => failed().because(&error).next("name a file that is there"),
        false => failed().because(&error),
    })?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(failed());
    };
    let read = RealDir::open(parent).and_then(|dir| read_bounded(&dir, name, limit_bytes));
    read.map_err(|error| failed().because(&error))
}
