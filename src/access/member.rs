//! Members of one project: its owner, and whoever has a role in exactly this project. Pure.
//!
//! Rights in patterns that mean more than one project belong to the appliance: they are not seen here, and not changed.

use serde_json::json;

use super::change::{self, ChangeError, Changed, Outcome};
use super::document::{AccessDocument, Grant, User};
use super::name::{AccountName, ProjectName};
use super::project::Project;
use super::role::Role;

/// Somebody who belongs to a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The number of the user.
    pub number: u64,
    pub name: AccountName,
    pub role: Role,
    pub is_owner: bool,
}

fn exact<'u>(user: &'u User, project: &ProjectName) -> impl Iterator<Item = &'u Grant> {
    let name = project.to_string();
    user.grants.iter().filter(move |grant| grant.projects.as_str() == name)
}

/// Those who belong to `name`, in the order of their numbers.
pub fn members(document: &AccessDocument, name: &ProjectName) -> Vec<Member> {
    let owner = document.projects.get(name).and_then(|project| project.owner.as_ref());
    let member = |(id, user): (&String, &User)| {
        let is_owner = owner == Some(id);
        let granted = exact(user, name).map(|grant| grant.role).max();
        let role = if is_owner { Some(Role::Admin) } else { granted };
        role.map(|role| Member { number: user.number, name: user.name.clone(), role, is_owner })
    };
    let mut members: Vec<Member> = document.users.iter().filter_map(member).collect();
    members.sort_by_key(|member| member.number);
    members
}

/// The most that a user is in a project, by owning it and by all rights.
pub fn role_of(document: &AccessDocument, user: &str, name: &ProjectName, project: &Project) -> Option<Role> {
    if project.owner.as_deref() == Some(user) {
        return Some(Role::Admin);
    }
    let grants = document.users.get(user).map_or(&[][..], |user| &user.grants);
    grants.iter().filter(|grant| grant.projects.matches(name.as_str())).map(|grant| grant.role).max()
}

/// Gives a user one role in exactly this project, in the place of those that there were.
pub fn set_member(
    document: &mut AccessDocument,
    project: &ProjectName,
    name: &AccountName,
    role: Role,
) -> Outcome<Member> {
    let projects = super::name::ProjectPattern::exactly(project).map_err(|_| no_project(project))?;
    let is_owner = owns(document, project, name)?;
    if is_owner && role != Role::Admin {
        return Err(ChangeError::OwnsProject { name: name.clone(), project: project.clone() });
    }
    let (id, user) = change::user_mut(document, name)?;
    let number = user.number;
    user.grants.retain(|grant| grant.projects != projects);
    let grant = Grant { role, projects };
    let values = json!(grant);
    user.grants.push(grant);
    let member = Member { number, name: name.clone(), role, is_owner };
    Ok(Changed::new("member_set", id, values, member))
}

/// Takes away what a user is in exactly this project.
pub fn remove_member(document: &mut AccessDocument, project: &ProjectName, name: &AccountName) -> Outcome<()> {
    if owns(document, project, name)? {
        return Err(ChangeError::OwnsProject { name: name.clone(), project: project.clone() });
    }
    let (id, user) = change::user_mut(document, name)?;
    let before = user.grants.len();
    user.grants.retain(|grant| grant.projects.as_str() != project.as_str());
    if user.grants.len() == before {
        return Err(ChangeError::NoGrant { name: name.clone() });
    }
    Ok(Changed::new("member_removed", id, json!({ "project": project }), ()).taking_away(true))
}

/// Removes a project and what users are in exactly this one: who is given the name later begins without them.
pub fn remove_with_members(document: &mut AccessDocument, project: &ProjectName) -> Outcome<()> {
    let changed = change::remove_project(document, project)?;
    for user in document.users.values_mut() {
        user.grants.retain(|grant| grant.projects.as_str() != project.as_str());
    }
    Ok(changed)
}

fn owns(document: &AccessDocument, project: &ProjectName, name: &AccountName) -> Result<bool, ChangeError> {
    let declared = document.projects.get(project).ok_or_else(|| no_project(project))?;
    Ok(declared.owner.as_deref() == Some(change::user_id(document, name)?.as_str()))
}

fn no_project(project: &ProjectName) -> ChangeError {
    ChangeError::NoProject(project.clone())
}

#[cfg(test)]
mod tests {
    use super::{members, remove_member, remove_with_members, role_of, set_member};
    use crate::access::change::{ChangeError, add_project, add_user};
    use crate::access::document::{AccessDocument, Grant, User};
    use crate::access::project::Project;
    use crate::access::role::Role;

    #[test]
    fn members_come_and_go_and_patterns_stay() {
        let mut document = AccessDocument::empty();
        let document = &mut document;
        let grant = |role, projects: &str| Grant { role, projects: projects.parse().unwrap() };
        for (id, grants) in [
            ("anna", vec![grant(Role::Reader, "team-a"), grant(Role::Pusher, "team-a"), grant(Role::Reader, "team-*")]),
            ("bert", vec![]),
            ("root", vec![grant(Role::Admin, "*")]),
        ] {
            let name = id.parse().unwrap();
            let user = User {
                number: 0,
                name,
                password: None,
                grants,
                certificates: Vec::new(),
                second_factor: None,
                disabled: false,
                created: None,
            };
            add_user(document, id, user).unwrap();
        }
        let a = "team-a".parse().unwrap();
        let project = Project { owner: Some("bert".to_owned()), ..Project::default() };
        add_project(document, "team-a".parse().unwrap(), project.clone()).unwrap();
        let found = |document: &AccessDocument| {
            let found = members(document, &a);
            found.into_iter().map(|member| (member.name.to_string(), member.role)).collect::<Vec<_>>()
        };
        let named = |name: &str, role| (name.to_owned(), role);
        assert_eq!(found(document), [named("anna", Role::Pusher), named("bert", Role::Admin)]);
        assert_eq!(role_of(document, "root", &a, &project), Some(Role::Admin));

        let (anna, bert) = ("anna".parse().unwrap(), "bert".parse().unwrap());
        let changed = set_member(document, &a, &anna, Role::Maintainer).unwrap();
        assert!(changed.object == "anna" && !changed.values.to_string().contains("anna"));
        assert_eq!(found(document)[0], named("anna", Role::Maintainer));
        let owner = |changed: Result<_, ChangeError>| matches!(changed, Err(ChangeError::OwnsProject { .. }));
        assert!(owner(set_member(document, &a, &bert, Role::Reader).map(drop)));
        assert!(owner(remove_member(document, &a, &bert).map(drop)));
        remove_member(document, &a, &anna).unwrap();
        assert!(matches!(remove_member(document, &a, &anna), Err(ChangeError::NoGrant { .. })));
        assert_eq!(role_of(document, "anna", &a, &project), Some(Role::Reader), "the pattern stays");

        set_member(document, &a, &anna, Role::Admin).unwrap();
        remove_with_members(document, &a).unwrap();
        assert_eq!(document.users["anna"].grants, [grant(Role::Reader, "team-*")]);
    }
}
