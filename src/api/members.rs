//! Members of a project. One has the number of the user.

use ::http::StatusCode;

use super::error::{ApiError, json_answer};
use super::query::Page;
use super::request::{MemberRequest, RequestError};
use super::sight::Sight;
use super::view::MemberView;
use super::{Answer, Api, Asked, created, done, listed};
use crate::access::change::ChangeError;
use crate::access::member::{self, Member};
use crate::access::name::{AccountName, ProjectName};

impl Api {
    pub(super) fn members_list(&self, asked: &Asked) -> Answer {
        let (name, project) = self.project(asked, Sight::Manages)?;
        let query = &asked.route.query;
        let mut members = self.access.look(|document| member::members(document, &name));
        members.retain(|member| query.name.as_ref().is_none_or(|wanted| wanted.fits(member.name.as_str())));
        let page = Page::cut(members, query, |member: &Member| (member.number, member.name.to_string()));
        let entries = page.entries.iter().map(|member| MemberView::new(project.number, member)).collect();
        Ok(listed(asked, &Page { entries, total: page.total }))
    }

    pub(super) fn members_add(&self, asked: &Asked) -> Answer {
        let (project, declared) = self.project(asked, Sight::Manages)?;
        let request = MemberRequest::parse(&asked.body)?;
        let name = self.user_of(&request)?.ok_or(RequestError::Missing("member_user.username"))?;
        let members = self.access.look(|document| member::members(document, &project));
        if members.iter().any(|member| member.name == name) {
            return Err(ApiError::Conflict(format!("'{name}' is a member of project '{project}' already")));
        }
        let added = self
            .access
            .change(asked.principal(), |document| member::set_member(document, &project, &name, request.role))?;
        Ok(created(done(), &format!("/projects/{}/members/{}", declared.number, added.number)))
    }

    pub(super) fn member_read(&self, asked: &Asked) -> Answer {
        let (name, project) = self.project(asked, Sight::Manages)?;
        let member = self.member(asked, &name)?;
        Ok(json_answer(StatusCode::OK, &MemberView::new(project.number, &member)))
    }

    pub(super) fn member_set(&self, asked: &Asked) -> Answer {
        let (project, _) = self.project(asked, Sight::Manages)?;
        let name = self.member(asked, &project)?.name;
        let request = MemberRequest::parse(&asked.body)?;
        if self.user_of(&request)?.is_some_and(|other| other != name) {
            return Err(RequestError::Fixed { field: "member_user", value: name.to_string() }.into());
        }
        self.access
            .change(asked.principal(), |document| member::set_member(document, &project, &name, request.role))?;
        Ok(done())
    }

    pub(super) fn member_remove(&self, asked: &Asked) -> Answer {
        let (project, _) = self.project(asked, Sight::Manages)?;
        let name = self.member(asked, &project)?.name;
        self.access.change(asked.principal(), |document| member::remove_member(document, &project, &name))?;
        Ok(done())
    }

    fn member(&self, asked: &Asked, project: &ProjectName) -> Result<Member, ApiError> {
        let members = self.access.look(|document| member::members(document, project));
        let found = members.into_iter().find(|member| member.number == asked.route.number);
        found.ok_or(ApiError::NotFound("member"))
    }

    /// Whom a request means, by name or by number.
    fn user_of(&self, request: &MemberRequest) -> Result<Option<AccountName>, ApiError> {
        self.access.look(|document| {
            let named = request.name.as_ref();
            let wanted = |number: u64, name: &AccountName| {
                named.is_none_or(|named| named == name) && request.number.is_none_or(|wanted| wanted == number)
            };
            if named.is_none() && request.number.is_none() {
                return Ok(None);
            }
            let found = document.users.values().find(|user| wanted(user.number, &user.name));
            match (found, named) {
                (Some(user), _) => Ok(Some(user.name.clone())),
                (None, Some(name)) => Err(ApiError::Access(ChangeError::NoUser(name.clone()).into())),
                (None, None) => Err(ApiError::NotFound("user")),
            }
        })
    }
}
