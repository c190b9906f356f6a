//! The socket from end to end, with operations that are made up.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::oneshot;

use super::client::{SendError, send};
use super::guard::Guard;
use super::role::LocalRole;
use super::server::{AdminHandler, Execute};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::Operation;
use crate::http::server::{ServerSettings, serve};
use crate::ops::access_log::{AccessLog, AccessRecord, Event};
use crate::progress::{Progress, Silent};
use crate::sys::clock::RealClock;
use crate::sys::dir::{Dir, read_bounded};
use crate::sys::dir_real::RealDir;

/// Runs a socket whose operations `execute` carries out, for as long as `test` takes, and returns what was recorded.
async fn with_server<F: Future<Output = ()>>(
    execute: Arc<Execute>,
    test: impl FnOnce(std::path::PathBuf) -> F,
) -> Vec<AccessRecord> {
    let temporary = tempfile::tempdir().unwrap();
    // Deeper than the address of a socket can say.
    let path = temporary.path().join("d".repeat(120));
    let dir = RealDir::create(&path).unwrap();
    let listener = Guard::default().bind(&dir, Arc::new(|peer| panic!("{peer} is who runs this test"))).unwrap();
    let log: Arc<dyn Dir> = Arc::new(RealDir::open(temporary.path()).unwrap());
    let log = Arc::new(AccessLog::start(log, Arc::new(RealClock)).unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = Arc::new(AdminHandler::new(execute, LocalRole::Operator, log, Arc::new(RealClock)));
    let server = tokio::spawn(serve(listener, handler, ServerSettings::default(), async { drop(stopped.await) }));
    test(path).await;
    drop(stop);
    server.await.unwrap();
    let dir = RealDir::open(temporary.path()).unwrap();
    let texts = dir
        .list("access")
        .unwrap()
        .into_iter()
        .map(|entry| read_bounded(&dir, &format!("access/{}", entry.name), 10_000).unwrap());
    let texts: Vec<u8> = texts.flatten().collect();
    let lines = texts.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[derive(Default)]
struct Heard(Mutex<Vec<(String, u64, u64)>>);

impl Progress for Heard {
    fn step(&self, what: &str, done: u64, total: u64) {
        self.0.lock().unwrap().push((what.to_owned(), done, total));
    }
}

#[tokio::test]
async fn an_operation_goes_there_and_its_outcome_comes_back() {
    let execute: Arc<Execute> = Arc::new(|operation, progress| {
        progress.step("reading", 1, 2);
        progress.step("writing", 2, 2);
        Ok(json!({ "was": operation.name() }))
    });
    let recorded = with_server(execute, async |path| {
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(path.join("admin.sock").metadata().unwrap().mode() & 0o777, 0o600);
        let heard = Heard::default();
        assert_eq!(
            send(&path.join("admin.sock"), &Operation::Status, &heard).await.unwrap(),
            json!({ "was": "status" })
        );
        assert_eq!(*heard.0.lock().unwrap(), [("reading".to_owned(), 1, 2), ("writing".to_owned(), 2, 2)]);
    })
    .await;
    let [act] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!(
        (act.event, act.operation.as_deref(), act.outcome.as_deref()),
        (Event::Admin, Some("status"), Some("ok"))
    );
    assert_eq!(act.principal, Some(format!("uid:{}", nix::unistd::geteuid())));
}

#[tokio::test]
async fn a_failure_comes_back_as_it_was() {
    let failure = Failure::new(FailureKind::Refused, "no").next("ask again");
    let expected = failure.clone();
    let recorded = with_server(Arc::new(move |_, _| Err(failure.clone())), async |path| {
        let error = send(&path.join("admin.sock"), &Operation::EnrolList, &Silent).await.unwrap_err();
        assert!(matches!(&error, SendError::Failed(failure) if *failure == expected), "{error:?}");
    })
    .await;
    assert_eq!(
        (recorded[0].operation.as_deref(), recorded[0].outcome.as_deref()),
        (Some("enrol_list"), Some("refused"))
    );
}

#[tokio::test]
async fn a_panic_of_the_work_is_a_failure_of_the_command() {
    with_server(Arc::new(|_, _| panic!("broken invariant")), async |path| {
        let error = send(&path.join("admin.sock"), &Operation::Status, &Silent).await.unwrap_err();
        assert!(matches!(&error, SendError::Failed(failure) if failure.kind == FailureKind::Failed), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_there_is_said() {
    let error = send(Path::new("/nonexistent"), &Operation::Status, &Silent).await.unwrap_err();
    assert!(matches!(&error, SendError::NobodyThere(failure) if failure.kind == FailureKind::NotNow), "{error:?}");
}
