//! The names in a client's certificate, once its chain was verified. Pure.
//!
//! ```text
//! dns:host.example        dNSName
//! email:anna@example      rfc822Name
//! uri:spiffe://site/ci    uniformResourceIdentifier
//! upn:1234567890@mil      otherName 1.3.6.1.4.1.311.20.2.3, what smart cards sign in with
//! edipi:1234567890        the ten digits of a CAC: of that name below `mil`, or at the end of the subject's common name
//! ```

use x509_cert::Certificate;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATE_NAME_BYTES_MAX, CERTIFICATE_NAMES_COUNT_MAX};

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const USER_PRINCIPAL_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");
const EDIPI_DIGITS_COUNT: usize = 10;

/// The names of a certificate, each with its kind before it. What cannot be read names nobody.
pub fn names_of(certificate: &[u8]) -> Vec<String> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Vec::new();
    }
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let mut names = Vec::new();
    for extension in certificate.tbs_certificate.extensions.iter().flatten() {
        if extension.extn_id == SUBJECT_ALT_NAME
            && let Ok(alternatives) = SubjectAltName::from_der(extension.extn_value.as_bytes())
        {
            names.extend(alternatives.0.iter().filter_map(name));
        }
    }
    let digits = names.iter().find_map(|name| edipi_of_upn(name.strip_prefix("upn:")?));
    let digits = digits.or_else(|| common_name(&certificate).as_deref().and_then(edipi_of_common_name));
    names.extend(digits.map(|digits| format!("edipi:{digits}")));
    names.retain(|name| name.len() <= CERTIFICATE_NAME_BYTES_MAX && !name.contains(char::is_control));
    names.truncate(CERTIFICATE_NAMES_COUNT_MAX);
    names
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(host) => Some(format!("dns:{}", host.as_str().to_ascii_lowercase())),
        GeneralName::Rfc822Name(address) => Some(format!("email:{}", address.as_str())),
        GeneralName::UniformResourceIdentifier(uri) => Some(format!("uri:{}", uri.as_str())),
        GeneralName::OtherName(other) if other.type_id == USER_PRINCIPAL_NAME => {
            let text = other.value.decode_as::<Utf8StringRef<'_>>().ok()?;
            Some(format!("upn:{}", text.as_str().to_ascii_lowercase()))
        }
        _ => None,
    }
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let mut parts = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let value = &parts.rfind(|part| part.oid == COMMON_NAME)?.value;
    let is_text = matches!(value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString);
    is_text.then(|| std::str::from_utf8(value.value()).ok().map(str::to_owned)).flatten()
}

fn edipi_of_upn(upn: &str) -> Option<String> {
    let (digits, domain) = upn.split_once('@')?;
    // A PIV-I name may have six more digits behind those of the person.
    (domain == "mil").then(|| digits.get(..EDIPI_DIGITS_COUNT)).flatten().and_then(digits_alone)
}

fn edipi_of_common_name(name: &str) -> Option<String> {
    let (_, digits) = name.rsplit_once('.')?;
    (digits.len() == EDIPI_DIGITS_COUNT).then(|| digits_alone(digits)).flatten()
}

fn digits_alone(text: &str) -> Option<String> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{edipi_of_common_name, edipi_of_upn, names_of};

    #[test]
    fn what_is_no_certificate_names_nobody() {
        for bytes in [b"".as_slice(), b"\x30\x00", b"x", &[0x30; 100_000]] {
            assert!(names_of(bytes).is_empty());
        }
    }

    #[test]
    fn the_digits_of_a_card() {
        let check = |upn: &str, expected: Option<&str>| assert_eq!(edipi_of_upn(upn).as_deref(), expected, "{upn}");
        check("1234567890@mil", Some("1234567890"));
        check("1234567890117001@mil", Some("1234567890"));
        check("1234567890@mil.example", None);
        check("123456789@mil", None);
        check("12345678ab@mil", None);
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(edipi_of_common_name(name).as_deref(), expected, "{name}");
        };
        check("DOE.JOHN.Q.1234567890", Some("1234567890"));
        check("1234567890", None);
        check("DOE.JOHN.123456789", None);
    }
}
