//! The deny list: what is refused whatever its signatures say.

use jiff::Timestamp;

use super::document::{At, shortened};
use super::error::{PolicyError, Problem};
use super::written::WrittenDenial;
use crate::oci::digest::Digest;
use crate::verify::pattern::Pattern;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    subject: Subject,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// What a person is told.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// A manifest: an image, an index, a platform.
    Digest(Digest),
    /// A certificate, by the SHA-256 of its bytes.
    Certificate(Digest),
    /// A key, by the SHA-256 of its SubjectPublicKeyInfo, alone or in any certificate.
    Key(Digest),
    Identity {
        issuer: Pattern,
        subject: Pattern,
    },
}

/// Something that may be denied.
#[derive(Clone, Copy, Debug)]
pub enum Denied<'a> {
    Digest(&'a Digest),
    Certificate(&'a Digest),
    Key(&'a Digest),
    Identity { issuer: &'a str, subject: &'a str },
}

impl Denial {
    /// The manifest that it names, if it names one and is in force at `now`.
    pub fn digest(&self, now: Timestamp) -> Option<&Digest> {
        match &self.subject {
            Subject::Digest(digest) if self.is_in_force(now) => Some(digest),
            _ => None,
        }
    }

    fn is_in_force(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now <= until)
    }

    /// When it begins and ends.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> {
        self.from.into_iter().chain(self.until)
    }

    /// Whether it is past its time.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until < now)
    }

    /// Whether it speaks of this and is in force at `now`.
    pub fn is_about(&self, what: &Denied<'_>, now: Timestamp) -> bool {
        let same = match (&self.subject, what) {
            (Subject::Digest(denied), Denied::Digest(found))
            | (Subject::Certificate(denied), Denied::Certificate(found))
            | (Subject::Key(denied), Denied::Key(found)) => denied == *found,
            (Subject::Identity { issuer, subject }, Denied::Identity { issuer: by, subject: found }) => {
                issuer.matches(by) && subject.matches(found)
            }
            _ => false,
        };
        same && self.is_in_force(now)
    }
}

/// Resolves the entries.
pub fn resolve(written: &[WrittenDenial]) -> Result<Vec<Denial>, PolicyError> {
    written.iter().map(resolve_one).collect()
}

fn resolve_one(written: &WrittenDenial) -> Result<Denial, PolicyError> {
    let digest = |key: &'static str, text: &At<String>| match text.value.parse::<Digest>() {
        Ok(digest) => Ok(digest),
        Err(error) => text.refuse(Problem::Value { key, value: shortened(&text.value), reason: error.to_string() }),
    };
    let subject = match (&written.digest, &written.certificate, &written.key, &written.identity) {
        (Some(found), None, None, None) => Subject::Digest(digest("digest", found)?),
        (None, Some(found), None, None) => Subject::Certificate(digest("certificate", found)?),
        (None, None, Some(found), None) => Subject::Key(digest("key", found)?),
        (None, None, None, Some((issuer, subject))) => {
            Subject::Identity { issuer: Pattern::new(&issuer.value), subject: Pattern::new(&subject.value) }
        }
        _ => return written.reason.refuse(Problem::DenialSubject),
    };
    let from = super::trust::time("from", written.from.as_ref())?;
    let until = super::trust::time("until", written.until.as_ref())?;
    Ok(Denial { subject, from, until, reason: shortened(&written.reason.value) })
}
