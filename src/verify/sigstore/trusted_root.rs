//! Trusted roots of Sigstore instances (`trusted_root.json`): which logs, authorities and time stamps are believed, and
//! for which span of time each.
//!
//! Parsed strictly, since a root that is half understood is worse than none: a key without a beginning of its validity, a
//! chain without its root or the same log twice refuse the whole root.

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use x509_cert::der::Encode as _;

use crate::limits::{CERTIFICATES_COUNT_MAX, EVIDENCE_BYTES_MAX, ROOT_MEMBERS_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::verify::key::PublicKey;
use crate::verify::strict_json;
use crate::verify::x509::Certificate;

/// The public-good instance (sigstore.dev), as it was when this release was made.
const PUBLIC_GOOD: &str = include_str!("roots/public-good.json");
/// GitHub's instance, for attestations of private repositories.
const GITHUB: &str = include_str!("roots/github.json");

/// What an instance promises, and so what is demanded of a bundle made by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// Certificates are logged (SCT), signatures are logged: both are demanded.
    Logged,
    /// GitHub's instance has no logs: a time stamp is all there is. Bound to the root that is GitHub's.
    GitHub,
}

/// A trusted root.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    digest: Digest,
    instance: Instance,
    pub(super) logs: Vec<Log>,
    pub(super) certificate_logs: Vec<Log>,
    pub(super) authorities: Vec<Authority>,
    pub(super) timestamp_authorities: Vec<Authority>,
}

/// A span of time; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: Timestamp,
    pub end: Option<Timestamp>,
}

impl Span {
    /// Whether `time` lies in it.
    pub fn contains(&self, time: Timestamp) -> bool {
        time >= self.start && self.end.is_none_or(|end| time <= end)
    }
}

/// A log: of certificates or of signatures.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub id: [u8; 32],
    /// `None` for a kind of key that is not known here: what only that key proves is not proved.
    pub key: Option<PublicKey>,
    pub span: Span,
}

/// An authority and the chain that leads from its signing certificate to its root.
#[derive(Clone, Debug)]
pub struct Authority {
    /// From the lowest to the root.
    pub chain: Vec<Certificate>,
    pub span: Span,
}

/// Why a document is not a trusted root.
#[derive(Debug, thiserror::Error)]
pub enum TrustedRootError {
    #[error("trusted root is {0} bytes long, the most is {EVIDENCE_BYTES_MAX}")]
    TooLarge(usize),
    #[error("trusted root is not JSON of its kind, or a key stands twice in it")]
    Json(#[source] serde_json::Error),
    #[error("trusted root's media type '{0}' is not known here")]
    MediaType(String),
    #[error("trusted root's {0} cannot be used: {1}")]
    Member(&'static str, String),
    #[error("trusted root has more than {ROOT_MEMBERS_COUNT_MAX} {0}")]
    TooMany(&'static str),
    #[error("trusted root is not GitHub's: only that one may do without logs")]
    NotGitHub,
}

const MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.trustedroot+json;version=0.1", "application/vnd.dev.sigstore.trustedroot.v0.2+json"];
const CLIENT_CONFIG: &str = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<WrittenLog>,
    #[serde(default)]
    ctlogs: Vec<WrittenLog>,
    #[serde(default)]
    certificate_authorities: Vec<WrittenAuthority>,
    #[serde(default)]
    timestamp_authorities: Vec<WrittenAuthority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenLog {
    public_key: WrittenKey,
    log_id: WrittenLogId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenKey {
    raw_bytes: String,
    valid_for: WrittenSpan,
}

#[derive(Deserialize)]
struct WrittenSpan {
    start: Timestamp,
    #[serde(default)]
    end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenLogId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenAuthority {
    cert_chain: WrittenChain,
    valid_for: WrittenSpan,
}

#[derive(Deserialize)]
struct WrittenChain {
    certificates: Vec<WrittenCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenCertificate {
    raw_bytes: String,
}

impl TrustedRoot {
    /// Parses a `trusted_root.json`, or a client's trust configuration around one.
    pub fn parse(bytes: &[u8], instance: Instance) -> Result<Self, TrustedRootError> {
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Err(TrustedRootError::TooLarge(bytes.len()));
        }
        let mut value = strict_json::parse(bytes).map_err(TrustedRootError::Json)?;
        if value["mediaType"] == CLIENT_CONFIG {
            value = value["trustedRoot"].take();
        }
        let written: Written = serde_json::from_value(value).map_err(TrustedRootError::Json)?;
        if !MEDIA_TYPES.contains(&written.media_type.as_str()) {
            return Err(TrustedRootError::MediaType(written.media_type.chars().take(120).collect()));
        }
        let root = Self {
            digest: Digest::of(bytes),
            instance,
            logs: logs("tlogs", &written.tlogs)?,
            certificate_logs: logs("ctlogs", &written.ctlogs)?,
            authorities: authorities("certificateAuthorities", &written.certificate_authorities)?,
            timestamp_authorities: authorities("timestampAuthorities", &written.timestamp_authorities)?,
        };
        if instance == Instance::GitHub && !root.is_github() {
            return Err(TrustedRootError::NotGitHub);
        }
        Ok(root)
    }

    /// The root of the public-good instance that this release brings.
    pub fn public_good() -> Result<Self, TrustedRootError> {
        Self::parse(PUBLIC_GOOD.as_bytes(), Instance::Logged)
    }

    /// The root of GitHub's instance that this release brings.
    pub fn github() -> Result<Self, TrustedRootError> {
        Self::parse(GITHUB.as_bytes(), Instance::GitHub)
    }

    /// This root with no more trust than in these authorities (by their certificates) and these logs (by their keys), for
    /// policies that name no more; `None` where one of them is not the root's. Time stamps are not believed.
    pub fn narrowed_to(&self, authorities: &[Certificate], log_keys: &[PublicKey]) -> Option<Self> {
        let named = |found: &Certificate| authorities.iter().any(|named| named.fingerprint() == found.fingerprint());
        let kept: Vec<Authority> =
            self.authorities.iter().filter(|authority| authority.chain.last().is_some_and(named)).cloned().collect();
        let belongs = |certificate: &Certificate| {
            kept.iter().flat_map(|authority| &authority.chain).any(|own| own.fingerprint() == certificate.fingerprint())
        };
        let is_key =
            |log: &Log, key: &PublicKey| log.key.as_ref().is_some_and(|own| own.fingerprint() == key.fingerprint());
        let known = |key: &PublicKey| self.logs.iter().any(|log| is_key(log, key));
        if kept.is_empty() || log_keys.is_empty() || !authorities.iter().all(belongs) || !log_keys.iter().all(known) {
            return None;
        }
        let logs: Vec<Log> =
            self.logs.iter().filter(|log| log_keys.iter().any(|key| is_key(log, key))).cloned().collect();
        let parts =
            authorities.iter().map(Certificate::fingerprint).chain(log_keys.iter().map(|key| *key.fingerprint()));
        let mut text = self.digest.to_string();
        for part in parts {
            text.push_str(&part.to_string());
        }
        Some(Self {
            digest: Digest::of(text.as_bytes()),
            instance: self.instance,
            logs,
            certificate_logs: self.certificate_logs.clone(),
            authorities: kept,
            timestamp_authorities: Vec::new(),
        })
    }

    /// SHA-256 of the document.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What is demanded of its bundles.
    pub const fn instance(&self) -> Instance {
        self.instance
    }

    /// Those whose time stamps are believed.
    pub fn timestamp_authorities(&self) -> &[Authority] {
        &self.timestamp_authorities
    }

    /// GitHub's instance has no logs, and every authority is GitHub's own.
    fn is_github(&self) -> bool {
        let own = |authority: &Authority| {
            let root = authority.chain.last().and_then(|root| root.parsed().tbs_certificate.subject.to_der().ok());
            root.is_some_and(|name| name.windows(GITHUB_ORGANISATION.len()).any(|piece| piece == GITHUB_ORGANISATION))
        };
        let mut authorities = self.authorities.iter().chain(&self.timestamp_authorities);
        self.logs.is_empty() && self.certificate_logs.is_empty() && !self.authorities.is_empty() && authorities.all(own)
    }
}

const GITHUB_ORGANISATION: &[u8] = b"GitHub, Inc.";

/// One authority of a trusted root, as a document of its own.
pub fn parse_authority(bytes: &[u8]) -> Result<Authority, TrustedRootError> {
    let value = strict_json::parse(bytes).map_err(TrustedRootError::Json)?;
    let written: WrittenAuthority = serde_json::from_value(value).map_err(TrustedRootError::Json)?;
    authority("authority", &written)
}

fn span(written: &WrittenSpan) -> Span {
    Span { start: written.start, end: written.end }
}

fn logs(name: &'static str, written: &[WrittenLog]) -> Result<Vec<Log>, TrustedRootError> {
    if written.len() > ROOT_MEMBERS_COUNT_MAX {
        return Err(TrustedRootError::TooMany(name));
    }
    let member = |text: &str| TrustedRootError::Member(name, text.to_owned());
    let mut logs: Vec<Log> = Vec::with_capacity(written.len());
    for log in written {
        let id = BASE64.decode(log.log_id.key_id.as_bytes()).ok().and_then(|id| id.try_into().ok());
        let id: [u8; 32] = id.ok_or_else(|| member("a log's id is not 32 bytes in base64"))?;
        if logs.iter().any(|earlier| earlier.id == id) {
            return Err(member("the same log stands in it twice"));
        }
        let key = BASE64.decode(log.public_key.raw_bytes.as_bytes()).map_err(|_| member("a key is not base64"))?;
        logs.push(Log { id, key: PublicKey::of_log(&key).ok(), span: span(&log.public_key.valid_for) });
    }
    Ok(logs)
}

fn authorities(name: &'static str, written: &[WrittenAuthority]) -> Result<Vec<Authority>, TrustedRootError> {
    if written.len() > ROOT_MEMBERS_COUNT_MAX {
        return Err(TrustedRootError::TooMany(name));
    }
    written.iter().map(|written| authority(name, written)).collect()
}

fn authority(name: &'static str, written: &WrittenAuthority) -> Result<Authority, TrustedRootError> {
    let member = |text: String| TrustedRootError::Member(name, text);
    let certificates = &written.cert_chain.certificates;
    if certificates.len() > CERTIFICATES_COUNT_MAX {
        return Err(TrustedRootError::TooMany("certificates in a chain"));
    }
    let chain: Vec<Certificate> = certificates
        .iter()
        .map(|certificate| {
            let der = BASE64.decode(certificate.raw_bytes.as_bytes());
            let der = der.map_err(|_| member("a certificate is not base64".to_owned()))?;
            Certificate::parse(&der).map_err(|error| member(error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    match chain.last() {
        Some(root) if root.is_self_issued() => Ok(Authority { chain, span: span(&written.valid_for) }),
        Some(_) => Err(member("a chain does not end in its root".to_owned())),
        None => Err(member("a chain is empty".to_owned())),
    }
}
