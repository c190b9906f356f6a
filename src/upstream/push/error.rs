//! Why an image could not be pushed.

use super::listing::ListingError;
use crate::http::body::BodyError;
use crate::http::client::ClientError;
use crate::image_layout::LayoutError;
use crate::oci::name::Tag;
use crate::upstream::connection::ConnectionError;

/// A push that failed. What went over before stays there.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    #[error("'{registry}' cannot be spoken to")]
    Settings {
        registry: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("this appliance is declared offline, so nothing is pushed from it")]
    Offline,
    #[error("'{registry}' cannot be reached")]
    Unreachable {
        registry: String,
        #[source]
        source: ClientError,
    },
    #[error("'{registry}' gives no access")]
    Access {
        registry: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("'{registry}' wants other credentials{}", said(said_text))]
    Denied { registry: String, said_text: Option<String> },
    #[error("'{registry}' refuses {what}{}", said(said_text))]
    Refused { registry: String, what: String, said_text: Option<String> },
    #[error("'{registry}' asks to come back later{}", said(said_text))]
    NotNow { registry: String, said_text: Option<String> },
    #[error("'{registry}' answered with status {status} to {what}{}", said(said_text))]
    Status { registry: String, what: String, status: u16, said_text: Option<String> },
    #[error("'{registry}' names no place to upload '{what}' to: {reason}")]
    Place { registry: String, what: String, reason: &'static str },
    #[error("'{registry}' broke off")]
    Body {
        registry: String,
        #[source]
        source: BodyError,
    },
    #[error("'{registry}' does not list by itself what speaks of an image, and tag '{tag}' there cannot do so either")]
    Listing {
        registry: String,
        tag: Tag,
        #[source]
        source: ListingError,
    },
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

fn said(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!("; it says: {text}")).unwrap_or_default()
}

impl OutgoingError {
    pub(super) fn unanswered(registry: &str, error: ConnectionError) -> Self {
        let registry = registry.to_owned();
        match error {
            ConnectionError::Client(source) => Self::Unreachable { registry, source },
            ConnectionError::Settings(source) => Self::Settings { registry, source },
            ConnectionError::Denied => Self::Denied { registry, said_text: None },
            error => Self::Access { registry, source: Box::new(error) },
        }
    }
}
