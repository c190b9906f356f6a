//! Leg 2: two devices that know nobody, and how they come to know each other.

use std::path::Path;

use crate::netns::Namespace;

use super::appliance::Appliance;

/// Both sides set up, each enrolled at the other after its fingerprint was compared.
#[track_caller]
pub fn both_sides<'n>(folder: &Path, namespace: &'n Namespace) -> (Appliance<'n>, Appliance<'n>) {
    let low = Appliance::set_up(folder, "low-side", None);
    let high = Appliance::set_up_high(folder, "high-side", Some(namespace));
    for side in [&low, &high] {
        side.assert_keys_are_private();
        assert_eq!(enrolled(side), Vec::<String>::new(), "nobody is trusted by default");
        // Setup can be repeated, and changes nothing.
        let before = fingerprint(side);
        side.run(["setup"]).succeeded();
        assert_eq!(fingerprint(side), before);
    }
    exchange(&low, &high, folder);
    (low, high)
}

/// The sender's identity file goes up and the receiver's comes down; each fingerprint is compared.
#[track_caller]
pub fn exchange(low: &Appliance<'_>, high: &Appliance<'_>, folder: &Path) {
    enrol(high, low, "sender", folder);
    enrol(low, high, "receiver", folder);
}

/// One identity file goes over, and only the fingerprint that a person compared makes it known.
#[track_caller]
pub fn enrol(at: &Appliance<'_>, peer: &Appliance<'_>, role: &str, folder: &Path) {
    let file = folder.join(format!("{role}.identity.json")).display().to_string();
    peer.run(["enroll", "show", "--out", &file]).succeeded();
    let fingerprint = fingerprint(peer);
    // Without a word about the fingerprint, with nobody at a terminal to ask: not enrolled.
    let shown = at.run(["enroll", "add", &file, "--role", role]).failed();
    assert!(shown.complaint().contains(&fingerprint), "what to compare: {}", shown.report());
    let mistaken = self::fingerprint(at);
    at.run(["enroll", "add", &file, "--role", role, "--fingerprint", &mistaken]).failed();
    assert!(!enrolled(at).contains(&fingerprint), "neither was a confirmation");
    at.run(["enroll", "add", &file, "--role", role, "--fingerprint", &fingerprint]).succeeded();
    assert!(enrolled(at).contains(&fingerprint), "{:?}", enrolled(at));
}

/// As it is read aloud.
#[track_caller]
pub fn fingerprint(side: &Appliance<'_>) -> String {
    let shown = side.json(["enroll", "show"]);
    shown["fingerprint"].as_str().expect("a device has a fingerprint").to_owned()
}

#[track_caller]
fn enrolled(side: &Appliance<'_>) -> Vec<String> {
    let listed = side.json(["enroll", "list"]);
    let devices = listed["devices"].as_array().expect("a list of devices");
    devices.iter().filter_map(|device| device["fingerprint"].as_str().map(str::to_owned)).collect()
}
