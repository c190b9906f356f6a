//! What speaks of a manifest, in a registry that does not list such by itself: an index under a tag made of the subject's
//! digest, which every client that pushes adds to (distribution specification, "Pushing Manifests with Subject"). Pure.

use serde_json::{Value, json};

use crate::limits::{MANIFEST_BYTES_MAX, MANIFEST_DESCRIPTORS_COUNT_MAX};
use crate::oci::manifest::{Manifest, ManifestError};
use crate::oci::media_type::OCI_INDEX;

/// Why a list that stands in a registry cannot be added to.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    #[error("the list of what speaks of an image cannot be used")]
    Manifest(#[from] ManifestError),
    #[error("the list of what speaks of an image cannot be written")]
    Json(#[from] serde_json::Error),
    #[error("the list of what speaks of an image is full")]
    Full,
}

/// The list with `referrer` in it; `None` where it stands in it already. What others wrote stays as it is.
pub fn added(existing: Option<&[u8]>, referrer: &Manifest) -> Result<Option<Vec<u8>>, ListingError> {
    let mut list = match existing {
        None => json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
        Some(bytes) => {
            let parsed = Manifest::parse(bytes, OCI_INDEX)?;
            if parsed.parts.iter().any(|part| part.digest == referrer.digest) {
                return Ok(None);
            }
            if parsed.parts.len() >= MANIFEST_DESCRIPTORS_COUNT_MAX {
                return Err(ListingError::Full);
            }
            serde_json::from_slice(bytes)?
        }
    };
    let mut descriptor = json!({
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size,
    });
    if let Some(artifact_type) = &referrer.artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = json!(referrer.annotations);
    }
    match list.get_mut("manifests") {
        Some(Value::Array(manifests)) => manifests.push(descriptor),
        _ => list["manifests"] = json!([descriptor]),
    }
    let bytes = serde_json::to_vec(&list)?;
    if bytes.len() > MANIFEST_BYTES_MAX { Err(ListingError::Full) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::{ListingError, added};
    use crate::limits::MANIFEST_BYTES_MAX;
    use crate::oci::manifest::Manifest;
    use crate::oci::media_type::{OCI_INDEX, OCI_MANIFEST};

    fn referrer(text: &str) -> Manifest {
        let text = format!(r#"{{"schemaVersion":2,"artifactType":"a/b","layers":[],"annotations":{{"k":"{text}"}}}}"#);
        Manifest::parse(text.as_bytes(), OCI_MANIFEST).unwrap()
    }

    #[test]
    fn a_list_begins_grows_and_says_when_nothing_is_new() {
        let (one, two) = (referrer("one"), referrer("two"));
        let list = added(None, &one).unwrap().unwrap();
        assert_eq!(added(Some(&list), &one).unwrap(), None);
        let longer = added(Some(&list), &two).unwrap().unwrap();
        let parsed = Manifest::parse(&longer, OCI_INDEX).unwrap();
        let listed: Vec<_> =
            parsed.parts.iter().map(|part| (part.digest, part.size, part.annotations["k"].as_str())).collect();
        assert_eq!(listed, [(one.digest, one.size, "one"), (two.digest, two.size, "two")]);
        assert!(parsed.parts.iter().all(|part| part.artifact_type.as_deref() == Some("a/b")));
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = r#"{"schemaVersion":2,"manifests":null,"annotations":{"x":"y"},"stranger":[1]}"#;
        let list = added(Some(text.as_bytes()), &referrer("one")).unwrap().unwrap();
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!((&list["stranger"][0], &list["annotations"]["x"]), (&1.into(), &"y".into()));
        assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_list_or_full_is_refused() {
        for wrong in ["", "[]", "{}", r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#]
        {
            assert!(
                matches!(added(Some(wrong.as_bytes()), &referrer("one")), Err(ListingError::Manifest(_))),
                "{wrong}"
            );
        }
        let filling = "x".repeat(MANIFEST_BYTES_MAX - 60);
        let full = format!(r#"{{"schemaVersion":2,"manifests":[],"a":"{filling}"}}"#);
        assert!(matches!(added(Some(full.as_bytes()), &referrer("one")), Err(ListingError::Full)));
    }
}
