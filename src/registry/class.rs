//! Which kind of route a request took, for the access log and the counters.

use ::http::{Method, Uri};

use super::route::{Route, route};
use crate::ops::traffic::RouteClass;

/// The kind of route that a request would take.
pub fn class_of(method: &Method, uri: &Uri) -> RouteClass {
    route(method, uri.path(), uri.query()).map_or(RouteClass::Other, |route| class(&route))
}

/// The kind of `route`.
pub(super) const fn class(route: &Route) -> RouteClass {
    match route {
        Route::Base => RouteClass::Base,
        Route::Health => RouteClass::Health,
        Route::Catalog(_) => RouteClass::Catalog,
        Route::Manifest { .. } => RouteClass::ManifestGet,
        Route::PutManifest { .. } => RouteClass::ManifestPut,
        Route::Blob { .. } => RouteClass::BlobGet,
        Route::StartUpload { .. } | Route::Upload { .. } => RouteClass::Upload,
        Route::DeleteManifest { .. } => RouteClass::ManifestDelete,
        Route::DeleteBlob { .. } => RouteClass::BlobDelete,
        Route::Tags { .. } => RouteClass::Tags,
        Route::Referrers { .. } => RouteClass::Referrers,
    }
}
