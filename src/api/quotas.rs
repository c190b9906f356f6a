//! How much projects may hold. A quota has the number of its project.

use ::http::StatusCode;

use super::error::{ApiError, json_answer};
use super::query::Page;
use super::request;
use super::sight::Sight;
use super::view::QuotaView;
use super::{Answer, Api, Asked, done, listed};
use crate::access::name::ProjectName;
use crate::access::{Project, change};

impl Api {
    pub(super) fn quotas_list(&self, asked: &Asked) -> Answer {
        let query = &asked.route.query;
        let fits = |project: &Project| !query.is_empty && query.project.is_none_or(|number| number == project.number);
        let fitting: Vec<(ProjectName, Project)> = self.access.look(|document| {
            let fitting = document.projects.iter().filter(|(_, project)| fits(project));
            fitting.map(|(name, project)| (name.clone(), project.clone())).collect()
        });
        let managed = fitting.into_iter().filter(|(name, _)| self.sight(asked, name) == Sight::Manages).collect();
        let key = |(name, project): &(ProjectName, Project)| (project.number, name.to_string());
        let page = Page::cut(managed, query, key);
        let entries = page.entries.iter().map(|(name, project)| self.quota_view(name, project));
        let page = Page { entries: entries.collect::<Result<Vec<_>, _>>()?, total: page.total };
        Ok(listed(asked, &page))
    }

    pub(super) fn quota_read(&self, asked: &Asked) -> Answer {
        let (name, project) = self.numbered(asked, Sight::Manages)?;
        Ok(json_answer(StatusCode::OK, &self.quota_view(&name, &project)?))
    }

    /// A bound is for those who are bounded; another one sets it.
    pub(super) fn quota_set(&self, asked: &Asked) -> Answer {
        let (name, _) = self.numbered(asked, Sight::Manages)?;
        Self::only_system_admin(asked)?;
        let bound = request::parse_quota(&asked.body)?.0;
        self.access.change(asked.principal(), |document| {
            change::set_project(document, &name, |project| project.quota_bytes_max = bound)
        })?;
        Ok(done())
    }

    fn quota_view(&self, name: &ProjectName, project: &Project) -> Result<QuotaView, ApiError> {
        let used = self.store.usage(name.as_str())?;
        Ok(self.access.look(|document| QuotaView::new(document, name, project, used.bytes)))
    }
}
