//! Pushes and moving tags, written down as they are acknowledged, and what must be there for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::crossing::appliance::{Appliance, Serving};
use crate::crossing::{activate, exchange};
use crate::http::{Endpoint, request_from};
use crate::outside::signing::sha256;
use crate::push::wire::Image;
use crate::push::{ADMIT, OPEN};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TAGS_COUNT: usize = 4;
/// Versions that retention leaves.
const VERSIONS_KEPT_COUNT: usize = 6;
/// Of these so many are looked for: others may have come through without an answer, and count as newer.
const VERSIONS_SURE_COUNT: usize = 3;
const RETENTION: &str = "[[retention]]\nname = \"newest\"\nrepositories = [\"versions\"]\nkeep_semver_newest = 6\n";

/// What was answered, and what was asked for and not answered.
#[derive(Clone, Default)]
pub struct Book {
    next: usize,
    /// The image that each tag must show, unless one that was asked for since came through.
    tags: BTreeMap<String, usize>,
    /// Since the last look.
    asked: Vec<(String, usize)>,
    acknowledged: Vec<usize>,
    /// Versions of a second repository, the newest last. Older ones may be retired.
    versions: Vec<usize>,
    /// Versions below this are gone, as was acknowledged.
    retired_below: usize,
    /// Sets that were imported. The next one may have come in without an answer.
    imported_count: usize,
}

/// Sets for one receiver, an image each, to be imported one after the other.
pub struct Media {
    folders: Vec<PathBuf>,
}

/// What the image of a set is called, and where it differs from all others.
fn carried(number: usize) -> (Image, String) {
    (image(1_000 + number), format!("s{number}"))
}

impl Media {
    /// Made by a sender of its own, which is known from here on.
    #[track_caller]
    pub fn of(folder: &Path, receiver: &Appliance<'_>, count: usize) -> Self {
        let sender = Appliance::set_up(folder, "sender", None);
        sender.without_tls(OPEN);
        activate(&sender, ADMIT, folder);
        exchange(&sender, receiver, folder);
        let serving = sender.serve();
        let folders = (0..count).map(|number| {
            let (image, tag) = carried(number);
            assert!(push(&serving.endpoint, "carried", &image, &tag));
            let medium = folder.join(format!("medium-{number}"));
            std::fs::create_dir(&medium).expect("the folder is ours");
            let (to, reference) = (medium.display().to_string(), format!("carried:{tag}"));
            let words = ["bundle", "export", "--receiver", "box", "--series", "weekly", "--medium", &to, &reference];
            sender.run(words).succeeded();
            medium
        });
        Self { folders: folders.collect() }
    }
}

fn image(number: usize) -> Image {
    Image::new(number, 2_000 + number * 977 % 60_000)
}

/// An appliance that takes pushes over plain HTTP.
#[track_caller]
pub fn appliance(folder: &Path) -> Appliance<'static> {
    let appliance = Appliance::set_up(folder, "box", None);
    appliance.without_tls(&format!("{OPEN}{RETENTION}"));
    activate(&appliance, ADMIT, folder);
    appliance
}

fn push(endpoint: &Endpoint, repository: &str, image: &Image, tag: &str) -> bool {
    let send = |method: &str, target: &str, body: &[u8]| {
        let headers: &[(&str, &str)] = if method == "PUT" { &[("Content-Type", MANIFEST)] } else { &[] };
        request_from(endpoint, method, target, headers, body).is_ok_and(|response| response.status == 201)
    };
    let blob =
        |content: &[u8]| send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content)), content);
    blob(&image.layer) && blob(b"{}") && send("PUT", &format!("/v2/{repository}/manifests/{tag}"), &image.manifest)
}

impl Book {
    /// One push more; whether it was acknowledged.
    pub fn push(&mut self, endpoint: &Endpoint) -> bool {
        let number = self.next;
        self.next += 1;
        let tag = format!("t{}", number % TAGS_COUNT);
        let acknowledged = push(endpoint, "app", &image(number), &tag);
        if acknowledged {
            self.tags.insert(tag, number);
            self.acknowledged.push(number);
        } else {
            self.asked.push((tag, number));
        }
        acknowledged
    }

    /// A version more, and the older ones retired and swept by the server; whether all of it was acknowledged.
    pub fn push_and_retire(&mut self, appliance: &Appliance<'_>, endpoint: &Endpoint) -> bool {
        let number = self.next;
        self.next += 1;
        if !push(endpoint, "versions", &image(number), &format!("1.0.{number}")) {
            return false;
        }
        self.versions.push(number);
        if !appliance.run(["retention", "apply"]).status.success() {
            return false;
        }
        let newest = self.versions.iter().rev().nth(VERSIONS_KEPT_COUNT - 1);
        self.retired_below = newest.copied().unwrap_or(self.retired_below).max(self.retired_below);
        appliance.run(["sweep", "--grace-seconds", "0"]).status.success()
    }

    /// What was retired is gone, and the newest are there, whole.
    #[track_caller]
    fn check_versions(&self, serving: &Serving<'_>) {
        for number in &self.versions {
            let is_served = image(*number).is_served(&serving.endpoint, "versions", &format!("1.0.{number}"));
            let is_newest = self.versions.iter().rev().take(VERSIONS_SURE_COUNT).any(|newest| newest == number);
            assert!(!is_served || *number >= self.retired_below, "version {number} was retired and is there");
            assert!(is_served || !is_newest, "version {number} is lost");
        }
    }

    /// Imports the next set; whether that was acknowledged.
    pub fn import(&mut self, appliance: &Appliance<'_>, media: &Media) -> bool {
        let Some(medium) = media.folders.get(self.imported_count) else { return true };
        let acknowledged = appliance.run(["bundle", "import", &medium.display().to_string()]).status.success();
        self.imported_count += usize::from(acknowledged);
        acknowledged
    }

    /// What is known at one moment, where all that `later` knows besides may have happened too.
    pub fn and_perhaps(mut self, later: &Self) -> Self {
        let numbers = self.next..=later.next;
        self.asked.extend(numbers.map(|number| (format!("t{}", number % TAGS_COUNT), number)));
        self
    }

    /// How much was acknowledged.
    pub fn told(&self) -> String {
        let (images, versions) = (self.acknowledged.len(), self.versions.len());
        format!("{images} images, {versions} versions, {} sets", self.imported_count)
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Everything acknowledged is served whole, and nothing by half.
    #[track_caller]
    pub fn check(&mut self, serving: &Serving<'_>) {
        let endpoint = &serving.endpoint;
        self.check_versions(serving);
        for number in 0..=self.imported_count {
            let (image, tag) = carried(number);
            let is_served = image.is_served(endpoint, "carried", &tag);
            assert!(is_served || number == self.imported_count, "what came in with set {number} is lost");
        }
        for (tag, number) in self.tags.clone() {
            let shown = serving.get(&format!("/v2/app/manifests/{tag}")).expect_status(200);
            let asked = self.asked.iter().filter(|(asked, _)| *asked == tag).map(|(_, number)| *number);
            let found = asked.chain([number]).find(|number| image(*number).manifest == shown.body);
            let found = found.unwrap_or_else(|| panic!("'{tag}' shows what was never acknowledged: {}", shown.text()));
            assert!(image(found).is_served(endpoint, "app", &tag));
            self.tags.insert(tag, found);
        }
        for (tag, number) in std::mem::take(&mut self.asked) {
            // Whole or not at all, whichever it was.
            if image(number).is_served(endpoint, "app", &image(number).digest()) {
                self.tags.entry(tag).or_insert(number);
                self.acknowledged.push(number);
            }
        }
        for number in self.acknowledged.iter().rev().take(12) {
            assert!(image(*number).is_served(endpoint, "app", &image(*number).digest()), "image {number} is lost");
        }
    }
}
