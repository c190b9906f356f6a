//! What clients see on one listener: the registry, the API for projects and robots beside it, and reviews.

use std::sync::Arc;

use ::http::{Method, Request, Response, Uri};

use crate::api::{self, Api};
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::ops::traffic::RouteClass;
use crate::registry::{self, Registry};
use crate::review::{self, Review};

/// All of them.
pub(super) struct Surfaces {
    pub(super) registry: Arc<Registry>,
    pub(super) api: Arc<Api>,
    pub(super) review: Arc<Review>,
}

impl Handler for Surfaces {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        if api::is_mine(request.uri().path()) {
            return Arc::clone(&self.api).handle(request, info).await;
        }
        if review::route::is_mine(request.uri().path()) {
            return Arc::clone(&self.review).handle(request, info).await;
        }
        Arc::clone(&self.registry).handle(request, info).await
    }
}

/// The kind of route that a request would take.
pub(super) fn class_of(method: &Method, uri: &Uri) -> RouteClass {
    match uri.path() {
        path if api::is_mine(path) => api::class_of(method, uri),
        path if review::route::is_mine(path) => RouteClass::Review,
        _ => registry::class_of(method, uri),
    }
}
