//! One run: an operation at a time, on both.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::push::NOWHERE;
use super::super::world::{Got, Make, World};
use super::Random;
use super::picture::{Picture, Pushed, Session};
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::progress::Silent;
use crate::retention::{SweepOptions, sweep};
use crate::store::{CheckDepth, PrincipalRef};

const REPOSITORIES: [&str; 3] = ["a", "a/b", "c"];
const TAGS: [&str; 4] = ["latest", "v1", "V1", "x.y"];
const TYPES: [&str; 2] = ["example/one", "example/two"];
const CONTENTS: [&str; 6] = ["", "{}", "layer one", "layer two", "something longer than the others", "z"];

pub struct Play {
    seed: u64,
    random: Random,
    world: World,
    picture: Picture,
    /// What was done, for whoever has to understand a failure.
    said: String,
}

impl Play {
    pub fn new(seed: u64, random: Random) -> Self {
        let world = World::new(NOWHERE, Make::default());
        Self { seed, random, world, picture: Picture::default(), said: String::new() }
    }

    #[track_caller]
    fn same<T: PartialEq + std::fmt::Debug>(&self, got: &T, expected: &T) {
        assert!(got == expected, "POSTERN_MODEL_SEED={}\n{}got {got:?}, expected {expected:?}", self.seed, self.said);
    }

    async fn push(&mut self, method: &str, target: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Got {
        let got = match method {
            "DELETE" if !target.contains("/uploads/") => self.world.delete(target, headers).await,
            _ => self.world.push(method, target, headers, body).await,
        };
        writeln!(self.said, "{method} {target} {headers:?}, {} bytes: {}", body.len(), got.status).unwrap();
        got
    }

    fn repository(&mut self) -> &'static str {
        self.random.pick(&REPOSITORIES)
    }

    fn content(&mut self) -> (&'static [u8], Digest) {
        let content = self.random.pick(&CONTENTS).as_bytes();
        let algorithm = if self.random.one_in(6) { Algorithm::Sha512 } else { Algorithm::Sha256 };
        (content, algorithm.hash(content))
    }

    /// Something that is or was in any of the repositories, or never was.
    fn known(&mut self) -> Digest {
        let known: Vec<Digest> = self.picture.known.iter().copied().collect();
        if known.is_empty() || self.random.one_in(20) { Digest::of(b"never") } else { self.random.pick(&known) }
    }

    fn take_in(&mut self, repository: &'static str, digest: Digest, content: &[u8]) {
        self.picture.known.insert(digest);
        self.picture.at(repository).blobs.insert(digest, content.to_vec());
    }

    pub async fn step(&mut self) {
        match self.random.below(22) {
            0..=3 => self.upload_whole().await,
            4 => self.open_session().await,
            5..=7 => self.go_on().await,
            8 | 9 => self.mount().await,
            10..=13 => self.put_image().await,
            14 => self.put_index().await,
            15 => self.delete_tag().await,
            16 => self.delete_manifest().await,
            17 => self.delete_blob().await,
            18 | 19 => self.read().await,
            20 => self.list().await,
            _ => self.housekeeping(),
        }
    }

    async fn upload_whole(&mut self) {
        let (repository, (content, digest)) = (self.repository(), self.content());
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let got = self.push("POST", &target, &[], content).await;
        self.same(&got.status, &201);
        self.take_in(repository, digest, content);
    }

    async fn open_session(&mut self) {
        let repository = self.repository();
        let got = self.push("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").await;
        self.same(&got.status, &202);
        let address = got.header("location").to_owned();
        self.picture.sessions.push(Session { address, repository, bytes: Vec::new() });
    }

    /// A piece, one out of order, the end, a wrong end, a question or a cancellation.
    async fn go_on(&mut self) {
        if self.picture.sessions.is_empty() {
            return self.open_session().await;
        }
        let at = self.random.below(self.picture.sessions.len());
        let mut session = self.picture.sessions.swap_remove(at);
        let address = session.address.clone();
        let (piece, _) = self.content();
        let stands_at = session.bytes.len();
        let range = |bytes: usize| format!("0-{}", bytes.saturating_sub(1));
        match self.random.below(6) {
            0 | 1 => {
                let said = format!("{stands_at}-{}", stands_at + piece.len().saturating_sub(1));
                let headers: &[_] = if piece.is_empty() { &[] } else { &[("content-range", said.as_str())] };
                let got = self.push("PATCH", &address, headers, piece).await;
                session.bytes.extend_from_slice(piece);
                self.same(&(got.status, got.header("range").to_owned()), &(202, range(session.bytes.len())));
            }
            2 => {
                let said = format!("{}-{}", stands_at + 1, stands_at + 3);
                let got = self.push("PATCH", &address, &[("content-range", said.as_str())], b"xyz").await;
                self.same(&(got.status, got.header("range").to_owned()), &(416, range(stands_at)));
            }
            3 => {
                let got = self.push("GET", &address, &[], b"").await;
                self.same(&(got.status, got.header("range").to_owned()), &(204, range(stands_at)));
            }
            4 => {
                session.bytes.extend_from_slice(piece);
                let is_right = !self.random.one_in(3);
                let digest = Digest::of(if is_right { &session.bytes } else { b"something else" });
                let got = self.push("PUT", &format!("{address}?digest={digest}"), &[], piece).await;
                self.same(&got.status, &if is_right { 201 } else { 400 });
                if is_right {
                    self.take_in(session.repository, digest, &session.bytes);
                }
                return self.is_over(&address).await;
            }
            _ => {
                let got = self.push("DELETE", &address, &[], b"").await;
                self.same(&got.status, &204);
                return self.is_over(&address).await;
            }
        }
        self.picture.sessions.push(session);
    }

    async fn is_over(&mut self, address: &str) {
        let got = self.push("PATCH", address, &[], b"late").await;
        self.same(&got.status, &404);
    }

    async fn mount(&mut self) {
        let (to, digest) = (self.repository(), self.known());
        let from = (!self.random.one_in(2)).then(|| self.repository());
        let holders: Vec<&'static str> =
            REPOSITORIES.iter().filter(|name| self.picture.holds(name, &digest)).copied().collect();
        let source = match from {
            Some(from) => holders.iter().find(|holder| **holder == from).copied(),
            None => holders.first().copied(),
        };
        let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
        let got = self.push("POST", &format!("/v2/{to}/blobs/uploads/?mount={digest}{from}"), &[], b"").await;
        self.same(&got.status, &if source.is_some() { 201 } else { 202 });
        match source {
            Some(source) => {
                let content = self.picture.at(source).blobs[&digest].clone();
                self.take_in(to, digest, &content);
            }
            None => {
                let address = got.header("location").to_owned();
                self.picture.sessions.push(Session { address, repository: to, bytes: Vec::new() });
            }
        }
    }

    /// Of blobs that may or may not be in the repository; often about something.
    async fn put_image(&mut self) {
        let repository = self.repository();
        let mut part = |media_type: &str| {
            let (content, digest) = self.content();
            (digest, json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
        };
        let (config, config_part) = part(OCI_CONFIG);
        let (layer, layer_part) = part("application/vnd.oci.image.layer.v1.tar");
        let mut value =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config_part, "layers": [layer_part]});
        let mut artifact_type = OCI_CONFIG.to_owned();
        let subject = self.random.one_in(2).then(|| self.known());
        if let Some(subject) = &subject {
            artifact_type = self.random.pick(&TYPES).to_owned();
            value["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 7});
            value["artifactType"] = json!(artifact_type);
        }
        let blobs = vec![config, layer];
        let pushed = Pushed {
            bytes: serde_json::to_vec(&value).unwrap(),
            media_type: OCI_MANIFEST,
            blobs,
            children: Vec::new(),
            subject,
            artifact_type: Some(artifact_type),
        };
        self.put(repository, pushed).await;
    }

    /// Of manifests that may or may not be in the repository.
    async fn put_index(&mut self) {
        let repository = self.repository();
        let mut children = Vec::new();
        let mut parts = Vec::new();
        for _ in 0..self.random.below(3) {
            let digest = self.known();
            let held = self.picture.at(repository).manifests.get(&digest);
            let (media_type, size) = held.map_or((OCI_MANIFEST, 9), |held| (held.media_type, held.bytes.len()));
            parts.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
            children.push(digest);
        }
        let value = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": parts});
        let pushed = Pushed {
            bytes: serde_json::to_vec(&value).unwrap(),
            media_type: OCI_INDEX,
            blobs: Vec::new(),
            children,
            subject: None,
            artifact_type: None,
        };
        self.put(repository, pushed).await;
    }

    async fn put(&mut self, repository: &'static str, pushed: Pushed) {
        let digest = Digest::of(&pushed.bytes);
        let tag = self.random.pick(&TAGS);
        let (target, tag) = match self.random.below(3) {
            0 => (format!("/v2/{repository}/manifests/{digest}"), None),
            1 => (format!("/v2/{repository}/manifests/{digest}?tag={tag}"), Some(tag)),
            _ => (format!("/v2/{repository}/manifests/{tag}"), Some(tag)),
        };
        let got = self.push("PUT", &target, &[("content-type", pushed.media_type)], &pushed.bytes).await;
        let fits = self.picture.at(repository).has_all_of(&pushed);
        self.same(&got.status, &if fits { 201 } else { 404 });
        self.picture.known.insert(digest);
        if fits {
            let subject = pushed.subject.map(|subject| subject.to_string()).unwrap_or_default();
            self.same(&got.header("oci-subject").to_owned(), &subject);
            let held = self.picture.at(repository);
            held.manifests.insert(digest, pushed);
            held.tags.extend(tag.map(|tag| (tag.to_owned(), digest)));
        }
    }

    async fn delete_tag(&mut self) {
        let (repository, tag) = (self.repository(), self.random.pick(&TAGS));
        let got = self.push("DELETE", &format!("/v2/{repository}/manifests/{tag}"), &[], b"").await;
        let was_there = self.picture.at(repository).tags.remove(tag).is_some();
        self.same(&got.status, &if was_there { 202 } else { 404 });
    }

    async fn delete_manifest(&mut self) {
        let (repository, digest) = (self.repository(), self.known());
        let got = self.push("DELETE", &format!("/v2/{repository}/manifests/{digest}"), &[], b"").await;
        let expected = self.picture.at(repository).delete_manifest(&digest);
        self.same(&got.status, &expected);
    }

    async fn delete_blob(&mut self) {
        let (repository, digest) = (self.repository(), self.known());
        let got = self.push("DELETE", &format!("/v2/{repository}/blobs/{digest}"), &[], b"").await;
        let expected = self.picture.at(repository).delete_blob(&digest);
        self.same(&got.status, &expected);
    }

    /// As a stranger and as somebody who may push.
    async fn read(&mut self) {
        let (repository, digest) = (self.repository(), self.known());
        let target = format!("/v2/{repository}/blobs/{digest}");
        let (stranger, pusher) = (self.world.get(&target).await, self.push("GET", &target, &[], b"").await);
        let read = |got: &Got| (got.status == 200).then(|| got.bytes().to_vec());
        let expected = self.picture.at(repository).readable(&digest).cloned();
        self.same(&read(&stranger), &expected);
        let expected = self.picture.at(repository).blobs.get(&digest).cloned();
        self.same(&read(&pusher), &expected);
        let reference = if self.random.one_in(2) { digest.to_string() } else { self.random.pick(&TAGS).to_owned() };
        let got = self.world.get(&format!("/v2/{repository}/manifests/{reference}")).await;
        let expected = self
            .picture
            .at(repository)
            .resolve(&reference)
            .map(|(digest, pushed)| (digest.to_string(), pushed.media_type.to_owned(), pushed.bytes.clone()));
        let found = (got.status == 200).then(|| {
            (got.header("docker-content-digest").to_owned(), got.media_type().to_owned(), got.bytes().to_vec())
        });
        self.same(&found, &expected);
    }

    async fn list(&mut self) {
        let repository = self.repository();
        let catalog = self.world.get("/v2/_catalog").await.json()["repositories"].clone();
        self.same(&catalog, &json!(self.picture.catalog()));
        let tags = self.world.get(&format!("/v2/{repository}/tags/list")).await;
        let held = self.picture.at(repository);
        let expected = (!held.manifests.is_empty()).then(|| json!(held.tags.keys().collect::<Vec<_>>()));
        self.same(&(tags.status == 200).then(|| tags.json()["tags"].clone()), &expected);
        let (subject, kind) = (self.known(), self.random.one_in(2).then(|| TYPES[0]));
        let filter = kind.map(|kind| format!("?artifactType={kind}")).unwrap_or_default();
        let listed = self.world.get(&format!("/v2/{repository}/referrers/{subject}{filter}")).await.json();
        let listed: Vec<Value> =
            listed["manifests"].as_array().unwrap().iter().map(|part| part["digest"].clone()).collect();
        let expected = json!(self.picture.at(repository).referrers(&subject, kind));
        self.same(&json!(listed), &expected);
    }

    /// What changes little that anybody can see.
    fn housekeeping(&mut self) {
        if self.random.one_in(3) {
            self.said.push_str("sweep\n");
            let options = SweepOptions { grace_seconds: 0, dry_run: false };
            sweep(&self.world.store, options, &PrincipalRef::system("test")).unwrap();
            self.picture.sweep();
        } else {
            self.said.push_str("rebuild\n");
            self.world.store.rebuild(&Silent).unwrap();
        }
    }

    /// Everything once more, and the store is sound.
    pub async fn end(mut self) {
        for repository in REPOSITORIES {
            let held = self.picture.at(repository);
            let expected: Vec<_> =
                held.manifests.iter().map(|(digest, pushed)| (*digest, pushed.bytes.clone())).collect();
            for (digest, bytes) in expected {
                let got = self.world.get(&format!("/v2/{repository}/manifests/{digest}")).await;
                self.same(&(got.status, got.bytes().to_vec()), &(200, bytes));
            }
        }
        self.list().await;
        let report = self.world.store.check(CheckDepth::Full, &Silent).unwrap();
        self.same(&report.is_sound(), &true);
    }
}
