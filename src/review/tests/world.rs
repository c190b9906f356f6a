//! A registry with two images, a policy that can be changed, and somebody who asks about them.

use std::sync::{Arc, RwLock};

use ::http::Request;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::access::name::ProjectName;
use crate::access::{Access, AccessSettings, Enforcement, Project, UndeclaredRules, change};
use crate::device_id::DeviceId;
use crate::http::server::RequestInfo;
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_MANIFEST};
use crate::ops::access_log::AccessLog;
use crate::registry::{PolicySource, PushSettings, Registry, RegistrySettings};
use crate::review::{Review, ReviewSettings};
use crate::store::{PrincipalRef, Store, StoreSettings};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::Dir;
use crate::sys::dir_real::RealDir;
use crate::verify::TrustPolicy;

/// An API server in a network that is told everything.
pub const API_SERVER: &str = "10.2.0.9:4000";
/// Somebody who may pull nothing.
pub const STRANGER: &str = "203.0.113.7:4000";
const PUSHER: &str = "127.0.0.1:4000";

pub struct World {
    _path: tempfile::TempDir,
    access: Arc<Access>,
    registry: Arc<Registry>,
    review: Arc<Review>,
    policy: Arc<RwLock<Arc<TrustPolicy>>>,
}

fn info(remote: &str) -> RequestInfo {
    RequestInfo {
        request_id: "test".to_owned(),
        remote: Some(remote.parse().unwrap()),
        is_secure: true,
        certificate_names: None,
        peer_uid: None,
    }
}

impl World {
    pub fn new() -> Self {
        let path = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new("2026-11-30T00:00:00Z".parse().unwrap()));
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(path.path()).unwrap());
        Store::create(&dir, &clock, &DeviceId::of_public_key(b"device")).unwrap();
        let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(Arc::clone(&dir), Arc::clone(&clock), &settings).unwrap();
        let log = Arc::new(AccessLog::start(dir, clock).unwrap());
        let networks = |text: &str| vec![text.parse().unwrap()];
        let undeclared = UndeclaredRules { pull_networks: Vec::new(), push_networks: networks("127.0.0.0/8") };
        let access = AccessSettings { undeclared, token_seconds: 300, ..AccessSettings::default() };
        let access = Access::open(store.clone(), access).unwrap();
        let policy =
            Arc::new(RwLock::new(Arc::new(TrustPolicy::parse(b"version = 1\ndefault = \"admit\"\n").unwrap())));
        let current = Arc::clone(&policy);
        let source: PolicySource = Arc::new(move || Arc::clone(&current.read().unwrap()));
        let push = PushSettings::new(Arc::clone(&source));
        let (store_of, access_of, log_of) = (store.clone(), Arc::clone(&access), Arc::clone(&log));
        let registry = Registry::new(store_of, None, access_of, log_of, RegistrySettings::default(), push);
        let names = vec!["registry.example:5000".to_owned()];
        let settings = ReviewSettings { networks: networks("10.2.0.0/24"), registry_names: names };
        let review = Review::new(store, Arc::clone(&registry), Arc::clone(&access), log, source, settings);
        Self { _path: path, access, registry, review, policy }
    }

    /// Puts a policy into force.
    pub fn activate(&self, text: &str) {
        *self.policy.write().unwrap() = Arc::new(TrustPolicy::parse(text.as_bytes()).unwrap());
    }

    /// Makes the repositories below `apps` those of a project that only audits.
    pub fn audit_apps(&self) {
        let project = Project { enforcement: Enforcement::Audit, ..Project::default() };
        let name: ProjectName = "apps".parse().unwrap();
        let by = PrincipalRef::operator("0");
        self.access.change(by, |document| change::add_project(document, name, project)).unwrap();
    }

    /// Pushes an image.
    pub async fn push(&self, repository: &str, tag: &str) -> Digest {
        let config = format!("{{\"os\":\"linux\",\"of\":\"{repository}\"}}").into_bytes();
        let digest = Digest::of(&config);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.pushed("POST", &target, "application/octet-stream", config.clone()).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
            "config": {"mediaType": OCI_CONFIG, "digest": digest, "size": config.len()},
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let digest = Digest::of(&manifest);
        self.pushed("PUT", &format!("/v2/{repository}/manifests/{tag}"), OCI_MANIFEST, manifest).await;
        digest
    }

    async fn pushed(&self, method: &str, target: &str, content_type: &str, body: Vec<u8>) {
        let request = Request::builder().method(method).uri(target).header("content-type", content_type);
        let (parts, ()) = request.header("content-length", body.len()).body(()).unwrap().into_parts();
        let pieces = futures_util::stream::iter([Ok(Bytes::from(body))]).boxed();
        let response = self.registry.answer(parts, pieces, info(PUSHER)).await;
        assert_eq!(response.status(), 201, "{method} {target}");
    }

    /// Asks, and returns status and body.
    pub async fn ask(&self, remote: &str, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let (parts, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
        let body = Bytes::from(serde_json::to_vec(body).unwrap());
        self.send(remote, parts, body).await
    }

    pub async fn send(&self, remote: &str, parts: ::http::request::Parts, body: Bytes) -> (u16, Value) {
        let pieces = futures_util::stream::iter([Ok(body)]).boxed();
        let response = self.review.answer(parts, pieces, info(remote)).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// A review of a new Pod with these images.
pub fn pod(images: &[&str]) -> Value {
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(position, image)| json!({"name": format!("c{position}"), "image": image}))
        .collect();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "object": {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}},
        },
    })
}
