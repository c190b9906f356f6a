//! Real clients with names and passwords: what they push to a private project they get back, nobody else does, and what is
//! taken away from them is gone with the next request.

use std::path::Path;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::activate;
use crate::crossing::appliance::{Appliance, Serving};
use crate::push::{ADMIT, append};

/// A private project with a robot; gives the robot's name and its secret.
fn private_project(appliance: &Appliance<'_>) -> (String, String) {
    appliance.run(["project", "add", "team-a", "--visibility", "private"]).succeeded();
    robot(appliance, "ci", "pusher")
}

fn robot(appliance: &Appliance<'_>, name: &str, role: &str) -> (String, String) {
    let report = appliance.json(["robot", "add", "team-a", name, "--role", role, "--expires-days", "30"]);
    let robot = &report["robots"][0];
    let text = |key: &str| robot[key].as_str().expect("a robot has a name and a secret").to_owned();
    (text("login_name"), text("secret"))
}

fn served(folder: &Path) -> Appliance<'static> {
    let appliance = Appliance::set_up(folder, "box", None);
    activate(&appliance, ADMIT, folder);
    appliance
}

fn trusting(clients: &Clients, serving: &Serving<'_>) -> Clients {
    clients.trusting(serving.endpoint.authority.as_ref().expect("setup made a certificate"))
}

#[test]
fn every_client_signs_in_with_a_token_or_a_password() {
    let Some(clients) = Clients::find(&["crane", "skopeo", "oras"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = served(folder.path());
    let (name, secret) = private_project(&appliance);
    let serving = appliance.serve();
    let address = serving.address().to_owned();
    let clients = trusting(&clients, &serving);
    let image = format!("{address}/team-a/web:v1");

    clients.run("crane", append(folder.path(), &image)).failed_saying("401");
    clients.run("crane", ["auth", "login", &address, "-u", &name, "-p", &secret]).succeeded();
    clients.run("crane", append(folder.path(), &image)).succeeded();
    let digest = clients.succeed("crane", ["digest", &image]);
    // Another project, and one that nobody declared, are not the robot's.
    for other in ["team-b/web:v1", "undeclared/web:v1"] {
        clients.run("crane", append(folder.path(), &format!("{address}/{other}"))).failed_saying("DENIED");
    }

    let credentials = format!("{name}:{secret}");
    let source = format!("docker://{image}");
    let copy = format!("docker://{address}/team-a/copied:v1");
    let arguments =
        ["copy", "--preserve-digests", "--src-creds", &credentials, "--dest-creds", &credentials, &source, &copy];
    clients.run("skopeo", arguments).succeeded();
    let copied = clients.succeed("crane", ["digest", &format!("{address}/team-a/copied:v1")]);
    assert_eq!(copied, digest);
    let wrong = format!("{name}:wrong");
    clients.run("skopeo", ["inspect", "--creds", &wrong, &source]).failed();
    clients.run("skopeo", ["inspect", "--no-creds", &source]).failed();

    std::fs::write(clients.home().join("note.txt"), "a note").expect("the home is ours");
    let artifact = format!("{address}/team-a/notes:v1");
    let sign_in = ["--username", &name, "--password", &secret];
    let push = ["push", &artifact, "note.txt:text/plain", "--artifact-type", "text/plain"];
    clients.run("oras", push.iter().chain(&sign_in)).succeeded();
    let tags = clients.run("oras", ["repo", "tags", &format!("{address}/team-a/notes")].iter().chain(&sign_in));
    assert_eq!(tags.succeeded().text(), "v1");

    // Revoked while the server runs, by the command that asks the server.
    appliance.run(["robot", "remove", &name]).succeeded();
    clients.run("crane", ["digest", &image]).failed_saying("UNAUTHORIZED");
    // Who pushed stands in the access log.
    appliance.accesses_once_written(&["\"principal\":\"robot:robot$team-a+ci\"", "\"event\":\"push\""], 1);
    assert!(appliance.accesses(&[&secret]).is_empty() && !serving.server.log().contains(&secret));
}

#[test]
fn roles_are_what_they_are_called() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = served(folder.path());
    let (pusher, pusher_secret) = private_project(&appliance);
    let (reader, reader_secret) = robot(&appliance, "deploy", "reader");
    let (maintainer, maintainer_secret) = robot(&appliance, "clean", "maintainer");
    let serving = appliance.serve();
    let address = serving.address().to_owned();
    let clients = trusting(&clients, &serving);
    let image = format!("{address}/team-a/web:v1");
    let login = |name: &str, secret: &str| {
        clients.run("crane", ["auth", "login", &address, "-u", name, "-p", secret]).succeeded();
    };
    login(&pusher, &pusher_secret);
    clients.run("crane", append(folder.path(), &image)).succeeded();
    clients.run("crane", ["delete", &image]).failed_saying("DENIED");
    login(&reader, &reader_secret);
    let digest = clients.succeed("crane", ["digest", &image]);
    clients.run("crane", ["tag", &image, "v2"]).failed_saying("DENIED");
    login(&maintainer, &maintainer_secret);
    clients.run("crane", ["delete", &format!("{address}/team-a/web@{digest}")]).succeeded();
    clients.run("crane", ["digest", &image]).failed_saying("MANIFEST_UNKNOWN");
}

#[test]
fn a_password_that_is_guessed_is_slowed_and_the_console_lets_in_again() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = served(folder.path());
    appliance.configure("[access]\nlockout_failures_count = 3\nlockout_seconds = 3600\n");
    let password = folder.path().join("password");
    std::fs::write(&password, "correct horse battery\n").expect("the folder is ours");
    let file = password.display().to_string();
    appliance.run(["user", "add", "anna", "--password-file", &file, "--grant", "admin:*"]).succeeded();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").expect("the folder is ours");
    let empty = empty.display().to_string();
    appliance.run(["user", "add", "bert", "--password-file", &empty]).failed_saying("12 letters");
    appliance.run(["user", "add", "bert", "--password-file", "/dev/zero"]).failed_saying("is no regular file");
    let serving = appliance.serve();
    let clients = trusting(&clients, &serving);
    let address = serving.address();
    let catalog = |password: &str| {
        clients.run("crane", ["auth", "login", address, "-u", "anna", "-p", password]).succeeded();
        clients.run("crane", ["catalog", address])
    };
    catalog("correct horse battery").succeeded();
    for _ in 0..3 {
        catalog("wrong").failed();
    }
    catalog("correct horse battery").failed_saying("TOOMANYREQUESTS");
    appliance.run(["user", "unlock", "anna"]).succeeded();
    catalog("correct horse battery").succeeded();
    let report = appliance.run(["report", "access"]).succeeded().text();
    assert!(report.contains("anna") && report.contains("role admin"), "{report}");
}

/// Named like the others of its kind: a binary that is given away has no kill points.
mod kill {
    use tempfile::TempDir;

    use super::served;

    /// A command that is killed between the file and the journal, or behind the journal, leaves the accounts of before or those
    /// of after, and no third thing; the same command again goes through or says that it was done.
    #[test]
    fn accounts_survive_a_command_that_is_killed() {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let appliance = served(folder.path());
        appliance.run(["project", "add", "team-a"]).succeeded();
        let mark = folder.path().join("mark");
        for (name, point, is_there) in [("one", "access.written", false), ("two", "access.committed", true)] {
            let mut command = appliance.command(["project", "add", name]);
            command.env("POSTERN_KILL_AT", point).env("POSTERN_KILL_MARK", &mark);
            crate::process::run(command, std::time::Duration::from_secs(60)).failed();
            assert_eq!(std::fs::read_to_string(&mark).ok().as_deref(), Some(point), "the point was reached");
            std::fs::remove_file(&mark).expect("it was read");
            let listed = appliance.run(["project", "list"]).succeeded().text();
            assert!(listed.contains("team-a"), "what was there before: {listed}");
            assert_eq!(listed.contains(name), is_there, "{point}: {listed}");
            let documents = std::fs::read_dir(appliance.data().join("trust/access")).expect("it is there").count();
            assert_eq!(documents, 1, "{point}: nothing half-done stays");
            appliance.run(["store", "check"]).succeeded();
        }
        appliance.run(["project", "add", "one"]).succeeded();
        appliance.run(["project", "add", "two"]).failed_saying("already");
    }
}

/// WHY: whoever mistypes the directory must not lose the keys of the appliance that works.
#[test]
fn a_restore_onto_a_store_that_is_there_touches_nothing() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let (appliance, other) = (served(folder.path()), Appliance::set_up(folder.path(), "other", None));
    let backup = folder.path().join("backup").display().to_string();
    appliance.run(["backup", "--to", &backup]).succeeded();
    let key = || std::fs::read(appliance.data().join("identity/device.pk8")).expect("setup made it");
    let before = key();
    let keys = other.data().join("identity").display().to_string();
    appliance.run(["restore", "--from", &backup, "--keys", &keys]).failed_saying("holds a store already");
    assert_eq!(key(), before);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("the folder is ours");
    let data = folder.path().join("new").display().to_string();
    let restore = ["restore", "--from", &backup, "--keys", &empty.display().to_string(), "--data", &data];
    appliance.run(restore).failed_saying("holds none");
}
