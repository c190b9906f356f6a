//! The power is cut at every step of a workload, and what comes back is opened: what was acknowledged is there, what
//! was not is there whole or not at all, and the store goes on.

use std::sync::{Arc, OnceLock};

use super::world::{clock, commit, device, image, move_tag, remove_tag, repository, settings, tag, whole};
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::store::{CheckDepth, CommitError, Position, Store};
use crate::sys::clock::Clock;
use crate::sys::dir::Dir;
use crate::sys::dir_simulated::SimulatedDir;

/// Seeds for each step; every step has its own, so that together there are many.
const SEEDS_COUNT: u64 = 2;
const COMMITS_COUNT: usize = 5;

/// Everything a reader can see, and where the store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    head: Position,
    tags: Vec<(String, Digest)>,
    manifests: Vec<Digest>,
}

impl State {
    pub fn of(store: &Store) -> Self {
        let name = repository("a");
        let tags = store.tags(&name, None, 100).unwrap();
        let manifests = store.manifests(&name, None, 100).unwrap();
        Self {
            head: store.head(),
            tags: tags.into_iter().map(|(tag, digest)| (tag.as_str().to_owned(), digest)).collect(),
            manifests: manifests.into_iter().map(|record| record.digest).collect(),
        }
    }
}

/// A new, empty store. Making one takes a thousand steps, so it is made once.
pub fn empty() -> SimulatedDir {
    static EMPTY: OnceLock<SimulatedDir> = OnceLock::new();
    let made = EMPTY.get_or_init(|| {
        let dir = SimulatedDir::default();
        let shared: Arc<dyn Dir> = Arc::new(dir.clone());
        let clock: Arc<dyn Clock> = clock();
        Store::create(&shared, &clock, &device()).unwrap();
        dir
    });
    made.fork()
}

pub fn open(dir: &SimulatedDir) -> Result<Store, crate::store::StoreError> {
    Store::open(Arc::new(dir.clone()), clock(), &settings())
}

/// The changes of one round: an image with a tag of its own, `latest` moves to it, and an older tag goes.
fn round(store: &Store, number: usize) -> Result<Position, CommitError> {
    let image = image(store, &[&format!("layer {number}"), "shared"], None);
    let mut changes = whole("a", &image, Some(&format!("v{number}")));
    changes.push(move_tag("a", "latest", &image.digest));
    if number >= 2 {
        changes.push(remove_tag("a", &format!("v{}", number - 2)));
    }
    commit(store, changes)
}

/// Runs the workload until something fails; the states that were acknowledged, the one before it first.
fn work(dir: &SimulatedDir) -> Vec<State> {
    let mut acknowledged = Vec::new();
    let Ok(store) = open(dir) else { return acknowledged };
    acknowledged.push(State::of(&store));
    for number in 0..COMMITS_COUNT {
        let round = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round(&store, number)));
        match round {
            Ok(Ok(_)) => acknowledged.push(State::of(&store)),
            _ => break,
        }
    }
    acknowledged
}

/// What the workload leaves after each round when nothing fails.
fn expected() -> &'static [State] {
    static EXPECTED: OnceLock<Vec<State>> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let states = work(&empty());
        assert_eq!(states.len(), COMMITS_COUNT + 1);
        states
    })
}

/// Opens what a power cut has left, and says what is wrong with it.
fn check_survivor(dir: &SimulatedDir, acknowledged: usize) -> Result<(), String> {
    let store = open(dir).map_err(|error| format!("does not open: {error}"))?;
    if let Some(reason) = store.read_only() {
        return Err(format!("opens read-only: {reason}"));
    }
    let state = State::of(&store);
    let expected = expected();
    let at = expected.iter().position(|known| *known == state).ok_or("shows a state that never was")?;
    if at + 1 < acknowledged {
        return Err(format!("lost an acknowledged commit: stands at {at}, {} were acknowledged", acknowledged - 1));
    }
    if at > acknowledged {
        return Err("shows what was never asked for".to_owned());
    }
    let report = store.check(CheckDepth::Fast, &Silent).map_err(|error| error.to_string())?;
    if let Some(finding) = report.findings.first() {
        return Err(format!("{} ({})", finding.what, finding.place));
    }
    for (_, digest) in &state.tags {
        store.blobs().read(digest, 10_000).map_err(|error| error.to_string())?.ok_or("a manifest is gone")?;
    }
    if at < COMMITS_COUNT {
        round(&store, at).map_err(|error| format!("cannot go on: {error}"))?;
        drop(store);
        let again = open(dir).map_err(|error| format!("does not open again: {error}"))?;
        if State::of(&again) != expected[at + 1] {
            return Err("does not keep what came after".to_owned());
        }
    }
    Ok(())
}

/// Cuts the power after each number of steps; the first thing that went wrong.
fn cut_everywhere(stride: usize, spoil: impl Fn(&SimulatedDir)) -> Result<(), String> {
    let whole = empty();
    let before = whole.steps_count();
    work(&whole);
    let steps_count = whole.steps_count() - before;
    assert!(steps_count > 100, "{steps_count}");
    for step in (0..=steps_count).step_by(stride) {
        let dir = empty();
        spoil(&dir);
        dir.cut_power_after(step);
        let acknowledged = work(&dir).len();
        for seed in step * SEEDS_COUNT..(step + 1) * SEEDS_COUNT {
            check_survivor(&dir.after_power_cut(seed), acknowledged)
                .map_err(|what| format!("power cut after step {step}, seed {seed}: {what}"))?;
        }
    }
    Ok(())
}

#[test]
fn every_acknowledged_commit_survives_a_power_cut_at_any_step() {
    expected();
    cut_everywhere(1, |_| {}).unwrap();
}

#[test]
fn a_device_that_only_says_it_synced_is_noticed() {
    // WHY: it proves that the test above can fail.
    expected();
    let outcome = cut_everywhere(7, SimulatedDir::ignore_syncs);
    assert!(outcome.is_err(), "a lying device went unnoticed");
}

#[test]
fn making_a_store_can_be_interrupted_anywhere_and_repeated() {
    let clock: Arc<dyn Clock> = clock();
    let create = |dir: &SimulatedDir| {
        let shared: Arc<dyn Dir> = Arc::new(dir.clone());
        Store::create(&shared, &clock, &device())
    };
    let whole = SimulatedDir::default();
    create(&whole).unwrap();
    let steps_count = whole.steps_count();
    // Most steps make one of 512 directories; the interesting ones are the last.
    for step in (0..steps_count - 30).step_by(97).chain(steps_count - 30..=steps_count) {
        let dir = SimulatedDir::default();
        dir.cut_power_after(step);
        let done = create(&dir).is_ok();
        for seed in step * SEEDS_COUNT..(step + 1) * SEEDS_COUNT {
            let survivor = dir.after_power_cut(seed);
            if survivor.stat("VERSION").unwrap().is_none() {
                assert!(!done, "step {step}, seed {seed}: lost");
                create(&survivor).unwrap_or_else(|error| panic!("step {step}, seed {seed}: {error}"));
            }
            let store = open(&survivor).unwrap_or_else(|error| panic!("step {step}, seed {seed}: {error}"));
            assert_eq!(store.head().sequence, 1);
            assert_eq!(store.resolve(&repository("a"), &tag("latest")).unwrap(), None);
        }
    }
}

/// The simulator found it: an import had renamed a layer into its place and not synced the directory, a mirror saw it
/// there, linked it and was answered, and a power cut took the name away.
#[test]
fn content_that_another_has_only_renamed_is_not_acknowledged_before_its_name_is_durable() {
    for killed in [false, true] {
        let dir = empty();
        let store = open(&dir).unwrap();
        let content = b"layer";
        let staged = dir.open_write("uploads/staged", crate::sys::dir::Create::New).unwrap();
        staged.write_at(content, 0).unwrap();
        staged.sync_data().unwrap();
        dir.sync_dir("uploads").unwrap();
        let digest = Digest::of(content);
        store.blobs().adopt("uploads/staged", &digest).unwrap();
        let left = if killed { dir.fork() } else { dir.clone() };
        let store = if killed { open(&left).unwrap() } else { store };
        commit(&store, vec![super::world::link("a", &digest, content.len() as u64)]).unwrap();
        for seed in 0..30 {
            let survivor = open(&left.after_power_cut(seed)).unwrap();
            let found = survivor.blobs().read(&digest, 100).unwrap();
            assert_eq!(found.as_deref(), Some(&content[..]), "killed: {killed}, seed {seed}");
        }
    }
}

/// The simulator found it: a process was killed after it had made the next segment and before the name of that was durable;
/// the next one went on in it, was answered, and a power cut took the segment away.
#[test]
fn a_segment_whose_name_is_not_durable_yet_takes_nothing() {
    let mut begun = 0;
    for step in 0..8 {
        let dir = empty();
        let store = open(&dir).unwrap();
        round(&store, 0).unwrap();
        dir.cut_power_after(step);
        let _ = store.seal_segment();
        // The kernel of a killed process still shows what it wrote.
        let left = dir.fork();
        begun += left.list("journal").unwrap().len() - 1;
        let store = open(&left).unwrap();
        round(&store, 1).unwrap();
        let acknowledged = State::of(&store);
        for seed in 0..30 {
            let survivor = open(&left.after_power_cut(seed)).unwrap();
            let found = (survivor.read_only(), State::of(&survivor));
            assert_eq!(found, (None, acknowledged.clone()), "step {step}, seed {seed}");
        }
    }
    assert!(begun > 3, "{begun}");
}
