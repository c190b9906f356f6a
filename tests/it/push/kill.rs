//! A server that dies in the middle of a push: what it acknowledged is there, what it did not can be pushed again, and
//! nobody ever pulls half an image.

use std::time::Duration;

use tempfile::TempDir;

use super::wire::Image;
use super::{ADMIT, OPEN, appliance};

const PATIENCE: Duration = Duration::from_secs(60);

/// In the order in which a push passes there: the first piece of a layer, its last, its link, the manifest.
const POINTS: [&str; 4] = ["push.received", "push.stored", "push.linked", "push.published"];

#[test]
fn a_push_survives_every_kill_of_the_server() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, ADMIT);
    let mark = folder.path().join("mark");
    let kept = Image::new(POINTS.len(), 70_000);
    let serving = appliance.serve();
    kept.push(&serving.endpoint, "kept", "v1").expect("nobody disturbs it");
    drop(serving);
    for (number, point) in POINTS.into_iter().enumerate() {
        let image = Image::new(number, 600_000);
        let mut command = appliance.command(["serve"]);
        command.env("POSTERN_KILL_AT", point).env("POSTERN_KILL_MARK", &mark);
        let mut doomed = appliance.serve_command(command);
        image.push(&doomed.endpoint, "app", "latest").expect_err("the server dies before it is done");
        doomed.server.wait_end(PATIENCE);
        assert_eq!(std::fs::read_to_string(&mark).ok().as_deref(), Some(point), "the point was reached");
        std::fs::remove_file(&mark).expect("it was read");
        drop(doomed);

        let again = appliance.serve();
        let uploads = std::fs::read_dir(appliance.data().join("uploads")).map_or(0, Iterator::count);
        assert_eq!(uploads, 0, "{point}: sessions end with their process, and so does what they wrote");
        let is_there = image.is_served(&again.endpoint, "app", &image.digest());
        assert_eq!(is_there, point == "push.published", "{point}: the journal says whether it was published");
        image.push(&again.endpoint, "app", "latest").expect("the same again goes through");
        assert!(image.is_served(&again.endpoint, "app", "latest"), "{point}");
        assert!(kept.is_served(&again.endpoint, "kept", "v1"), "{point}: what was there before");
        drop(again);
        appliance.run(["store", "check"]).succeeded();
    }
}
