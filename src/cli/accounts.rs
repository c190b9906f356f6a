//! `postern project`, `postern user`, `postern robot` and `postern report`: who may do what.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::output::{bytes, columns};
use super::{Context, ExitStatus, size};
use crate::access::name::{AccountName, ProjectName, ProjectPattern};
use crate::access::report::AccessReport;
use crate::access::{Action, Enforcement, Grant, ProjectKind, Role, Visibility};
use crate::app::accounts::{
    AccessOrder, AnewReport, ProjectSettings, ProjectsReport, RobotsReport, Secret, UsersReport,
};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::http::network::Network;
use crate::limits::PASSWORD_BYTES_MAX;

/// Declare projects: who sees them, who fills them, how much they hold
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern project add team-a --visibility internal\n  postern project list")]
pub enum ProjectCommand {
    /// Declare a project: all repositories whose names begin with NAME/
    #[command(after_help = "Example:\n  postern project add team-a --visibility private --quota 20GiB")]
    Add {
        /// First part of its repositories' names
        name: ProjectName,
        #[command(flatten)]
        settings: ProjectArguments,
    },
    /// Change the settings of a project; what is not named stays
    #[command(after_help = "Example:\n  postern project set team-a --owner anna --tags 1000")]
    Set {
        /// The project
        name: ProjectName,
        #[command(flatten)]
        settings: ProjectArguments,
    },
    /// List the projects
    #[command(after_help = "Example:\n  postern project list --json")]
    List,
    /// Forget a project that has neither robots nor images; roles in exactly this project go with it
    #[command(after_help = "Example:\n  postern project remove team-a --dry-run")]
    Remove {
        /// The project
        name: ProjectName,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Declare what most sites begin with: platform, public-mirror, and a private project for each team
    #[command(after_help = "Example:\n  postern project template --team team-payments --team team-web")]
    Template {
        /// A team's project; repeat it
        #[arg(long = "team", value_name = "NAME")]
        teams: Vec<ProjectName>,
    },
}

/// Settings of a project.
#[derive(Debug, Args)]
pub struct ProjectArguments {
    /// What fills it [hosted]
    #[arg(long, value_enum)]
    pub kind: Option<KindArgument>,
    /// Who pulls without a right of their own [private]
    #[arg(long, value_enum)]
    pub visibility: Option<VisibilityArgument>,
    /// What becomes of images that the trust policy refuses [enforce]
    #[arg(long, value_enum)]
    pub enforcement: Option<EnforcementArgument>,
    /// Network from which a public project is pulled without signing in; repeat it. Without it: from anywhere
    #[arg(long = "anonymous-network", value_name = "NETWORK")]
    pub anonymous_networks: Vec<Network>,
    /// User who is its admin
    #[arg(long, value_name = "USER")]
    pub owner: Option<AccountName>,
    /// Most that its repositories may hold together, such as 20GiB; 0 for as much as there is room
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub quota: Option<u64>,
    /// Most tags that its repositories may have together; 0 for any number
    #[arg(long, value_name = "COUNT")]
    pub tags: Option<u64>,
    /// A word about it
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
}

/// What fills a project.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KindArgument {
    /// Pushes
    Hosted,
    /// Its upstream
    Mirror,
    /// Transfer bundles
    Imported,
}

/// Who pulls from a project without a right of their own.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VisibilityArgument {
    /// Nobody
    Private,
    /// Whoever has signed in
    Internal,
    /// Anyone
    Public,
}

/// What becomes of images that the trust policy refuses. What its deny list names is served nowhere.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EnforcementArgument {
    /// They do not come in, and are served no more
    Enforce,
    /// What is pushed comes in and is served with a warning
    Audit,
    /// What is pushed comes in and is served
    Open,
}

impl ProjectArguments {
    fn settings(&self) -> ProjectSettings {
        ProjectSettings {
            kind: self.kind.map(|kind| match kind {
                KindArgument::Hosted => ProjectKind::Hosted,
                KindArgument::Mirror => ProjectKind::Mirror,
                KindArgument::Imported => ProjectKind::Imported,
            }),
            visibility: self.visibility.map(|visibility| match visibility {
                VisibilityArgument::Private => Visibility::Private,
                VisibilityArgument::Internal => Visibility::Internal,
                VisibilityArgument::Public => Visibility::Public,
            }),
            enforcement: self.enforcement.map(|enforcement| match enforcement {
                EnforcementArgument::Enforce => Enforcement::Enforce,
                EnforcementArgument::Audit => Enforcement::Audit,
                EnforcementArgument::Open => Enforcement::Open,
            }),
            anonymous_networks: (!self.anonymous_networks.is_empty()).then(|| self.anonymous_networks.clone()),
            owner: self.owner.clone(),
            quota_bytes_max: self.quota,
            tags_count_max: self.tags,
            description: self.description.clone(),
        }
    }
}

/// Add people, and say what they may do
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern user add anna --grant admin:*\n  postern user list")]
pub enum UserCommand {
    /// Add a user; without --password-file a password is made and shown once
    #[command(after_help = "Example:\n  postern user add anna --grant pusher:team-a --grant reader:platform")]
    Add {
        /// Name to sign in with
        name: AccountName,
        /// File with the password in its first line
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Role in projects, as ROLE:PATTERN (reader, pusher, maintainer or admin); repeat it
        #[arg(long = "grant", value_name = "ROLE:PATTERN", value_parser = parse_grant)]
        grants: Vec<Grant>,
    },
    /// List the users and their rights
    #[command(after_help = "Example:\n  postern user list --json")]
    List,
    /// Remove a user
    #[command(after_help = "Example:\n  postern user remove anna --dry-run")]
    Remove {
        /// The user
        name: AccountName,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Set another password; without --password-file one is made and shown once
    #[command(after_help = "Example:\n  postern user password anna")]
    Password {
        /// The user
        name: AccountName,
        /// File with the password in its first line
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Grant a role in projects
    #[command(after_help = "Example:\n  postern user grant anna maintainer:team-a")]
    Grant {
        /// The user
        name: AccountName,
        /// Role and pattern of projects
        #[arg(value_name = "ROLE:PATTERN", value_parser = parse_grant)]
        grant: Grant,
    },
    /// Take a role away, or every role in a pattern of projects
    #[command(after_help = "Example:\n  postern user revoke anna team-a --role pusher")]
    Revoke {
        /// The user
        name: AccountName,
        /// The pattern, as it was granted
        projects: ProjectPattern,
        /// Only this role
        #[arg(long)]
        role: Option<Role>,
    },
    /// Say that a name in client certificates stands for a user
    #[command(after_help = "Example:\n  postern user certificate anna upn:1234567890@mil")]
    Certificate {
        /// The user
        name: AccountName,
        /// The name: upn:, edipi:, email:, dns: or uri: and what stands in the certificate
        certificate: String,
        /// It does not stand for the user any more
        #[arg(long)]
        remove: bool,
    },
    /// Give a user a second factor for managing over HTTP: a secret for an authenticator, shown once
    ///
    /// The user then begins a session with the password and the six digits that the authenticator shows. Pulling and pushing
    /// asks for the password alone.
    #[command(after_help = "Example:\n  postern user second-factor anna")]
    SecondFactor {
        /// The user
        name: AccountName,
        /// Take it away
        #[arg(long)]
        remove: bool,
    },
    /// Let a user do nothing for now; tokens end at once
    #[command(after_help = "Example:\n  postern user disable anna")]
    Disable {
        /// The user
        name: AccountName,
    },
    /// Let a disabled user in again
    #[command(after_help = "Example:\n  postern user enable anna")]
    Enable {
        /// The user
        name: AccountName,
    },
    /// Forget the failed attempts of a user to sign in
    #[command(after_help = "Example:\n  postern user unlock anna")]
    Unlock {
        /// The user
        name: AccountName,
    },
}

fn parse_grant(text: &str) -> Result<Grant, String> {
    let (role, projects) =
        text.split_once(':').ok_or_else(|| format!("'{text}' is not ROLE:PATTERN, such as pusher:team-a"))?;
    let role = role.parse::<Role>().map_err(|error| error.to_string())?;
    let projects = projects.parse::<ProjectPattern>().map_err(|error| error.to_string())?;
    Ok(Grant { role, projects })
}

/// Add accounts for pipelines, each in one project
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern robot add team-a ci --expires-days 90\n  postern robot list")]
pub enum RobotCommand {
    /// Add a robot; its secret is shown once
    #[command(after_help = "Example:\n  postern robot add team-a ci --role pusher --expires-days 90")]
    Add {
        /// The project
        project: ProjectName,
        /// Name in the project; it signs in as robot$PROJECT+NAME
        name: AccountName,
        /// reader, pusher or maintainer
        #[arg(long, default_value = "pusher")]
        role: Role,
        /// Days until it is nobody; without it there is no end
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
        expires_days: Option<u32>,
        /// A word about it
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// List the robots
    #[command(after_help = "Example:\n  postern robot list --project team-a")]
    List {
        /// Only those of this project
        #[arg(long)]
        project: Option<ProjectName>,
    },
    /// Make another secret, shown once; the old one opens nothing from then on
    #[command(after_help = "Example:\n  postern robot renew 'robot$team-a+ci'")]
    Renew {
        /// Name that it signs in with
        robot: String,
    },
    /// Let a robot do nothing for now; tokens end at once
    #[command(after_help = "Example:\n  postern robot disable 'robot$team-a+ci'")]
    Disable {
        /// Name that it signs in with
        robot: String,
    },
    /// Let a disabled robot in again
    #[command(after_help = "Example:\n  postern robot enable 'robot$team-a+ci'")]
    Enable {
        /// Name that it signs in with
        robot: String,
    },
    /// Remove a robot; tokens end at once
    #[command(after_help = "Example:\n  postern robot remove 'robot$team-a+ci' --dry-run")]
    Remove {
        /// Name that it signs in with
        robot: String,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Mend what decides who may do what
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern access begin-anew --dry-run")]
pub enum AccessCommand {
    /// Begin without accounts where the document of accounts cannot be read and there is no backup of it
    ///
    /// Everything that the store holds is then in private projects: nobody pulls it until rights are granted again. A document
    /// that can be read is never replaced.
    #[command(after_help = "Example:\n  postern access begin-anew --dry-run")]
    BeginAnew {
        /// Say which projects would be declared, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Reports for auditors
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern report access --json")]
pub enum ReportCommand {
    /// Who may do what: every subject with its rights, and every project
    #[command(after_help = "Example:\n  postern report access")]
    Access,
}

/// Runs a command on projects.
pub fn run_project(context: &Context, command: &ProjectCommand) -> Result<ExitStatus, Failure> {
    let (order, head) = match command {
        ProjectCommand::Add { name, settings } => {
            (AccessOrder::ProjectAdd { name: name.clone(), settings: settings.settings() }, "")
        }
        ProjectCommand::Set { name, settings } => {
            (AccessOrder::ProjectSet { name: name.clone(), settings: settings.settings() }, "")
        }
        ProjectCommand::List => (AccessOrder::ProjectList, ""),
        ProjectCommand::Remove { name, dry_run } => {
            (AccessOrder::ProjectRemove { name: name.clone(), dry_run: *dry_run }, removed(*dry_run))
        }
        ProjectCommand::Template { teams } => (AccessOrder::ProjectTemplate { teams: teams.clone() }, "declared:\n"),
    };
    context.operate(Operation::Access(order), |report: &ProjectsReport| format!("{head}{}", projects_text(report)))
}

/// Runs a command on users.
pub fn run_user(context: &Context, command: &UserCommand) -> Result<ExitStatus, Failure> {
    let (order, head) = match command.clone_order(context)? {
        (order @ AccessOrder::UserRemove { dry_run, .. }, _) => (order, removed(dry_run)),
        (order, head) => (order, head),
    };
    context.operate(Operation::Access(order), |report: &UsersReport| format!("{head}{}", users_text(report)))
}

impl UserCommand {
    fn clone_order(&self, context: &Context) -> Result<(AccessOrder, &'static str), Failure> {
        let order = match self {
            Self::Add { name, password_file, grants } => {
                let password = password(context, password_file.as_deref())?;
                AccessOrder::UserAdd { name: name.clone(), password, grants: grants.clone() }
            }
            Self::List => AccessOrder::UserList,
            Self::Remove { name, dry_run } => AccessOrder::UserRemove { name: name.clone(), dry_run: *dry_run },
            Self::Password { name, password_file } => {
                let password = password(context, password_file.as_deref())?;
                AccessOrder::UserPassword { name: name.clone(), password }
            }
            Self::Grant { name, grant } => AccessOrder::UserGrant { name: name.clone(), grant: grant.clone() },
            Self::Revoke { name, projects, role } => {
                AccessOrder::UserRevoke { name: name.clone(), role: *role, projects: projects.clone() }
            }
            Self::Certificate { name, certificate, remove } => {
                AccessOrder::UserCertificate { name: name.clone(), certificate: certificate.clone(), stands: !remove }
            }
            Self::SecondFactor { name, remove } => {
                AccessOrder::UserSecondFactor { name: name.clone(), remove: *remove }
            }
            Self::Disable { name } => AccessOrder::UserDisable { name: name.clone(), disabled: true },
            Self::Enable { name } => AccessOrder::UserDisable { name: name.clone(), disabled: false },
            Self::Unlock { name } => AccessOrder::UserUnlock { name: name.clone() },
        };
        let head = if matches!(self, Self::Unlock { .. }) { "failed attempts are forgotten:\n" } else { "" };
        Ok((order, head))
    }
}

/// Runs a command on robots.
pub fn run_robot(context: &Context, command: &RobotCommand) -> Result<ExitStatus, Failure> {
    let (order, head) = match command {
        RobotCommand::Add { project, name, role, expires_days, description } => {
            let (project, name, description) = (project.clone(), name.clone(), description.clone());
            let order = AccessOrder::RobotAdd { project, name, role: *role, expires_days: *expires_days, description };
            (order, "")
        }
        RobotCommand::List { project } => (AccessOrder::RobotList { project: project.clone() }, ""),
        RobotCommand::Renew { robot } => (AccessOrder::RobotRenew { login_name: robot.clone() }, ""),
        RobotCommand::Disable { robot } => {
            (AccessOrder::RobotDisable { login_name: robot.clone(), disabled: true }, "")
        }
        RobotCommand::Enable { robot } => {
            (AccessOrder::RobotDisable { login_name: robot.clone(), disabled: false }, "")
        }
        RobotCommand::Remove { robot, dry_run } => {
            (AccessOrder::RobotRemove { login_name: robot.clone(), dry_run: *dry_run }, removed(*dry_run))
        }
    };
    context.operate(Operation::Access(order), |report: &RobotsReport| format!("{head}{}", robots_text(report)))
}

/// Runs a command that mends.
pub fn run_access(context: &Context, command: &AccessCommand) -> Result<ExitStatus, Failure> {
    let AccessCommand::BeginAnew { dry_run } = *command;
    let head = if dry_run {
        "there would be no accounts, and these private projects:"
    } else {
        "begun without accounts, with these private projects:"
    };
    context.operate(Operation::Access(AccessOrder::BeginAnew { dry_run }), |report: &AnewReport| {
        let names: String = report.projects.iter().map(|name| format!("  {name}\n")).collect();
        format!("{head}\n{names}next: `postern user add NAME --grant admin:*`, and `postern project set` what is to be open\n")
    })
}

/// Runs a report.
pub fn run_report(context: &Context, command: &ReportCommand) -> Result<ExitStatus, Failure> {
    match command {
        ReportCommand::Access => context.operate(Operation::Access(AccessOrder::Report), report_text),
    }
}

const fn removed(dry_run: bool) -> &'static str {
    if dry_run { "would be removed:\n" } else { "removed:\n" }
}

/// The first line of a file.
fn password(context: &Context, file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = context.read_text(file, PASSWORD_BYTES_MAX + 2)?;
    Ok(Some(Secret(text.lines().next().unwrap_or_default().to_owned())))
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn projects_text(report: &ProjectsReport) -> String {
    if report.projects.is_empty() {
        return "no project is declared; `postern project add NAME` declares one\n".to_owned();
    }
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = report.projects.iter().map(|named| {
        let project = &named.project;
        let networks: Vec<_> = project.anonymous_networks.iter().map(ToString::to_string).collect();
        let from = if networks.is_empty() { String::new() } else { format!(" from {}", networks.join(" ")) };
        vec![
            named.name.to_string(),
            project.kind.as_str().to_owned(),
            format!("{}{from}", project.visibility.as_str()),
            project.enforcement.as_str().to_owned(),
            or_dash(named.owner_name.as_ref().map(ToString::to_string)),
            or_dash(project.quota_bytes_max.map(bytes)),
            or_dash(project.tags_count_max.map(|count| count.to_string())),
        ]
    });
    table(&["PROJECT", "KIND", "VISIBILITY", "GATE", "OWNER", "QUOTA", "TAGS"], rows)
}

fn users_text(report: &UsersReport) -> String {
    if report.users.is_empty() {
        return "there are no users; `postern user add NAME` adds one\n".to_owned();
    }
    let rows = report.users.iter().map(|user| {
        let grants: Vec<_> = user.grants.iter().map(|grant| format!("{}:{}", grant.role, grant.projects)).collect();
        let state = match (user.disabled, user.has_second_factor) {
            (true, _) => "disabled",
            (false, true) => "enabled, two factors",
            (false, false) => "enabled",
        };
        vec![user.name.to_string(), state.to_owned(), grants.join(" "), user.certificates.join(" ")]
    });
    let mut text = table(&["USER", "STATE", "RIGHTS", "CERTIFICATES"], rows);
    for (name, password) in report.users.iter().filter_map(|user| Some((&user.name, user.password.as_ref()?))) {
        text.push_str(&format!("\nThe password of '{name}' is shown this once:\n\n  {password}\n"));
    }
    for (name, made) in report.users.iter().filter_map(|user| Some((&user.name, user.second_factor.as_ref()?))) {
        text.push_str(&format!(
            "\nThe second factor of '{name}' is shown this once. Type the secret into an authenticator, or make a picture \
             of the address:\n\n  {}\n  {}\n",
            made.secret, made.address
        ));
    }
    text
}

fn robots_text(report: &RobotsReport) -> String {
    if report.robots.is_empty() {
        return "there are no robots; `postern robot add PROJECT NAME` adds one\n".to_owned();
    }
    let rows = report.robots.iter().map(|robot| {
        let end = robot.expires.map_or_else(|| "never".to_owned(), |expires| expires.strftime("%Y-%m-%d").to_string());
        let state = if robot.disabled { "disabled" } else { "enabled" };
        vec![robot.login_name.clone(), robot.role.to_string(), state.to_owned(), end, robot.description.clone()]
    });
    let mut text = table(&["ROBOT", "ROLE", "STATE", "EXPIRES", "DESCRIPTION"], rows);
    for robot in &report.robots {
        if let Some(secret) = &robot.secret {
            text.push_str(&format!("\nThe secret of '{}' is shown this once:\n\n  {secret}\n", robot.login_name));
        }
    }
    text
}

fn report_text(report: &AccessReport) -> String {
    let rows = report.subjects.iter().map(|line| {
        let actions: Vec<_> = line.actions.iter().map(|action| Action::as_str(*action)).collect();
        let state = if line.active { "" } else { "not now" };
        vec![line.subject.clone(), line.projects.clone(), actions.join(","), line.by.clone(), state.to_owned()]
    });
    table(&["SUBJECT", "PROJECTS", "MAY", "BY", ""], rows)
}
