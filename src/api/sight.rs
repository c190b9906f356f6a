//! What somebody who has signed in sees of projects, and what they manage.
//!
//! What may not be seen is not there: the answer is the same 404, so that no name can be tried out.

use super::error::ApiError;
use super::{Api, Asked};
use crate::access::decide::is_system_admin;
use crate::access::name::ProjectName;
use crate::access::{Action, Caller, Project};
use crate::oci::name::RepositoryName;

/// How much of a project somebody gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    Nothing,
    /// What those know who pull from it.
    Pulls,
    /// Its members, robots and settings.
    Manages,
}

impl Api {
    pub(super) fn is_system_admin(&self, caller: &Caller) -> bool {
        self.access.look(|document| is_system_admin(document, caller))
    }

    /// What `asked` gets to see of a project.
    pub(super) fn sight(&self, asked: &Asked, name: &ProjectName) -> Sight {
        if asked.is_system_admin {
            return Sight::Manages;
        }
        // A right in a project is one in every repository of it; the shortest name of one is the project's own.
        let Ok(repository) = name.as_str().parse::<RepositoryName>() else { return Sight::Nothing };
        let may = |action| self.access.decide(&asked.caller, &repository, action).is_ok();
        if may(Action::Manage) {
            Sight::Manages
        } else if may(Action::Pull) {
            Sight::Pulls
        } else {
            Sight::Nothing
        }
    }

    /// The project that the path names, where it may be seen as `wanted`.
    pub(super) fn project(&self, asked: &Asked, wanted: Sight) -> Result<(ProjectName, Project), ApiError> {
        let text = &asked.route.project;
        let number = if asked.is_resource_name { None } else { text.parse::<u64>().ok() };
        let found = self.access.look(|document| match number {
            Some(number) => {
                let found = document.projects.iter().find(|(_, project)| project.number == number);
                found.map(|(name, project)| (name.clone(), project.clone()))
            }
            None => {
                let name = text.parse::<ProjectName>().ok()?;
                document.projects.get(&name).map(|project| (name.clone(), project.clone()))
            }
        });
        self.seen(asked, found, wanted)
    }

    /// The project of this number, where it may be seen as `wanted`.
    pub(super) fn numbered(&self, asked: &Asked, wanted: Sight) -> Result<(ProjectName, Project), ApiError> {
        let found = self.access.look(|document| {
            let found = document.projects.iter().find(|(_, project)| project.number == asked.route.number);
            found.map(|(name, project)| (name.clone(), project.clone()))
        });
        self.seen(asked, found, wanted)
    }

    fn seen(
        &self,
        asked: &Asked,
        found: Option<(ProjectName, Project)>,
        wanted: Sight,
    ) -> Result<(ProjectName, Project), ApiError> {
        let (name, project) = found.ok_or(ApiError::NotFound("project"))?;
        match self.sight(asked, &name) {
            Sight::Nothing => Err(ApiError::NotFound("project")),
            sight if sight < wanted => Err(ApiError::Forbidden("this is for admins of the project: ask its owner")),
            _ => Ok((name, project)),
        }
    }

    pub(super) fn only_system_admin(asked: &Asked) -> Result<(), ApiError> {
        let who = "this is for those who are admins of every project (`postern user grant NAME 'admin:*'`)";
        if asked.is_system_admin { Ok(()) } else { Err(ApiError::Forbidden(who)) }
    }
}
