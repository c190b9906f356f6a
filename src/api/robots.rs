//! Robots. Their secrets are made here and shown once.

use ::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::error::{ApiError, json_answer};
use super::query::Page;
use super::request::{self, Duration, RequestError, RobotRequest};
use super::sight::Sight;
use super::view::{NewRobotView, RobotView, duration_days};
use super::{Answer, Api, Asked, created, done, listed};
use crate::access::change::{self, NewRobot};
use crate::access::name::AccountName;
use crate::access::{Robot, secret};
use crate::sys::random;

impl Api {
    pub(super) fn robots_list(&self, asked: &Asked) -> Answer {
        let query = &asked.route.query;
        let robots: Vec<Robot> = self.access.look(|document| {
            let project = |number: u64| document.projects.iter().find(|(_, project)| project.number == number);
            let wanted = query.project.map(|number| project(number).map(|(name, _)| name));
            let fits = |robot: &&Robot| {
                !query.is_empty
                    && wanted.is_none_or(|wanted| wanted == Some(&robot.project))
                    && query.name.as_ref().is_none_or(|wanted| wanted.fits(&robot.login_name()))
            };
            document.robots.values().filter(fits).cloned().collect()
        });
        let managed = robots.into_iter().filter(|robot| self.sight(asked, &robot.project) == Sight::Manages).collect();
        let page = Page::cut(managed, query, |robot: &Robot| (robot.number, robot.login_name()));
        let entries = page.entries.iter().map(RobotView::new).collect();
        Ok(listed(asked, &Page { entries, total: page.total }))
    }

    pub(super) fn robots_add(&self, asked: &Asked) -> Answer {
        let request = RobotRequest::parse_new(&asked.body)?;
        let is_there = self.access.look(|document| document.projects.contains_key(&request.project));
        match self.sight(asked, &request.project) {
            Sight::Manages if is_there => {}
            Sight::Pulls if is_there => {
                return Err(ApiError::Forbidden("this is for admins of the project: ask its owner"));
            }
            _ => return Err(ApiError::NotFound("project")),
        }
        let name: AccountName =
            request.name.as_ref().ok_or(RequestError::Missing("name"))?.parse().map_err(RequestError::from)?;
        let now = self.access.now();
        let new = NewRobot {
            expires: after(now, request.duration()?)?,
            project: request.project,
            name,
            role: request.role,
            disabled: request.disabled.unwrap_or(false),
            description: request.description.unwrap_or_default(),
            created: now,
        };
        let (id, secret) = (format!("r-{}", random::identifier()), secret::generate());
        let kept = secret::keep(&secret);
        let robot = self.access.change(asked.principal(), |document| change::add_robot(document, &id, new, kept))?;
        let location = format!("/robots/{}", robot.number);
        Ok(created(json_answer(StatusCode::CREATED, &NewRobotView::new(&robot, secret)), &location))
    }

    pub(super) fn robot_read(&self, asked: &Asked) -> Answer {
        Ok(json_answer(StatusCode::OK, &RobotView::new(&self.robot(asked)?)))
    }

    pub(super) fn robot_set(&self, asked: &Asked) -> Answer {
        let robot = self.robot(asked)?;
        let request = RobotRequest::parse_change(&asked.body, robot.number)?;
        let login_name = robot.login_name();
        let is_name = |name: &String| *name == login_name || name.as_str() == robot.name.as_str();
        if !request.name.as_ref().is_none_or(is_name) {
            return Err(RequestError::Fixed { field: "name", value: login_name }.into());
        }
        if request.project != robot.project {
            let value = robot.project.to_string();
            return Err(RequestError::Fixed { field: "permissions.namespace", value }.into());
        }
        // As many days as before keep the hour too.
        let expires = if request.duration_days == Some(duration_days(&robot)) {
            robot.expires
        } else {
            after(robot.created.unwrap_or_else(|| self.access.now()), request.duration()?)?
        };
        self.access.change(asked.principal(), |document| {
            change::set_robot(document, &login_name, |robot| {
                robot.role = request.role;
                robot.expires = expires;
                robot.disabled = request.disabled.unwrap_or(robot.disabled);
                if let Some(description) = request.description {
                    robot.description = description;
                }
            })
        })?;
        Ok(done())
    }

    pub(super) fn robot_renew(&self, asked: &Asked) -> Answer {
        let login_name = self.robot(asked)?.login_name();
        request::parse_renewal(&asked.body)?;
        let secret = secret::generate();
        let kept = secret::keep(&secret);
        self.access.change(asked.principal(), |document| change::renew_robot(document, &login_name, kept))?;
        Ok(json_answer(StatusCode::OK, &json!({ "secret": secret })))
    }

    pub(super) fn robot_remove(&self, asked: &Asked) -> Answer {
        let login_name = self.robot(asked)?.login_name();
        self.access.change(asked.principal(), |document| change::remove_robot(document, &login_name))?;
        Ok(done())
    }

    /// The robot of this number, for whoever manages its project.
    fn robot(&self, asked: &Asked) -> Result<Robot, ApiError> {
        let number = asked.route.number;
        let found = self.access.look(|document| document.robots.values().find(|robot| robot.number == number).cloned());
        found.filter(|robot| self.sight(asked, &robot.project) == Sight::Manages).ok_or(ApiError::NotFound("robot"))
    }
}

/// When a robot that begins at `from` ends.
fn after(from: Timestamp, duration: Duration) -> Result<Option<Timestamp>, ApiError> {
    match duration {
        Duration::Always => Ok(None),
        Duration::Days(days) => {
            let ends = from.checked_add(SignedDuration::from_hours(24 * i64::from(days)));
            ends.map(Some).map_err(|_| ApiError::Days)
        }
    }
}
