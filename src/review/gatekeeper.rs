//! External data of Gatekeeper (`externaldata.gatekeeper.sh`): keys are names of images, values their digests.

use serde::Deserialize;
use serde_json::{Value, json};

use super::bounded_list::BoundedList;

const GROUP: &str = "externaldata.gatekeeper.sh/";
const KIND: &str = "ProviderRequest";

#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    keys: BoundedList<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProviderRequest {
    api_version: String,
    kind: String,
    request: Keys,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The version that the answer has too.
    pub api_version: String,
    pub images: Vec<String>,
}

/// Why a body is no request of Gatekeeper.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("the body is no {KIND} that can be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the body is '{0}', and '{KIND}' of '{GROUP}v1beta1' or 'v1alpha1' is wanted")]
    Version(String),
}

/// Reads a request.
pub fn parse(body: &[u8]) -> Result<Asked, ProviderError> {
    let asked: ProviderRequest = serde_json::from_slice(body)?;
    let is_known = matches!(asked.api_version.strip_prefix(GROUP), Some("v1beta1" | "v1alpha1"));
    if !is_known || asked.kind != KIND {
        let shown = format!("{} {}", asked.api_version, asked.kind);
        return Err(ProviderError::Version(shown.chars().take(200).collect()));
    }
    Ok(Asked { api_version: asked.api_version, images: asked.request.keys.0 })
}

/// Answers it: for each image its name by digest, or why it is refused.
pub fn answer(asked: &Asked, outcomes: &[Result<String, String>]) -> Value {
    let items: Vec<Value> = asked
        .images
        .iter()
        .zip(outcomes)
        .map(|(key, outcome)| match outcome {
            Ok(value) => json!({"key": key, "value": value, "error": ""}),
            Err(reason) => json!({"key": key, "value": "", "error": reason}),
        })
        .collect();
    // A tag may move between two requests.
    let response = json!({"idempotent": false, "items": items, "systemError": ""});
    json!({"apiVersion": asked.api_version, "kind": "ProviderResponse", "response": response})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Asked, ProviderError, answer, parse};

    #[test]
    fn a_request_and_its_answer() {
        let body = br#"{"apiVersion":"externaldata.gatekeeper.sh/v1beta1","kind":"ProviderRequest","request":{"keys":["a:1","b:1"]}}"#;
        let asked = parse(body).unwrap();
        assert_eq!(asked.images, ["a:1", "b:1"]);
        let answered = answer(&asked, &[Ok("a:1@sha256:00".to_owned()), Err("refused".to_owned())]);
        assert_eq!(answered["kind"], "ProviderResponse");
        assert_eq!(
            answered["response"]["items"],
            json!([{"key": "a:1", "value": "a:1@sha256:00", "error": ""}, {"key": "b:1", "value": "", "error": "refused"}])
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let other = br#"{"apiVersion":"externaldata.gatekeeper.sh/v2","kind":"ProviderRequest","request":{"keys":[]}}"#;
        assert!(matches!(parse(other), Err(ProviderError::Version(_))));
        assert!(matches!(parse(b"{}"), Err(ProviderError::Json(_))));
        let keys = vec!["a"; 257];
        let many = json!({"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": {"keys": keys}});
        assert!(parse(&serde_json::to_vec(&many).unwrap()).unwrap_err().to_string().contains("more than 256"));
        let none = Asked { api_version: "externaldata.gatekeeper.sh/v1beta1".to_owned(), images: Vec::new() };
        assert_eq!(answer(&none, &[])["response"]["items"], json!([]));
    }
}
