//! From the credentials of a request to whoever sent them.
//!
//! Credentials that are wrong make nobody: the caller is anonymous, and what they are told depends on whether that is
//! enough for what they ask. dockerd sends a mirror the password of the registry that it mirrors; such a header is dropped,
//! and never logged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::attempts::Wait;
use super::authorization::{self, Credentials};
use super::control::{Access, Directory, VERIFIED_FOR, locked};
use super::decide::{Caller, Subject};
use super::scope::Scope;
use super::secret;
use super::token::{self, Claims, TokenError};
use crate::limits::VERIFIED_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::sys::password::{KeptPassword, PasswordError};
use crate::sys::random;

/// Why credentials make nobody of whoever sent them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many attempts to sign in have failed: try again in {seconds} s")]
    Wait { seconds: u64 },
    #[error("the account is locked after too many failed attempts: try again in {seconds} s, or ask an operator")]
    Locked { seconds: u64 },
    #[error("the Authorization header cannot be read: sign in with 'Basic' or 'Bearer'")]
    Header,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("read the notice first (`GET /api/postern/v1/notice`) and say so with notice_acknowledged")]
    NoticeUnread,
    #[error("this account begins a session: `POST /api/postern/v1/session`, then Bearer")]
    SessionNeeded,
    #[error("the session is over: begin another")]
    SessionOver,
    #[error("the one-time password of the second factor is needed too: send it as code")]
    SecondFactorNeeded,
    #[error("the one-time password is wrong, too old, or was used before: wait for the next one")]
    SecondFactorWrong,
    #[error(
        "everyone who manages has a second factor here, and this account has none: at the machine, \
         `postern user second-factor NAME` makes one"
    )]
    SecondFactorMissing,
    #[error("robots pull and push, and manage nothing: sign in as a user")]
    OnlyPeople,
}

/// A name and password that were right.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    subject: Subject,
    until: Duration,
}

/// A token, and for how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub token: String,
    pub issued: Timestamp,
    pub seconds: u32,
}

impl Access {
    /// Who sent this `Authorization` header, or showed a certificate with these names where there is none.
    pub async fn identify(
        self: &Arc<Self>,
        header: Option<&[u8]>,
        certificate_names: Option<&[String]>,
        remote: Option<IpAddr>,
    ) -> Caller {
        let Some(header) = header else {
            let shown = certificate_names.and_then(|names| self.certificate(names));
            return shown.map_or_else(|| Caller::anonymous(remote), |caller| Caller { remote, ..caller });
        };
        if !self.is_in_use() {
            // Nobody can sign in here, so whatever this is, it is for somebody else.
            return Caller::anonymous(remote);
        }
        let identified = match authorization::parse(header) {
            Err(_) => Err(IdentifyError::Header),
            Ok(Credentials::Bearer(text)) => self.bearer(&text),
            Ok(Credentials::Basic { name, password }) => self.password(name, password, remote).await,
        };
        match identified {
            Ok(identified) => Caller { remote, ..identified },
            Err(failed) => Caller { failed: Some(failed), ..Caller::anonymous(remote) },
        }
    }

    /// The user for whom names of a verified certificate stand. Names that stand for two are for nobody.
    fn certificate(&self, names: &[String]) -> Option<Caller> {
        let directory = self.directory();
        let mut subjects = names.iter().filter_map(|name| directory.certificates.get(name));
        let subject = subjects.next()?.clone();
        if subjects.any(|other| *other != subject) {
            tracing::warn!("a certificate has names of two users, so it is taken for neither");
            return None;
        }
        credential_of(&directory, &subject, self.now())?;
        let name = login_name(&directory, &subject);
        Some(Caller { subject, name, ..Caller::anonymous(None) })
    }

    fn bearer(&self, text: &str) -> Result<Caller, IdentifyError> {
        let claims = token::verify(&self.token_key, text, self.store.clock().wall())?;
        let directory = self.directory();
        let subject = match claims.subject.split_once(':') {
            Some(("user", id)) => Subject::User(id.to_owned()),
            Some(("robot", id)) => Subject::Robot(id.to_owned()),
            _ => Subject::Anonymous,
        };
        // Revoked at once: the account is gone, disabled, or has other secrets than those that the token was given for.
        if credential_of(&directory, &subject, self.now()).as_ref() != Some(&claims.credential) {
            return Err(TokenError::Foreign.into());
        }
        let name = login_name(&directory, &subject);
        Ok(Caller { subject, name, remote: None, scopes: Some(claims.access), failed: None })
    }

    /// Whoever signs in with this name and password: a user, or a robot with its secret.
    pub async fn password(
        self: &Arc<Self>,
        name: String,
        password: Zeroizing<Vec<u8>>,
        remote: Option<IpAddr>,
    ) -> Result<Caller, IdentifyError> {
        let tag = self.token_key.tag(&[name.as_bytes(), b"\0", &password].concat());
        let now = self.store.clock().running();
        let remembered = locked(&self.verified).get(&tag).filter(|verified| now < verified.until).cloned();
        let directory = self.directory();
        let may_try = locked(&self.attempts).check(&name, remote, now);
        if let Err(Wait::Locked { seconds }) = may_try {
            return Err(IdentifyError::Locked { seconds });
        }
        // What was right a moment ago does not wait for what somebody else guesses from the same address.
        if let Some(Verified { subject, .. }) = remembered
            && credential_of(&directory, &subject, self.now()).is_some()
        {
            return Ok(Caller { name: Some(name), subject, ..Caller::anonymous(remote) });
        }
        if let Err(Wait::Seconds(seconds)) = may_try {
            return Err(IdentifyError::Wait { seconds });
        }
        let subject = directory.logins.get(&name).cloned();
        let is_right = match &subject {
            Some(Subject::Robot(id)) => {
                directory.document.robots.get(id).is_some_and(|robot| secret::verify(&robot.secret, &password))
            }
            subject => {
                let kept = subject.as_ref().and_then(|subject| kept_password(&directory, subject));
                self.derive_and_compare(kept, password).await
            }
        };
        let alive = subject.filter(|subject| is_right && credential_of(&directory, subject, self.now()).is_some());
        let Some(subject) = alive else {
            locked(&self.attempts).failed(&name, remote, now);
            return Err(IdentifyError::Wrong);
        };
        locked(&self.attempts).succeeded(&name, remote);
        self.remember(tag, Verified { subject: subject.clone(), until: now + VERIFIED_FOR });
        Ok(Caller { name: Some(name), subject, ..Caller::anonymous(remote) })
    }

    /// Whether `password` is the kept one. Where nothing is kept something else is compared, for as long.
    async fn derive_and_compare(self: &Arc<Self>, kept: Option<KeptPassword>, password: Zeroizing<Vec<u8>>) -> bool {
        let Ok(_turn) = self.deriving.acquire().await else { return false };
        let access = Arc::clone(self);
        let compared = tokio::task::spawn_blocking(move || match kept {
            Some(kept) => kept.verify(&password),
            None => {
                let decoy = access.decoy.get_or_init(|| KeptPassword::derive(&random::bytes::<16>()).ok());
                let _ = decoy.as_ref().map(|decoy| decoy.verify(&password));
                Ok(false)
            }
        });
        match compared.await {
            Ok(Err(error @ PasswordError::NotApproved)) => {
                tracing::warn!(%error, "somebody could not sign in");
                false
            }
            Ok(Ok(is_right)) => is_right,
            _ => false,
        }
    }

    fn remember(&self, tag: [u8; 32], verified: Verified) {
        let mut remembered = locked(&self.verified);
        if remembered.len() >= VERIFIED_COUNT_MAX {
            let now = self.store.clock().running();
            remembered.retain(|_, verified| now < verified.until);
            if remembered.len() >= VERIFIED_COUNT_MAX {
                remembered.clear();
            }
        }
        remembered.insert(tag, verified);
    }

    /// A token for `caller`, for what of `scopes` it asks for. It grants nothing that the caller has not.
    pub fn log_in(&self, caller: &Caller, service: &str, scopes: Vec<Scope>) -> Login {
        let issued = self.store.clock().wall();
        let seconds = self.settings.token_seconds;
        let directory = self.directory();
        let expires = issued.saturating_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(issued);
        let claims = Claims {
            issuer: ISSUER.to_owned(),
            audience: service.chars().take(255).collect(),
            subject: match &caller.subject {
                Subject::Anonymous => "anonymous".to_owned(),
                Subject::User(id) => format!("user:{id}"),
                Subject::Robot(id) => format!("robot:{id}"),
            },
            issued_seconds: issued.as_second(),
            not_before_seconds: issued.as_second(),
            expires_seconds: expires.as_second(),
            id: random::identifier(),
            credential: credential_of(&directory, &caller.subject, issued).unwrap_or_default(),
            access: scopes,
        };
        Login { token: token::issue(&self.token_key, &claims), issued, seconds }
    }
}

const ISSUER: &str = "postern";

fn kept_password(directory: &Directory, subject: &Subject) -> Option<KeptPassword> {
    let Subject::User(id) = subject else { return None };
    directory.document.users.get(id).and_then(|user| user.password.clone())
}

/// What stands for the secret that an account signs in with; none where the account is nobody at `now`.
pub(super) fn credential_of(directory: &Directory, subject: &Subject, now: Timestamp) -> Option<String> {
    let short = |digest: Digest| digest.hex().chars().take(16).collect();
    match subject {
        Subject::Anonymous => Some(String::new()),
        Subject::User(id) => {
            let user = directory.document.users.get(id).filter(|user| !user.disabled)?;
            Some(short(Digest::of(&serde_json::to_vec(&(&user.password, &user.second_factor)).unwrap_or_default())))
        }
        Subject::Robot(id) => {
            let robot = directory.document.robots.get(id).filter(|robot| robot.is_alive(now))?;
            Some(short(Digest::of(robot.secret.raw())))
        }
    }
}

pub(super) fn login_name(directory: &Directory, subject: &Subject) -> Option<String> {
    match subject {
        Subject::Anonymous => None,
        Subject::User(id) => directory.document.users.get(id).map(|user| user.name.to_string()),
        Subject::Robot(id) => directory.document.robots.get(id).map(super::document::Robot::login_name),
    }
}
