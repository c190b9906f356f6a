//! A client that is gone in the middle of an upload: another request goes on where it stood.

use std::time::Duration;

use tempfile::TempDir;

use super::wire::{Image, open, send};
use super::{ADMIT, OPEN, appliance};
use crate::http::break_off;
use crate::outside::signing::sha256;
use crate::process::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_upload_goes_on_where_its_client_was_cut_off() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let endpoint = &serving.endpoint;
    let image = Image::new(1, 1_000_000);
    let at = open(endpoint, "app").expect("a session opens");
    break_off(endpoint, "PATCH", &at, &image.layer[..700_000], image.layer.len()).expect("that much is sent");
    // The server has to notice first. What it had not written by then is sent again, from where it says.
    let stands_at = wait_for("the session to be free again", PATIENCE, || {
        let asked = send(endpoint, "GET", &at, b"").ok().filter(|asked| asked.status == 204)?;
        let last = asked.header("range")?.strip_prefix("0-")?.parse::<usize>().ok()?;
        (last > 0).then_some(last + 1)
    });
    assert!(stands_at <= 700_000, "{stands_at}");
    let range = format!("{stands_at}-{}", image.layer.len() - 1);
    let rest =
        crate::http::request_from(endpoint, "PATCH", &at, &[("Content-Range", &range)], &image.layer[stands_at..]);
    rest.expect("it answers").expect_status(202);
    let digest = sha256(&image.layer);
    send(endpoint, "PUT", &format!("{at}?digest={digest}"), b"").expect("it answers").expect_status(201);
    send(endpoint, "POST", &format!("/v2/app/blobs/uploads/?digest={}", sha256(b"{}")), b"{}")
        .expect("it answers")
        .expect_status(201);
    image.put(endpoint, "app", "v1").expect("it answers");
    assert!(image.is_served(endpoint, "app", "v1"));
    // Whole in one request, and cut off: nothing of it is kept.
    let other = Image::new(2, 1_000_000);
    let target = format!("/v2/app/blobs/uploads/?digest={}", sha256(&other.layer));
    break_off(endpoint, "POST", &target, &other.layer[..700_000], other.layer.len()).expect("that much is sent");
    wait_for("what was sent to be gone", PATIENCE, || {
        let left = std::fs::read_dir(appliance.data().join("uploads")).map_or(0, Iterator::count);
        (left == 0).then_some(())
    });
    other.push(endpoint, "app", "v2").expect("the same again goes through");
    assert!(other.is_served(endpoint, "app", "v2"));
}
