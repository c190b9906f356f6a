//! Admission reviews of Kubernetes (`admission.k8s.io/v1`): what is asked, and the answers.

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::workload::{NamedImage, Workload, WorkloadError};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Longest message of a refusal: what an API server shows of one is cut at some length of its own.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Deserialize)]
struct GroupKind {
    #[serde(default)]
    group: String,
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: GroupKind,
    operation: String,
    object: Option<Workload>,
    old_object: Option<Workload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// To be given back with the answer.
    pub uid: String,
    /// What is to be looked at. Nothing where an operation brings no image in, as a deletion, or a change that leaves all
    /// images as they were: an object that runs must stay changeable when its image is refused later.
    pub images: Result<Vec<NamedImage>, WorkloadError>,
}

/// Why a body is no review.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("the body is no {KIND} that can be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error(
        "the body is '{kind}' of '{api_version}', and '{KIND}' of '{API_VERSION}' is wanted: name that in the webhook's admissionReviewVersions"
    )]
    Version { api_version: String, kind: String },
    #[error("the review has no request")]
    NoRequest,
}

/// Reads a review.
pub fn parse(body: &[u8]) -> Result<Asked, ReviewError> {
    let review: Review = serde_json::from_slice(body)?;
    if review.api_version != API_VERSION || review.kind != KIND {
        let shown = |text: String| text.chars().take(100).collect();
        return Err(ReviewError::Version { api_version: shown(review.api_version), kind: shown(review.kind) });
    }
    let request = review.request.ok_or(ReviewError::NoRequest)?;
    Ok(Asked { images: request.images(), uid: request.uid })
}

impl Request {
    fn images(&self) -> Result<Vec<NamedImage>, WorkloadError> {
        if matches!(self.operation.as_str(), "DELETE" | "CONNECT") {
            return Ok(Vec::new());
        }
        let GroupKind { group, kind } = &self.kind;
        let images = self.object.as_ref().ok_or(WorkloadError::NoObject)?.images(group, kind)?;
        if self.operation != "UPDATE" {
            return Ok(images);
        }
        let before = self.old_object.as_ref().and_then(|object| object.images(group, kind).ok()).unwrap_or_default();
        // By its text and not by its place: a container may move in its list.
        let is_new = |image: &NamedImage| !before.iter().any(|old| old.image == image.image);
        Ok(images.into_iter().filter(is_new).collect())
    }
}

/// Lets the object in. Each pin is a pointer to an image's text and what is to stand there.
pub fn allow(uid: &str, warnings: &[String], pins: &[(String, String)]) -> Value {
    let mut response = json!({"uid": uid, "allowed": true});
    if !warnings.is_empty() {
        response["warnings"] = json!(warnings);
    }
    if !pins.is_empty() {
        let patch: Value =
            pins.iter().map(|(path, value)| json!({"op": "replace", "path": path, "value": value})).collect();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(BASE64.encode(patch.to_string().as_bytes()));
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
}

/// Keeps the object out, with what its author is told.
pub fn refuse(uid: &str, message: &str) -> Value {
    let message: String = message.chars().take(MESSAGE_BYTES_MAX).collect();
    let status = json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": message});
    json!({"apiVersion": API_VERSION, "kind": KIND, "response": {"uid": uid, "allowed": false, "status": status}})
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Asked, ReviewError, allow, parse};

    fn review(operation: &str, object: &Value, before: &Value) -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "operation": operation, "object": object, "oldObject": before, "dryRun": false,
            },
        })
    }

    fn pod(images: &[&str]) -> Value {
        let containers: Vec<Value> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}})
    }

    fn asked(review: &Value) -> Asked {
        parse(&serde_json::to_vec(review).unwrap()).unwrap()
    }

    #[test]
    fn only_what_brings_an_image_in_is_looked_at() {
        let check = |operation: &str, object: &Value, before: &Value, expected: &[&str]| {
            let images = asked(&review(operation, object, before)).images.unwrap();
            let named: Vec<&str> = images.iter().map(|image| image.image.as_str()).collect();
            assert_eq!(named, expected, "{operation}");
        };
        let nothing = Value::Null;
        check("CREATE", &pod(&["a:1", "b:1"]), &nothing, &["a:1", "b:1"]);
        check("UPDATE", &pod(&["b:1", "c:1", "a:1"]), &pod(&["a:1", "b:1"]), &["c:1"]);
        check("UPDATE", &pod(&["a:1"]), &pod(&["a:1"]), &[]);
        // What it was before is not known: all of it is looked at.
        check("UPDATE", &pod(&["a:1"]), &nothing, &["a:1"]);
        check("DELETE", &nothing, &pod(&["a:1"]), &[]);
        check("CONNECT", &json!({"kind": "PodExecOptions"}), &nothing, &[]);
        // An operation that nobody knows yet brings in what it holds.
        check("REPLACE", &pod(&["a:1"]), &pod(&["a:1"]), &["a:1"]);
        assert!(asked(&review("CREATE", &nothing, &nothing)).images.is_err());
    }

    #[test]
    fn what_is_no_review_is_refused_with_the_reason() {
        let mut old = review("CREATE", &pod(&[]), &Value::Null);
        old["apiVersion"] = json!("admission.k8s.io/v1beta1");
        let refused = |value: &Value| parse(&serde_json::to_vec(value).unwrap()).unwrap_err();
        assert!(refused(&old).to_string().contains("admissionReviewVersions"));
        let empty = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"});
        assert!(matches!(refused(&empty), ReviewError::NoRequest));
        assert!(matches!(refused(&json!([])), ReviewError::Json(_)));
        // Two readers of one text could each see another image.
        let twice = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"kind":"Pod"},
            "operation":"CREATE","object":{"spec":{"containers":[{"image":"good","image":"bad"}]}}}}"#;
        assert!(matches!(parse(twice).unwrap_err(), ReviewError::Json(_)));
    }

    #[test]
    fn a_patch_pins_images() {
        let answer = allow("1", &[], &[("/spec/containers/0/image".to_owned(), "a:1@sha256:00".to_owned())]);
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        let patch = data_encoding::BASE64.decode(answer["response"]["patch"].as_str().unwrap().as_bytes()).unwrap();
        let patch: Value = serde_json::from_slice(&patch).unwrap();
        assert_eq!(patch, json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "a:1@sha256:00"}]));
        let plain = allow("1", &[], &[]);
        assert_eq!(plain["response"], json!({"uid": "1", "allowed": true}));
    }
}
