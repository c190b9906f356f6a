//! The self-signed certificate of a new appliance, good for loopback, the host's name and the address it listens on.
//!
//! The crate rcgen only writes the DER here: key, signature and serial number come from the one cryptographic module, in
//! both editions.

use std::net::SocketAddr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm, SigningKey,
};

use super::random;

/// RFC 5280, section 4.1.2.2, allows 20.
const SERIAL_NUMBER_BYTES: usize = 16;

/// Certificate and key as PEM.
pub struct SelfSigned {
    pub certificate: String,
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the name or the addresses cannot stand in a certificate")]
    Form(#[from] rcgen::Error),
    #[error("the cryptographic module could not make a key")]
    Module,
}

/// ECDSA on P-256, the key that every TLS client takes.
pub(super) struct Key(pub(super) EcdsaKeyPair);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signed = self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signed.as_ref().to_vec())
    }
}

/// Makes a certificate. It is valid for all time that a certificate can name: the box may have no clock, and it is
/// replaced by the site's own one rather than renewed.
pub fn self_signed(name: &str, host: Option<&str>, listen: SocketAddr) -> Result<SelfSigned, CertificateError> {
    self_signed_for(ExtendedKeyUsagePurpose::ServerAuth, name, host, listen)
}

/// One that a client shows.
#[cfg(test)]
pub fn self_signed_client(name: &str) -> Result<SelfSigned, CertificateError> {
    self_signed_for(ExtendedKeyUsagePurpose::ClientAuth, name, None, (std::net::Ipv4Addr::LOCALHOST, 0).into())
}

fn self_signed_for(
    purpose: ExtendedKeyUsagePurpose,
    name: &str,
    host: Option<&str>,
    listen: SocketAddr,
) -> Result<SelfSigned, CertificateError> {
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
    parameters.serial_number = Some(random::bytes::<SERIAL_NUMBER_BYTES>().to_vec().into());
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![purpose];
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| CertificateError::Module)?;
    let private = key.to_pkcs8v1().map_err(|_| CertificateError::Module)?;
    let certificate = parameters.self_signed(&Key(key))?;
    Ok(SelfSigned { certificate: block("CERTIFICATE", certificate.der()), key: block("PRIVATE KEY", private.as_ref()) })
}

pub(super) fn block(tag: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}
