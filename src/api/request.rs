//! What clients send, in Harbor's JSON. Pure.
//!
//! A field that means something in Harbor and nothing here is refused by its name when it asks for something, and taken when
//! it asks for nothing (`false`, `0`, `-1`, an empty text, list or object): clients write many of them out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::access::Role;
use crate::access::name::{AccessNameError, AccountName, ProjectName};
use crate::limits::DESCRIPTION_BYTES_MAX;

/// Why a body asks for nothing that can be done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the body is not the JSON that is wanted here: {0}")]
    Json(#[from] serde_json::Error),
    #[error("'{0}' asks for something that is not known here: leave it out")]
    Unknown(String),
    #[error("'{0}' is missing")]
    Missing(&'static str),
    #[error("'{field}' cannot be {value}: {why}")]
    Value { field: &'static str, value: String, why: &'static str },
    #[error("'{field}' stays as it is: '{value}'")]
    Fixed { field: &'static str, value: String },
    #[error(transparent)]
    Name(#[from] AccessNameError),
}

/// Refuses a value that was sent.
fn wrong(field: &'static str, value: impl std::fmt::Debug, why: &'static str) -> RequestError {
    described(field, &format!("{value:?}"), why)
}

/// Refuses what is said in words of ours.
fn described(field: &'static str, value: &str, why: &'static str) -> RequestError {
    RequestError::Value { field, value: value.chars().take(80).collect(), why }
}

/// Fields that have no name here.
type Rest = BTreeMap<String, Value>;

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64().is_some_and(|number| matches!(number, 0 | -1)),
        Value::String(text) => matches!(text.as_str(), "" | "false" | "0" | "-1"),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(asks_for_nothing),
    }
}

/// Refuses what asks for something. `passed` are fields that only say how something is done that is not asked for.
fn refuse(within: &str, rest: &Rest, passed: &[&str]) -> Result<(), RequestError> {
    let asking = rest.iter().find(|(key, value)| !passed.contains(&key.as_str()) && !asks_for_nothing(value));
    asking.map_or(Ok(()), |(key, _)| {
        Err(RequestError::Unknown(format!("{within}{}", key.chars().take(80).collect::<String>())))
    })
}

/// `true` and `false` as Harbor writes them: in quotes, or not.
#[derive(Deserialize)]
#[serde(untagged)]
enum Truth {
    Plain(bool),
    Quoted(String),
}

impl Truth {
    fn read(self) -> Result<bool, RequestError> {
        match self {
            Self::Plain(truth) => Ok(truth),
            Self::Quoted(text) if text == "true" => Ok(true),
            Self::Quoted(text) if text == "false" => Ok(false),
            Self::Quoted(text) => Err(wrong("metadata.public", text, "it is \"true\" or \"false\"")),
        }
    }
}

#[derive(Default, Deserialize)]
struct RawMetadata {
    public: Option<Truth>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
struct RawProject {
    project_name: Option<String>,
    public: Option<bool>,
    metadata: Option<RawMetadata>,
    storage_limit: Option<i64>,
    #[serde(flatten)]
    rest: Rest,
}

/// `POST /projects` and `PUT /projects/{project_name_or_id}`. What is not said is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct ProjectRequest {
    pub name: Option<ProjectName>,
    pub is_public: Option<bool>,
    pub storage: Option<StorageBound>,
}

/// How much a project may hold; `None` inside is without a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageBound(pub Option<u64>);

impl StorageBound {
    fn read(field: &'static str, bytes: i64) -> Result<Self, RequestError> {
        match u64::try_from(bytes) {
            Ok(bytes) if bytes > 0 => Ok(Self(Some(bytes))),
            Err(_) if bytes == -1 => Ok(Self(None)),
            _ => Err(wrong(field, bytes, "it is a number of bytes, or -1 for no bound")),
        }
    }
}

impl ProjectRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        let raw: RawProject = serde_json::from_slice(body)?;
        refuse("", &raw.rest, &[])?;
        let metadata = raw.metadata.unwrap_or_default();
        // How severe is too severe, and whose list excuses it, mean nothing where nothing is scanned (prevent_vul).
        refuse("metadata.", &metadata.rest, &["severity", "reuse_sys_cve_allowlist", "reuse_sys_cve_whitelist"])?;
        let written = metadata.public.map(Truth::read).transpose()?;
        if let (Some(one), Some(other)) = (raw.public, written)
            && one != other
        {
            return Err(wrong("public", one, "metadata.public says otherwise"));
        }
        Ok(Self {
            name: raw.project_name.map(|name| name.parse()).transpose()?,
            is_public: written.or(raw.public),
            storage: raw.storage_limit.map(|bytes| StorageBound::read("storage_limit", bytes)).transpose()?,
        })
    }
}

#[derive(Deserialize)]
struct RawQuota {
    hard: BTreeMap<String, i64>,
    #[serde(flatten)]
    rest: Rest,
}

/// `PUT /quotas/{id}`.
pub fn parse_quota(body: &[u8]) -> Result<StorageBound, RequestError> {
    let mut raw: RawQuota = serde_json::from_slice(body)?;
    refuse("", &raw.rest, &[])?;
    let storage = raw.hard.remove("storage").ok_or(RequestError::Missing("hard.storage"))?;
    if let Some(other) = raw.hard.into_iter().find(|(_, bound)| *bound > 0) {
        return Err(RequestError::Unknown(format!("hard.{}", other.0.chars().take(80).collect::<String>())));
    }
    StorageBound::read("hard.storage", storage)
}

#[derive(Default, Deserialize)]
struct RawUser {
    user_id: Option<u64>,
    username: Option<String>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
struct RawMember {
    role_id: Option<i64>,
    member_user: Option<RawUser>,
    #[serde(flatten)]
    rest: Rest,
}

/// `POST` and `PUT` of members.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberRequest {
    pub role: Role,
    /// Who, by name or by number.
    pub name: Option<AccountName>,
    pub number: Option<u64>,
}

impl MemberRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        let raw: RawMember = serde_json::from_slice(body)?;
        refuse("", &raw.rest, &[])?;
        let user = raw.member_user.unwrap_or_default();
        refuse("member_user.", &user.rest, &[])?;
        let role = match raw.role_id.ok_or(RequestError::Missing("role_id"))? {
            1 => Role::Admin,
            2 => Role::Pusher,
            3 => Role::Reader,
            4 => Role::Maintainer,
            other => {
                let why = "there are 1 (project admin), 2 (developer), 3 (guest) and 4 (maintainer)";
                return Err(wrong("role_id", other, why));
            }
        };
        let name = user.username.filter(|name| !name.is_empty()).map(|name| name.parse()).transpose()?;
        Ok(Self { role, name, number: user.user_id.filter(|number| *number > 0) })
    }
}

/// For how long a robot is somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    Days(u32),
    Always,
}

#[derive(Deserialize)]
struct RawAccess {
    resource: String,
    action: String,
    effect: Option<String>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
struct RawPermission {
    kind: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    access: Vec<RawAccess>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
struct RawRobot {
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    level: Option<String>,
    duration: Option<i64>,
    #[serde(default)]
    disable: Option<bool>,
    #[serde(default)]
    permissions: Vec<RawPermission>,
    id: Option<u64>,
    #[serde(flatten)]
    rest: Rest,
}

/// `POST /robots` and `PUT /robots/{robot_id}`.
#[derive(Debug, PartialEq, Eq)]
pub struct RobotRequest {
    /// As it was sent: without the prefix when a robot is made, with it when one is changed.
    pub name: Option<String>,
    pub description: Option<String>,
    /// Days as they were sent; what they mean is asked with [`RobotRequest::duration`].
    pub duration_days: Option<i64>,
    pub disabled: Option<bool>,
    pub project: ProjectName,
    pub role: Role,
}

impl RobotRequest {
    /// Reads the body for a new robot.
    pub fn parse_new(body: &[u8]) -> Result<Self, RequestError> {
        let raw: RawRobot = serde_json::from_slice(body)?;
        // The secret would be somebody's choice; those made here need no slow derivation.
        refuse("", &raw.rest, &[])?;
        if let Some(id) = raw.id.filter(|id| *id > 0) {
            return Err(wrong("id", id, "a new robot is given its number here"));
        }
        Self::read(raw)
    }

    /// Reads the body for the robot `number`, as it may have been read before.
    pub fn parse_change(body: &[u8], number: u64) -> Result<Self, RequestError> {
        let raw: RawRobot = serde_json::from_slice(body)?;
        refuse(
            "",
            &raw.rest,
            &["editable", "expires_at", "creation_time", "update_time", "creator_type", "creator_ref"],
        )?;
        if raw.id.is_some_and(|id| id != 0 && id != number) {
            return Err(RequestError::Fixed { field: "id", value: number.to_string() });
        }
        Self::read(raw)
    }

    fn read(raw: RawRobot) -> Result<Self, RequestError> {
        match raw.level.as_deref() {
            Some("project") => {}
            None => return Err(RequestError::Missing("level")),
            Some(other) => return Err(wrong("level", other, "robots belong to one project: it is \"project\"")),
        }
        let mut permissions = raw.permissions.into_iter();
        let (Some(permission), None) = (permissions.next(), permissions.next()) else {
            return Err(described("permissions", "none or several", "a robot has permissions in exactly one project"));
        };
        let (project, role) = permission.read()?;
        if raw.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return Err(described("description", "so long", "it has at most 1,024 bytes"));
        }
        Ok(Self {
            name: raw.name.filter(|name| !name.is_empty()),
            description: raw.description,
            duration_days: raw.duration,
            disabled: raw.disable,
            project,
            role,
        })
    }

    /// For how long.
    pub fn duration(&self) -> Result<Duration, RequestError> {
        let why = "it is a number of days, or -1 for without end";
        match self.duration_days.ok_or(RequestError::Missing("duration"))? {
            -1 => Ok(Duration::Always),
            days => match u32::try_from(days) {
                Ok(days) if (1..=DAYS_MAX).contains(&days) => Ok(Duration::Days(days)),
                _ => Err(wrong("duration", days, why)),
            },
        }
    }
}

/// A hundred years.
const DAYS_MAX: u32 = 36_525;

impl RawPermission {
    fn read(self) -> Result<(ProjectName, Role), RequestError> {
        refuse("permissions.", &self.rest, &[])?;
        if let Some(kind) = self.kind.filter(|kind| kind != "project") {
            return Err(wrong("permissions.kind", kind, "robots belong to one project: it is \"project\""));
        }
        let project = self.namespace.ok_or(RequestError::Missing("permissions.namespace"))?.parse()?;
        let (mut push, mut pull, mut delete) = (false, false, false);
        for access in self.access {
            refuse("permissions.access.", &access.rest, &[])?;
            if let Some(effect) = access.effect.filter(|effect| !effect.is_empty() && effect != "allow") {
                return Err(wrong("permissions.access.effect", effect, "what is not named is not allowed"));
            }
            match (access.resource.as_str(), access.action.as_str()) {
                ("repository", "pull") => pull = true,
                ("repository", "push") => push = true,
                ("repository", "delete") => delete = true,
                (resource, action) => {
                    let why = "robots pull, push and delete, each of 'repository'";
                    return Err(described("permissions.access", &format!("{action} {resource}"), why));
                }
            }
        }
        // Whoever pushes looks at what is there first, so pushing alone means both.
        match (pull, push, delete) {
            (_, true, true) => Ok((project, Role::Maintainer)),
            (_, true, false) => Ok((project, Role::Pusher)),
            (true, false, false) => Ok((project, Role::Reader)),
            (_, false, true) => {
                let why = "who deletes here may push too: ask for pull, push and delete";
                Err(described("permissions.access", "delete alone", why))
            }
            (false, false, false) => Err(RequestError::Missing("permissions.access")),
        }
    }
}

/// `PATCH /robots/{robot_id}`: another secret, made here. An empty body asks for that too.
pub fn parse_renewal(body: &[u8]) -> Result<(), RequestError> {
    if body.is_empty() {
        return Ok(());
    }
    let rest: Rest = serde_json::from_slice(body)?;
    if rest.get("secret").is_some_and(|secret| !asks_for_nothing(secret)) {
        return Err(described("secret", "chosen", "secrets are made here and shown once: leave it empty"));
    }
    refuse("", &rest, &[])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Duration, MemberRequest, ProjectRequest, RobotRequest, StorageBound, parse_quota, parse_renewal};
    use crate::access::Role;

    fn bytes(value: &serde_json::Value) -> Vec<u8> {
        serde_json::to_vec(value).unwrap()
    }

    fn refused<T: std::fmt::Debug>(read: Result<T, super::RequestError>, part: &str) {
        let text = read.unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn projects_as_clients_ask_for_them() {
        let check = |value: serde_json::Value, is_public: Option<bool>, storage: Option<StorageBound>| {
            let read = ProjectRequest::parse(&bytes(&value)).unwrap();
            assert_eq!((read.is_public, read.storage), (is_public, storage), "{value}");
            assert_eq!(read.name.unwrap().as_str(), "team-a");
        };
        let bound = |bytes| Some(StorageBound(bytes));
        check(json!({"project_name": "team-a", "public": true}), Some(true), None);
        check(
            json!({"project_name": "team-a", "metadata": {"public": "false"}, "storage_limit": -1}),
            Some(false),
            bound(None),
        );
        // As Terraform's provider writes one with scanning switched off.
        let terraform = json!({
            "project_name": "team-a", "cve_allowlist": {}, "storage_limit": 1_073_741_824,
            "metadata": {"enable_content_trust": "false", "auto_scan": "false", "severity": "low",
                         "reuse_sys_cve_allowlist": "true", "public": "false", "prevent_vul": "false"},
        });
        check(terraform, Some(false), bound(Some(1 << 30)));
        // As the web page of Harbor writes one.
        let page =
            json!({"project_name": "team-a", "metadata": {"public": "true"}, "storage_limit": 5, "registry_id": null});
        check(page, Some(true), bound(Some(5)));
    }

    #[test]
    fn what_a_project_cannot_be_is_refused_by_name() {
        let check = |value: serde_json::Value, part: &str| refused(ProjectRequest::parse(&bytes(&value)), part);
        check(json!({"project_name": "a", "metadata": {"auto_scan": "true"}}), "'metadata.auto_scan'");
        check(json!({"project_name": "a", "metadata": {"prevent_vul": true}}), "'metadata.prevent_vul'");
        check(json!({"project_name": "a", "registry_id": 3}), "'registry_id'");
        check(json!({"project_name": "a", "cve_allowlist": {"items": [{"cve_id": "CVE-1"}]}}), "'cve_allowlist'");
        check(json!({"project_name": "a", "colour": "red"}), "'colour'");
        check(json!({"project_name": "A/b"}), "no name of a project");
        check(json!({"project_name": "a", "public": true, "metadata": {"public": "false"}}), "says otherwise");
        check(json!({"project_name": "a", "metadata": {"public": "maybe"}}), "metadata.public");
        for storage in [0, -2] {
            check(json!({"project_name": "a", "storage_limit": storage}), "storage_limit");
        }
        check(json!([]), "JSON");
    }

    #[test]
    fn quotas_and_members() {
        assert_eq!(parse_quota(br#"{"hard":{"storage":100}}"#).unwrap(), StorageBound(Some(100)));
        assert_eq!(parse_quota(br#"{"hard":{"storage":-1,"count":-1}}"#).unwrap(), StorageBound(None));
        refused(parse_quota(br#"{"hard":{"storage":1,"count":5}}"#), "hard.count");
        refused(parse_quota(br#"{"hard":{}}"#), "hard.storage");

        let member = br#"{"role_id":2,"member_user":{"username":"anna"},"member_group":{}}"#;
        let name = Some("anna".parse().unwrap());
        assert_eq!(MemberRequest::parse(member).unwrap(), MemberRequest { role: Role::Pusher, name, number: None });
        let by_number = MemberRequest::parse(br#"{"role_id":4,"member_user":{"user_id":7}}"#).unwrap();
        assert_eq!((by_number.role, by_number.number), (Role::Maintainer, Some(7)));
        refused(MemberRequest::parse(br#"{"role_id":5}"#), "role_id");
        refused(MemberRequest::parse(br#"{"role_id":1,"member_group":{"group_name":"x"}}"#), "member_group");
    }

    fn robot(access: &serde_json::Value) -> serde_json::Value {
        json!({
            "name": "ci", "duration": 30, "description": "builds", "disable": false, "level": "project",
            "permissions": [{"kind": "project", "namespace": "team-a", "access": access}],
        })
    }

    #[test]
    fn robots_are_what_their_permissions_say() {
        let access = |words: &[&str]| {
            let access = words.iter().map(|action| json!({"resource": "repository", "action": action}));
            serde_json::Value::Array(access.collect())
        };
        let check = |words: &[&str], role: Role| {
            let read = RobotRequest::parse_new(&bytes(&robot(&access(words)))).unwrap();
            assert_eq!((read.role, read.project.as_str()), (role, "team-a"), "{words:?}");
            assert_eq!(read.duration().unwrap(), Duration::Days(30));
        };
        check(&["pull"], Role::Reader);
        check(&["push"], Role::Pusher);
        check(&["pull", "push"], Role::Pusher);
        check(&["delete", "push", "pull"], Role::Maintainer);
        refused(RobotRequest::parse_new(&bytes(&robot(&access(&["delete"])))), "may push too");
        refused(RobotRequest::parse_new(&bytes(&robot(&access(&[])))), "permissions.access");
        let scan = json!([{"resource": "scan", "action": "create"}]);
        refused(RobotRequest::parse_new(&bytes(&robot(&scan))), "create scan");
        let denied = json!([{"resource": "repository", "action": "pull", "effect": "deny"}]);
        refused(RobotRequest::parse_new(&bytes(&robot(&denied))), "effect");
    }

    #[test]
    fn what_a_robot_cannot_be_is_refused_by_name() {
        let pull = json!([{"resource": "repository", "action": "pull", "effect": "allow"}]);
        let with = |key: &str, value: serde_json::Value| {
            let mut robot = robot(&pull);
            robot[key] = value;
            bytes(&robot)
        };
        refused(RobotRequest::parse_new(&with("level", json!("system"))), "level");
        refused(RobotRequest::parse_new(&with("secret", json!("mine"))), "'secret'");
        refused(RobotRequest::parse_new(&with("id", json!(4))), "'id'");
        refused(RobotRequest::parse_new(&with("permissions", json!([]))), "exactly one project");
        let two = json!([{"kind": "project", "namespace": "a", "access": pull}, {"kind": "project", "namespace": "b", "access": pull}]);
        refused(RobotRequest::parse_new(&with("permissions", two)), "exactly one project");
        let every = json!([{"kind": "project", "namespace": "*", "access": pull}]);
        refused(RobotRequest::parse_new(&with("permissions", every)), "no name of a project");
        for days in [0, -2, 40_000_000_000_i64] {
            refused(RobotRequest::parse_new(&with("duration", json!(days))).unwrap().duration(), "duration");
        }
        let always = RobotRequest::parse_new(&with("duration", json!(-1))).unwrap();
        assert_eq!(always.duration().unwrap(), Duration::Always);

        let read_before = with("creation_time", json!("2026-11-30T00:00:00Z"));
        RobotRequest::parse_change(&read_before, 9).unwrap();
        refused(RobotRequest::parse_change(&with("id", json!(4)), 9), "stays as it is: '9'");
        for body in [b"".as_slice(), b"{}", br#"{"secret":""}"#] {
            parse_renewal(body).unwrap();
        }
        refused(parse_renewal(br#"{"secret":"Harbor12345"}"#), "'secret' cannot be chosen");
    }
}
