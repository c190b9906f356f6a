//! An authority for tests: it issues certificates of clients, and lists those that it has revoked.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, OtherNameValue, RevokedCertParams, SanType, date_time_ymd,
};

use super::certificate::{Key, SelfSigned, block};

const USER_PRINCIPAL_NAME: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 20, 2, 3];

pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, Key>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut parameters = parameters(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = Key(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
        let certificate = block("CERTIFICATE", parameters.self_signed(&key).unwrap().der());
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate of a client with all these names, each with its kind before it.
    pub fn issue(&self, serial: u8, common_name: &str, names: &[&str]) -> SelfSigned {
        let mut parameters = parameters(common_name);
        parameters.serial_number = Some(vec![serial].into());
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for name in names {
            let (kind, text) = name.split_once(':').unwrap();
            let ascii = || Ia5String::try_from(text).unwrap();
            parameters.subject_alt_names.push(match kind {
                "dns" => SanType::DnsName(ascii()),
                "email" => SanType::Rfc822Name(ascii()),
                "uri" => SanType::URI(ascii()),
                _ => SanType::OtherName((USER_PRINCIPAL_NAME.to_vec(), OtherNameValue::Utf8String(text.to_owned()))),
            });
        }
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let private = block("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref());
        let certificate = parameters.signed_by(&Key(key), &self.issuer).unwrap();
        SelfSigned { certificate: block("CERTIFICATE", certificate.der()), key: private }
    }

    /// The list of what it has revoked.
    pub fn revoked(&self, serials: &[u8]) -> String {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: vec![*serial].into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2096, 1, 1),
            crl_number: vec![1].into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(vec![1; 20]),
        };
        block("X509 CRL", list.signed_by(&self.issuer).unwrap().der())
    }
}

fn parameters(common_name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.serial_number = Some(vec![1].into());
    parameters.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20]);
    parameters.not_after = date_time_ymd(2096, 1, 1);
    parameters
}
