//! RFC 3161 time stamps: a third party's signed word that it saw some bytes at some time.
//!
//! A certificate that came inside a token is never trusted by itself: it must lead to an authority that the verifier has.

mod info;
mod token;

use std::time::Duration;

use jiff::Timestamp;

pub use info::InfoError;
pub use token::{Token, TokenError};

use super::sigstore::trusted_root::Authority;
use super::x509::{Certificate, ChainError, Purpose, RevocationLists, verify_chain};

/// Why a time stamp is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("it is over something else")]
    Imprint,
    #[error("it was made at {0}, when no trusted time stamp authority was in office")]
    NoAuthority(Timestamp),
    #[error("its maker is not a trusted authority: {0}")]
    Chain(#[from] ChainError),
}

/// Verifies `token` over `message` by the authorities of a trusted root; the time.
pub fn verify(token: &[u8], message: &[u8], authorities: &[Authority]) -> Result<Timestamp, TimestampError> {
    let token = Token::parse(token)?;
    if !token.is_over(message) {
        return Err(TimestampError::Imprint);
    }
    let time = token.time();
    let mut last = TimestampError::NoAuthority(time);
    for authority in authorities.iter().filter(|authority| authority.span.contains(time)) {
        match verify_by(&token, authority) {
            Ok(()) => return Ok(time),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn verify_by(token: &Token, authority: &Authority) -> Result<(), TimestampError> {
    let time = token.time();
    let (root, below) = authority.chain.split_last().ok_or(TimestampError::NoAuthority(time))?;
    if !root.is_valid_at(time) {
        return Err(TimestampError::NoAuthority(time));
    }
    // Where the root names the certificate that signs, no other one is taken, whatever it leads to.
    let named: Vec<Certificate> = below.iter().filter(|certificate| !certificate.is_authority()).cloned().collect();
    let signer = if named.is_empty() { token.signer(&[])? } else { token.signed_by_one_of(&named)? };
    let between: Vec<Certificate> = below.iter().filter(|certificate| certificate.is_authority()).cloned().collect();
    verify_chain(&signer, &between, std::slice::from_ref(root), time, Purpose::Timestamps, None)?;
    Ok(())
}

/// A span of time in which something was stamped, for an authority does not know the time exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampedSpan {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

/// Verifies `token` over `message` by roots that are trusted without an end.
pub fn verify_by_roots(
    token: &[u8],
    message: &[u8],
    roots: &[Certificate],
    revocation: Option<&RevocationLists>,
) -> Result<StampedSpan, TimestampError> {
    let token = Token::parse(token)?;
    if !token.is_over(message) {
        return Err(TimestampError::Imprint);
    }
    let signer = token.signer(&[])?;
    verify_chain(&signer, token.certificates(), roots, token.time(), Purpose::Timestamps, revocation)?;
    let accuracy: Duration = token.accuracy();
    let bound = |time: Result<Timestamp, jiff::Error>| time.map_err(|_| TokenError::Info(InfoError::Accuracy));
    Ok(StampedSpan {
        earliest: bound(token.time().checked_sub(accuracy))?,
        latest: bound(token.time().checked_add(accuracy))?,
    })
}
