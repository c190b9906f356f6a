//! One-time passwords by time (TOTP, RFC 6238) as every authenticator knows them: HMAC-SHA-1, six digits, thirty seconds.
//!
//! SHA-1 is broken for signatures and not for HMAC, which SP 800-131A leaves approved; another hash would be read wrongly by
//! programs that ignore what the address says of it.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use super::random;

/// Bytes of a secret: as long as the hash, as RFC 4226 asks for.
const SECRET_BYTES: usize = 20;
/// How long one password is shown.
pub const STEP_SECONDS: i64 = 30;
/// Steps before and behind the present one that are taken, for clocks that differ.
const STEPS_AROUND: u64 = 1;
const DIGITS: usize = 6;

/// The secret that a person's authenticator shares with the appliance. It has to be kept as it is, to be counted with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OneTimeSecret(String);

impl std::fmt::Debug for OneTimeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneTimeSecret(withheld)")
    }
}

impl OneTimeSecret {
    /// A new secret.
    pub fn generate() -> Self {
        Self(BASE32_NOPAD.encode(&random::bytes::<SECRET_BYTES>()))
    }

    /// Its text, for a person who types it into an authenticator.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The address that authenticators read, often as a picture (`otpauth:`).
    pub fn address(&self, issuer: &str, account: &str) -> String {
        let encoded =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let (issuer, account) = (encoded(issuer), encoded(account));
        format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30", self.0)
    }

    /// The password of a time, as an authenticator shows it.
    #[cfg(test)]
    pub fn code(&self, unix_seconds: i64) -> String {
        code_at(&BASE32_NOPAD.decode(self.0.as_bytes()).unwrap(), u64::try_from(unix_seconds / STEP_SECONDS).unwrap())
    }

    /// The step that `code` belongs to at a time, if it is one of those that are taken then and later than `last`: no
    /// password is taken twice.
    pub fn step_of(&self, code: &str, unix_seconds: i64, last: Option<u64>) -> Option<u64> {
        let present = u64::try_from(unix_seconds.div_euclid(STEP_SECONDS)).ok()?;
        let secret = BASE32_NOPAD.decode(self.0.as_bytes()).ok()?;
        let steps = present.saturating_sub(STEPS_AROUND)..=present.saturating_add(STEPS_AROUND);
        // Every step is compared with, so that the time says nothing of which one it was.
        let mut found = None;
        for step in steps {
            let is_equal = super::mac::equal(code_at(&secret, step).as_bytes(), code.as_bytes());
            found = if is_equal && last.is_none_or(|last| step > last) { Some(step) } else { found };
        }
        found
    }
}

/// The password of a step (HOTP, RFC 4226).
fn code_at(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
    let mut word = [0; 4];
    word.copy_from_slice(tag.get(offset..offset + 4).unwrap_or(&[0; 4]));
    let number = u32::from_be_bytes(word) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::{OneTimeSecret, STEP_SECONDS, code_at};
    use data_encoding::BASE32_NOPAD;

    /// WHY: the tables of RFC 4226, appendix D, and RFC 6238, appendix B (the last six of their eight digits).
    #[test]
    fn passwords_are_those_of_the_rfcs() {
        let secret = b"12345678901234567890";
        let counted: Vec<String> = (0..10).map(|step| code_at(secret, step)).collect();
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        assert_eq!(counted, expected);
        for (seconds, expected) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000_i64, "353130")]
        {
            assert_eq!(code_at(secret, u64::try_from(seconds / STEP_SECONDS).unwrap()), expected, "{seconds}");
        }
    }

    #[test]
    fn a_password_is_taken_around_its_time_and_once() {
        let secret = OneTimeSecret(BASE32_NOPAD.encode(b"12345678901234567890"));
        let at = |code: &str, seconds, last| secret.step_of(code, seconds, last);
        assert_eq!(at("287082", 59, None), Some(1));
        assert_eq!(at("287082", 0, None), Some(1), "half a minute early");
        assert_eq!(at("287082", 89, None), Some(1));
        assert_eq!(at("287082", 90, None), None);
        assert_eq!(at("287082", 59, Some(1)), None, "a second time");
        assert_eq!(at("287083", 59, None), None);
        for wrong in ["", "28708", "2870820", " 287082", "abcdef"] {
            assert_eq!(at(wrong, 59, None), None, "{wrong}");
        }
        assert_eq!(at("287082", -1, None), None);
        assert_eq!(at("287082", i64::MAX, None), None);
    }

    #[test]
    fn a_secret_is_new_and_its_address_is_read_by_authenticators() {
        let secret = OneTimeSecret::generate();
        assert_eq!(secret.text().len(), 32);
        assert_ne!(secret, OneTimeSecret::generate());
        let address = secret.address("Postern low side", "anna");
        let expected = format!("otpauth://totp/Postern%20low%20side:anna?secret={}&issuer=", secret.text());
        assert!(address.starts_with(&expected), "{address}");
        assert_eq!(format!("{secret:?}"), "OneTimeSecret(withheld)");
    }
}
