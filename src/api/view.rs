//! What clients are answered, in Harbor's JSON. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::access::member::Member;
use crate::access::name::ProjectName;
use crate::access::{AccessDocument, Action, Project, Robot, Role, User, Visibility};

const SECONDS_OF_DAY: i64 = 24 * 60 * 60;

/// The number that Harbor has for a role.
pub const fn role_number(role: Role) -> u8 {
    match role {
        Role::Admin => 1,
        Role::Pusher => 2,
        Role::Reader => 3,
        Role::Maintainer => 4,
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "projectAdmin",
        Role::Pusher => "developer",
        Role::Reader => "guest",
        Role::Maintainer => "maintainer",
    }
}

/// A project.
#[derive(Debug, Serialize)]
pub struct ProjectView {
    project_id: u64,
    name: String,
    owner_id: u64,
    owner_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<Timestamp>,
    deleted: bool,
    togglable: bool,
    current_user_role_id: u8,
    current_user_role_ids: Vec<u8>,
    repo_count: u64,
    metadata: Metadata,
}

/// Nothing is scanned here, and signatures are asked for by the trust policy; clients look for the words all the same.
#[derive(Debug, Serialize)]
struct Metadata {
    public: &'static str,
    auto_scan: &'static str,
    prevent_vul: &'static str,
    enable_content_trust: &'static str,
}

impl Metadata {
    fn new(project: &Project) -> Self {
        let public = if project.visibility == Visibility::Public { "true" } else { "false" };
        Self { public, auto_scan: "false", prevent_vul: "false", enable_content_trust: "false" }
    }
}

fn owner<'d>(document: &'d AccessDocument, project: &Project) -> Option<&'d User> {
    project.owner.as_ref().and_then(|owner| document.users.get(owner))
}

impl ProjectView {
    /// A project as somebody with `role` sees it.
    pub fn new(
        document: &AccessDocument,
        name: &ProjectName,
        project: &Project,
        role: Option<Role>,
        repo_count: u64,
    ) -> Self {
        let owner = owner(document, project);
        let role = role.map(role_number);
        Self {
            project_id: project.number,
            name: name.to_string(),
            owner_id: owner.map_or(0, |owner| owner.number),
            owner_name: owner.map_or_else(String::new, |owner| owner.name.to_string()),
            creation_time: project.created,
            deleted: false,
            togglable: true,
            current_user_role_id: role.unwrap_or(0),
            current_user_role_ids: role.into_iter().collect(),
            repo_count,
            metadata: Metadata::new(project),
        }
    }
}

/// How much of something; -1 is without a bound.
#[derive(Debug, Serialize)]
pub struct Storage {
    storage: i64,
}

impl Storage {
    /// A bound.
    pub fn bound(bytes: Option<u64>) -> Self {
        Self { storage: bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)) }
    }

    /// What is used.
    pub fn used(bytes: u64) -> Self {
        Self::bound(Some(bytes))
    }
}

/// What a project holds and who belongs to it.
#[derive(Debug, Serialize)]
pub struct SummaryView {
    repo_count: u64,
    project_admin_count: usize,
    maintainer_count: usize,
    developer_count: usize,
    guest_count: usize,
    limited_guest_count: usize,
    quota: SummaryQuota,
}

#[derive(Debug, Serialize)]
struct SummaryQuota {
    hard: Storage,
    used: Storage,
}

impl SummaryView {
    /// The numbers of a project.
    pub fn new(project: &Project, members: &[Member], repo_count: u64, used_bytes: u64) -> Self {
        let count = |role| members.iter().filter(|member| member.role == role).count();
        Self {
            repo_count,
            project_admin_count: count(Role::Admin),
            maintainer_count: count(Role::Maintainer),
            developer_count: count(Role::Pusher),
            guest_count: count(Role::Reader),
            limited_guest_count: 0,
            quota: SummaryQuota { hard: Storage::bound(project.quota_bytes_max), used: Storage::used(used_bytes) },
        }
    }
}

/// The bound of a project. It has the project's number.
#[derive(Debug, Serialize)]
pub struct QuotaView {
    id: u64,
    #[serde(rename = "ref")]
    reference: QuotaReference,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<Timestamp>,
    hard: Storage,
    used: Storage,
}

#[derive(Debug, Serialize)]
struct QuotaReference {
    id: u64,
    name: String,
    owner_name: String,
}

impl QuotaView {
    /// What a project may hold, and holds.
    pub fn new(document: &AccessDocument, name: &ProjectName, project: &Project, used_bytes: u64) -> Self {
        let owner_name = owner(document, project).map_or_else(String::new, |owner| owner.name.to_string());
        Self {
            id: project.number,
            reference: QuotaReference { id: project.number, name: name.to_string(), owner_name },
            creation_time: project.created,
            hard: Storage::bound(project.quota_bytes_max),
            used: Storage::used(used_bytes),
        }
    }
}

/// A member of a project. It has the user's number.
#[derive(Debug, Serialize)]
pub struct MemberView {
    pub id: u64,
    project_id: u64,
    entity_name: String,
    entity_id: u64,
    entity_type: &'static str,
    role_id: u8,
    role_name: &'static str,
}

impl MemberView {
    /// Somebody in the project of this number.
    pub fn new(project_id: u64, member: &Member) -> Self {
        Self {
            id: member.number,
            project_id,
            entity_name: member.name.to_string(),
            entity_id: member.number,
            entity_type: "u",
            role_id: role_number(member.role),
            role_name: role_name(member.role),
        }
    }
}

/// A robot.
#[derive(Debug, Serialize)]
pub struct RobotView {
    pub id: u64,
    pub name: String,
    description: String,
    level: &'static str,
    duration: i64,
    expires_at: i64,
    disable: bool,
    editable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<Timestamp>,
    permissions: [Permission; 1],
}

#[derive(Debug, Serialize)]
struct Permission {
    kind: &'static str,
    namespace: String,
    access: Vec<AccessView>,
}

#[derive(Debug, Serialize)]
struct AccessView {
    resource: &'static str,
    action: &'static str,
}

/// For how many days a robot was made, counted up; -1 without end.
pub fn duration_days(robot: &Robot) -> i64 {
    let (Some(expires), created) = (robot.expires, robot.created.unwrap_or_default()) else { return -1 };
    let seconds = expires.as_second().saturating_sub(created.as_second()).max(0);
    seconds.saturating_add(SECONDS_OF_DAY - 1) / SECONDS_OF_DAY
}

impl RobotView {
    /// A robot, without its secret.
    pub fn new(robot: &Robot) -> Self {
        let actions = Action::ALL.into_iter().filter(|action| robot.role.allows(*action));
        let access = actions.map(|action| AccessView { resource: "repository", action: action.as_str() }).collect();
        Self {
            id: robot.number,
            name: robot.login_name(),
            description: robot.description.clone(),
            level: "project",
            duration: duration_days(robot),
            expires_at: expires_at(robot),
            disable: robot.disabled,
            editable: true,
            creation_time: robot.created,
            permissions: [Permission { kind: "project", namespace: robot.project.to_string(), access }],
        }
    }
}

fn expires_at(robot: &Robot) -> i64 {
    robot.expires.map_or(-1, Timestamp::as_second)
}

/// A robot that was just made: the only time that its secret is shown.
#[derive(Serialize)]
pub struct NewRobotView {
    id: u64,
    name: String,
    secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<Timestamp>,
    expires_at: i64,
}

impl NewRobotView {
    /// A robot with its secret.
    pub fn new(robot: &Robot, secret: String) -> Self {
        let (id, name) = (robot.number, robot.login_name());
        Self { id, name, secret, creation_time: robot.created, expires_at: expires_at(robot) }
    }
}

/// Whoever asks.
#[derive(Debug, Serialize)]
pub struct CurrentUserView {
    pub user_id: u64,
    pub username: String,
    pub sysadmin_flag: bool,
    pub admin_role_in_auth: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RobotView, duration_days};
    use crate::access::{Robot, Role};
    use crate::oci::digest::Digest;

    #[test]
    fn a_robot_in_harbors_words() {
        let created: jiff::Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
        let mut robot = Robot {
            number: 7,
            project: "team-a".parse().unwrap(),
            name: "ci".parse().unwrap(),
            secret: Digest::of(b"secret"),
            role: Role::Pusher,
            expires: None,
            disabled: false,
            description: "builds".to_owned(),
            created: Some(created),
        };
        let access = json!([
            {"resource": "repository", "action": "pull"},
            {"resource": "repository", "action": "push"},
        ]);
        let expected = json!({
            "id": 7, "name": "robot$team-a+ci", "description": "builds", "level": "project", "duration": -1,
            "expires_at": -1, "disable": false, "editable": true, "creation_time": "2026-11-30T00:00:00Z",
            "permissions": [{"kind": "project", "namespace": "team-a", "access": access}],
        });
        assert_eq!(serde_json::to_value(RobotView::new(&robot)).unwrap(), expected);
        let mut check = |expires: &str, days: i64| {
            robot.expires = Some(expires.parse().unwrap());
            assert_eq!(duration_days(&robot), days, "{expires}");
        };
        check("2026-12-30T00:00:00Z", 30);
        check("2026-12-30T00:00:01Z", 31);
        check("2026-11-29T00:00:00Z", 0);
    }
}
