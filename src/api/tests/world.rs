//! The API on a store of its own, with a few people to ask it.

use std::sync::Arc;

use ::http::Request;
use ::http::header::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::access::{Access, AccessSettings, Grant, Role, User, change};
use crate::api::Api;
use crate::device_id::DeviceId;
use crate::http::server::RequestInfo;
use crate::ops::access_log::AccessLog;
use crate::store::{PrincipalRef, Store, StoreSettings};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::{Dir, read_bounded};
use crate::sys::dir_real::RealDir;
use crate::sys::password::KeptPassword;

/// Signs in as whoever may everything, as whoever manages `team-a`, as whoever pulls from it, and as a stranger.
pub const ROOT: &str = "root:root password";
pub const OWNER: &str = "olga:olga password";
pub const READER: &str = "rita:rita password";
pub const STRANGER: &str = "sven:sven password";

pub struct World {
    path: tempfile::TempDir,
    pub clock: Arc<SimulatedClock>,
    pub store: Store,
    pub access: Arc<Access>,
    api: Arc<Api>,
}

pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code and the text of an error.
    #[track_caller]
    pub fn error(&self) -> (String, String) {
        let error = &self.json()["errors"][0];
        let text = |key: &str| error[key].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }
}

/// In memory where there is such a place: what these tests wait for is not the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl World {
    /// Without any account.
    pub fn empty() -> Self {
        Self::empty_with(AccessSettings::default())
    }

    fn empty_with(settings_of_access: AccessSettings) -> Self {
        let path = folder();
        let clock = Arc::new(SimulatedClock::new("2026-11-30T00:00:00Z".parse().unwrap()));
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(path.path()).unwrap());
        let own_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Store::create(&dir, &own_clock, &DeviceId::of_public_key(b"device")).unwrap();
        let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(Arc::clone(&dir), own_clock, &settings).unwrap();
        let log = Arc::new(AccessLog::start(dir, Arc::clone(store.clock())).unwrap());
        let access = Access::open(store.clone(), AccessSettings { token_seconds: 300, ..settings_of_access });
        let access = access.unwrap();
        let api = Api::new(store.clone(), Arc::clone(&access), log);
        Self { path, clock, store, access, api }
    }

    /// With the people above, and the private project `team-a`, made over the API.
    pub async fn new() -> Self {
        Self::with(AccessSettings::default()).await
    }

    /// The same with other settings.
    pub async fn with(settings: AccessSettings) -> Self {
        let world = Self::empty_with(settings);
        for (credentials, grants) in [
            (ROOT, vec![(Role::Admin, "*")]),
            (OWNER, vec![(Role::Admin, "team-a")]),
            (READER, vec![(Role::Reader, "team-a")]),
            (STRANGER, vec![]),
        ] {
            let (name, password) = credentials.split_once(':').unwrap();
            let grant = |(role, projects): (Role, &str)| Grant { role, projects: projects.parse().unwrap() };
            let user = User {
                number: 0,
                name: name.parse().unwrap(),
                password: Some(KeptPassword::derive(password.as_bytes()).unwrap()),
                grants: grants.into_iter().map(grant).collect(),
                certificates: vec![format!("upn:{name}@example")],
                second_factor: None,
                disabled: false,
                created: None,
            };
            let id = format!("u-{name}");
            let by = PrincipalRef::operator("0");
            world.access.change(by, |document| change::add_user(document, &id, user)).unwrap();
        }
        world.make_project().await;
        world
    }

    async fn make_project(&self) {
        let (path, body) = ("/api/v2.0/projects", br#"{"project_name":"team-a"}"#);
        let request = Request::builder().method("POST").uri(path).header("content-type", "application/json");
        // As whoever needs neither a session nor a second factor.
        let card = Some(Arc::new(["upn:root@example".to_owned()]) as Arc<[String]>);
        let made = self.answer(request.body(()).unwrap(), card, body).await;
        assert_eq!((made.status, made.header("location")), (201, "/api/v2.0/projects/5"), "{}", made.text());
    }

    /// Asks for what is our own, with this `Authorization`.
    pub async fn ask_own(&self, authorization: &str, method: &str, target: &str, body: &str) -> Got {
        self.ask_as(authorization, method, &format!("/api/postern/v1{target}"), body).await
    }

    /// Asks with this `Authorization`.
    pub async fn ask_as(&self, authorization: &str, method: &str, path: &str, body: &str) -> Got {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        self.answer(request.body(()).unwrap(), None, body.as_bytes()).await
    }

    pub async fn get(&self, credentials: &str, target: &str) -> Got {
        self.ask(credentials, "GET", target, &[], b"").await
    }

    /// Sends JSON.
    pub async fn send(&self, credentials: &str, method: &str, target: &str, body: &str) -> Got {
        self.ask(credentials, method, target, &[("content-type", "application/json")], body.as_bytes()).await
    }

    pub async fn ask(
        &self,
        credentials: &str,
        method: &str,
        target: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Got {
        let mut request = Request::builder().method(method).uri(format!("/api/v2.0{target}"));
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        if !credentials.is_empty() {
            let encoded = data_encoding::BASE64.encode(credentials.as_bytes());
            request = request.header("authorization", format!("Basic {encoded}"));
        }
        self.answer(request.body(()).unwrap(), None, body).await
    }

    /// GET as a client that has shown a certificate with this name.
    pub async fn get_with_certificate(&self, name: &str, target: &str) -> Got {
        let request = Request::builder().uri(format!("/api/v2.0{target}")).body(()).unwrap();
        self.answer(request, Some(Arc::new([name.to_owned()])), b"").await
    }

    async fn answer(&self, request: Request<()>, certificate_names: Option<Arc<[String]>>, body: &[u8]) -> Got {
        let (parts, ()) = request.into_parts();
        let info = RequestInfo {
            request_id: "test".to_owned(),
            remote: Some("203.0.113.7:9".parse().unwrap()),
            is_secure: true,
            certificate_names,
            peer_uid: None,
        };
        let pieces = futures_util::stream::iter([Ok(Bytes::copy_from_slice(body))]).boxed();
        let (parts, body) = self.api.answer(parts, pieces, info).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The lines of the journal that changed projects and accounts.
    pub fn changes(&self) -> Vec<String> {
        let dir = self.store.dir();
        let name = dir.list("journal").unwrap()[0].name.clone();
        let bytes = read_bounded(dir.as_ref(), &format!("journal/{name}"), 100_000_000).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().filter(|line| line.contains("\"access_changed\"")).map(str::to_owned).collect()
    }

    /// Ends it and returns the access log.
    pub fn end(self) -> String {
        let Self { path, api, .. } = self;
        drop(api);
        let dir = RealDir::open(path.path()).unwrap();
        String::from_utf8(read_bounded(&dir, "access/2026-11-30.log", 1_000_000).unwrap()).unwrap()
    }
}
