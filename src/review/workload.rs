//! Where the images of a Kubernetes object stand: in Pods and in everything that makes Pods.
//!
//! Only what names an image is read; everything else in an object is skipped without being kept, and lists are bounded as
//! they are read, so that memory follows neither the size nor the shape of a foreign body.

use serde::Deserialize;

use super::bounded_list::BoundedList;
use crate::limits::REVIEW_IMAGES_COUNT_MAX;

/// The kinds that are looked into, with their groups.
const KINDS: [(&str, &str, Place); 9] = [
    ("", "Pod", Place::Object),
    ("", "PodTemplate", Place::Template),
    ("", "ReplicationController", Place::SpecTemplate),
    ("apps", "Deployment", Place::SpecTemplate),
    ("apps", "ReplicaSet", Place::SpecTemplate),
    ("apps", "StatefulSet", Place::SpecTemplate),
    ("apps", "DaemonSet", Place::SpecTemplate),
    ("batch", "Job", Place::SpecTemplate),
    ("batch", "CronJob", Place::JobTemplate),
];

/// Where in an object a Pod's specification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Object,
    Template,
    SpecTemplate,
    JobTemplate,
}

impl Place {
    const fn pointer(self) -> &'static str {
        match self {
            Self::Object => "/spec",
            Self::Template => "/template/spec",
            Self::SpecTemplate => "/spec/template/spec",
            Self::JobTemplate => "/spec/jobTemplate/spec/template/spec",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Container {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Debug, Deserialize)]
struct ImageVolume {
    #[serde(default)]
    reference: String,
}

#[derive(Debug, Deserialize)]
struct Volume {
    #[serde(default)]
    name: String,
    image: Option<ImageVolume>,
}

/// A Pod's specification, or that of something with a template in it: the fields of all of them have different names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    containers: BoundedList<Container>,
    #[serde(default)]
    init_containers: BoundedList<Container>,
    #[serde(default)]
    ephemeral_containers: BoundedList<Container>,
    #[serde(default)]
    volumes: BoundedList<Volume>,
    template: Option<Box<Template>>,
    job_template: Option<Box<Template>>,
}

#[derive(Debug, Deserialize)]
struct Template {
    spec: Option<Spec>,
}

/// An object under review, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Workload {
    spec: Option<Spec>,
    template: Option<Box<Template>>,
}

/// One place where an image is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// JSON pointer (RFC 6901) to the text.
    pub pointer: String,
    /// The container or the volume that it is for.
    pub user: String,
    /// As it is written.
    pub image: String,
}

/// Why an object is not looked into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    #[error(
        "'{kind}' of group '{group}' is not known to name images: take it out of the webhook's rules; the Pods that it makes are reviewed by themselves"
    )]
    Kind { group: String, kind: String },
    #[error("the object has no '{0}'")]
    NoSpec(&'static str),
    #[error("the review holds no object")]
    NoObject,
    #[error("it names more than {REVIEW_IMAGES_COUNT_MAX} images, the most that one review looks at")]
    TooMany,
}

impl Workload {
    /// Every image that an object of this kind names.
    pub fn images(&self, group: &str, kind: &str) -> Result<Vec<NamedImage>, WorkloadError> {
        let known = KINDS.iter().find(|(known_group, known, _)| (*known_group, *known) == (group, kind));
        let unknown = || WorkloadError::Kind { group: shown(group), kind: shown(kind) };
        let (_, _, place) = known.ok_or_else(unknown)?;
        let inner = self.spec.as_ref();
        let spec = match place {
            Place::Object => inner,
            Place::Template => in_template(self.template.as_deref()),
            Place::SpecTemplate => inner.and_then(|spec| in_template(spec.template.as_deref())),
            Place::JobTemplate => inner
                .and_then(|spec| in_template(spec.job_template.as_deref()))
                .and_then(|spec| in_template(spec.template.as_deref())),
        };
        spec.ok_or(WorkloadError::NoSpec(place.pointer()))?.images(place.pointer())
    }
}

impl Spec {
    fn images(&self, pointer: &str) -> Result<Vec<NamedImage>, WorkloadError> {
        let lists = [
            ("initContainers", &self.init_containers),
            ("containers", &self.containers),
            ("ephemeralContainers", &self.ephemeral_containers),
        ];
        let mut images = Vec::new();
        for (list, containers) in lists {
            images.extend(containers.0.iter().enumerate().map(|(position, container)| NamedImage {
                pointer: format!("{pointer}/{list}/{position}/image"),
                user: container.name.clone(),
                image: container.image.clone(),
            }));
        }
        for (position, volume) in self.volumes.0.iter().enumerate() {
            let Some(image) = &volume.image else { continue };
            images.push(NamedImage {
                pointer: format!("{pointer}/volumes/{position}/image/reference"),
                user: volume.name.clone(),
                image: image.reference.clone(),
            });
        }
        if images.len() > REVIEW_IMAGES_COUNT_MAX { Err(WorkloadError::TooMany) } else { Ok(images) }
    }
}

fn in_template(template: Option<&Template>) -> Option<&Spec> {
    template.and_then(|template| template.spec.as_ref())
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{KINDS, Workload, WorkloadError};

    fn pod_spec() -> Value {
        json!({
            "initContainers": [{"name": "first", "image": "a:1"}],
            "containers": [{"name": "web", "image": "b:1", "ports": [{"containerPort": 1}]}, {"name": "side", "image": "c:1"}],
            "ephemeralContainers": [{"name": "look", "image": "d:1"}],
            "volumes": [{"name": "plain", "emptyDir": {}}, {"name": "model", "image": {"reference": "e:1"}}],
        })
    }

    fn images(group: &str, kind: &str, object: Value) -> Result<Vec<(String, String)>, WorkloadError> {
        let workload: Workload = serde_json::from_value(object).unwrap();
        let images = workload.images(group, kind)?;
        Ok(images.into_iter().map(|image| (image.pointer, image.image)).collect())
    }

    #[test]
    fn every_kind_and_every_place_in_it() {
        for (group, kind, place) in KINDS {
            let mut object = json!({"metadata": {"name": "x"}});
            let pointer = place.pointer();
            let mut inner = &mut object;
            for step in pointer.split('/').skip(1) {
                inner = &mut inner[step];
            }
            *inner = pod_spec();
            let found = images(group, kind, object.clone()).unwrap();
            let named: Vec<&str> = found.iter().map(|(_, image)| image.as_str()).collect();
            assert_eq!(named, ["a:1", "b:1", "c:1", "d:1", "e:1"], "{kind}");
            for (pointer, image) in &found {
                assert_eq!(object.pointer(pointer), Some(&Value::from(image.as_str())), "{kind} {pointer}");
            }
        }
    }

    #[test]
    fn what_is_not_known_or_not_there_is_an_error() {
        let spec = json!({"spec": pod_spec()});
        assert!(matches!(images("apps", "Pod", spec.clone()), Err(WorkloadError::Kind { .. })));
        assert!(matches!(images("argoproj.io", "Rollout", spec.clone()), Err(WorkloadError::Kind { .. })));
        assert_eq!(images("apps", "Deployment", spec), Err(WorkloadError::NoSpec("/spec/template/spec")));
        assert_eq!(images("", "Pod", json!({})), Err(WorkloadError::NoSpec("/spec")));
        let container = json!({"name": "x", "image": "a:1"});
        let many = |count: usize| json!({"spec": {"containers": vec![container.clone(); count]}});
        assert!(serde_json::from_value::<Workload>(many(257)).unwrap_err().to_string().contains("more than 256"));
        let mut both = many(256);
        both["spec"]["initContainers"] = json!([container]);
        assert_eq!(images("", "Pod", both), Err(WorkloadError::TooMany));
        let nothing = json!({"spec": {"containers": null, "volumes": null}});
        assert_eq!(images("", "Pod", nothing), Ok(Vec::new()));
    }

    #[test]
    fn a_container_without_an_image_is_seen_as_one() {
        let found = images("", "Pod", json!({"spec": {"containers": [{"name": "x"}]}})).unwrap();
        assert_eq!(found, [("/spec/containers/0/image".to_owned(), String::new())]);
    }
}
