//! Signed certificate timestamps (RFC 6962): a log's word that it holds the certificate.
//!
//! What the log signed is the certificate without the timestamps themselves, bound to its issuer's key.

use jiff::Timestamp;
use x509_cert::der::asn1::OctetString;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

use super::trusted_root::TrustedRoot;
use crate::oci::digest::sha256;
use crate::verify::x509::Certificate;

const ID_EMBEDDED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
/// Hash and signature algorithm, as TLS numbers them, of which a log's key may make a signature.
const ALGORITHMS: [[u8; 2]; 3] = [[4, 3], [5, 3], [4, 1]];

/// Why no timestamp proves that the certificate was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SctError {
    #[error("the certificate carries no timestamp of a certificate log")]
    Missing,
    #[error("the certificate's timestamps cannot be read")]
    Form,
    #[error("none of the certificate's timestamps is by a trusted log at a time at which its key was valid")]
    Untrusted,
}

struct Sct<'a> {
    log_id: &'a [u8],
    timestamp: u64,
    extensions: &'a [u8],
    algorithm: [u8; 2],
    signature: &'a [u8],
}

/// Whether a trusted log has seen `certificate`.
pub fn verify_sct(certificate: &Certificate, issuer_key: &[u8], root: &TrustedRoot) -> Result<(), SctError> {
    let extension = certificate.extension(ID_EMBEDDED).ok_or(SctError::Missing)?;
    let list = OctetString::from_der(extension.extn_value.as_bytes()).map_err(|_| SctError::Form)?;
    let logged = logged_bytes(certificate)?;
    let mut rest = list.as_bytes();
    let mut scts = take(&mut rest, 2).filter(|_| rest.is_empty()).ok_or(SctError::Form)?;
    let mut trusted = false;
    let mut seen = false;
    while !scts.is_empty() {
        let sct = parse(take(&mut scts, 2).ok_or(SctError::Form)?).ok_or(SctError::Form)?;
        seen = true;
        trusted |= is_by_trusted_log(&sct, issuer_key, &logged, root);
    }
    match (seen, trusted) {
        (_, true) => Ok(()),
        (true, false) => Err(SctError::Untrusted),
        (false, false) => Err(SctError::Missing),
    }
}

fn is_by_trusted_log(sct: &Sct<'_>, issuer_key: &[u8], logged: &[u8], root: &TrustedRoot) -> bool {
    let time = i64::try_from(sct.timestamp).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    let (Some(time), Ok(length)) = (time, u32::try_from(logged.len())) else { return false };
    let log = root.certificate_logs.iter().find(|log| log.id == sct.log_id && log.span.contains(time));
    let Some(key) = log.and_then(|log| log.key.as_ref()) else { return false };
    if !ALGORITHMS.contains(&sct.algorithm) || length >= 1 << 24 {
        return false;
    }
    // Version 1, of a certificate; the time; a certificate that was to be; its issuer; itself; extensions.
    let mut signed = vec![0, 0];
    signed.extend_from_slice(&sct.timestamp.to_be_bytes());
    signed.extend_from_slice(&[0, 1]);
    signed.extend_from_slice(&sha256(issuer_key));
    signed.extend_from_slice(&length.to_be_bytes()[1..]);
    signed.extend_from_slice(logged);
    let extensions = u16::try_from(sct.extensions.len()).unwrap_or(u16::MAX);
    signed.extend_from_slice(&extensions.to_be_bytes());
    signed.extend_from_slice(sct.extensions);
    key.verifies(&signed, sct.signature)
}

/// The certificate's content without its timestamps.
fn logged_bytes(certificate: &Certificate) -> Result<Vec<u8>, SctError> {
    let mut content = certificate.parsed().tbs_certificate.clone();
    if let Some(extensions) = &mut content.extensions {
        extensions.retain(|extension| extension.extn_id != ID_EMBEDDED);
    }
    content.to_der().map_err(|_| SctError::Form)
}

/// The next piece, which is written behind its own length of `width` bytes.
fn take<'a>(input: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let (length, rest) = input.split_at_checked(width)?;
    let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    let (piece, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(piece)
}

fn parse(sct: &[u8]) -> Option<Sct<'_>> {
    let (version, rest) = sct.split_first()?;
    let (log_id, rest) = rest.split_at_checked(32)?;
    let (timestamp, mut rest) = rest.split_first_chunk::<8>()?;
    let extensions = take(&mut rest, 2)?;
    let (algorithm, mut rest) = rest.split_first_chunk::<2>()?;
    let signature = take(&mut rest, 2)?;
    (*version == 0 && rest.is_empty()).then_some(Sct {
        log_id,
        timestamp: u64::from_be_bytes(*timestamp),
        extensions,
        algorithm: *algorithm,
        signature,
    })
}

#[cfg(test)]
mod tests {
    use super::{parse, take};

    #[test]
    fn lengths_are_those_of_what_follows() {
        let mut input: &[u8] = &[0, 2, 7, 8, 0, 1, 9];
        assert_eq!(take(&mut input, 2), Some(&[7, 8][..]));
        assert_eq!(take(&mut input, 2), Some(&[9][..]));
        assert_eq!(take(&mut input, 2), None);
        assert_eq!(take(&mut &[0, 3, 1][..], 2), None);
    }

    #[test]
    fn only_the_first_version_without_anything_behind_it_is_read() {
        let good = [&[0_u8; 43][..], &[4, 3, 0, 1, 5]].concat();
        assert_eq!(parse(&good).unwrap().signature, [5]);
        let mut other = good.clone();
        other[0] = 1;
        assert!(parse(&other).is_none());
        assert!(parse(&[good.as_slice(), &[0]].concat()).is_none());
        assert!(parse(&good[..good.len() - 1]).is_none());
    }
}
