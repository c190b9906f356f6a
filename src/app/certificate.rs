//! The self-signed certificate of a new appliance, good for loopback, the host's name and the address it listens on.

use std::net::SocketAddr;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

/// Certificate and key as PEM.
pub struct SelfSigned {
    pub certificate: String,
    pub key: String,
}

/// Makes a certificate. It is valid for all time that a certificate can name: the box may have no clock, and it is
/// replaced by the site's own one rather than renewed.
pub fn self_signed(name: &str, host: Option<&str>, listen: SocketAddr) -> Result<SelfSigned, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(host.map(str::to_owned));
    if !listen.ip().is_unspecified() {
        names.push(listen.ip().to_string());
    }
    names.dedup();
    let mut parameters = CertificateParams::new(names)?;
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    parameters.distinguished_name = distinguished_name;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok(SelfSigned { certificate: certificate.pem(), key: key.serialize_pem() })
}
