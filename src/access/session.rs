//! Sessions of people who manage the appliance over HTTP: begun with a password, a second factor where there is one, and the
//! word that the notice was read; ended by silence, by time, or by whoever began them.
//!
//! They live in memory: a restart ends them all. Only the digest of a session's secret is kept, and each request looks up the
//! account again, so that what is taken away is gone at once.

use std::collections::HashMap;
use std::time::Duration;

use super::decide::Subject;
use super::secret;
use crate::limits::{SESSIONS_COUNT_MAX, SESSIONS_OF_ONE_COUNT_MAX};
use crate::oci::digest::Digest;

/// Begins the secret of a session, so that it is told apart from a token.
const PREFIX: &str = "postern-session-";

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// From its beginning (SP 800-53, AC-12).
    pub session_seconds: u64,
    /// From the last request.
    pub idle_seconds: u64,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { session_seconds: 8 * 60 * 60, idle_seconds: 900 }
    }
}

/// A session that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub subject: Subject,
    /// Stands for the password and the second factor that it was begun with: others, and it is over.
    pub credential: String,
    begun: Duration,
    last: Duration,
}

/// What somebody gets who begins a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Shown once.
    pub secret: String,
    pub settings: SessionSettings,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    settings: SessionSettings,
    sessions: HashMap<Digest, Session>,
}

/// Whether a bearer's text is a session's.
pub fn is_session(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl Sessions {
    /// None yet.
    pub fn new(settings: SessionSettings) -> Self {
        Self { settings, sessions: HashMap::new() }
    }

    fn is_alive(&self, session: &Session, now: Duration) -> bool {
        now.saturating_sub(session.begun).as_secs() < self.settings.session_seconds
            && now.saturating_sub(session.last).as_secs() < self.settings.idle_seconds
    }

    /// Begins one. Whoever has too many already loses the one that was silent longest.
    pub fn begin(&mut self, subject: Subject, credential: String, now: Duration) -> Begun {
        let alive: Vec<Digest> =
            self.sessions.iter().filter(|(_, session)| self.is_alive(session, now)).map(|(key, _)| *key).collect();
        self.sessions.retain(|key, _| alive.contains(key));
        self.make_room(|session| session.subject == subject, SESSIONS_OF_ONE_COUNT_MAX);
        self.make_room(|_| true, SESSIONS_COUNT_MAX);
        let secret = format!("{PREFIX}{}", secret::generate());
        self.sessions.insert(secret::keep(&secret), Session { subject, credential, begun: now, last: now });
        Begun { secret, settings: self.settings }
    }

    fn make_room(&mut self, counts: impl Fn(&Session) -> bool, most: usize) {
        while self.sessions.values().filter(|session| counts(session)).count() >= most {
            let counted = self.sessions.iter().filter(|(_, session)| counts(session));
            let Some(oldest) = counted.min_by_key(|(_, session)| session.last).map(|(key, _)| *key) else { return };
            self.sessions.remove(&oldest);
        }
    }

    /// The session that a secret belongs to, which this request keeps alive.
    pub fn find(&mut self, secret: &str, now: Duration) -> Option<Session> {
        let key = secret::keep(secret);
        let session = self.sessions.get(&key)?.clone();
        if !self.is_alive(&session, now) {
            self.sessions.remove(&key);
            return None;
        }
        let kept = self.sessions.get_mut(&key)?;
        kept.last = now;
        Some(kept.clone())
    }

    /// For how many seconds a session may go on.
    pub fn left_seconds(&self, session: &Session, now: Duration) -> u64 {
        self.settings.session_seconds.saturating_sub(now.saturating_sub(session.begun).as_secs())
    }

    /// How long sessions last.
    pub const fn settings(&self) -> SessionSettings {
        self.settings
    }

    /// Ends one; whether there was one.
    pub fn end(&mut self, secret: &str) -> bool {
        self.sessions.remove(&secret::keep(secret)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SessionSettings, Sessions, is_session};
    use crate::access::Subject;
    use crate::limits::{SESSIONS_COUNT_MAX, SESSIONS_OF_ONE_COUNT_MAX};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn user(number: usize) -> Subject {
        Subject::User(number.to_string())
    }

    #[test]
    fn a_session_ends_by_silence_by_time_and_by_hand() {
        let mut sessions = Sessions::new(SessionSettings { session_seconds: 100, idle_seconds: 10 });
        let begun = sessions.begin(user(1), "c".to_owned(), at(1_000));
        assert!(is_session(&begun.secret) && !is_session("eyJ"));
        for seconds in (1_000..1_099).step_by(9) {
            let session = sessions.find(&begun.secret, at(seconds)).unwrap();
            assert_eq!(sessions.left_seconds(&session, at(seconds)), 1_100 - seconds);
        }
        assert_eq!(sessions.find(&begun.secret, at(1_100)), None, "its time is over, whoever asks");
        assert_eq!(sessions.find(&begun.secret, at(1_000)), None, "and it does not come back");

        let silent = sessions.begin(user(1), "c".to_owned(), at(2_000));
        assert!(sessions.find(&silent.secret, at(2_009)).is_some());
        assert_eq!(sessions.find(&silent.secret, at(2_019)), None);

        let ended = sessions.begin(user(1), "c".to_owned(), at(3_000));
        assert!(sessions.end(&ended.secret) && !sessions.end(&ended.secret));
        assert_eq!(sessions.find(&ended.secret, at(3_000)), None);
        assert_eq!(sessions.find("postern-session-", at(3_000)), None);
    }

    #[test]
    fn there_is_a_bound_for_one_and_for_all() {
        let mut sessions = Sessions::new(SessionSettings::default());
        let first = sessions.begin(user(0), "c".to_owned(), at(0));
        let others: Vec<_> = (0..SESSIONS_OF_ONE_COUNT_MAX)
            .map(|number| sessions.begin(user(0), "c".to_owned(), at(number as u64 + 1)))
            .collect();
        assert_eq!(sessions.find(&first.secret, at(60)), None, "the one that was silent longest");
        assert!(others.iter().all(|begun| sessions.find(&begun.secret, at(60)).is_some()));
        for number in 1..SESSIONS_COUNT_MAX + 10 {
            sessions.begin(user(number), "c".to_owned(), at(61));
        }
        assert_eq!(sessions.sessions.len(), SESSIONS_COUNT_MAX);
    }
}
