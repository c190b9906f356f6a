//! Passwords of people as they are kept: derived slowly, each with a salt of its own.
//!
//! The standard edition derives with Argon2id (RFC 9106, with the parameters that OWASP gives for 19 MiB), the FIPS edition
//! with PBKDF2-HMAC-SHA-256 in its module (SP 800-132). Both verify what PBKDF2 derived; a password that was set by the
//! standard edition has to be set anew in the FIPS edition.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::random;

const SALT_BYTES: usize = 16;
const DERIVED_BYTES: usize = 32;
const PBKDF2_ITERATIONS_COUNT: u32 = 600_000;
/// What is still derived, so that a document that was tampered with cannot hold the process up.
const PBKDF2_ITERATIONS_COUNT_MAX: u32 = 10_000_000;
const MEMORY_KIB: u32 = 19 * 1024;
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_COUNT: u32 = 2;
const PASSES_COUNT_MAX: u32 = 32;

/// A password as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", deny_unknown_fields)]
pub enum KeptPassword {
    #[serde(rename = "argon2id")]
    Argon2id { memory_kib: u32, passes: u32, salt: String, derived: String },
    #[serde(rename = "pbkdf2-hmac-sha-256")]
    Pbkdf2 { iterations: u32, salt: String, derived: String },
}

impl std::fmt::Debug for KeptPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptPassword(withheld)")
    }
}

/// Why a password cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password was set by the standard edition, with an algorithm that FIPS does not approve: set it anew")]
    NotApproved,
    #[error("what is kept of the password is damaged: set it anew")]
    Damaged,
}

impl KeptPassword {
    /// Derives what is kept of `password`. Takes some 20 ms, on purpose.
    pub fn derive(password: &[u8]) -> Result<Self, PasswordError> {
        let salt = random::bytes::<SALT_BYTES>();
        if cfg!(feature = "fips") { Self::derive_pbkdf2(password, &salt) } else { Self::derive_argon2(password, &salt) }
    }

    fn derive_pbkdf2(password: &[u8], salt: &[u8]) -> Result<Self, PasswordError> {
        let iterations = NonZeroU32::new(PBKDF2_ITERATIONS_COUNT).ok_or(PasswordError::Damaged)?;
        let mut derived = [0; DERIVED_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut derived);
        let (salt, derived) = (BASE64.encode(salt), BASE64.encode(&derived));
        Ok(Self::Pbkdf2 { iterations: PBKDF2_ITERATIONS_COUNT, salt, derived })
    }

    fn derive_argon2(password: &[u8], salt: &[u8]) -> Result<Self, PasswordError> {
        let derived = argon2id(password, salt, MEMORY_KIB, PASSES_COUNT)?;
        let (salt, derived) = (BASE64.encode(salt), BASE64.encode(&derived));
        Ok(Self::Argon2id { memory_kib: MEMORY_KIB, passes: PASSES_COUNT, salt, derived })
    }

    /// Whether `password` is the one that this was derived from.
    pub fn verify(&self, password: &[u8]) -> Result<bool, PasswordError> {
        let bytes = |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| PasswordError::Damaged);
        match self {
            Self::Argon2id { memory_kib, passes, salt, derived } => {
                if *memory_kib > MEMORY_KIB_MAX || *passes > PASSES_COUNT_MAX {
                    return Err(PasswordError::Damaged);
                }
                let found = argon2id(password, &bytes(salt)?, *memory_kib, *passes)?;
                Ok(super::mac::equal(&found, &bytes(derived)?))
            }
            Self::Pbkdf2 { iterations, salt, derived } => {
                let counted = NonZeroU32::new(*iterations).filter(|count| count.get() <= PBKDF2_ITERATIONS_COUNT_MAX);
                let iterations = counted.ok_or(PasswordError::Damaged)?;
                let (salt, derived) = (bytes(salt)?, bytes(derived)?);
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                Ok(derived.len() == DERIVED_BYTES
                    && pbkdf2::verify(algorithm, iterations, &salt, password, &derived).is_ok())
            }
        }
    }
}

#[cfg(not(feature = "fips"))]
fn argon2id(password: &[u8], salt: &[u8], memory_kib: u32, passes: u32) -> Result<[u8; DERIVED_BYTES], PasswordError> {
    let damaged = |_| PasswordError::Damaged;
    let parameters = argon2::Params::new(memory_kib, passes, 1, Some(DERIVED_BYTES)).map_err(damaged)?;
    let mut derived = [0; DERIVED_BYTES];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters)
        .hash_password_into(password, salt, &mut derived)
        .map_err(damaged)?;
    Ok(derived)
}

#[cfg(feature = "fips")]
const fn argon2id(_: &[u8], _: &[u8], _: u32, _: u32) -> Result<[u8; DERIVED_BYTES], PasswordError> {
    Err(PasswordError::NotApproved)
}

#[cfg(test)]
mod tests {
    use super::{KeptPassword, PasswordError};

    #[test]
    fn the_right_password_and_no_other() {
        let pbkdf2 = KeptPassword::derive_pbkdf2(b"correct horse", b"0123456789abcdef").unwrap();
        for kept in [KeptPassword::derive(b"correct horse").unwrap(), pbkdf2] {
            let kept: KeptPassword = serde_json::from_slice(&serde_json::to_vec(&kept).unwrap()).unwrap();
            assert!(kept.verify(b"correct horse").unwrap());
            for wrong in [b"correct hors".as_slice(), b"", b"correct horse "] {
                assert!(!kept.verify(wrong).unwrap());
            }
            assert_eq!(format!("{kept:?}"), "KeptPassword(withheld)");
        }
        assert_ne!(KeptPassword::derive(b"a").unwrap(), KeptPassword::derive(b"a").unwrap(), "salted");
    }

    // WHY: a known answer (RFC 9106 has none for these parameters; made with the reference implementation's command
    // line, `argon2 somesaltsomesalt -id -t 2 -k 19456 -p 1 -l 32`), so that another library would be noticed.
    #[cfg(not(feature = "fips"))]
    #[test]
    fn argon2id_of_the_reference() {
        let derived = super::argon2id(b"password", b"somesaltsomesalt", 19 * 1024, 2).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&derived), ARGON2_REFERENCE);
    }

    #[cfg(not(feature = "fips"))]
    const ARGON2_REFERENCE: &str = "2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1";

    #[test]
    fn what_would_take_too_long_is_damage() {
        let (salt, derived) = (String::new(), String::new());
        for kept in [
            KeptPassword::Pbkdf2 { iterations: u32::MAX, salt: salt.clone(), derived: derived.clone() },
            KeptPassword::Pbkdf2 { iterations: 0, salt: salt.clone(), derived: derived.clone() },
            KeptPassword::Argon2id { memory_kib: u32::MAX, passes: 1, salt: salt.clone(), derived: derived.clone() },
            KeptPassword::Argon2id { memory_kib: 1024, passes: u32::MAX, salt, derived },
        ] {
            assert_eq!(kept.verify(b"x"), Err(PasswordError::Damaged));
        }
    }
}
