//! The appliance itself, and whoever asks.

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{Response, StatusCode};
use serde_json::json;

use super::error::{ApiError, json_answer};
use super::route::Endpoint;
use super::view::CurrentUserView;
use super::{Answer, Api};
use crate::access::{Caller, Subject};
use crate::http::Body;
use crate::ops::health::{Health, HealthStatus};

/// Where accounts are kept, in Harbor's word for "with the registry itself".
const AUTH_MODE: &str = "db_auth";

impl Api {
    /// What anyone may know.
    pub(super) fn open(&self, endpoint: Endpoint) -> Response<Body> {
        match endpoint {
            Endpoint::Ping => {
                let mut response = Response::new(Body::full("Pong"));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                response
            }
            Endpoint::Health => {
                let is_well = Health::of(&self.store).status == HealthStatus::Ok;
                let status = if is_well { "healthy" } else { "unhealthy" };
                let mut component = json!({ "name": "registry", "status": status });
                if !is_well && let Some(fields) = component.as_object_mut() {
                    fields.insert("error".to_owned(), json!("nothing can be changed: the log says why"));
                }
                json_answer(StatusCode::OK, &json!({ "status": status, "components": [component] }))
            }
            Endpoint::Notice => self.notice(),
            _ => json_answer(
                StatusCode::OK,
                &json!({
                    "auth_mode": AUTH_MODE,
                    "project_creation_restriction": "adminonly",
                    "self_registration": false,
                    "read_only": self.store.read_only().is_some(),
                }),
            ),
        }
    }

    /// What of Harbor's configuration has a meaning here, for clients that look before they set a quota or read a robot.
    pub(super) fn configurations() -> Response<Body> {
        let fixed = |value: serde_json::Value| json!({ "value": value, "editable": false });
        let configurations = json!({
            "auth_mode": fixed(json!(AUTH_MODE)),
            "project_creation_restriction": fixed(json!("adminonly")),
            "quota_per_project_enable": fixed(json!(true)),
            "robot_name_prefix": fixed(json!(crate::access::document::ROBOT_PREFIX)),
            "self_registration": fixed(json!(false)),
        });
        json_answer(StatusCode::OK, &configurations)
    }

    /// Whoever asks: a user, or a robot.
    pub(super) fn current_user(&self, caller: &Caller) -> Answer {
        let is_system_admin = self.is_system_admin(caller);
        let view = self.access.look(|document| {
            let (user_id, username, creation_time) = match &caller.subject {
                Subject::Anonymous => return None,
                Subject::User(id) => {
                    let user = document.users.get(id)?;
                    (user.number, user.name.to_string(), user.created)
                }
                Subject::Robot(id) => {
                    let robot = document.robots.get(id)?;
                    (robot.number, robot.login_name(), robot.created)
                }
            };
            let sysadmin_flag = is_system_admin;
            Some(CurrentUserView { user_id, username, sysadmin_flag, admin_role_in_auth: false, creation_time })
        });
        // Removed since the request began.
        Ok(json_answer(StatusCode::OK, &view.ok_or(ApiError::SignIn)?))
    }
}
