//! The access log as real collectors take it: rsyslog over TCP and TLS in every form, systemd's journal, and a collector
//! that is not there while no record may be lost.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::appliance::{Appliance, Serving};
use crate::http;
use crate::netns::Namespace;
use crate::process::{Server, run, wait_for};
use crate::skip;
use crate::trace::Trace;

const PATIENCE: Duration = Duration::from_secs(30);
/// What a client may call itself, to end a value, a message, or a line of a log.
const HOSTILE: &str = r#"a" b="c"][d] \ e|f=g é <13>1 - - -"#;

/// A plain server with sinks.
#[track_caller]
fn serving(folder: &Path, configuration: &str) -> (Appliance<'static>, Serving<'static>) {
    let appliance = Appliance::set_up(folder, "box", None);
    appliance.without_tls(configuration);
    let serving = appliance.serve();
    (appliance, serving)
}

/// A request that leaves a record with something hostile in it.
#[track_caller]
fn ask(serving: &Serving<'_>, target: &str) -> http::Response {
    http::request(serving.address(), "GET", target, &[("User-Agent", HOSTILE)], &[]).expect("it answers")
}

/// rsyslog with one port for TCP and one for TLS; everything goes into one file.
struct Rsyslog {
    server: Server,
    folder: PathBuf,
    tcp: u16,
    tls: u16,
}

impl Rsyslog {
    #[track_caller]
    fn start(clients: &Clients, folder: &Path, tls_of: &Appliance<'_>, ports: (u16, u16)) -> Self {
        let (at, of) = (folder.display(), tls_of.data().display());
        let (certificate, key) = (format!("{of}/tls/server.pem"), format!("{of}/tls/server.key"));
        let (tcp, tls) = ports;
        let configuration = format!(
            r#"global(workDirectory="{at}" defaultNetstreamDriverCAFile="{certificate}"
       defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp")
template(name="line" type="string"
         string="%pri%\t%hostname%\t%app-name%\t%msgid%\t%structured-data%\t%inputname%\t%msg%\n")
ruleset(name="all") {{ action(type="omfile" file="{at}/received" template="line") }}
input(type="imtcp" name="tcp" address="127.0.0.1" port="{tcp}" listenPortFileName="{at}/tcp" ruleset="all"
      streamDriver.name="ptcp" streamDriver.mode="0")
input(type="imtcp" name="tls" address="127.0.0.1" port="{tls}" listenPortFileName="{at}/tls" ruleset="all"
      streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
"#
        );
        let file = folder.join("rsyslog.conf");
        std::fs::write(&file, configuration).expect("the folder is ours");
        let mut command = clients.command("rsyslogd");
        command.arg("-n").arg("-i").arg(folder.join("pid")).arg("-f").arg(&file);
        let mut server = Server::spawn("rsyslogd", command, &folder.join("rsyslog.log"));
        let mut port = |name: &str| {
            let file = folder.join(name);
            server.wait_for("its port", PATIENCE, |_| std::fs::read_to_string(&file).ok()?.trim().parse().ok())
        };
        let (tcp, tls) = (port("tcp"), port("tls"));
        Self { server, folder: folder.to_owned(), tcp, tls }
    }

    /// What it received, as columns.
    fn received(&self) -> Vec<Vec<String>> {
        let text = std::fs::read(self.folder.join("received")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(|line| line.splitn(7, '\t').map(str::to_owned).collect()).collect()
    }
}

#[test]
fn rsyslog_takes_every_form_over_tcp_and_tls() {
    let Some(clients) = Clients::find(&["rsyslogd"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    // The certificate of another appliance, since it is there: good for 127.0.0.1.
    let collector = Appliance::set_up(folder.path(), "collector", None);
    let mut rsyslog = Rsyslog::start(&clients, folder.path(), &collector, (0, 0));
    let (tcp, tls) = (rsyslog.tcp, rsyslog.tls);
    let certificate = collector.data().join("tls/server.pem");
    let ca_file = certificate.display();
    let (_, mut serving) = serving(
        folder.path(),
        &format!(
            "offline = true\n\
             [[access_log.sink]]\nkind = \"syslog-tcp\"\naddress = \"127.0.0.1:{tcp}\"\nfacility = \"local3\"\n\
             [[access_log.sink]]\nkind = \"syslog-tcp\"\naddress = \"localhost:{tcp}\"\nformat = \"cef\"\n\
             [[access_log.sink]]\naddress = \"127.0.0.1:{tls}\"\nca_file = \"{ca_file}\"\nformat = \"rfc5424\"\n\
             [[access_log.sink]]\naddress = \"localhost:{tls}\"\nca_file = \"{ca_file}\"\nformat = \"json\"\n"
        ),
    );
    assert_eq!(ask(&serving, "/v2/team/app/manifests/v1?token=secret").status, 404);
    // What is still on its way when the server ends is delivered.
    serving.server.terminate();
    let received = wait_for("a message of each sink", PATIENCE, || {
        let received = rsyslog.received();
        (received.len() >= 4).then_some(received)
    });
    assert_eq!(received.len(), 4, "{received:?}");
    let find = |input: &str, words: &str| {
        let found =
            received.iter().find(|columns| columns[5] == input && (columns[4].clone() + &columns[6]).contains(words));
        found.unwrap_or_else(|| panic!("no {words} over {input}: {received:?}"))
    };
    let escaped = HOSTILE.replace('\\', r"\\").replace('"', "\\\"").replace(']', r"\]");
    for (input, priority) in [("tcp", "158"), ("tls", "110")] {
        let columns = find(input, "[postern@32473");
        assert_eq!((columns[0].as_str(), columns[2].as_str(), columns[3].as_str()), (priority, "postern", "pull"));
        assert!(columns[4].contains(&format!("userAgent=\"{escaped}\"")), "{columns:?}");
        assert!(columns[6].ends_with("pull GET /v2/team/app/manifests/v1 404"), "{columns:?}");
    }
    let cef = find("tcp", "CEF:0|Postern|postern|");
    let escaped = HOSTILE.replace('\\', r"\\").replace('=', r"\=");
    assert!(cef[6].contains(&format!("requestClientApplication={escaped} ")), "{cef:?}");
    let json = find("tls", "{\"");
    let record: Value = serde_json::from_str(json[6].trim_start_matches([' ', '\u{feff}'])).expect("it is JSON");
    assert_eq!((&record["event"], &record["user_agent"]), (&"pull".into(), &HOSTILE.into()));
    assert!(!format!("{received:?}").contains("secret"), "a query is never recorded");
    rsyslog.server.terminate();
}

#[test]
fn rsyslog_that_is_started_again_misses_nothing() {
    let Some(clients) = Clients::find(&["rsyslogd"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let collector = Appliance::set_up(folder.path(), "collector", None);
    let mut rsyslog = Rsyslog::start(&clients, folder.path(), &collector, (0, 0));
    let ports = (rsyslog.tcp, rsyslog.tls);
    let ca_file = collector.data().join("tls/server.pem");
    let sink =
        format!("[[access_log.sink]]\naddress = \"127.0.0.1:{}\"\nca_file = \"{}\"\n", ports.1, ca_file.display());
    let (_, mut serving) = serving(folder.path(), &sink);
    let all_of = |rsyslog: &Rsyslog, count: usize| {
        wait_for("each of the records", PATIENCE, || {
            let received = rsyslog.received();
            let has = |number| received.iter().any(|columns| columns[4].contains(&format!("sequenceId=\"{number}\"")));
            (1..=count).all(has).then_some(())
        });
    };
    ask(&serving, "/v2/");
    all_of(&rsyslog, 1);
    rsyslog.server.terminate();
    for _ in 0..20 {
        ask(&serving, "/v2/");
    }
    rsyslog = Rsyslog::start(&clients, folder.path(), &collector, ports);
    all_of(&rsyslog, 21);
    ask(&serving, "/v2/");
    serving.server.terminate();
    all_of(&rsyslog, 22);
    rsyslog.server.terminate();
}

#[test]
fn an_offline_appliance_dials_its_collector_and_nobody_else() {
    let Some(namespace) = Namespace::empty() else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(trace) = Trace::to(&folder.path().join("record")) else { return };
    let appliance = Appliance::set_up(folder.path(), "box", Some(&namespace));
    // Addresses for documents: nobody answers there, and nothing leaves the namespace.
    appliance.without_tls(
        "offline = true\n[[access_log.sink]]\nkind = \"syslog-tcp\"\naddress = \"192.0.2.1:601\"\n\
         [[upstream]]\nname = \"registry.example\"\nurl = \"http://192.0.2.2\"\n",
    );
    let mut serving = appliance.serve_command(trace.wrap(&appliance.command(["serve"])));
    assert_eq!(serving.get("/v2/registry.example/app/manifests/v1").status, 404);
    serving.server.wait_for_log("the access log is not delivered", PATIENCE);
    let pid = serving.server.pid();
    serving.server.terminate();
    let dials = trace.dials(pid);
    assert!(!dials.is_empty() && dials.iter().all(|dial| dial.peer == "192.0.2.1"), "{dials:#?}");
    let told = serving.server.log();
    assert!(told.contains("records of the access log were lost"), "what could not be delivered is told: {told}");
}

#[test]
fn certificates_that_are_not_there_are_said_at_the_start() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = Appliance::set_up(folder.path(), "box", None);
    appliance.without_tls("[[access_log.sink]]\naddress = \"127.0.0.1:9\"\nca_file = \"absent.pem\"\n");
    let ran = appliance.run(["serve"]).failed_saying("absent.pem").failed_saying("[[access_log.sink]]");
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn the_journal_takes_records_with_fields_of_their_own() {
    const JOURNAL: &str = "/usr/lib/systemd/systemd-journald";
    if !Path::new(JOURNAL).exists() {
        return skip::absent("there is no systemd-journald on this machine", "apt-get install systemd");
    }
    let (Some(unshare), Some(journalctl)) =
        (skip::machine_tool("unshare", "util-linux"), skip::machine_tool("journalctl", "systemd"))
    else {
        return;
    };
    if !skip::is_root() {
        return skip::absent("a journal of one's own can be made by root only", "run the tests as root");
    }
    let folder = TempDir::new().expect("a temporary folder can be made");
    let place = folder.path().join("run");
    for below in ["systemd/journal", "log/journal"] {
        std::fs::create_dir_all(place.join(below)).expect("the folder is ours");
    }
    // A journal that believes the folder to be /run, so that the machine's own, where there is one, is left alone.
    let mut command = Command::new(unshare);
    let script = format!("mount --bind \"$1\" /run && exec {JOURNAL}");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(&place);
    let mut journal = Server::spawn("systemd-journald", command, &folder.path().join("journal.log"));
    let socket = place.join("systemd/journal/socket");
    journal.wait_for("its socket", PATIENCE, |_| socket.exists().then_some(()));

    let sink = format!("[[access_log.sink]]\nkind = \"journald\"\naddress = \"{}\"\n", socket.display());
    let (_, serving) = serving(folder.path(), &sink);
    assert_eq!(ask(&serving, "/v2/team/app/manifests/v1").status, 404);
    let entry = wait_for("the entry", PATIENCE, || {
        let mut command = Command::new(&journalctl);
        command.arg("--directory").arg(place.join("log/journal")).args(["-o", "json", "-t", "postern-access"]);
        let said = run(command, PATIENCE).text();
        serde_json::from_str::<Value>(said.lines().next()?).ok()
    });
    for (field, expected) in [
        ("MESSAGE", "pull GET /v2/team/app/manifests/v1 404"),
        ("PRIORITY", "6"),
        ("POSTERN_EVENT", "pull"),
        ("POSTERN_STATUS", "404"),
        ("POSTERN_USER_AGENT", HOSTILE),
        ("_TRANSPORT", "journal"),
    ] {
        assert_eq!(entry[field], expected, "{field} in {entry}");
    }
    journal.terminate();
}

#[test]
fn requests_stop_where_records_may_be_lost_and_operators_still_get_in() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    // A port that is ours, and refuses until it is listened on.
    let collector = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    collector.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback is up");
    let address = collector.local_addr().expect("it is bound").as_socket().expect("an address");
    let (appliance, serving) = serving(
        folder.path(),
        &format!(
            "[access_log]\non_loss = \"stop\"\nqueue_records = 16\n\
             [[access_log.sink]]\nkind = \"syslog-tcp\"\naddress = \"{address}\"\n\
             [listen.metrics]\naddress = \"127.0.0.1:0\"\n"
        ),
    );
    let metrics = crate::listeners::metrics_address(&serving.server.log());
    let (mut answered, mut last) = (0, serving.get("/v2/"));
    while last.status == 200 {
        answered += 1;
        assert!(answered <= 16, "it never stops");
        last = serving.get("/v2/");
    }
    // A record is counted together with the room that was kept for it, for a moment.
    assert!((15..=16).contains(&answered), "{answered}");
    wait_for("one that stays", PATIENCE, || {
        last = serving.get("/v2/");
        (last.status == 503 && last.text().contains("syslog-tcp-1") && serving.get("/v2/").status == 503).then_some(())
    });
    assert_eq!((last.status, last.header("retry-after")), (503, Some("10")));
    assert!(!last.text().contains("127.0.0.1"), "{}", last.text());
    for ready in [serving.get("/readyz"), http::get(&metrics, "/readyz")] {
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("syslog-tcp-1"), "{}", ready.text());
    }
    assert!(serving.server.log().contains("requests are not answered"), "the log says so too");
    assert_eq!(serving.get("/healthz").status, 200, "a supervisor that starts it again would lose what waits");
    // Whoever has to mend it gets in; the record waits with the others.
    appliance.json(["status"]);

    collector.listen(16).expect("the port is ours");
    let collector = TcpListener::from(collector);
    collector.set_nonblocking(true).expect("a socket can be polled");
    let mut stream: TcpStream = wait_for("the server comes back", PATIENCE, || collector.accept().ok()).0;
    stream.set_nonblocking(false).expect("it can wait");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can wait for so long");
    let mut received = String::new();
    while !received.contains("event=\"admin\"") || !received.contains("operation=\"status\"") {
        let mut buffer = [0; 8_192];
        let count = stream.read(&mut buffer).expect("more comes");
        assert!(count > 0, "it ends after {received}");
        received.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let uid = nix::unistd::geteuid();
    assert!(received.contains("event=\"admin\"") && received.contains("operation=\"status\""), "{received}");
    assert!(
        received.contains("outcome=\"ok\"") && received.contains(&format!("principal=\"uid:{uid}\"")),
        "{received}"
    );
    wait_for("answers again", PATIENCE, || (serving.get("/v2/").status == 200).then_some(()));
    assert_eq!(http::get(&metrics, "/readyz").status, 200);
    let text = http::get(&metrics, "/metrics").text();
    assert!(text.contains("postern_access_log_lost_total{place=\"syslog-tcp-1\"} 0\n"), "{text}");
    assert!(!text.contains("postern_requests_stopped_total 0\n"), "{text}");
}
