//! The seal: who packed a set, for whom, in which series and sequence, and the digest of its table. It says nothing about
//! whether the content is good; that is the policy's to judge.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FORMAT_VERSION;
use super::canonical::{self, CanonicalError};
use super::volume::SetId;
use crate::device_id::DeviceId;
use crate::dsse::{Envelope, EnvelopeError};
use crate::limits::{
    SEAL_BYTES_MAX, SEAL_RECEIVERS_COUNT_MAX, SERIES_BYTES_MAX, SET_TABLE_BYTES_MAX, VOLUMES_COUNT_MAX,
};
use crate::oci::digest::{Algorithm, Digest};
use crate::sys::identity::SUITE;
use crate::sys::keys::{Identity, KeyError, KeyRing, Purpose, SEAL_TYPE, StatementError};

/// What the sender signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    format: u32,
    suite: String,
    pub sender: DeviceId,
    /// Devices that may take the set in.
    pub receivers: Vec<DeviceId>,
    /// Name of the row of sets that this one belongs to.
    pub series: String,
    /// Its place in the series; only a greater one than the last is taken in.
    pub sequence: u64,
    pub created: Timestamp,
    pub table: TableDigest,
    /// How many volumes the set has.
    pub volumes: u16,
}

/// Digest and size of `set.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableDigest {
    /// SHA-512: the whole set hangs on this one digest.
    pub digest: Digest,
    pub bytes: u64,
}

/// Why bytes are not a seal, or not one to go by.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("seal is not a signed envelope")]
    Envelope(#[source] EnvelopeError),
    #[error("seal's envelope is not in its canonical form")]
    NotCanonical,
    #[error("seal's statement is not readable")]
    Statement(#[source] CanonicalError),
    #[error("seal is of format {format} and suite '{suite}', this version reads format {FORMAT_VERSION} and '{SUITE}'")]
    Format { format: u32, suite: String },
    #[error("seal states a bound that cannot be: {0}")]
    Bound(&'static str),
    #[error("seal is not by the sender that it names")]
    Signature(#[source] StatementError),
}

/// The digest by which a seal names a table.
pub fn table_digest(table: &[u8]) -> TableDigest {
    TableDigest { digest: Algorithm::Sha512.hash(table), bytes: table.len() as u64 }
}

/// Whether a text can name a series: it appears in file names of both sides' reports.
pub fn is_series(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= SERIES_BYTES_MAX && text.bytes().all(allowed)
}

/// A parsed seal that nobody has vouched for yet.
#[derive(Clone, Debug)]
pub struct UnverifiedSeal {
    seal: Seal,
    envelope: Envelope,
    set: SetId,
}

impl Seal {
    /// A statement about a set that is to be sealed.
    pub fn new(
        sender: DeviceId,
        receiver: DeviceId,
        (series, sequence): (&str, u64),
        created: Timestamp,
        (table, volumes): (TableDigest, u16),
    ) -> Self {
        Self {
            format: FORMAT_VERSION,
            suite: SUITE.to_owned(),
            sender,
            receivers: vec![receiver],
            series: series.to_owned(),
            sequence,
            created,
            table,
            volumes,
        }
    }

    /// The set that this statement makes.
    pub fn set_id(&self) -> SetId {
        SetId::of_statement(&canonical::to_bytes(self))
    }

    /// Signs the statement; the result is `seal.json`.
    pub fn sign(&self, keys: &KeyRing) -> Result<Vec<u8>, KeyError> {
        assert_eq!(&self.sender, keys.device_id(), "a device seals in its own name");
        Ok(keys.sign(Purpose::Seal, SEAL_TYPE, canonical::to_bytes(self))?.to_json())
    }

    fn check(&self) -> Result<(), SealError> {
        if self.format != FORMAT_VERSION || self.suite != SUITE {
            return Err(SealError::Format { format: self.format, suite: self.suite.chars().take(40).collect() });
        }
        let sorted = self.receivers.windows(2).all(|pair| pair[0] < pair[1]);
        let checks = [
            (sorted && (1..=SEAL_RECEIVERS_COUNT_MAX).contains(&self.receivers.len()), "receivers"),
            (is_series(&self.series), "series"),
            (self.sequence >= 1, "sequence"),
            ((1..=VOLUMES_COUNT_MAX).contains(&usize::from(self.volumes)), "volumes"),
            (self.table.bytes <= SET_TABLE_BYTES_MAX as u64, "size of the table"),
            (self.table.digest.algorithm() == Algorithm::Sha512, "digest of the table"),
        ];
        checks.iter().find(|(good, _)| !good).map_or(Ok(()), |(_, what)| Err(SealError::Bound(what)))
    }
}

impl UnverifiedSeal {
    /// Parses `seal.json`. What it says may be shown, and used to look for the sender, and for nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        let envelope = Envelope::parse(bytes, SEAL_BYTES_MAX).map_err(SealError::Envelope)?;
        if envelope.to_json() != bytes || envelope.key_id.is_some() {
            return Err(SealError::NotCanonical);
        }
        let seal: Seal = canonical::parse(&envelope.payload, SEAL_BYTES_MAX).map_err(SealError::Statement)?;
        seal.check()?;
        Ok(Self { set: SetId::of_statement(&envelope.payload), seal, envelope })
    }

    /// What the seal says, unproved.
    pub fn claims(&self) -> &Seal {
        &self.seal
    }

    /// The set that the seal would make.
    pub fn set_id(&self) -> SetId {
        self.set
    }

    /// The seal, once the identity of its sender vouches for it.
    pub fn verify(&self, sender: &Identity) -> Result<Seal, SealError> {
        if sender.device_id != self.seal.sender {
            return Err(SealError::Bound("sender"));
        }
        sender.verify(Purpose::Seal, &self.envelope, SEAL_TYPE).map_err(SealError::Signature)?;
        Ok(self.seal.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{Seal, SealError, UnverifiedSeal, is_series, table_digest};
    use crate::sys::dir_real::RealDir;
    use crate::sys::keys::{KeyRing, Purpose, RECEIPT_TYPE};

    fn keys() -> KeyRing {
        let directory = tempfile::tempdir().unwrap();
        KeyRing::create(&RealDir::open(directory.path()).unwrap(), "low", "2026-11-24T00:00:00Z".parse().unwrap())
            .unwrap()
    }

    fn seal(keys: &KeyRing) -> Seal {
        let table = table_digest(b"table");
        let device = keys.device_id().clone();
        Seal::new(device.clone(), device, ("default", 1), "2026-11-24T00:00:00Z".parse().unwrap(), (table, 3))
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let keys = keys();
        let bytes = seal(&keys).sign(&keys).unwrap();
        let parsed = UnverifiedSeal::parse(&bytes).unwrap();
        assert_eq!(parsed.verify(keys.identity()).unwrap(), seal(&keys));
        assert_eq!(parsed.set_id(), seal(&keys).set_id());
        for at in 0..bytes.len() {
            for mask in [1, 4, 6, 0x20, 0x80] {
                let mut bad = bytes.clone();
                bad[at] ^= mask;
                let refused = match UnverifiedSeal::parse(&bad) {
                    Ok(parsed) => parsed.verify(keys.identity()).is_err(),
                    Err(_) => true,
                };
                assert!(refused, "byte {at} ^ {mask}");
            }
        }
    }

    #[test]
    fn a_statement_of_another_kind_is_no_seal() {
        let keys = keys();
        let payload = super::canonical::to_bytes(&seal(&keys));
        for (purpose, payload_type) in [(Purpose::Receipt, RECEIPT_TYPE), (Purpose::Receipt, super::SEAL_TYPE)] {
            let envelope = keys.sign(purpose, payload_type, payload.clone()).unwrap();
            let parsed = UnverifiedSeal::parse(&envelope.to_json()).unwrap();
            assert!(matches!(parsed.verify(keys.identity()), Err(SealError::Signature(_))));
        }
        let other = self::keys();
        let parsed = UnverifiedSeal::parse(&seal(&keys).sign(&keys).unwrap()).unwrap();
        assert!(matches!(parsed.verify(other.identity()), Err(SealError::Bound("sender"))));
    }

    #[test]
    fn series_names() {
        for (text, good) in [("default", true), ("a.b_c-1", true), ("", false), ("A", false), ("a/b", false)] {
            assert_eq!(is_series(text), good, "{text}");
        }
    }
}
