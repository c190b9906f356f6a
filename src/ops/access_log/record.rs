//! One request or one act of administration, as the access log keeps it.
//!
//! Never in it: credentials, and queries, which may hold them.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ops::traffic::RouteClass;

/// What happened, in the word that an auditor looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A manifest or a blob was read, or asked for.
    Pull,
    /// Something was uploaded.
    Push,
    Delete,
    /// Names were listed: repositories, tags, referrers.
    List,
    /// It was not allowed, whatever it was.
    Denial,
    /// Somebody proved who they are, or failed to.
    Login,
    /// An operation over the administration socket, or an act over the API for projects and robots.
    Admin,
    #[default]
    Other,
}

impl Event {
    /// What a request of `class` was, once it is known how it was answered.
    pub const fn of(class: RouteClass, status: u16) -> Self {
        match (class, status) {
            (_, 401 | 403) => Self::Denial,
            (RouteClass::ManifestGet | RouteClass::BlobGet, _) => Self::Pull,
            (RouteClass::ManifestPut | RouteClass::Upload, _) => Self::Push,
            (RouteClass::ManifestDelete | RouteClass::BlobDelete, _) => Self::Delete,
            (RouteClass::Catalog | RouteClass::Tags | RouteClass::Referrers, _) => Self::List,
            (RouteClass::Token, _) => Self::Login,
            (RouteClass::Admin, _) => Self::Admin,
            (RouteClass::Base | RouteClass::Health | RouteClass::Review | RouteClass::Other, _) => Self::Other,
        }
    }

    /// The word itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Denial => "denial",
            Self::Login => "login",
            Self::Admin => "admin",
            Self::Other => "other",
        }
    }
}

/// One request and how it was answered, or one operation and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Counts the records since the start, from 1: a number that is missing was lost. The log sets it.
    #[serde(default)]
    pub sequence: u64,
    pub time: Timestamp,
    #[serde(default)]
    pub event: Event,
    pub request_id: String,
    /// Who asked; absent over a socket file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// Who that is, as `kind:id` (`robot:ci`, `uid:0`); absent where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The operation of an act of administration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// How an operation over the administration socket ended: `ok`, or the kind of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    pub method: String,
    pub path: String,
    /// What kind of route it was, for the counters.
    #[serde(skip)]
    pub class: RouteClass,
    /// The registry that the client meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<String>,
    /// The repository here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub status: u16,
    /// Bytes of the body that were handed to the connection.
    pub bytes: u64,
    /// Whether the body was sent to its end. Clients cut bodies on purpose, so this is no error.
    pub complete: bool,
    pub duration_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The rule that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl AccessRecord {
    /// Whether it was carried out.
    pub fn succeeded(&self) -> bool {
        match &self.outcome {
            Some(outcome) => outcome == "ok",
            None => self.status < 400,
        }
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let mut text = format!("{} {} {} {}", self.event.name(), self.method, self.path, self.status);
        if let (Some(operation), Some(outcome)) = (&self.operation, &self.outcome) {
            text = format!("{} {operation} {outcome}", self.event.name());
        }
        if let Some(principal) = &self.principal {
            text.push_str(" by ");
            text.push_str(principal);
        }
        text
    }

    /// Everything that is known, by name, for the formats that are lists of names and values.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("event", self.event.name().to_owned()), ("requestId", self.request_id.clone())];
        let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
        add("remote", self.remote.map(|remote| remote.to_string()));
        add("principal", self.principal.clone());
        add("operation", self.operation.clone());
        add("outcome", self.outcome.clone());
        add("method", Some(self.method.clone()).filter(|method| !method.is_empty()));
        add("path", Some(self.path.clone()).filter(|path| !path.is_empty()));
        add("ns", self.ns.clone());
        add("repository", self.repository.clone());
        add("reference", self.reference.clone());
        add("rule", self.rule.clone());
        add("userAgent", self.user_agent.clone());
        add("status", Some(self.status.to_string()));
        add("bytes", Some(self.bytes.to_string()));
        add("complete", Some(self.complete.to_string()));
        add("durationUs", Some(self.duration_us.to_string()));
        for (_, value) in &mut fields {
            clip(value);
        }
        fields
    }
}

/// Longest value in a format whose receivers have a bound of their own: 8 KiB a message (RFC 5425, section 4.3.1).
pub(super) const VALUE_BYTES_MAX: usize = 1_024;

/// Cuts a value where it is too long.
pub(super) fn clip(value: &mut String) {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.truncate(end);
}
