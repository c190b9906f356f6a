//! Time stamps by themselves: whether they are whole, signed by the certificate inside, and good enough.

use postern::verify::timestamp::Token;
use postern::verify::x509::{Certificate, Purpose, verify_chain};

use super::{Case, Check, Expected, Judge};

/// What `expect.json` leaves to the name. SHA-1 as what was stamped, or chosen where a better hash could have been, is not
/// enough; as the fixed name of a certificate (RFC 3161's own form) it is.
const BY_NAME: [(&str, Expected); 10] = [
    ("tsp-SHA1TimeStampToken.p7s", Expected::Fail),
    ("tsp-TimeStampToken.p7s", Expected::Pass),
    ("tsp-TimeStampTokenWithSHA1CertHash.p7s", Expected::Fail),
    ("tsp-TimeStampTokenWithSigningCertificateV1.p7s", Expected::Pass),
    ("tsp-TimeStampTokenWithSigningCertificateV2NoCert.p7s", Expected::Fail),
    ("tsp-TimeStampTokenWithTSTInfoVersion2.p7s", Expected::Fail),
    ("tsp-TimeStampTokenWithWrongSigningCertificateV2IssuerChoiceTag.p7s", Expected::Fail),
    ("tsp-granted.tsq", Expected::Pass),
    ("tsp-rejection.tsq", Expected::Fail),
    ("tsp-validResponseWithSigningCertificateV1.tsr", Expected::Pass),
];

pub fn token(case: &Case, judge: Judge) -> Vec<Check> {
    let (_, name) = case.name.split_once('/').expect("a name");
    let expected = match BY_NAME.iter().find(|(known, _)| *known == name) {
        Some((_, expected)) => *expected,
        None => case.expected(),
    };
    let file = if case.has("tsaRootCert.cer") {
        case.path("TimeStampTokenWithInvalidSignature.p7s")
    } else {
        case.only_file()
    };
    let bytes = super::read(&file);
    let mut checks = vec![judge.ask("whole and signed", expected, || {
        let token = Token::parse(&bytes).map_err(|error| error.to_string())?;
        token.signer(&[]).map(|_| ()).map_err(|error| error.to_string())
    })];
    if name == "notation-TimeStampToken" {
        let roots = [
            ("notation-truststore/tsa-test-timestamp/globalsignRoot.cer/globalsignRoot.cer", Expected::Pass),
            (
                "notation-truststore/tsa-test-mismatch/DigiCertTSARootSHA384.cer/DigiCertTSARootSHA384.cer",
                Expected::Fail,
            ),
        ];
        for (root, expected) in roots {
            let root = certificate(&case.shared(root));
            checks.push(judge.ask("by a root", expected, || {
                let token = Token::parse(&bytes).map_err(|error| error.to_string())?;
                let signer = token.signer(&[]).map_err(|error| error.to_string())?;
                let roots = std::slice::from_ref(&root);
                verify_chain(&signer, token.certificates(), roots, token.time(), Purpose::Timestamps, None)
                    .map(|_| ())
                    .map_err(|error| error.to_string())
            }));
        }
    }
    checks
}

/// DER or PEM.
pub fn certificate(bytes: &[u8]) -> Certificate {
    match std::str::from_utf8(bytes) {
        Ok(text) => Certificate::parse_pem(text).expect("certificates").remove(0),
        Err(_) => Certificate::parse(bytes).expect("a certificate"),
    }
}
