//! How people sign in who manage the appliance over HTTP. Pulling and pushing asks for less: clients of registries know
//! neither second factors nor notices.

use std::net::IpAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::attempts::Wait;
use super::authorization::{self, Credentials};
use super::control::{Access, locked};
use super::decide::{Caller, Subject};
use super::identify::{IdentifyError, credential_of, login_name};
use super::session::{self, Begun};

/// What somebody shows who begins a session.
#[derive(Debug)]
pub struct SignIn {
    /// None where a certificate was shown.
    pub password: Option<(String, Zeroizing<Vec<u8>>)>,
    /// The one-time password of the second factor.
    pub code: Option<String>,
    /// Whether the notice was read.
    pub notice_acknowledged: bool,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLeft {
    /// Until it ends whatever happens.
    pub seconds: u64,
    /// Of silence until it ends.
    pub idle_seconds: u64,
}

/// Under which name failures of a second factor are counted: the password alone, when it is right, does not forgive them.
pub(super) fn counted_as(name: &str) -> String {
    format!("{name} (second factor)")
}

/// The secret of a session in an `Authorization` header.
fn session_secret(header: Option<&[u8]>) -> Option<String> {
    match authorization::parse(header?) {
        Ok(Credentials::Bearer(text)) if session::is_session(&text) => Some(text),
        _ => None,
    }
}

impl Access {
    /// What is shown before anyone signs in (SP 800-53, AC-8).
    pub fn notice(&self) -> Option<&str> {
        self.settings.notice.as_deref()
    }

    /// Who manages: somebody with a session, with a certificate, or, where neither a second factor nor a notice asks for more,
    /// with a name and a password.
    pub async fn identify_manager(
        self: &Arc<Self>,
        header: Option<&[u8]>,
        certificate_names: Option<&[String]>,
        remote: Option<IpAddr>,
    ) -> Caller {
        if let Some(secret) = session_secret(header) {
            return match self.session_caller(&secret) {
                Some(caller) => Caller { remote, ..caller },
                None => Caller { failed: Some(IdentifyError::SessionOver), ..Caller::anonymous(remote) },
            };
        }
        let caller = self.identify(header, certificate_names, remote).await;
        let by_password = header.is_some() && caller.scopes.is_none();
        match &caller.subject {
            Subject::User(id) if by_password && self.asks_for_session(id) => {
                Caller { failed: Some(IdentifyError::SessionNeeded), ..Caller::anonymous(remote) }
            }
            _ => caller,
        }
    }

    fn asks_for_session(&self, user: &str) -> bool {
        self.settings.notice.is_some() || self.settings.second_factor_required || self.has_second_factor(user)
    }

    fn has_second_factor(&self, user: &str) -> bool {
        self.look(|document| document.users.get(user).is_some_and(|user| user.second_factor.is_some()))
    }

    fn session_caller(&self, secret: &str) -> Option<Caller> {
        let session = locked(&self.sessions).find(secret, self.store.clock().running())?;
        let directory = self.directory();
        if credential_of(&directory, &session.subject, self.now()).as_ref() != Some(&session.credential) {
            self.end_session(secret);
            return None;
        }
        let name = login_name(&directory, &session.subject);
        Some(Caller { subject: session.subject, name, ..Caller::anonymous(None) })
    }

    /// Begins a session for whoever shows enough, and says who that is. `shown` is the caller that a certificate makes.
    pub async fn begin_session(
        self: &Arc<Self>,
        sign_in: SignIn,
        shown: &Caller,
        remote: Option<IpAddr>,
    ) -> Result<(Begun, Caller), IdentifyError> {
        if self.settings.notice.is_some() && !sign_in.notice_acknowledged {
            return Err(IdentifyError::NoticeUnread);
        }
        let subject = match sign_in.password {
            None if shown.is_somebody() => shown.subject.clone(),
            None => return Err(IdentifyError::Wrong),
            Some((name, password)) => {
                let caller = self.password(name.clone(), password, remote).await?;
                if let Subject::User(id) = &caller.subject {
                    self.second_factor(id, &name, sign_in.code.as_deref(), remote)?;
                }
                caller.subject
            }
        };
        if !matches!(subject, Subject::User(_)) {
            return Err(IdentifyError::OnlyPeople);
        }
        let directory = self.directory();
        let credential = credential_of(&directory, &subject, self.now()).ok_or(IdentifyError::Wrong)?;
        let name = login_name(&directory, &subject);
        let begun = locked(&self.sessions).begin(subject.clone(), credential, self.store.clock().running());
        Ok((begun, Caller { subject, name, ..Caller::anonymous(remote) }))
    }

    /// Whether the one-time password is right, where the account has such a factor or must have one.
    fn second_factor(
        &self,
        user: &str,
        name: &str,
        code: Option<&str>,
        remote: Option<IpAddr>,
    ) -> Result<(), IdentifyError> {
        let secret = self.look(|document| document.users.get(user).and_then(|user| user.second_factor.clone()));
        let Some(secret) = secret else {
            return if self.settings.second_factor_required { Err(IdentifyError::SecondFactorMissing) } else { Ok(()) };
        };
        let Some(code) = code else { return Err(IdentifyError::SecondFactorNeeded) };
        let (counted, now) = (counted_as(name), self.store.clock().running());
        match locked(&self.attempts).check(&counted, remote, now) {
            Err(Wait::Locked { seconds }) => return Err(IdentifyError::Locked { seconds }),
            Err(Wait::Seconds(seconds)) => return Err(IdentifyError::Wait { seconds }),
            Ok(()) => {}
        }
        let mut taken = locked(&self.codes_taken);
        let step = secret.step_of(code, self.now().as_second(), taken.get(user).copied());
        let Some(step) = step else {
            locked(&self.attempts).failed(&counted, remote, now);
            return Err(IdentifyError::SecondFactorWrong);
        };
        taken.insert(user.to_owned(), step);
        locked(&self.attempts).succeeded(&counted, remote);
        Ok(())
    }

    /// Where the session of this `Authorization` header stands.
    pub fn session_left(&self, header: Option<&[u8]>) -> Option<SessionLeft> {
        let secret = session_secret(header)?;
        let (mut sessions, now) = (locked(&self.sessions), self.store.clock().running());
        let session = sessions.find(&secret, now)?;
        let idle_seconds = sessions.settings().idle_seconds;
        Some(SessionLeft { seconds: sessions.left_seconds(&session, now), idle_seconds })
    }

    /// Ends the session of this `Authorization` header; whether there was one.
    pub fn end_session_of(&self, header: Option<&[u8]>) -> bool {
        session_secret(header).is_some_and(|secret| self.end_session(&secret))
    }

    fn end_session(&self, secret: &str) -> bool {
        locked(&self.sessions).end(secret)
    }
}
