//! Who a keyless certificate says to have signed: the subject, the issuer that vouched for it, and what a CI system
//! claimed about the build.

use std::collections::BTreeMap;

use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::verify::x509::Certificate;

/// What a certificate says. Worth something only once its chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    pub subject: String,
    /// Empty where the certificate names none: only GitHub's own releases are signed so.
    pub issuer: String,
    /// By the names of [`claim_names`].
    pub claims: BTreeMap<&'static str, String>,
}

/// Why a certificate says nothing of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate names not exactly one subject")]
    Subject,
    #[error("the certificate names no issuer")]
    Issuer,
    #[error("the certificate's claim '{0}' cannot be read")]
    Claim(&'static str),
}

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// A subject that is neither a mail address nor a URI: a user's name at some issuer.
const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
const ISSUER_RAW: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");

/// How an extension holds its text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// As it is: the older extensions.
    Raw,
    /// As a string of DER.
    Der,
}

/// The claims that a policy can ask about: name, extension, and how it holds its text.
const TABLE: [(&str, ObjectIdentifier, Held); 20] = [
    ("github_workflow_trigger", claim_id("1.3.6.1.4.1.57264.1.2"), Held::Raw),
    ("github_workflow_sha", claim_id("1.3.6.1.4.1.57264.1.3"), Held::Raw),
    ("github_workflow_name", claim_id("1.3.6.1.4.1.57264.1.4"), Held::Raw),
    ("github_workflow_repository", claim_id("1.3.6.1.4.1.57264.1.5"), Held::Raw),
    ("github_workflow_ref", claim_id("1.3.6.1.4.1.57264.1.6"), Held::Raw),
    ("build_signer_uri", claim_id("1.3.6.1.4.1.57264.1.9"), Held::Der),
    ("build_signer_digest", claim_id("1.3.6.1.4.1.57264.1.10"), Held::Der),
    ("runner_environment", claim_id("1.3.6.1.4.1.57264.1.11"), Held::Der),
    ("source_repository_uri", claim_id("1.3.6.1.4.1.57264.1.12"), Held::Der),
    ("source_repository_digest", claim_id("1.3.6.1.4.1.57264.1.13"), Held::Der),
    ("source_repository_ref", claim_id("1.3.6.1.4.1.57264.1.14"), Held::Der),
    ("source_repository_identifier", claim_id("1.3.6.1.4.1.57264.1.15"), Held::Der),
    ("source_repository_owner_uri", claim_id("1.3.6.1.4.1.57264.1.16"), Held::Der),
    ("source_repository_owner_identifier", claim_id("1.3.6.1.4.1.57264.1.17"), Held::Der),
    ("build_config_uri", claim_id("1.3.6.1.4.1.57264.1.18"), Held::Der),
    ("build_config_digest", claim_id("1.3.6.1.4.1.57264.1.19"), Held::Der),
    ("build_trigger", claim_id("1.3.6.1.4.1.57264.1.20"), Held::Der),
    ("run_invocation_uri", claim_id("1.3.6.1.4.1.57264.1.21"), Held::Der),
    ("source_repository_visibility", claim_id("1.3.6.1.4.1.57264.1.22"), Held::Der),
    ("deployment_environment", claim_id("1.3.6.1.4.1.57264.1.23"), Held::Der),
];

const fn claim_id(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// The names of the claims.
pub fn claim_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

impl CertificateIdentity {
    /// Reads what a certificate says.
    pub fn of(certificate: &Certificate) -> Result<Self, IdentityError> {
        let issuer = match text(certificate, ISSUER, Held::Der) {
            Some(issuer) => issuer,
            None => text(certificate, ISSUER_RAW, Held::Raw).flatten(),
        };
        let mut claims = BTreeMap::new();
        for (name, id, held) in TABLE {
            // A claim that is there and cannot be read is not passed over as absent: some rule may want it absent.
            if let Some(found) = text(certificate, id, held) {
                claims.insert(name, found.ok_or(IdentityError::Claim(name))?);
            }
        }
        let subject = subject(certificate).ok_or(IdentityError::Subject)?;
        Ok(Self { subject, issuer: issuer.unwrap_or_default(), claims })
    }
}

/// `None` where the extension is absent, `Some(None)` where it cannot be read.
fn text(certificate: &Certificate, id: ObjectIdentifier, held: Held) -> Option<Option<String>> {
    let value = certificate.extension(id)?.extn_value.as_bytes();
    Some(match held {
        Held::Raw => String::from_utf8(value.to_vec()).ok(),
        Held::Der => Utf8StringRef::from_der(value).ok().map(|text| text.as_str().to_owned()),
    })
}

fn subject(certificate: &Certificate) -> Option<String> {
    let names = SubjectAltName::from_der(certificate.extension(SUBJECT_ALT_NAME)?.extn_value.as_bytes()).ok()?;
    let [only] = names.0.as_slice() else { return None };
    let found = match only {
        GeneralName::Rfc822Name(address) => address.to_string(),
        GeneralName::UniformResourceIdentifier(uri) => uri.to_string(),
        GeneralName::OtherName(other) if other.type_id == OTHER_NAME => {
            let der = other.value.to_der().ok()?;
            Utf8StringRef::from_der(&der).ok()?.as_str().to_owned()
        }
        _ => return None,
    };
    (!found.is_empty()).then_some(found)
}
