//! What a push says to whom: a registry that hands out tokens of two strengths, and sends uploads to a place of another
//! origin, as those do that keep their blobs elsewhere.

use std::sync::{Arc, Mutex};

use ::http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use ::http::{Method, Request, Response, StatusCode};

use super::{Destination, OutgoingError, OutgoingReport, Way, push};
use crate::http::listener::Listener;
use crate::http::server::{Handler, RequestInfo, ServerSettings, serve};
use crate::http::{Body, Incoming, body};
use crate::image_layout::assemble::{Binary, Particulars, assemble};
use crate::image_layout::elf::Machine;
use crate::image_layout::elf::sample::program;
use crate::image_layout::{Layout, PushPlan};
use crate::limits::MIB;
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::sys::dir::{Create, Dir as _};
use crate::sys::dir_real::RealDir;
use crate::upstream::Credentials;

const PASSWORD: &str = "Basic cm9ib3Q6c2VjcmV0";
const READING: &str = "Bearer reading";
const WRITING: &str = "Bearer writing";

/// One of the two servers.
#[derive(Default)]
struct Scripted {
    /// Its own address, and that of the place for uploads.
    addresses: Mutex<(String, String)>,
    /// Method, target, what stood for authorization, and the digest of the body.
    asked: Mutex<Vec<(Method, String, String, Digest)>>,
    /// What uploads are answered with, where not by success.
    refuses: Mutex<Option<(StatusCode, &'static str)>>,
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

impl Scripted {
    fn challenge(&self, actions: &str) -> Response<Body> {
        let realm = &self.addresses.lock().unwrap().0;
        let challenge = format!("Bearer realm=\"{realm}/token\",service=\"s\",scope=\"repository:tools/a:{actions}\"");
        let mut response = status(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        response
    }

    fn answer(&self, method: &Method, path: &str, given: &str) -> Response<Body> {
        if path.starts_with("/token") {
            assert_eq!(given, PASSWORD);
            let kind = if path.contains("push") { "writing" } else { "reading" };
            return Response::new(Body::full(format!("{{\"token\":\"{kind}\"}}")));
        }
        let place = self.addresses.lock().unwrap().1.clone();
        match *method {
            Method::HEAD if given.is_empty() => self.challenge("pull"),
            Method::HEAD => status(StatusCode::NOT_FOUND),
            _ if path.starts_with("/elsewhere") => {
                let refuses = *self.refuses.lock().unwrap();
                let Some((code, body)) = refuses else { return status(StatusCode::CREATED) };
                let mut response = status(code);
                *response.body_mut() = Body::full(body);
                response
            }
            _ if given != WRITING => self.challenge("pull,push"),
            Method::POST => {
                let mut response = status(StatusCode::ACCEPTED);
                response.headers_mut().insert(LOCATION, format!("{place}/elsewhere?state=x").parse().unwrap());
                response
            }
            _ => status(StatusCode::CREATED),
        }
    }
}

impl Handler for Scripted {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _info: RequestInfo) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let target = parts.uri.path_and_query().unwrap().to_string();
        let given = parts.headers.get(AUTHORIZATION).map_or("", |given| given.to_str().unwrap()).to_owned();
        let content = body::collect(incoming, MIB, std::time::Duration::from_secs(10)).await.unwrap_or_default();
        let response = self.answer(&parts.method, &target, &given);
        self.asked.lock().unwrap().push((parts.method, target, given, Digest::of(&content)));
        response
    }
}

async fn start() -> (Arc<Scripted>, String) {
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), None, false).await.unwrap();
    let url = format!("http://{}", listener.local_address().unwrap());
    let scripted = Arc::new(Scripted::default());
    tokio::spawn(serve(listener, Arc::clone(&scripted), ServerSettings::default(), std::future::pending()));
    (scripted, url)
}

struct World {
    folder: tempfile::TempDir,
    registry: Arc<Scripted>,
    uploads: Arc<Scripted>,
    url: String,
}

impl World {
    async fn new() -> Self {
        let ((registry, url), (uploads, place)) = (start().await, start().await);
        *registry.addresses.lock().unwrap() = (url.clone(), place);
        Self { folder: tempfile::tempdir().unwrap(), registry, uploads, url }
    }

    /// The layout of an image for one platform.
    fn layout(&self) -> (Layout, PushPlan) {
        let dir = RealDir::open(self.folder.path()).unwrap();
        let file = dir.open_write("binary", Create::New).unwrap();
        file.write_at(&program(Machine::Arm64, 1, &[1; 1_000]), 0).unwrap();
        let binary = Binary { platform: "linux/arm64".parse().unwrap(), file, path: "binary".to_owned() };
        let (created, release) = (jiff::Timestamp::UNIX_EPOCH, "1".parse().unwrap());
        let layout = RealDir::create(&self.folder.path().join("layout")).unwrap();
        assemble(&layout, &[binary], &Particulars { created, release, revision: None }, &Silent).unwrap();
        let layout = Layout::open(Arc::new(layout)).unwrap();
        let plan = layout.plan(None).unwrap();
        (layout, plan)
    }

    async fn push(&self, layout: &Layout, plan: &PushPlan) -> Result<OutgoingReport, OutgoingError> {
        let password_file = self.folder.path().join("password");
        let dir = RealDir::open(self.folder.path()).unwrap();
        crate::sys::dir::replace(&dir, "password", b"secret\n").unwrap();
        let credentials = Some(Credentials { user: "robot".to_owned(), password_file });
        let way = Way { url: Some(self.url.clone()), ca_file: None, credentials };
        let destination = Destination::find(&"registry.example/tools/a:b".parse().unwrap(), &way).await?;
        push(layout, plan, &destination, false, &Silent).await
    }
}

#[tokio::test]
async fn a_token_grows_when_it_must_and_goes_nowhere_else() {
    let world = World::new().await;
    let (layout, plan) = world.layout();
    let report = world.push(&layout, &plan).await.unwrap();
    assert_eq!((report.blobs_sent, report.manifests_sent), (2, 2));
    // The place for uploads got both blobs, whole and named, and no secret.
    let uploads = world.uploads.asked.lock().unwrap();
    let sent: Vec<(String, Digest)> = uploads.iter().map(|(_, target, _, body)| (target.clone(), *body)).collect();
    let expected: Vec<_> =
        plan.blobs.iter().map(|blob| (format!("/elsewhere?state=x&digest={0}", blob.digest), blob.digest)).collect();
    assert_eq!(sent, expected);
    assert!(uploads.iter().all(|(method, _, given, _)| *method == Method::PUT && given.is_empty()), "{uploads:?}");
    // A token to read with, then one to write with; none is fetched twice.
    let asked = world.registry.asked.lock().unwrap();
    let count = |wanted: &str| asked.iter().filter(|(_, target, _, _)| target.contains(wanted)).count();
    assert_eq!((count("/token"), count("push")), (2, 1), "{asked:?}");
    assert!(asked.iter().any(|(_, _, given, _)| given == READING));
    let last = asked.last().unwrap();
    assert_eq!((last.1.as_str(), last.2.as_str()), ("/v2/tools/a/manifests/b", WRITING));
}

#[tokio::test]
async fn what_a_registry_says_against_it_has_its_kind() {
    let world = World::new().await;
    let (layout, plan) = world.layout();
    let check = async |code: u16, expected: fn(&OutgoingError) -> bool| {
        let said = r#"{"errors":[{"code":"X","message":"the reason"}]}"#;
        *world.uploads.refuses.lock().unwrap() = Some((StatusCode::from_u16(code).unwrap(), said));
        let error = world.push(&layout, &plan).await.unwrap_err();
        assert!(expected(&error), "{code}: {error:?}");
        assert!(
            error.to_string().contains("registry.example") && error.to_string().contains("X: the reason"),
            "{error}"
        );
    };
    check(403, |error| matches!(error, OutgoingError::Refused { .. })).await;
    check(429, |error| matches!(error, OutgoingError::NotNow { .. })).await;
    check(507, |error| matches!(error, OutgoingError::NotNow { .. })).await;
    check(401, |error| matches!(error, OutgoingError::Denied { .. })).await;
    check(500, |error| matches!(error, OutgoingError::Status { status: 500, .. })).await;
}
