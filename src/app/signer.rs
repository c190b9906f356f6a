//! With what a command signs: a key that is in this process, or a program of the site that keeps it elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use x509_cert::der::Encode as _;
use x509_cert::der::asn1::UintRef;

use super::failure::FailureKind;
use super::kinds::Kind;
use crate::dsse::{Envelope, pre_authentication_encoding};
use crate::limits::SIGNATURE_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::sys::program::{self, ProgramError};
use crate::sys::site_key::{SiteKey, SiteKeyError};
use crate::verify::key::{KeyAlgorithm, KeyError, PublicKey};

/// A token may ask for its PIN and for a touch.
const PATIENCE: Duration = Duration::from_secs(120);

/// What signs.
#[derive(Debug)]
pub enum Signer {
    Key(SiteKey),
    Program(SigningProgram),
}

/// A program that is given what is to be signed and answers with the signature, and the key by which that is checked before
/// it goes anywhere.
#[derive(Debug)]
pub struct SigningProgram {
    program: PathBuf,
    public_pem: String,
    key: PublicKey,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error(transparent)]
    Key(#[from] SiteKeyError),
    #[error("the public key of the program that signs cannot be used")]
    PublicKey(#[source] KeyError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(
        "what the program '{0}' wrote ({1} bytes) is no signature of what it was given by the key {2}: it must hash all of \
         its standard input ({3}) and write the signature alone, as it is and not as text"
    )]
    Signature(String, usize, Digest, &'static str),
}

impl SigningProgram {
    /// The program at a path, for the key of which this is the public half, in PEM.
    pub fn new(program: &Path, public_pem: &str) -> Result<Self, SignerError> {
        let key = PublicKey::parse_pem(public_pem).map_err(SignerError::PublicKey)?;
        Ok(Self { program: program.to_owned(), public_pem: public_pem.to_owned(), key })
    }

    fn sign(&self, message: Vec<u8>) -> Result<Vec<u8>, SignerError> {
        let signature = program::ask(&self.program, message.clone(), SIGNATURE_BYTES_MAX, PATIENCE)?;
        if !self.key.verifies(&message, &signature) {
            let hash = match self.key.algorithm() {
                KeyAlgorithm::EcdsaP384 => "SHA-384",
                _ => "SHA-256",
            };
            let (name, key) = (self.program.display().to_string(), *self.key.fingerprint());
            return Err(SignerError::Signature(name, signature.len(), key, hash));
        }
        Ok(wrapped(self.key.algorithm(), signature))
    }
}

/// A signature of ECDSA as others read it. Tokens write its two numbers one after the other; here they are known to be that,
/// since the signature was good and is as long as they are.
fn wrapped(algorithm: KeyAlgorithm, signature: Vec<u8>) -> Vec<u8> {
    let bytes = match algorithm {
        KeyAlgorithm::EcdsaP256 => 64,
        KeyAlgorithm::EcdsaP384 => 96,
        KeyAlgorithm::Rsa | KeyAlgorithm::Ed25519 => return signature,
    };
    if signature.len() != bytes {
        return signature;
    }
    let (r, s) = signature.split_at(bytes / 2);
    let der = || vec![UintRef::new(r)?, UintRef::new(s)?].to_der();
    der().unwrap_or(signature)
}

impl Signer {
    /// The public half in PEM.
    pub fn public_pem(&self) -> String {
        match self {
            Self::Key(key) => key.public_pem(),
            Self::Program(program) => program.public_pem.clone(),
        }
    }

    /// SHA-256 of the public half.
    pub fn fingerprint(&self) -> Digest {
        match self {
            Self::Key(key) => key.fingerprint(),
            Self::Program(program) => *program.key.fingerprint(),
        }
    }

    /// Signs `payload` as a `payload_type`.
    pub fn sign(&self, payload_type: &str, payload: Vec<u8>) -> Result<Envelope, SignerError> {
        match self {
            Self::Key(key) => Ok(key.sign(payload_type, payload)?),
            Self::Program(program) => {
                let signature = program.sign(pre_authentication_encoding(payload_type, &payload))?;
                Ok(Envelope { payload_type: payload_type.to_owned(), payload, key_id: None, signature })
            }
        }
    }
}

impl Kind for SignerError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Key(error) => error.kind(),
            Self::PublicKey(_) | Self::Program(ProgramError::Start(..)) => FailureKind::Usage,
            Self::Program(_) | Self::Signature(..) => FailureKind::Failed,
        }
    }
}
