//! Sigstore bundles, parsed by Sigstore's own types. The only file that touches their crate, since it changes with each
//! release.
//!
//! Parsing believes nothing. A bundle made with a key needs neither log entry nor time stamp, which inside an air gap is
//! the normal form; what it may carry of them is neither demanded nor believed. A bundle with a certificate is keyless and
//! believed only by [`super::keyless`].

use jiff::Timestamp;
use sigstore_types::bundle::TransparencyLogEntry;
use sigstore_types::{
    Bundle as Written, HashAlgorithm, KindVersion, MediaType, SignatureContent, VerificationMaterialContent,
};

use super::merkle::Hash;
use crate::dsse::Envelope;
use crate::limits::{
    CERTIFICATES_COUNT_MAX, EVIDENCE_BYTES_MAX, LOG_ENTRIES_COUNT_MAX, PROOF_HASHES_COUNT_MAX, TIMESTAMPS_COUNT_MAX,
};
use crate::oci::digest::{Algorithm, Digest};
use crate::verify::strict_json;

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub content: SignedContent,
    pub material: Material,
}

/// What a bundle holds a signature over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedContent {
    /// An envelope, which carries what was signed.
    Envelope(Envelope),
    /// A bare signature over the image's manifest.
    Message {
        signature: Vec<u8>,
        /// What the bundle says was signed. Not signed itself.
        claimed: Option<Digest>,
    },
}

impl SignedContent {
    /// The signature itself.
    pub fn signature(&self) -> &[u8] {
        match self {
            Self::Envelope(envelope) => &envelope.signature,
            Self::Message { signature, .. } => signature,
        }
    }
}

/// By what a bundle is to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A key that the verifier must have. Time stamps matter only where the key is valid for a span of time.
    Key { timestamps: Vec<Vec<u8>> },
    /// A certificate, and what proves when it was used.
    Keyless(KeylessMaterial),
}

/// What comes with a keyless signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeylessMaterial {
    pub version: Version,
    /// DER, the leaf first.
    pub certificates: Vec<Vec<u8>>,
    pub entries: Vec<LogEntry>,
    /// RFC 3161 tokens over the signature.
    pub timestamps: Vec<Vec<u8>>,
}

/// Which form of the bundle it is: each demands something else of its log entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 0.1, and cosign's older annotations: the log's promise is enough.
    Promise,
    /// 0.2: a proof of inclusion is demanded.
    Proof,
    /// 0.3: as 0.2, and a single certificate.
    ProofAndOneCertificate,
}

/// An entry of a transparency log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub kind: EntryKind,
    pub log_id: Vec<u8>,
    pub log_index: u64,
    /// Believed only under the log's promise.
    pub integrated_time: Option<Timestamp>,
    /// The log's promise, "signed entry timestamp".
    pub promise: Option<Vec<u8>>,
    pub proof: Option<InclusionProof>,
    pub body: Vec<u8>,
}

/// What kind of entry a log says to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    HashedRekord1,
    /// The one kind of the second generation of logs.
    HashedRekord2,
    Dsse1,
    Intoto2,
}

impl EntryKind {
    /// Name and version, as an entry's body writes them.
    pub const fn written(self) -> (&'static str, &'static str) {
        match self {
            Self::HashedRekord1 => ("hashedrekord", "0.0.1"),
            Self::HashedRekord2 => ("hashedrekord", "0.0.2"),
            Self::Dsse1 => ("dsse", "0.0.1"),
            Self::Intoto2 => ("intoto", "0.0.2"),
        }
    }

    /// The kind that an entry's body names.
    pub fn named(kind: &str, version: &str) -> Option<Self> {
        [Self::HashedRekord1, Self::HashedRekord2, Self::Dsse1, Self::Intoto2]
            .into_iter()
            .find(|known| known.written() == (kind, version))
    }
}

/// A proof that a log holds an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    pub log_index: u64,
    pub tree_size: u64,
    pub root: Hash,
    pub hashes: Vec<Hash>,
    /// The log's signed word for size and root; empty where there is none.
    pub checkpoint: String,
}

/// Why bytes are not a bundle that can be verified.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("bundle is {0} bytes long, the most is {EVIDENCE_BYTES_MAX} (evidence-limit)")]
    TooLarge(usize),
    #[error("bundle is not JSON, or a key stands twice in it")]
    Json(#[source] serde_json::Error),
    #[error("bundle is not of Sigstore's form")]
    Form(#[source] sigstore_types::Error),
    #[error("bundle is of a kind that is not known here")]
    Unknown,
    #[error("bundle has more {0} than are looked at (evidence-limit)")]
    TooMany(&'static str),
}

/// Parses a bundle of version 0.1, 0.2 or 0.3.
pub fn parse(bytes: &[u8]) -> Result<Bundle, BundleError> {
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(BundleError::TooLarge(bytes.len()));
    }
    strict_json::parse(bytes).map_err(BundleError::Json)?;
    let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Unknown)?;
    let written = Written::from_json(text).map_err(BundleError::Form)?;
    Ok(Bundle { material: material(&written)?, content: content(written.content)? })
}

fn material(written: &Written) -> Result<Material, BundleError> {
    let material = &written.verification_material;
    let timestamps = &material.timestamp_verification_data.rfc3161_timestamps;
    if timestamps.len() > TIMESTAMPS_COUNT_MAX {
        return Err(BundleError::TooMany("time stamps"));
    }
    let timestamps = timestamps.iter().map(|token| token.signed_timestamp.as_bytes().to_vec()).collect();
    let certificates: Vec<Vec<u8>> = match &material.content {
        VerificationMaterialContent::PublicKey(_) => return Ok(Material::Key { timestamps }),
        VerificationMaterialContent::Certificate(only) => vec![only.raw_bytes.as_bytes().to_vec()],
        VerificationMaterialContent::X509CertificateChain { certificates } => {
            // The third form dropped chains; one that carries one was put together by somebody else.
            if written.media_type == MediaType::Bundle0_3 || certificates.is_empty() {
                return Err(BundleError::Unknown);
            }
            certificates.iter().map(|certificate| certificate.raw_bytes.as_bytes().to_vec()).collect()
        }
        _ => return Err(BundleError::Unknown),
    };
    if certificates.len() > CERTIFICATES_COUNT_MAX {
        return Err(BundleError::TooMany("certificates"));
    }
    let version = match written.media_type {
        MediaType::Bundle0_1 => Version::Promise,
        MediaType::Bundle0_2 => Version::Proof,
        MediaType::Bundle0_3 => Version::ProofAndOneCertificate,
        _ => return Err(BundleError::Unknown),
    };
    if material.tlog_entries.len() > LOG_ENTRIES_COUNT_MAX {
        return Err(BundleError::TooMany("log entries"));
    }
    Ok(Material::Keyless(KeylessMaterial {
        version,
        certificates,
        entries: material.tlog_entries.iter().map(entry).collect::<Result<_, _>>()?,
        timestamps,
    }))
}

fn entry(written: &TransparencyLogEntry) -> Result<LogEntry, BundleError> {
    let proof = match &written.inclusion_proof {
        Some(proof) if proof.hashes.len() > PROOF_HASHES_COUNT_MAX => return Err(BundleError::TooMany("hashes")),
        Some(proof) => Some(InclusionProof {
            log_index: proof.log_index.get(),
            tree_size: proof.tree_size,
            root: *proof.root_hash.as_bytes(),
            hashes: proof.hashes.iter().map(|hash| *hash.as_bytes()).collect(),
            checkpoint: proof.checkpoint.envelope().to_owned(),
        }),
        None => None,
    };
    let kind = match written.kind_version {
        KindVersion::HashedRekordV001 => EntryKind::HashedRekord1,
        KindVersion::HashedRekordV002 => EntryKind::HashedRekord2,
        KindVersion::DsseV001 => EntryKind::Dsse1,
        KindVersion::IntotoV002 => EntryKind::Intoto2,
        _ => return Err(BundleError::Unknown),
    };
    Ok(LogEntry {
        kind,
        log_id: written.log_id.key_id.as_bytes().to_vec(),
        log_index: written.log_index.get(),
        integrated_time: written.integrated_time,
        promise: written.inclusion_promise.as_ref().map(|promise| promise.signed_entry_timestamp.as_bytes().to_vec()),
        proof,
        body: written.canonicalized_body.as_bytes().to_vec(),
    })
}

fn content(written: SignatureContent) -> Result<SignedContent, BundleError> {
    match written {
        SignatureContent::DsseEnvelope(envelope) => Ok(SignedContent::Envelope(Envelope {
            payload: envelope.payload.as_bytes().to_vec(),
            payload_type: envelope.payload_type,
            key_id: None,
            signature: envelope.signature.sig.as_bytes().to_vec(),
        })),
        SignatureContent::MessageSignature(message) => {
            let claimed = message.message_digest.and_then(|claim| match claim.algorithm {
                HashAlgorithm::Sha2256 => Digest::from_raw(Algorithm::Sha256, claim.digest.as_bytes()),
                _ => None,
            });
            Ok(SignedContent::Message { signature: message.signature.as_bytes().to_vec(), claimed })
        }
        _ => Err(BundleError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::{BundleError, Material, SignedContent, parse};
    use crate::oci::digest::Digest;
    use crate::verify::test_keys::{TestKey, signature_statement};

    #[test]
    fn keyed_bundles_of_both_kinds() {
        let key = TestKey::p256();
        let digest = Digest::of(b"x");
        let bundle = parse(&key.bundle(&signature_statement(&digest))).unwrap();
        assert_eq!(bundle.material, Material::Key { timestamps: Vec::new() });
        let SignedContent::Envelope(envelope) = bundle.content else { panic!("an envelope") };
        assert_eq!(envelope.payload_type, "application/vnd.in-toto+json");
        let SignedContent::Message { claimed, .. } = parse(&key.message_bundle(b"x")).unwrap().content else {
            panic!("a message")
        };
        assert_eq!(claimed, Some(digest));
    }

    #[test]
    fn a_certificate_makes_it_keyless_and_each_other_form_is_refused_by_name() {
        let good = TestKey::p256().bundle(&signature_statement(&Digest::of(b"x")));
        let changed = |from: &str, to: &str| {
            let text = String::from_utf8(good.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            parse(text.replace(from, to).as_bytes())
        };
        let check = |from: &str, to: &str| changed(from, to).unwrap_err();
        const KEY: &str = r#""publicKey":{"hint":"a hint"}"#;
        let keyless = changed(KEY, r#""certificate":{"rawBytes":"AAAA"}"#).unwrap();
        assert!(matches!(keyless.material, Material::Keyless(material) if material.certificates == [[0, 0, 0]]));
        let chain = r#""x509CertificateChain":{"certificates":[{"rawBytes":"AAAA"}]}"#;
        assert!(matches!(check(KEY, chain), BundleError::Unknown));
        assert!(matches!(check("bundle.v0.3", "bundle.v0.9"), BundleError::Form(_)));
        assert!(matches!(check(r#""hint":"a hint""#, r#""hint":"a","hint":"b""#), BundleError::Json(_)));
        assert!(matches!(check(r#""signatures":["#, r#""signatures":[{"sig":"AA=="},"#), BundleError::Form(_)));
        assert!(matches!(parse(b"{"), Err(BundleError::Json(_))));
        assert!(matches!(parse(&vec![b' '; 5 * 1024 * 1024]), Err(BundleError::TooLarge(_))));
    }
}
