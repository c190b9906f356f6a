//! Locking away what must lie where others may read it: only whoever has this device's keys takes it out again.
//!
//! ```text
//! "PSTNLOCK"   version, u32 = 1   nonce, 12   AES-256-GCM over the content, with its name as additional data
//! ```
//!
//! The key is derived (HKDF-SHA-256) from the private key that seals, under a label of its own: whoever kept `identity/` in a
//! safe place has it, and there is no file more to be kept.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::{KeyError, KeyRing, Purpose};

const MAGIC: &[u8; 8] = b"PSTNLOCK";
const VERSION: u32 = 1;
const NONCE_AT: usize = 12;
const SALT: &[u8] = b"postern lock away, version 1";

impl KeyRing {
    fn vault_key(&self) -> Result<RandomizedNonceKey, KeyError> {
        let private: EcPrivateKeyBin<'_> = self.keys[Purpose::Seal as usize].private_key().as_be_bytes()?;
        let mut key = Zeroizing::new([0; 32]);
        let device = self.device_id().to_string();
        let info: [&[u8]; 1] = [device.as_bytes()];
        Salt::new(HKDF_SHA256, SALT).extract(private.as_ref()).expand(&info, HKDF_SHA256)?.fill(key.as_mut())?;
        Ok(RandomizedNonceKey::new(&AES_256_GCM, key.as_ref())?)
    }

    /// Locks `content` away under its name.
    pub fn lock_away(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut sealed = content.to_vec();
        let nonce = self.vault_key()?.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)?;
        Ok([MAGIC.as_slice(), &VERSION.to_le_bytes(), nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Takes out what was locked away under that name; none where another device did it, or it was changed.
    pub fn take_out(&self, name: &str, locked: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        let begin = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        let Some(nonce) = locked.strip_prefix(begin.as_slice()).and_then(<[u8]>::first_chunk::<NONCE_LEN>) else {
            return Ok(None);
        };
        let mut content = Zeroizing::new(locked.get(NONCE_AT + NONCE_LEN..).unwrap_or_default().to_vec());
        let key = self.vault_key()?;
        let opened = key.open_in_place(Nonce::from(nonce), Aad::from(name.as_bytes()), content.as_mut_slice());
        let Ok(length) = opened.map(|opened| opened.len()) else { return Ok(None) };
        content.truncate(length);
        Ok(Some(content))
    }
}

#[cfg(test)]
mod tests {
    use super::KeyRing;
    use crate::sys::dir_simulated::SimulatedDir;

    #[test]
    fn only_the_same_device_takes_it_out_whole_and_under_its_name() {
        let (dir, other) = (SimulatedDir::default(), SimulatedDir::default());
        let keys = KeyRing::create(&dir, "box", jiff::Timestamp::UNIX_EPOCH).unwrap();
        let others = KeyRing::create(&other, "box", jiff::Timestamp::UNIX_EPOCH).unwrap();
        let locked = keys.lock_away("a", b"secret").unwrap();
        assert!(!locked.windows(6).any(|six| six == b"secret"));
        assert_ne!(locked, keys.lock_away("a", b"secret").unwrap(), "each time under another nonce");
        let again = KeyRing::open(&dir).unwrap();
        assert_eq!(again.take_out("a", &locked).unwrap().unwrap().as_slice(), b"secret");
        assert_eq!(again.take_out("b", &locked).unwrap(), None);
        assert_eq!(others.take_out("a", &locked).unwrap(), None);
        for at in 0..locked.len() {
            let mut flipped = locked.clone();
            flipped[at] ^= 1;
            assert_eq!(keys.take_out("a", &flipped).unwrap(), None, "byte {at}");
            assert_eq!(keys.take_out("a", &locked[..at]).unwrap(), None, "cut to {at}");
        }
        let nothing = keys.lock_away("", b"").unwrap();
        assert_eq!(keys.take_out("", &nothing).unwrap().unwrap().as_slice(), b"");
    }
}
