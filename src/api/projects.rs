//! Projects.

use ::http::StatusCode;

use super::error::{ApiError, json_answer};
use super::query::{Page, Query};
use super::request::{ProjectRequest, RequestError};
use super::sight::Sight;
use super::view::{ProjectView, SummaryView};
use super::{Answer, Api, Asked, created, done, listed};
use crate::access::name::ProjectName;
use crate::access::{AccessDocument, Project, Visibility, change, member};

impl Api {
    pub(super) fn projects_list(&self, asked: &Asked) -> Answer {
        let query = &asked.route.query;
        let fitting: Vec<(ProjectName, Project)> = self.access.look(|document| {
            let fitting = document.projects.iter().filter(|(name, project)| fits(document, query, name, project));
            fitting.map(|(name, project)| (name.clone(), project.clone())).collect()
        });
        let seen = fitting.into_iter().filter(|(name, _)| self.sight(asked, name) > Sight::Nothing).collect();
        let page =
            Page::cut(seen, query, |(name, project): &(ProjectName, Project)| (project.number, name.to_string()));
        let entries = page.entries.iter().map(|(name, project)| self.project_view(asked, name, project));
        let page = Page { entries: entries.collect::<Result<Vec<_>, _>>()?, total: page.total };
        Ok(listed(asked, &page))
    }

    /// Whether there is a project of this name, for whoever may see it.
    pub(super) fn projects_head(&self, asked: &Asked) -> Answer {
        let name = asked.route.query.project_name.as_ref();
        let name = name.ok_or(RequestError::Missing("project_name"))?.parse::<ProjectName>();
        let is_seen = name.is_ok_and(|name| {
            let is_there = self.access.look(|document| document.projects.contains_key(&name));
            is_there && self.sight(asked, &name) > Sight::Nothing
        });
        if is_seen { Ok(done()) } else { Err(ApiError::NotFound("project")) }
    }

    pub(super) fn projects_add(&self, asked: &Asked) -> Answer {
        Self::only_system_admin(asked)?;
        let request = ProjectRequest::parse(&asked.body)?;
        let name = request.name.ok_or(RequestError::Missing("project_name"))?;
        let project = Project {
            visibility: if request.is_public == Some(true) { Visibility::Public } else { Visibility::Private },
            owner: Some(asked.user.clone()),
            quota_bytes_max: request.storage.and_then(|bound| bound.0),
            created: Some(self.access.now()),
            ..Project::default()
        };
        let number = self.access.change(asked.principal(), |document| {
            let added = change::add_project(document, name.clone(), project)?;
            let number = document.projects.get(&name).map_or(0, |project| project.number);
            Ok(added.with(number))
        })?;
        let shown = if asked.name_in_location { name.to_string() } else { number.to_string() };
        Ok(created(done(), &format!("/projects/{shown}")))
    }

    pub(super) fn project_read(&self, asked: &Asked) -> Answer {
        let (name, project) = self.project(asked, Sight::Pulls)?;
        Ok(json_answer(StatusCode::OK, &self.project_view(asked, &name, &project)?))
    }

    pub(super) fn project_set(&self, asked: &Asked) -> Answer {
        let (name, project) = self.project(asked, Sight::Manages)?;
        let request = ProjectRequest::parse(&asked.body)?;
        if request.name.is_some_and(|other| other != name) {
            return Err(RequestError::Fixed { field: "project_name", value: name.to_string() }.into());
        }
        let storage = request.storage.map(|bound| bound.0).filter(|bound| *bound != project.quota_bytes_max);
        if storage.is_some() {
            Self::only_system_admin(asked)?;
        }
        self.access.change(asked.principal(), |document| {
            change::set_project(document, &name, |project| {
                project.visibility = match (request.is_public, project.visibility) {
                    (Some(true), _) => Visibility::Public,
                    (Some(false), Visibility::Public) => Visibility::Private,
                    // Internal is not public, and Harbor has no word for it.
                    (_, other) => other,
                };
                project.quota_bytes_max = storage.unwrap_or(project.quota_bytes_max);
            })
        })?;
        Ok(done())
    }

    /// Only an empty one: what no project is declared for is open to networks.
    pub(super) fn project_remove(&self, asked: &Asked) -> Answer {
        let (name, _) = self.project(asked, Sight::Manages)?;
        if self.store.repositories_count(name.as_str())? > 0 {
            return Err(ApiError::HasRepositories(name.to_string()));
        }
        self.access.change(asked.principal(), |document| member::remove_with_members(document, &name))?;
        Ok(done())
    }

    pub(super) fn project_summary(&self, asked: &Asked) -> Answer {
        let (name, project) = self.project(asked, Sight::Pulls)?;
        let members = self.access.look(|document| member::members(document, &name));
        let repo_count = self.store.repositories_count(name.as_str())?;
        let used = self.store.usage(name.as_str())?;
        Ok(json_answer(StatusCode::OK, &SummaryView::new(&project, &members, repo_count, used.bytes)))
    }

    fn project_view(&self, asked: &Asked, name: &ProjectName, project: &Project) -> Result<ProjectView, ApiError> {
        let repo_count = self.store.repositories_count(name.as_str())?;
        Ok(self.access.look(|document| {
            let role = member::role_of(document, &asked.user, name, project);
            ProjectView::new(document, name, project, role, repo_count)
        }))
    }
}

fn fits(document: &AccessDocument, query: &Query, name: &ProjectName, project: &Project) -> bool {
    let owner = project.owner.as_ref().and_then(|owner| document.users.get(owner));
    let is_public = project.visibility == Visibility::Public;
    query.name.as_ref().is_none_or(|wanted| wanted.fits(name.as_str()))
        && query.is_public.is_none_or(|wanted| wanted == is_public)
        && query.owner.as_ref().is_none_or(|wanted| owner.is_some_and(|owner| owner.name.as_str() == wanted))
}
