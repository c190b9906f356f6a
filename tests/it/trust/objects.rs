//! Objects of trust on the command path: added, staged, activated while the server runs, rolled back, and lost.

use serde_json::Value;

use super::{NAME, Stand, private_key};
use crate::crossing::appliance::Appliance;

const POLICY: &str = "version = 1\n[keys.release]\nobject = \"release\"\n[[rule]]\nname = \"released\"\n\
                      repositories = [\"demo/**\"]\nsignature.keys = [\"release\"]\n";

impl Stand {
    /// By what policy and objects are known together, and the states of all versions.
    #[track_caller]
    fn trusted(&self) -> (String, Vec<String>) {
        let listed = self.appliance.json(["trust", "list"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = |record: &Value| {
            let (object, version) = (text(&record["object"]), &record["version"]);
            let flag = |name: &str| if record[name] == true { format!(" {name}") } else { String::new() };
            format!("{object}@{version}{}{}", flag("active"), flag("staged"))
        };
        let objects = listed["objects"].as_array().expect("a list").iter().map(state).collect();
        (text(&listed["policy_digest"]), objects)
    }

    #[track_caller]
    fn admitted(&self) -> bool {
        self.appliance.run_json(["verify", NAME]).1["admitted"].as_bool().expect("a verdict")
    }
}

fn reasons(report: &Value, which: &str) -> Vec<String> {
    let lines = report["impact"][which].as_array().expect("a list").iter();
    lines
        .map(|line| format!("{}:{}", line["repository"].as_str().unwrap_or(""), line["tag"].as_str().unwrap_or("")))
        .collect()
}

#[test]
fn what_is_trusted_is_renewed_while_the_server_runs_and_taken_back() {
    let Some(stand) = Stand::new() else { return };
    let appliance = &stand.appliance;
    let ((private, first), (_, second)) = (private_key(), private_key());
    let private = stand.write("release.pem", &private);
    appliance.json(["sign", NAME, "--key", &private]);
    let other = format!("{}/demo/other:v1", stand.serving.address());
    stand.clients.succeed("crane", ["copy", &stand.image, &other]);

    // What a policy refers to must count before it does, or with it.
    let policy = stand.write("site.toml", POLICY);
    let lacking = appliance.run(["policy", "activate", &policy]).failed_saying("postern trust add key/release");
    assert_eq!(lacking.status.code(), Some(2), "{}", lacking.report());
    let (first, second) = (stand.write("first.pub", &first), stand.write("second.pub", &second));
    assert_eq!(appliance.json(["trust", "add", "key/release", &first])["version"], 1);
    assert_eq!(appliance.json(["trust", "add", "key/release", &first])["already_there"], true);
    appliance.run(["trust", "add", "key/release", &policy]).failed_saying("cannot be 'key/release'");
    appliance.json(["trust", "add", "policy/site", &policy]);
    appliance.run(["trust", "activate", "policy/site"]).failed_saying("no key 'release' is active");
    appliance.run(["trust", "activate"]).failed_saying("nothing is staged");
    appliance.json(["trust", "stage", "key/release"]);
    let staged = appliance.json(["trust", "stage", "policy/site"]);
    // The copy came without the signature.
    assert_eq!(
        (reasons(&staged, "stops"), &staged["activated"]),
        (vec!["demo/other:v1".to_owned()], &Value::from(false))
    );
    let before = stand.trusted();
    assert_eq!(before.1, ["key/release@1 staged", "policy/site@1 staged"]);
    assert_eq!(appliance.run(["trust", "activate"]).failed_saying("give --yes").status.code(), Some(3));
    assert_eq!(stand.trusted(), before, "nothing changed");
    assert_eq!(appliance.json(["trust", "activate", "--yes"])["activated"], true);
    let with_first = stand.trusted();
    assert_eq!(with_first.1, ["key/release@1 active", "policy/site@1 active"]);
    assert!(stand.admitted());

    // Another key: the image would stop, so nobody does it by mistake.
    appliance.json(["trust", "add", "key/release", &second]);
    let tried = appliance.json(["trust", "activate", "key/release", "--dry-run"]);
    assert_eq!((reasons(&tried, "stops"), &tried["activated"]), (vec![NAME.to_owned()], &Value::from(false)));
    let (refused, report) = appliance.run_json(["trust", "activate", "key/release"]);
    assert_eq!((refused.status.code(), &report["needs_agreement"]), (Some(3), &Value::from(true)));
    assert_eq!(stand.trusted().0, with_first.0);
    assert!(stand.admitted());
    appliance.json(["trust", "activate", "key/release", "--yes"]);
    assert_ne!(stand.trusted().0, with_first.0);
    assert!(!stand.admitted(), "the running server follows at once");

    let back = appliance.json(["trust", "rollback", "key/release"]);
    assert_eq!(
        (reasons(&back, "starts"), &back["policy_digest"]),
        (vec![NAME.to_owned()], &Value::from(with_first.0.as_str()))
    );
    assert!(stand.admitted());
    appliance.run(["trust", "rollback", "policy/site"]).failed_saying("no other version");
    assert_eq!(
        appliance.run(["trust", "show", "key/release@1"]).succeeded().text(),
        std::fs::read_to_string(&first).unwrap().trim()
    );
    appliance.run(["trust", "show", "key/release@9"]).failed_saying("there is no version 9");

    let Stand { folder, appliance, serving, .. } = stand;
    drop(serving);
    survives(&appliance, folder.path());
}

/// An index that is made anew, a restart and a restore know the same; a file that was changed lets nothing in.
fn survives(appliance: &Appliance<'_>, folder: &std::path::Path) {
    let listed = |appliance: &Appliance<'_>| appliance.json(["trust", "list"]);
    let expected = listed(appliance);
    appliance.run(["store", "rebuild"]).succeeded();
    assert_eq!(listed(appliance), expected);
    let path = |name: &str| folder.join(name).display().to_string();
    appliance.run(["backup", "--to", &path("backup")]).succeeded();
    let restored = Appliance::at(&folder.join("restored"));
    let keys = appliance.data().join("identity").display().to_string();
    restored.run(["restore", "--from", &path("backup"), "--keys", &keys]).succeeded();
    assert_eq!(listed(&restored), expected);

    let digest = expected["objects"][0]["digest"].as_str().expect("a digest").replace("sha256:", "");
    let file = appliance.data().join("trust/objects").join(format!("{digest}.txt"));
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replacen('A', "B", 1)).expect("the folder is ours");
    appliance.run(["verify", NAME]).failed_saying("was changed on the disk or cannot be read");
    let condition = appliance.json(["status"])["conditions"][0].clone();
    assert!(
        condition["detail"].as_str().is_some_and(|detail| detail.contains("the file of 'key/release'")),
        "{condition}"
    );
}

/// What was changed on the disk is not what was put into force: whoever asks is told, and nothing is judged by it.
#[test]
fn a_policy_that_was_changed_on_the_disk_is_nobodys() {
    let Some(stand) = Stand::new() else { return };
    let layout = stand.folder.path().join("layout").display().to_string();
    stand.clients.succeed("crane", ["pull", "--format", "oci", &stand.image, &layout]);
    let policy = stand.write("deny.toml", "version = 1\ndefault = \"deny\"\n# as it was\n");
    stand.appliance.json(["policy", "activate", &policy]);
    let policies = stand.appliance.data().join("trust/policies");
    let digest = stand.appliance.json(["status"])["policy"].as_str().expect("one is active").to_owned();
    let file = policies.join(format!("{}.toml", digest.trim_start_matches("sha256:")));
    std::fs::write(&file, "version = 1\ndefault = \"admit\"\n").expect("the folder is ours");
    let damaged = |words: &[&str]| {
        let ran = stand.appliance.run(words).failed_saying("was changed or cannot be read");
        assert_eq!(ran.status.code(), Some(4), "{}", ran.report());
    };
    damaged(&["policy", "show"]);
    damaged(&["verify", NAME, "--layout", &layout]);
    let conditions = stand.appliance.json(["status"])["conditions"].clone();
    assert_eq!(conditions[0]["kind"], "trust_damaged", "{conditions}");
    drop(stand.serving);
    let serving = stand.appliance.serve();
    stand.appliance.run(["verify", NAME]).failed_saying("was changed on the disk");
    stand.appliance.json(["policy", "activate", &policy]);
    assert_eq!(stand.appliance.json(["status"])["conditions"], Value::Array(Vec::new()));
    stand.appliance.run(["verify", NAME]).failed_saying("its default is to deny");
    drop(serving);
    // Where none was ever in force it is the one that denies everything.
    let fresh = Appliance::set_up(stand.folder.path(), "fresh", None);
    let refused = fresh.run(["verify", NAME, "--layout", &layout]).failed_saying("its default is to deny");
    assert_eq!(refused.status.code(), Some(3), "{}", refused.report());
    // And what is asked for is what is judged.
    let other = format!("demo/app@sha256:{}", "b".repeat(64));
    let absent = fresh.run(["verify", &other, "--layout", &layout]).failed_saying("and not sha256:bbb");
    assert_eq!(absent.status.code(), Some(2), "{}", absent.report());
}

#[test]
fn what_can_never_be_an_object_is_added_as_none() {
    let Some(stand) = Stand::new() else { return };
    let misspelt = stand.write("site.toml", "version = 1\ndefualt = \"deny\"\n");
    for (object, file, said) in [
        ("policy/site", "/dev/zero", "is no regular file"),
        ("policy/site", &stand.write("empty", ""), "'version' is missing"),
        ("policy/site", &misspelt, "unknown key 'defualt'"),
    ] {
        let refused = stand.appliance.run(["trust", "add", object, file]).failed_saying(said);
        assert_eq!(refused.status.code(), Some(2), "{}", refused.report());
    }
    assert!(stand.trusted().1.is_empty());
}
