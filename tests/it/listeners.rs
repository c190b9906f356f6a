//! Who may connect to what: the registry, metrics, and the socket for administration.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::crossing::appliance::Appliance;
use crate::http;
use crate::process::{Server, prefixed, run, wait_for};
use crate::skip;

const PATIENCE: Duration = Duration::from_secs(30);
/// A user without anything. Not 65534, which is what the kernel says where it has no number.
const STRANGER: u32 = 61_234;
/// A user that the server runs as.
const OWNER: u32 = 61_235;

/// From the log line that says where metrics are.
#[track_caller]
pub fn metrics_address(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("metrics and health are read here")).expect("it says so");
    let from = &line[line.find("127.0.0.1:").expect("an address")..];
    from.chars().take_while(|character| character.is_ascii_digit() || ".:".contains(*character)).collect()
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = Appliance::set_up(folder.path(), "box", None);
    appliance.configure("[listen.metrics]\naddress = \"127.0.0.1:0\"\n");
    let serving = appliance.serve();
    let metrics = metrics_address(&serving.server.log());
    assert_eq!(serving.get("/v2/").status, 200);
    assert_eq!(serving.get("/v2/team/app/manifests/v1").status, 404);
    assert_eq!(serving.get("/metrics").status, 404, "not where clients are");
    assert_eq!(http::get(&metrics, "/v2/").status, 404, "no images here");
    assert_eq!(http::get(&metrics, "/healthz").status, 200);
    assert_eq!(http::get(&metrics, "/readyz").text(), r#"{"status":"ready"}"#);
    assert_eq!(http::request(&metrics, "POST", "/metrics", &[], &[]).expect("it answers").status, 405);
    // A record is counted when its body has ended, a moment behind the answer.
    let text = wait_for("the counters", PATIENCE, || {
        let answer = http::get(&metrics, "/metrics");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let text = answer.text();
        text.contains("postern_requests_total{route=\"manifest_get\",status=\"404\"} 1\n").then_some(text)
    });
    for line in [
        "postern_ready 1",
        "postern_requests_total{route=\"base\",status=\"200\"} 1",
        "postern_connections_turned_away_total{listener=\"registry\"} 0",
        "postern_uploads_open 0",
        "postern_access_log_lost_total{place=\"file\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    let counted = wait_for("what is stored is counted", PATIENCE, || {
        let text = http::get(&metrics, "/metrics").text();
        text.contains("postern_blobs_bytes").then_some(text)
    });
    assert!(counted.contains("\npostern_blobs 0\n"), "{counted}");
}

#[test]
fn whoever_is_in_no_network_is_closed_before_tls() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = Appliance::set_up(folder.path(), "box", None);
    appliance.without_tls("listen.networks = [\"192.0.2.0/24\"]\nlisten.metrics.address = \"127.0.0.1:0\"\n");
    let serving = appliance.serve();
    let metrics = metrics_address(&serving.server.log());
    for _ in 0..3 {
        let asked = http::request(serving.address(), "GET", "/v2/", &[], &[]);
        assert!(asked.is_err(), "it was answered: {:?}", asked.map(|answer| answer.status));
    }
    let text = http::get(&metrics, "/metrics").text();
    assert!(text.contains("postern_connections_turned_away_total{listener=\"registry\"} 3\n"), "{text}");
    assert!(text.contains("postern_received_bytes_total{listener=\"registry\"} 0\n"), "{text}");
    let told = serving.server.log().lines().filter(|line| line.contains("that may not connect")).count();
    assert_eq!(told, 1, "{}", serving.server.log());
}

/// An appliance of user `owner` whose socket lies in a folder of `group`, as systemd/operators.tmpfiles makes one, and
/// whose configuration everybody reads, as it stands in /etc at a site.
#[track_caller]
fn for_group(folder: &Path, owner: u32, group: &str) -> Appliance<'static> {
    for_group_and(folder, owner, group, "")
}

/// The same with more in its configuration.
#[track_caller]
fn for_group_and(folder: &Path, owner: u32, group: &str, more: &str) -> Appliance<'static> {
    let appliance = Appliance::set_up(folder, "box", None);
    let sockets = folder.join("run");
    std::fs::create_dir(&sockets).expect("the folder is ours");
    let socket = sockets.join("admin.sock");
    appliance.without_tls(&format!("[admin]\ngroup = \"{group}\"\nsocket = \"{}\"\n{more}", socket.display()));
    let mut chown = Command::new("chown");
    chown.arg("-R").arg(format!("{owner}:{owner}")).arg(appliance.data());
    run(chown, PATIENCE).succeeded();
    let mut chown = Command::new("chown");
    chown.arg(format!("{owner}:{group}")).arg(&sockets);
    run(chown, PATIENCE).succeeded();
    let configuration = appliance.data().join("postern.toml");
    for (path, mode) in [(folder, 0o755), (&sockets, 0o2755), (appliance.data(), 0o755), (&configuration, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("root may");
    }
    appliance
}

/// `postern status` as somebody else.
#[track_caller]
fn status_as(appliance: &Appliance<'_>, user: u32, group: u32) -> crate::process::Ran {
    let mut command = appliance.command(["status"]);
    command.uid(user).gid(group);
    run(command, PATIENCE)
}

#[test]
fn members_of_the_group_administrate_and_strangers_do_not() {
    if !skip::is_root() {
        return skip::absent("other users are needed", "run the tests as root");
    }
    let folder = TempDir::new().expect("a temporary folder can be made");
    // A group that every Debian has, and that nobody of ours is in, not even the server.
    let appliance = for_group(folder.path(), OWNER, "games");
    let mut command = appliance.command(["serve"]);
    command.uid(OWNER).gid(OWNER);
    let _serving = appliance.serve_command(command);
    let socket = std::fs::metadata(folder.path().join("run/admin.sock")).expect("it is bound");
    assert_eq!(socket.permissions().mode() & 0o777, 0o660);
    let games = nix::unistd::Group::from_name("games").expect("groups can be read").expect("it is there").gid.as_raw();
    status_as(&appliance, STRANGER, games).succeeded();
    status_as(&appliance, STRANGER, STRANGER).failed();
    status_as(&appliance, OWNER, OWNER).succeeded();
    // The kernel's word for "somebody" is nobody's name, whatever the group.
    status_as(&appliance, 65_534, games).failed();
    let recorded = wait_for("both records", PATIENCE, || {
        let admin = appliance.accesses(&["\"admin\"", &format!("\"uid:{STRANGER}\""), "\"status\"", "\"ok\""]);
        let denied = appliance.accesses(&["\"denial\"", "\"uid:65534\""]);
        (!admin.is_empty() && !denied.is_empty()).then_some((admin.len(), denied.len()))
    });
    assert_eq!(recorded.0, 1, "{recorded:?}");
}

/// The unit ships with `PrivateUsers=yes`: there the kernel has numbers for root and the service's user alone, and for all
/// others says 65534. A mode that was opened by mistake then opens nothing.
#[test]
fn in_the_units_user_namespace_strangers_are_nobody() {
    let Some(unshare) = skip::machine_tool("unshare", "util-linux") else { return };
    if !skip::is_root() {
        return skip::absent("other users are needed", "run the tests as root");
    }
    let unit = include_str!("../../systemd/postern.service");
    assert!(unit.lines().any(|line| line == "PrivateUsers=yes"), "this test is about the unit as it ships");
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = for_group(folder.path(), 0, "root");
    let leading = ["--user", "--map-root-user", "--"].map(std::ffi::OsString::from);
    let command: Command = prefixed(&unshare, &leading, &appliance.command(["serve"]));
    let mut server = Server::spawn("postern", command, &folder.path().join("log"));
    server.wait_for_log("listening", PATIENCE);
    let socket = folder.path().join("run/admin.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).expect("root may");
    status_as(&appliance, STRANGER, STRANGER).failed();
    server.wait_for_log("uid 65534", PATIENCE);
    appliance.json(["status"]);
}

#[test]
fn an_auditor_looks_and_changes_nothing() {
    if !skip::is_root() {
        return skip::absent("other users are needed", "run the tests as root");
    }
    let folder = TempDir::new().expect("a temporary folder can be made");
    let sockets = folder.path().join("auditors");
    std::fs::create_dir(&sockets).expect("the folder is ours");
    let role = format!(
        "[[admin.role]]\nname = \"auditor\"\ngroup = \"operator\"\nsocket = \"{}/admin.sock\"\n",
        sockets.display()
    );
    let appliance = for_group_and(folder.path(), OWNER, "games", &role);
    let mut chown = Command::new("chown");
    chown.arg(format!("{OWNER}:operator")).arg(&sockets);
    run(chown, PATIENCE).succeeded();
    std::fs::set_permissions(&sockets, std::fs::Permissions::from_mode(0o2755)).expect("root may");
    let mut command = appliance.command(["serve"]);
    command.uid(OWNER).gid(OWNER);
    let _serving = appliance.serve_command(command);
    let number =
        |name| nix::unistd::Group::from_name(name).expect("groups can be read").expect("it is there").gid.as_raw();
    let as_auditor = |arguments: &[&str]| {
        let mut command = appliance.command(arguments);
        command.uid(STRANGER).gid(number("operator"));
        run(command, PATIENCE)
    };
    as_auditor(&["status"]).succeeded();
    as_auditor(&["report", "access"]).succeeded();
    as_auditor(&["user", "add", "mallory", "--grant", "admin:*"]).failed_saying("not for the role of auditor");
    as_auditor(&["sweep"]).failed_saying("not for the role of auditor");
    as_auditor(&["sweep", "--dry-run"]).succeeded();
    status_as(&appliance, STRANGER, number("games")).succeeded();
    status_as(&appliance, STRANGER, STRANGER).failed();
    let denied = wait_for("the records", PATIENCE, || {
        let denied = appliance.accesses(&["\"denial\"", &format!("\"uid:{STRANGER}\""), "\"user_add\"", "\"refused\""]);
        (!denied.is_empty()).then_some(denied)
    });
    assert_eq!(denied.len(), 1, "{denied:?}");
}
