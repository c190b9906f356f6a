//! A registry on a store of its own, and a tiny upstream that does as it is told and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ::http::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE, WARNING};
use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::access::rate::RateSettings;
use crate::access::{Access, AccessSettings, Grant, Role, UndeclaredRules, User, change};
use crate::admission::Rechecks;
use crate::device_id::DeviceId;
use crate::http::body::BodyError;
use crate::http::listener::Listener;
use crate::http::server::{Handler, RequestInfo, ServerSettings, serve};
use crate::http::{Body, Incoming};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::ops::access_log::AccessLog;
use crate::registry::uploads::UploadSettings;
use crate::registry::{PolicySource, PushSettings, Registry, RegistrySettings};
use crate::store::{PrincipalRef, Store, StoreSettings};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::{Dir, read_bounded};
use crate::sys::dir_real::RealDir;
use crate::sys::password::KeptPassword;
use crate::upstream::{Credentials, Mirror, MirrorSettings, UpstreamSettings};
use crate::verify::TrustPolicy;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Manifests that an account may pull.
pub const PULLS_PER_MINUTE: u32 = 20;
pub const ADMIT: &str = "version = 1\ndefault = \"admit\"\n";
pub const DENY: &str = "version = 1\ndefault = \"deny\"\n";

/// What a path answers.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// The connection breaks after this many bytes, once.
    pub breaks_after: Option<usize>,
    /// Without this header the answer is 401 with this challenge.
    pub demands: Option<(String, String)>,
}

/// A registry outside.
#[derive(Default)]
pub struct Outside {
    pub answers: Mutex<HashMap<String, Answer>>,
    pub asked: Mutex<Vec<(Method, String, HeaderMap)>>,
}

impl Outside {
    pub fn put(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let answer = Answer { status: 200, body: Bytes::copy_from_slice(bytes), ..Answer::default() };
        self.put(&format!("/v2/{repository}/blobs/{digest}"), answer);
        digest
    }

    pub fn put_manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, manifest: &Value) -> Digest {
        let body = Bytes::from(serde_json::to_vec(manifest).unwrap());
        let digest = Digest::of(&body);
        let headers = vec![("content-type", media_type.to_owned()), ("docker-content-digest", digest.to_string())];
        let answer = Answer { status: 200, headers, body, ..Answer::default() };
        self.put(&format!("/v2/{repository}/manifests/{digest}"), answer.clone());
        if let Some(tag) = tag {
            self.put(&format!("/v2/{repository}/manifests/{tag}"), answer);
        }
        digest
    }

    /// An index of one platform with one layer.
    pub fn put_image(&self, repository: &str, tag: &str, layer: &[u8]) -> (Digest, Digest, Digest) {
        let config = self.put_blob(repository, b"{}");
        let layer_digest = self.put_blob(repository, layer);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config, "size": 2},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer.len()}],
        });
        let child = self.put_manifest(repository, None, OCI_MANIFEST, &manifest);
        let size = serde_json::to_vec(&manifest).unwrap().len();
        let index = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX,
            "manifests": [{"mediaType": OCI_MANIFEST, "digest": child, "size": size,
                           "platform": {"os": "linux", "architecture": "arm64"}}],
        });
        (self.put_manifest(repository, Some(tag), OCI_INDEX, &index), child, layer_digest)
    }

    /// How often a path that ends so was asked for with GET.
    pub fn count(&self, end: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(method, path, _)| *method == Method::GET && path.ends_with(end)).count()
    }

    pub fn asked_count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn saw_authorization(&self) -> bool {
        self.asked.lock().unwrap().iter().any(|(_, _, headers)| headers.contains_key(AUTHORIZATION))
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        self.asked.lock().unwrap().push((request.method().clone(), path.clone(), request.headers().clone()));
        let mut answers = self.answers.lock().unwrap();
        let Some(answer) = answers.get_mut(&path) else { return status(404) };
        if let Some((header, challenge)) = &answer.demands
            && request.headers().get(AUTHORIZATION).is_none_or(|given| given != header.as_str())
        {
            let mut response = status(401);
            response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            return response;
        }
        let total = answer.body.len();
        let from = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
        let from: usize = from.map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        let mut response = status(if from > 0 { 206 } else { answer.status });
        if from > 0 {
            let range = format!("bytes {from}-{}/{total}", total - 1);
            response.headers_mut().insert(CONTENT_RANGE, range.parse().unwrap());
        }
        for (name, value) in &answer.headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        let body = answer.body.slice(from..);
        *response.body_mut() = match answer.breaks_after.take() {
            _ if request.method() == Method::HEAD => Body::empty(),
            None => Body::full(body),
            Some(count) => {
                let pieces = [Ok(body.slice(..count)), Err(BodyError::Source("as the test told".to_owned()))];
                Body::stream(futures_util::stream::iter(pieces).boxed(), Some(body.len() as u64))
            }
        };
        response
    }
}

fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

impl Handler for Outside {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _info: RequestInfo) -> Response<Body> {
        self.answer(&request)
    }
}

/// A running [`Outside`].
pub struct Running {
    pub outside: Arc<Outside>,
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

pub async fn run() -> Running {
    let outside = Arc::new(Outside::default());
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), None, false).await.unwrap();
    let url = format!("http://{}", listener.local_address().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = Arc::clone(&outside);
    let task = tokio::spawn(async move {
        serve(listener, handler, ServerSettings::default(), async { drop(stopped.await) }).await;
    });
    Running { outside, url, stop: Some(stop), task: Some(task) }
}

impl Running {
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        self.task.take().unwrap().await.unwrap();
    }
}

/// A registry that mirrors.
pub struct World {
    path: tempfile::TempDir,
    pub clock: Arc<SimulatedClock>,
    pub store: Store,
    pub mirror: Arc<Mirror>,
    pub access: Arc<Access>,
    /// What the registry finds in force at its next look.
    policy: Arc<Mutex<Arc<TrustPolicy>>>,
    registry: Arc<Registry>,
}

/// How a test's registry is made.
pub struct Make<'a> {
    pub policy: &'a str,
    pub offline: bool,
    /// Whether pushes may leave parts out.
    pub sparse: bool,
    pub uploads: UploadSettings,
    pub credentials: Option<Credentials>,
}

/// Anyone pulls what no project is declared for, and the machine itself pushes.
fn open_access() -> AccessSettings {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let (pull_networks, push_networks) = (networks(&["0.0.0.0/0", "::/0"]), networks(&["127.0.0.0/8"]));
    let undeclared = UndeclaredRules { pull_networks, push_networks };
    let rates = RateSettings { account_per_minute: PULLS_PER_MINUTE, ..RateSettings::default() };
    AccessSettings { undeclared, rates, token_seconds: 300, ..AccessSettings::default() }
}

impl Default for Make<'_> {
    fn default() -> Self {
        Self { policy: ADMIT, offline: false, sparse: false, uploads: UploadSettings::default(), credentials: None }
    }
}

/// What a client gets.
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Result<Bytes, BodyError>,
}

impl Got {
    pub fn bytes(&self) -> &[u8] {
        self.body.as_ref().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(self.bytes()).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn has_warning(&self) -> bool {
        self.headers.contains_key(WARNING)
    }

    pub fn media_type(&self) -> &str {
        self.headers[CONTENT_TYPE].to_str().unwrap()
    }
}

/// In memory where there is such a place: what these tests wait for is not the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl World {
    pub fn new(url: &str, make: Make<'_>) -> Self {
        let path = folder();
        let clock = Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()));
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(path.path()).unwrap());
        let own_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Store::create(&dir, &own_clock, &DeviceId::of_public_key(b"device")).unwrap();
        let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(Arc::clone(&dir), own_clock, &settings).unwrap();
        let policy = Arc::new(Mutex::new(Arc::new(TrustPolicy::parse(make.policy.as_bytes()).unwrap())));
        let upstream = UpstreamSettings {
            name: "up.example".to_owned(),
            url: url.to_owned(),
            namespaces: vec!["registry.example:5000".to_owned()],
            ca_file: None,
            credentials: make.credentials,
        };
        let mirror_settings = MirrorSettings { offline: make.offline, ..MirrorSettings::default() };
        let in_force = Arc::clone(&policy);
        let source: PolicySource = Arc::new(move || Arc::clone(&in_force.lock().unwrap()));
        let access = Access::open(store.clone(), open_access()).unwrap();
        let (to_store, policies) = (store.clone(), Arc::clone(&source) as _);
        let mirror = Mirror::new(to_store, vec![upstream], policies, Arc::clone(&access), mirror_settings).unwrap();
        let log = Arc::new(AccessLog::start(dir, Arc::clone(store.clock())).unwrap());
        let push = PushSettings { sparse: make.sparse, uploads: make.uploads, ..PushSettings::new(source) };
        let settings = RegistrySettings::default();
        let registry =
            Registry::new(store.clone(), Some(Arc::clone(&mirror)), Arc::clone(&access), log, settings, push);
        Self { path, clock, store, mirror, access, policy, registry }
    }

    /// Another policy is in force for the same registry, as when an operator activates it while clients are connected.
    pub fn put_in_force(&self, policy: &str) {
        self.put_policy(TrustPolicy::parse(policy.as_bytes()).unwrap());
    }

    pub fn put_policy(&self, policy: TrustPolicy) {
        *self.policy.lock().unwrap() = Arc::new(policy);
    }

    pub fn rechecks(&self) -> &Arc<Rechecks> {
        self.registry.rechecks()
    }

    /// The same store behind a registry that has no upstreams, as on the far side of a gap.
    pub fn cut_off(&mut self) {
        let log = Arc::clone(&self.registry.access_log);
        let settings =
            RegistrySettings { root_namespace: Some("up.example".to_owned()), ..RegistrySettings::default() };
        let push = self.registry.push.clone();
        self.registry = Registry::new(self.store.clone(), None, Arc::clone(&self.access), log, settings, push);
    }

    /// The same registry from the moment at which another policy was activated.
    pub fn activate(&mut self, policy: &str) {
        let policy = Arc::new(TrustPolicy::parse(policy.as_bytes()).unwrap());
        let push = PushSettings { policy: Arc::new(move || Arc::clone(&policy)), ..self.registry.push.clone() };
        let log = Arc::clone(&self.registry.access_log);
        let settings = RegistrySettings::default();
        self.registry = Registry::new(self.store.clone(), None, Arc::clone(&self.access), log, settings, push);
    }

    /// Ends it and returns the access log.
    pub fn end(self) -> String {
        let Self { path, registry, .. } = self;
        drop(registry);
        let dir = RealDir::open(path.path()).unwrap();
        String::from_utf8(read_bounded(&dir, "access/2026-11-24.log", 1_000_000).unwrap()).unwrap()
    }

    pub async fn get(&self, target: &str) -> Got {
        self.ask("GET", target, &[]).await
    }

    pub async fn ask(&self, method: &str, target: &str, headers: &[(&'static str, &str)]) -> Got {
        self.send(method, target, headers, vec![Ok(Bytes::new())], Some("203.0.113.7:9")).await
    }

    /// Asks as a machine that may push.
    pub async fn push(&self, method: &str, target: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Got {
        self.send(method, target, headers, vec![Ok(Bytes::copy_from_slice(body))], Some("127.0.0.1:9")).await
    }

    /// Deletes as a maintainer of everything.
    pub async fn delete(&self, target: &str, headers: &[(&'static str, &str)]) -> Got {
        if !self.access.is_in_use() {
            let password = Some(KeptPassword::derive(b"maintainer").unwrap());
            let grants = vec![Grant { role: Role::Maintainer, projects: "*".parse().unwrap() }];
            let user = User {
                number: 0,
                name: "m".parse().unwrap(),
                password,
                grants,
                certificates: Vec::new(),
                second_factor: None,
                disabled: false,
                created: None,
            };
            self.access.change(PrincipalRef::operator("0"), |document| change::add_user(document, "m", user)).unwrap();
        }
        let credentials = format!("Basic {}", data_encoding::BASE64.encode(b"m:maintainer"));
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", credentials.as_str())]).collect();
        self.push("DELETE", target, &headers, b"").await
    }

    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&'static str, &str)],
        body: Vec<Result<Bytes, BodyError>>,
        remote: Option<&str>,
    ) -> Got {
        self.stream(method, target, headers, futures_util::stream::iter(body).boxed(), remote).await
    }

    pub async fn stream(
        &self,
        method: &str,
        target: &str,
        headers: &[(&'static str, &str)],
        pieces: BoxStream<'static, Result<Bytes, BodyError>>,
        remote: Option<&str>,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let info = RequestInfo {
            request_id: "test".to_owned(),
            remote: remote.map(|at| at.parse().unwrap()),
            is_secure: true,
            certificate_names: None,
            peer_uid: None,
        };
        let (parts, body) = self.registry.answer(parts, pieces, info).await.into_parts();
        let body = body.collect().await.map(|collected| collected.to_bytes());
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}
