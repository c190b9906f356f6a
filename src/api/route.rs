//! From method, path and query to what is asked for. Pure, and one table: `docs/openapi.yaml` has the same rows.

use ::http::Method;
use percent_encoding::percent_decode_str;

use super::query::{Query, QueryError};
use crate::limits::URL_BYTES_MAX;

/// What is of Harbor's API lies below.
pub const PREFIX: &str = "/api/v2.0";
/// What is our own lies below.
pub const OWN_PREFIX: &str = "/api/postern/v1";

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Ping,
    Health,
    SystemInfo,
    Notice,
    SessionBegin,
    SessionRead,
    SessionEnd,
    TagsList,
    Configurations,
    CurrentUser,
    ProjectsList,
    ProjectsHead,
    ProjectsAdd,
    ProjectRead,
    ProjectSet,
    ProjectRemove,
    ProjectSummary,
    MembersList,
    MembersAdd,
    MemberRead,
    MemberSet,
    MemberRemove,
    RobotsList,
    RobotsAdd,
    RobotRead,
    RobotSet,
    RobotRenew,
    RobotRemove,
    QuotasList,
    QuotaRead,
    QuotaSet,
}

impl Endpoint {
    /// Its name, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Health => "health",
            Self::SystemInfo => "system_info",
            Self::Notice => "notice",
            Self::SessionBegin => "session_begin",
            Self::SessionRead => "session_read",
            Self::SessionEnd => "session_end",
            Self::TagsList => "tags_list",
            Self::Configurations => "configurations",
            Self::CurrentUser => "current_user",
            Self::ProjectsList => "projects_list",
            Self::ProjectsHead => "projects_head",
            Self::ProjectsAdd => "projects_add",
            Self::ProjectRead => "project_read",
            Self::ProjectSet => "project_set",
            Self::ProjectRemove => "project_remove",
            Self::ProjectSummary => "project_summary",
            Self::MembersList => "members_list",
            Self::MembersAdd => "members_add",
            Self::MemberRead => "member_read",
            Self::MemberSet => "member_set",
            Self::MemberRemove => "member_remove",
            Self::RobotsList => "robots_list",
            Self::RobotsAdd => "robots_add",
            Self::RobotRead => "robot_read",
            Self::RobotSet => "robot_set",
            Self::RobotRenew => "robot_renew",
            Self::RobotRemove => "robot_remove",
            Self::QuotasList => "quotas_list",
            Self::QuotaRead => "quota_read",
            Self::QuotaSet => "quota_set",
        }
    }

    /// Whether anyone may ask.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Ping | Self::Health | Self::SystemInfo | Self::Notice)
    }

    /// Whether a body is read.
    pub const fn takes_body(self) -> bool {
        matches!(
            self,
            Self::SessionBegin
                | Self::ProjectsAdd
                | Self::ProjectSet
                | Self::MembersAdd
                | Self::MemberSet
                | Self::RobotsAdd
                | Self::RobotSet
                | Self::RobotRenew
                | Self::QuotaSet
        )
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    pub method: &'static str,
    /// [`PREFIX`] or [`OWN_PREFIX`].
    pub prefix: &'static str,
    /// The path below the prefix; what stands in braces is a parameter.
    pub template: &'static str,
    pub endpoint: Endpoint,
    /// Names of the parameters that the query may hold.
    pub parameters: &'static [&'static str],
}

const fn row(
    method: &'static str,
    template: &'static str,
    endpoint: Endpoint,
    parameters: &'static [&'static str],
) -> Row {
    Row { method, prefix: PREFIX, template, endpoint, parameters }
}

const fn own_row(
    method: &'static str,
    template: &'static str,
    endpoint: Endpoint,
    parameters: &'static [&'static str],
) -> Row {
    Row { method, prefix: OWN_PREFIX, template, endpoint, parameters }
}

const PROJECTS: &str = "/projects";
const PROJECT: &str = "/projects/{project_name_or_id}";
const MEMBERS: &str = "/projects/{project_name_or_id}/members";
const MEMBER: &str = "/projects/{project_name_or_id}/members/{mid}";
const ROBOTS: &str = "/robots";
const ROBOT: &str = "/robots/{robot_id}";
const SESSION: &str = "/session";
const QUOTA: &str = "/quotas/{id}";

const NONE: &[&str] = &[];

/// All that is answered.
pub const ROUTES: [Row; 31] = [
    row("GET", "/ping", Endpoint::Ping, NONE),
    row("GET", "/health", Endpoint::Health, NONE),
    row("GET", "/systeminfo", Endpoint::SystemInfo, NONE),
    row("GET", "/configurations", Endpoint::Configurations, NONE),
    row("GET", "/users/current", Endpoint::CurrentUser, NONE),
    row(
        "GET",
        PROJECTS,
        Endpoint::ProjectsList,
        &["page", "page_size", "sort", "q", "name", "public", "owner", "with_detail"],
    ),
    row("HEAD", PROJECTS, Endpoint::ProjectsHead, &["project_name"]),
    row("POST", PROJECTS, Endpoint::ProjectsAdd, NONE),
    row("GET", PROJECT, Endpoint::ProjectRead, NONE),
    row("PUT", PROJECT, Endpoint::ProjectSet, NONE),
    row("DELETE", PROJECT, Endpoint::ProjectRemove, NONE),
    row("GET", "/projects/{project_name_or_id}/summary", Endpoint::ProjectSummary, NONE),
    row("GET", MEMBERS, Endpoint::MembersList, &["page", "page_size", "entityname"]),
    row("POST", MEMBERS, Endpoint::MembersAdd, NONE),
    row("GET", MEMBER, Endpoint::MemberRead, NONE),
    row("PUT", MEMBER, Endpoint::MemberSet, NONE),
    row("DELETE", MEMBER, Endpoint::MemberRemove, NONE),
    row("GET", ROBOTS, Endpoint::RobotsList, &["page", "page_size", "sort", "q"]),
    row("POST", ROBOTS, Endpoint::RobotsAdd, NONE),
    row("GET", ROBOT, Endpoint::RobotRead, NONE),
    row("PUT", ROBOT, Endpoint::RobotSet, NONE),
    row("PATCH", ROBOT, Endpoint::RobotRenew, NONE),
    row("DELETE", ROBOT, Endpoint::RobotRemove, NONE),
    row("GET", "/quotas", Endpoint::QuotasList, &["page", "page_size", "sort", "reference", "reference_id"]),
    row("GET", QUOTA, Endpoint::QuotaRead, NONE),
    row("PUT", QUOTA, Endpoint::QuotaSet, NONE),
    own_row("GET", "/notice", Endpoint::Notice, NONE),
    own_row("POST", SESSION, Endpoint::SessionBegin, NONE),
    own_row("GET", SESSION, Endpoint::SessionRead, NONE),
    own_row("DELETE", SESSION, Endpoint::SessionEnd, NONE),
    own_row("GET", "/tags", Endpoint::TagsList, &["repository", "tag", "last", "page_size"]),
];

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub endpoint: Endpoint,
    /// A project, by its name or its number.
    pub project: String,
    /// The number of a member, a robot or a quota.
    pub number: u64,
    pub query: Query,
}

/// Why a request asks for nothing that there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is nothing under this path: docs/openapi.yaml lists what is answered here")]
    NoSuchPath,
    #[error("this path takes {}", .0.join(", "))]
    Method(Vec<&'static str>),
    #[error("the address is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("'{0}' in the path is not a number")]
    Number(String),
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Reads a request line.
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, RouteError> {
    if path.len() + query.map_or(0, str::len) > URL_BYTES_MAX {
        return Err(RouteError::TooLong);
    }
    let below = |prefix: &'static str| Some((prefix, path.strip_prefix(prefix)?.strip_prefix('/')?));
    let (prefix, rest) = [PREFIX, OWN_PREFIX].into_iter().find_map(below).ok_or(RouteError::NoSuchPath)?;
    // Some clients end a path with a slash.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let decoded = rest.split('/').map(|segment| percent_decode_str(segment).decode_utf8().ok());
    let segments: Vec<_> = decoded.collect::<Option<_>>().ok_or(RouteError::NoSuchPath)?;
    let fitting: Vec<&'static Row> =
        ROUTES.iter().filter(|row| row.prefix == prefix && fits(row.template, &segments)).collect();
    if fitting.is_empty() {
        return Err(RouteError::NoSuchPath);
    }
    let named = |name: &str| fitting.iter().copied().find(|row| row.method == name);
    // A HEAD is a GET whose body is not wanted, where it is nothing of its own.
    let found = named(method.as_str()).or_else(|| if method == Method::HEAD { named("GET") } else { None });
    let row = found.ok_or_else(|| RouteError::Method(fitting.iter().map(|row| row.method).collect()))?;
    let mut route = Route {
        endpoint: row.endpoint,
        project: String::new(),
        number: 0,
        query: Query::parse(query.unwrap_or_default(), row.parameters)?,
    };
    for (part, segment) in row.template.split('/').skip(1).zip(&segments) {
        match part {
            "{project_name_or_id}" => route.project = segment.to_string(),
            _ if part.starts_with('{') => {
                let shown = || RouteError::Number(segment.chars().take(40).collect());
                route.number = segment.parse().map_err(|_| shown())?;
            }
            _ => {}
        }
    }
    Ok(route)
}

fn fits(template: &str, segments: &[impl AsRef<str>]) -> bool {
    let mut parts = template.split('/').skip(1);
    let all = segments.iter().all(|segment| {
        let segment = segment.as_ref();
        parts.next().is_some_and(|part| part == segment || (part.starts_with('{') && !segment.is_empty()))
    });
    all && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use ::http::Method;

    use super::{Endpoint, ROUTES, RouteError, route};

    #[test]
    fn paths_are_read() {
        let check = |method: Method, path: &str, endpoint: Endpoint, project: &str, number: u64| {
            let found = route(&method, &format!("/api/v2.0{path}"), None).unwrap();
            assert_eq!((found.endpoint, found.project.as_str(), found.number), (endpoint, project, number), "{path}");
        };
        check(Method::GET, "/ping", Endpoint::Ping, "", 0);
        check(Method::HEAD, "/ping", Endpoint::Ping, "", 0);
        check(Method::HEAD, "/projects", Endpoint::ProjectsHead, "", 0);
        check(Method::GET, "/quotas/", Endpoint::QuotasList, "", 0);
        check(Method::PUT, "/projects/team-a", Endpoint::ProjectSet, "team-a", 0);
        check(Method::GET, "/projects/7/summary", Endpoint::ProjectSummary, "7", 0);
        check(Method::GET, "/projects/a%2fb", Endpoint::ProjectRead, "a/b", 0);
        check(Method::DELETE, "/projects/team-a/members/3", Endpoint::MemberRemove, "team-a", 3);
        check(Method::PATCH, "/robots/12", Endpoint::RobotRenew, "", 12);
    }

    #[test]
    fn what_asks_for_nothing_that_there_is() {
        let check = |method: Method, path: &str, expected: RouteError| {
            assert_eq!(route(&method, path, None).unwrap_err(), expected, "{method} {path}");
        };
        for path in ["/api/v2.0", "/api/v2.0x/ping", "/api/v2.0/", "/api/v2.0//ping", "/api/version", "/v2/", "/"] {
            check(Method::GET, path, RouteError::NoSuchPath);
        }
        check(Method::GET, "/api/v2.0/projects/a/summary/b", RouteError::NoSuchPath);
        check(Method::GET, "/api/v2.0/projects/%ff", RouteError::NoSuchPath);
        check(Method::GET, "/api/v2.0/robots/x", RouteError::Number("x".to_owned()));
        check(Method::GET, "/api/v2.0/robots/-1", RouteError::Number("-1".to_owned()));
        check(Method::POST, "/api/v2.0/quotas", RouteError::Method(vec!["GET"]));
        check(Method::GET, &format!("/api/v2.0/{}", "a".repeat(20_000)), RouteError::TooLong);
    }

    #[test]
    fn each_row_is_reached_by_its_own_path() {
        for row in &ROUTES {
            let path = row.template.replace("{project_name_or_id}", "p").replace("{mid}", "1");
            let path = path.replace("{robot_id}", "1").replace("{id}", "1");
            let method = row.method.parse().unwrap();
            let found = route(&method, &format!("{}{path}", row.prefix), None).unwrap();
            assert_eq!(found.endpoint, row.endpoint, "{path}");
        }
    }
}
