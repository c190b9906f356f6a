//! Which kind of route a request took, for the access log and the counters.

use super::route::Route;
use crate::ops::traffic::RouteClass;

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
