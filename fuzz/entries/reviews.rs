//! What clusters ask before an image is used.

use postern::limits::REVIEW_IMAGES_COUNT_MAX;
use postern::oci::name::Reference;
use postern::review::pod_image::PodImage;
use postern::review::{gatekeeper, kubernetes};

use super::text;

pub const ADMISSION_REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"group":"batch","kind":"CronJob"},"operation":"UPDATE","object":{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b:1"}],"volumes":[{"name":"c","image":{"reference":"d:1"}}]}}}}}},"oldObject":null}}"#;
pub const PROVIDER_REQUEST: &str =
    r#"{"apiVersion":"externaldata.gatekeeper.sh/v1beta1","kind":"ProviderRequest","request":{"keys":["a:1"]}}"#;

pub fn admission_review(bytes: &[u8]) {
    if let Ok(asked) = kubernetes::parse(bytes)
        && let Ok(images) = asked.images
    {
        assert!(images.len() <= REVIEW_IMAGES_COUNT_MAX);
        assert!(images.iter().all(|image| image.pointer.starts_with('/')));
    }
    if let Ok(asked) = gatekeeper::parse(bytes) {
        assert!(asked.images.len() <= REVIEW_IMAGES_COUNT_MAX);
    }
}

pub fn pod_image(bytes: &[u8]) {
    if let Ok(image) = text(bytes).parse::<PodImage>() {
        let separator = if matches!(image.reference, Reference::Tag(_)) { ':' } else { '@' };
        let written = format!("{}/{}{separator}{}", image.registry, image.path, image.reference);
        // A host that is one only by its capital letters is none when these are gone.
        if image.registry.contains(['.', ':']) || image.registry == "localhost" {
            assert_eq!(written.parse::<PodImage>(), Ok(image));
        }
    }
}
