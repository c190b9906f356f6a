//! Pushes, mounts, deletions, pulls and sweeps of the same content at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::push::{TYPE, manifest, world};
use super::world::{ADMIT, World};
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::retention::{SweepOptions, sweep};
use crate::store::{CheckDepth, PrincipalRef};
use crate::sys::clock::{Clock, RealClock};

const LAYER: &[u8] = b"the layer that all want";
const SECONDS: f64 = 1.5;

/// What all share.
struct Race {
    world: World,
    over: AtomicBool,
    pushed: AtomicUsize,
    pulled: AtomicUsize,
    deleted: AtomicUsize,
    mounted: AtomicUsize,
}

impl Race {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }

    /// Any image is pushed again and again. What it needs may be deleted under its feet: then it is told so.
    async fn builder(&self, number: usize) {
        let (config, layer) = (Digest::of(b"{}"), Digest::of(LAYER));
        let image = manifest(&config, 2, &layer, LAYER.len());
        while self.goes_on() {
            for (digest, content) in [(config, b"{}".as_slice()), (layer, LAYER)] {
                let target = format!("/v2/a/blobs/uploads/?digest={digest}");
                let status = self.world.push("POST", &target, &[], content).await.status;
                assert!(matches!(status, 201 | 503), "{status}");
            }
            let got = self.world.push("PUT", &format!("/v2/a/manifests/v{number}"), &[TYPE], &image).await;
            assert!(matches!(got.status, 201 | 404 | 503), "{}", got.status);
            self.pushed.fetch_add(usize::from(got.status == 201), Ordering::AcqRel);
        }
    }

    async fn deleter(&self) {
        let (config, layer) = (Digest::of(b"{}"), Digest::of(LAYER));
        let image = Digest::of(&manifest(&config, 2, &layer, LAYER.len()));
        while self.goes_on() {
            for target in [format!("manifests/{image}"), format!("blobs/{layer}"), format!("blobs/{config}")] {
                let status = self.world.delete(&format!("/v2/a/{target}"), &[]).await.status;
                assert!(matches!(status, 202 | 404 | 405), "{target}: {status}");
                self.deleted.fetch_add(usize::from(status == 202), Ordering::AcqRel);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn mounter(&self) {
        let layer = Digest::of(LAYER);
        while self.goes_on() {
            let got = self.world.push("POST", &format!("/v2/b/blobs/uploads/?mount={layer}"), &[], b"").await;
            assert!(matches!(got.status, 201 | 202), "{}", got.status);
            let target = match got.status {
                201 => format!("/v2/b/blobs/{layer}"),
                _ => got.header("location").to_owned(),
            };
            self.mounted.fetch_add(usize::from(got.status == 201), Ordering::AcqRel);
            let status = self.world.delete(&target, &[]).await.status;
            assert!(matches!(status, 202 | 204 | 404), "{status}");
        }
    }

    /// Where the image is, its layer is, unless the image was deleted in between.
    async fn puller(&self) {
        let layer = Digest::of(LAYER);
        while self.goes_on() {
            let before = self.deleted.load(Ordering::Acquire);
            let got = self.world.get("/v2/a/manifests/v0").await;
            let content = self.world.get(&format!("/v2/a/blobs/{layer}")).await;
            let undisturbed = self.deleted.load(Ordering::Acquire) == before;
            assert!(matches!(content.status, 200 | 404), "{}", content.status);
            if got.status == 200 && content.status == 200 {
                assert_eq!(content.bytes(), LAYER);
                self.pulled.fetch_add(1, Ordering::AcqRel);
            }
            // A deletion under way is counted only afterwards, and a builder may have brought the image back by then: what is
            // torn apart stays so.
            let mut is_torn = got.status == 200 && content.status == 404 && undisturbed;
            for _ in 0..if is_torn { 5 } else { 0 } {
                let image = self.world.get("/v2/a/manifests/v0").await.status;
                let layer = self.world.get(&format!("/v2/a/blobs/{layer}")).await.status;
                is_torn &= image == 200 && layer == 404 && self.deleted.load(Ordering::Acquire) == before;
            }
            assert!(!is_torn, "an image without its layer");
        }
    }

    async fn sweeper(self: &Arc<Self>) {
        while self.goes_on() {
            let race = Arc::clone(self);
            let swept = tokio::task::spawn_blocking(move || {
                let options = SweepOptions { grace_seconds: 0, dry_run: false };
                sweep(&race.world.store, options, &PrincipalRef::system("test")).map(drop)
            });
            swept.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_torn_apart_by_who_comes_at_once() {
    let race = Arc::new(Race {
        world: world(ADMIT),
        over: AtomicBool::new(false),
        pushed: AtomicUsize::new(0),
        pulled: AtomicUsize::new(0),
        deleted: AtomicUsize::new(0),
        mounted: AtomicUsize::new(0),
    });
    let began = RealClock.running();
    let all = async {
        let builders = async { tokio::join!(race.builder(0), race.builder(1)) };
        tokio::join!(builders, race.deleter(), race.mounter(), race.puller(), race.sweeper())
    };
    let watch = async {
        let counts = [&race.pushed, &race.pulled, &race.deleted, &race.mounted];
        // Until each of them has got somewhere, however slow the machine is.
        while RealClock.running().saturating_sub(began) < Duration::from_secs_f64(SECONDS)
            || counts.iter().any(|count| count.load(Ordering::Acquire) == 0)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        race.over.store(true, Ordering::Release);
    };
    tokio::time::timeout(Duration::from_secs(120), async { tokio::join!(all, watch) })
        .await
        .expect("each gets somewhere");
    assert!(race.world.store.read_only().is_none());
    assert!(race.world.store.check(CheckDepth::Full, &Silent).unwrap().is_sound());
}
