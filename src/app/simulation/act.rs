//! What people and schedules do to a store. Each act may be interrupted by another before any change that it makes.

use std::time::Duration;

use super::goods::{self, Image, Part, goods};
use super::picture::Done;
use super::world::{Failed, World};
use crate::bundle::import::{ImportOptions, import};
use crate::limits::SET_TABLE_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::retention::{RetentionRule, SweepOptions, WrittenRule, apply, plan, sweep};
use crate::store::{Change, LinkVia, PrincipalRef, Store};

const PUSHED: [&str; 2] = ["push/a", "push/b"];
const MIRRORED: &str = "mirror/c";
/// How many layers there are to choose from.
const LAYERS_COUNT: u64 = 10;

impl World {
    /// Whatever comes next.
    pub fn act(&self, store: &Store) -> Result<(), String> {
        match self.below(if self.is_wordy { 26 } else { 21 }) {
            0..=4 => self.push(store),
            5..=6 => self.push_index(store),
            7 => self.move_tag(store),
            8..=9 => self.delete(store),
            10..=11 => self.mirror(store),
            12..=13 => self.import(store),
            14 => self.retire(store),
            15..=16 => self.sweep(store),
            17 => self.activate_policy(store),
            18 => self.turn_the_clock(store),
            19 => self.write_down(store),
            _ => self.note(store),
        }
    }

    fn some_image(&self) -> Image {
        let count = 1 + self.below(3);
        let layers: Vec<u64> = (0..count).map(|_| self.below(LAYERS_COUNT)).collect();
        goods::image(&layers)
    }

    fn some_tag(&self) -> String {
        let tags = ["latest", "v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0"];
        tags[usize::try_from(self.below(5)).unwrap_or_default()].to_owned()
    }

    /// Content comes in pieces, and others act between them.
    fn upload(&self, store: &Store, (digest, content): &Part) -> Result<(), Failed> {
        let mut writer = store.blobs().begin()?;
        for piece in content.chunks(4_500) {
            writer.write(piece)?;
        }
        writer.finish(Some(digest))?;
        Ok(())
    }

    fn upload_all(&self, store: &Store, image: &Image) -> Result<(), Failed> {
        for part in &image.parts {
            self.upload(store, part)?;
        }
        self.upload(store, &(image.manifest.digest, image.bytes.clone()))
    }

    fn push(&self, store: &Store) -> Result<(), String> {
        let (repository, image, tag) = (self.pick(&PUSHED), self.some_image(), self.some_tag());
        self.say(&format!("push {repository}:{tag}"));
        let (publish, published) = image.publish(repository, false);
        let (tag, tagged) = goods::tagged(repository, &tag, image.manifest.digest);
        let mut changes = image.links(repository, LinkVia::Upload);
        changes.extend([publish, tag]);
        let outcome = self.upload_all(store, &image).and_then(|()| self.commit(store, changes));
        self.settle(store, vec![published, tagged], outcome)
    }

    fn push_index(&self, store: &Store) -> Result<(), String> {
        let (repository, tag) = (self.pick(&PUSHED), self.some_tag());
        let children = [self.some_image(), self.some_image()];
        let index = goods::index(&children);
        self.say(&format!("push index {repository}:{tag}"));
        let (mut changes, mut done, mut uploaded) = (Vec::new(), Vec::new(), Ok(()));
        for image in children.iter().chain([&index]) {
            uploaded = uploaded.and_then(|()| self.upload_all(store, image));
            changes.extend(image.links(repository, LinkVia::Upload));
            let (publish, published) = image.publish(repository, false);
            changes.push(publish);
            done.push(published);
        }
        let (tag, tagged) = goods::tagged(repository, &tag, index.manifest.digest);
        changes.push(tag);
        done.push(tagged);
        let outcome = uploaded.and_then(|()| self.commit(store, changes));
        self.settle(store, done, outcome)
    }

    fn move_tag(&self, store: &Store) -> Result<(), String> {
        let Some((repository, digest)) = self.some_manifest() else { return Ok(()) };
        let tag = self.some_tag();
        self.say(&format!("tag {repository}:{tag}"));
        let (change, done) = goods::tagged(repository, &tag, digest);
        let outcome = self.commit(store, vec![change]);
        self.settle(store, vec![done], outcome)
    }

    /// As a client deletes by digest: the tags that point there go too.
    fn delete(&self, store: &Store) -> Result<(), String> {
        let Some((repository, digest)) = self.some_manifest() else { return Ok(()) };
        self.say(&format!("delete {repository}"));
        let name: crate::oci::name::RepositoryName = repository.parse().unwrap();
        let (mut changes, mut done) = (Vec::new(), Vec::new());
        for tag in self.tags_of(repository, &digest) {
            let (repository_name, tag_name) = (name.clone(), tag.parse().unwrap());
            let reason = "test".to_owned();
            changes.push(Change::RemoveTag { repository: repository_name, tag: tag_name, expected: None, reason });
            done.push(Done::Untagged { repository, tag });
        }
        changes.push(Change::RemoveManifest { repository: name, digest, reason: "test".to_owned() });
        done.push(Done::Removed { repository, digest });
        let outcome = self.commit(store, changes);
        self.settle(store, done, outcome)
    }

    /// As a mirror does it: the manifest first, sparse, and each blob when somebody asks for it. Bytes that are here do
    /// not travel again.
    fn mirror(&self, store: &Store) -> Result<(), String> {
        let (image, tag) = (self.some_image(), self.some_tag());
        self.say(&format!("mirror {MIRRORED}:{tag}"));
        let (publish, published) = image.publish(MIRRORED, true);
        let (tag, tagged) = goods::tagged(MIRRORED, &tag, image.manifest.digest);
        let outcome = self
            .upload(store, &(image.manifest.digest, image.bytes.clone()))
            .and_then(|()| self.commit(store, vec![publish, tag]));
        self.settle(store, vec![published, tagged], outcome)?;
        for part in &image.parts {
            let outcome = self
                .fetch(store, part)
                .and_then(|()| self.commit(store, vec![goods::link(MIRRORED, part, LinkVia::Mirror)]));
            self.settle(store, vec![Done::Linked { repository: MIRRORED, digest: part.0 }], outcome)?;
        }
        Ok(())
    }

    fn fetch(&self, store: &Store, part: &Part) -> Result<(), Failed> {
        if store.blobs().stat(&part.0)? == Some(part.1.len() as u64) { Ok(()) } else { self.upload(store, part) }
    }

    fn import(&self, store: &Store) -> Result<(), String> {
        let goods = goods();
        let next = usize::try_from(self.imported()).unwrap_or_default();
        let chosen = if self.one_in(5) { next.saturating_sub(1) } else { next };
        let Some(set) = goods.sets.get(chosen) else { return Ok(()) };
        let number = chosen as u64 + 1;
        self.say(&format!("import {}", set.id));
        let medium = crate::sys::medium::SimulatedMedium::new(std::sync::Arc::new(set.stick.fork()));
        if self.one_in(4) {
            medium.yank_after(self.below(60_000));
        }
        let options = ImportOptions {
            set: None,
            principal: PrincipalRef::operator("0"),
            table_bytes_max: SET_TABLE_BYTES_MAX,
            judged_bytes_max: None,
            unenforced: std::collections::BTreeSet::new(),
        };
        match import(store, &goods.keys, &goods.policy, &medium, &options, &Silent) {
            Ok(report) if report.already_imported => {
                self.receipt_is_owed(set.id);
                Ok(())
            }
            Ok(_) => {
                self.receipt_is_owed(set.id);
                self.settle(store, set.done.clone(), Ok(()))
            }
            // It may have come in and only its receipt is still to be signed: the error says so, and so does the store.
            Err(error) if store.high_water(&goods.sender, goods::SERIES).ok() == Some(number) => {
                self.say(&format!("({error})"));
                self.settle(store, set.done.clone(), Ok(()))
            }
            Err(error) => self.settle(store, set.done.clone(), Err(Failed::excused(&error))),
        }
    }

    fn retire(&self, store: &Store) -> Result<(), String> {
        self.say("retention");
        let rule = WrittenRule {
            name: "newest".to_owned(),
            repositories: vec!["push/*".to_owned()],
            keep_semver_newest: Some(2),
            keep_tags: Vec::new(),
        };
        let planned = RetentionRule::new(rule).map_err(|error| error.to_string())?;
        let Ok(planned) = plan(store, &[planned]) else { return Ok(()) };
        let mut done = Vec::new();
        for plan in &planned.repositories {
            let Some(repository) = PUSHED.into_iter().find(|name| *name == plan.repository.as_str()) else {
                return Err(format!("retention speaks of '{}'", plan.repository));
            };
            done.extend(plan.retired().map(|line| match &line.tag {
                Some(tag) => Done::Untagged { repository, tag: tag.as_str().to_owned() },
                None => Done::Removed { repository, digest: line.digest },
            }));
        }
        let outcome = apply(store, &planned, PrincipalRef::system("retention"));
        self.settle(store, done, outcome.map(drop).map_err(|error| Failed::excused(&error)))
    }

    fn sweep(&self, store: &Store) -> Result<(), String> {
        let grace_seconds = self.pick(&[0, 0, 60]);
        self.say(&format!("sweep after {grace_seconds} s"));
        let options = SweepOptions { grace_seconds, dry_run: false };
        let outcome = sweep(store, options, &PrincipalRef::system("sweep"));
        self.settle(store, Vec::new(), outcome.map(drop).map_err(|error| Failed::excused(&error)))
    }

    fn activate_policy(&self, store: &Store) -> Result<(), String> {
        let text = format!("version = 1\ndefault = \"admit\"\n# {}\n", self.below(3));
        let digest = Digest::of(text.as_bytes());
        self.say("policy");
        let written =
            crate::sys::dir::replace(store.dir().as_ref(), &crate::store::policy_path(&digest), text.as_bytes());
        let outcome = written
            .map_err(|error| Failed::excused(&error))
            .and_then(|()| self.commit(store, vec![Change::ActivatePolicy { digest }]));
        self.settle(store, vec![Done::Policy(digest)], outcome)
    }

    /// A long event now and then, so that segments end.
    fn note(&self, store: &Store) -> Result<(), String> {
        let bytes_max = if self.is_wordy { 1_200_000 } else { 5_000 };
        let length = usize::try_from(1 + self.below(bytes_max)).unwrap_or_default();
        self.say(&format!("note of {length}"));
        let change = Change::ApplyRetention { rule: "note".to_owned(), values: "x".repeat(length).into() };
        let outcome = self.commit(store, vec![change]);
        self.settle(store, Vec::new(), outcome)
    }

    /// A snapshot, the end of a segment, a newer form, or what that allows: nothing of it changes anything that is shown.
    fn write_down(&self, store: &Store) -> Result<(), String> {
        self.say("write down");
        let outcome = match self.below(6) {
            0 | 1 => store.snapshot().map(drop),
            2 | 3 => store.seal_segment().map(drop),
            4 => store.pack_segments(&|| false).map(drop),
            _ => {
                let finalized = store.finalize(PrincipalRef::system("test")).map_err(Failed::from);
                return self.settle(store, Vec::new(), finalized.map(|finalized| self.note_head(finalized.position)));
            }
        };
        self.settle(store, Vec::new(), outcome.map_err(|error| Failed::unexcused(&error)))
    }

    /// Time passes, or the wall clock jumps in either direction, or something signed says how late it is at least.
    fn turn_the_clock(&self, store: &Store) -> Result<(), String> {
        self.say("clock");
        match self.below(4) {
            0 => self.clock.set_wall(jiff::Timestamp::UNIX_EPOCH),
            1 => self.clock.advance(Duration::from_secs(self.below(400))),
            2 => self.clock.set_wall("2041-01-01T00:00:00Z".parse().unwrap()),
            _ => {
                let at = store.time_floor().max("2026-11-24T00:00:00Z".parse().unwrap());
                let at = at + jiff::SignedDuration::from_secs(1);
                let change = Change::RaiseTimeFloor { at, source: "test".to_owned() };
                let outcome = self.commit(store, vec![change]);
                return self.settle(store, vec![Done::Floor(at)], outcome);
            }
        }
        Ok(())
    }
}
