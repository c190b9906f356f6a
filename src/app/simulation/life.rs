//! From a start to the next one: an appliance is opened, used, and ends in one of the ways in which appliances end.

use std::sync::Arc;

use super::goods::settings;
use super::world::{World, locked};
use crate::store::Store;
use crate::sys::dir_simulated::{Failure, Fault, Operation, Planted, SimulatedDir};

/// Acts of a life that nothing ends earlier.
const ACTS_COUNT: u64 = 8;
/// Steps after which the power fails at the latest, where it fails.
const STEPS_COUNT_MAX: u64 = 260;
/// Ways in which one power cut may leave the disk that are looked at.
const SURVIVORS_COUNT: u64 = 2;

/// How much was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub seeds: u64,
    pub cuts: u64,
    pub kills: u64,
    pub faults: u64,
    /// Disks that were opened and checked after an end.
    pub states: u64,
}

/// What one seed has to say.
pub struct Run {
    world: Arc<World>,
    planted: Option<Planted>,
    pub counts: Counts,
}

fn open(dir: &SimulatedDir, world: &World) -> Result<Store, String> {
    let clock = Arc::<crate::sys::clock::SimulatedClock>::clone(&world.clock);
    Store::open(Arc::new(dir.clone()), clock, &settings())
        .map_err(|error| format!("does not open: {}", crate::error_chain::chain(&error)))
}

impl Run {
    pub fn new(seed: u64, planted: Option<Planted>) -> Self {
        Self { world: Arc::new(World::new(seed)), planted, counts: Counts { seeds: 1, ..Counts::default() } }
    }

    /// What was done, for whoever has to understand a finding.
    pub fn said(&self) -> String {
        locked(&self.world.book).said.clone()
    }

    /// One life and what comes after it.
    pub fn live(&mut self) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        let dir = world.dir();
        if let Some(planted) = self.planted.clone() {
            dir.plant(planted);
        }
        world.clock.reboot();
        let cut = world.one_in(4);
        let power = if cut { None } else { Some(world.below(STEPS_COUNT_MAX)) };
        if let Some(steps) = power {
            world.say(&format!("\nlife, power for {steps} steps"));
            dir.cut_power_after(steps);
        } else {
            world.say("\nlife");
        }
        let faulty = world.one_in(3);
        *locked(&world.faulty) = faulty;
        if faulty {
            self.break_something(&dir);
        }
        match open(&dir, &world) {
            Ok(store) => {
                // A journal that cannot be read to its end is served as far as it can, and takes nothing.
                if store.read_only().is_none() {
                    let book = world.look(&store)?;
                    *locked(&world.book) = book;
                } else if !faulty && world.has_power() {
                    return Err(format!("opens read-only: {:?}", store.read_only()));
                }
                self.use_it(&dir, &store)?;
            }
            Err(error) if !faulty && world.has_power() => return Err(error),
            Err(_) => {}
        }
        self.end(&dir, power.is_some())
    }

    fn break_something(&mut self, dir: &SimulatedDir) {
        let world = &self.world;
        let operation = world.pick(&[
            Operation::Create,
            Operation::Write,
            Operation::SetLen,
            Operation::Sync,
            Operation::SyncDir,
            Operation::Rename,
            Operation::Remove,
            Operation::Read,
        ]);
        let failure = world.pick(&[Failure::Io, Failure::Full, Failure::Short]);
        // The kernel does not say that a disk is full where nothing is to be written.
        let writes = matches!(operation, Operation::Create | Operation::Write | Operation::SetLen);
        let failure = if writes { failure } else { Failure::Io };
        let path_part = world.pick(&["", "", "journal/", "blobs/", "uploads/"]).to_owned();
        let after_count = world.below(60);
        world.say(&format!("{operation:?} {failure:?} in '{path_part}' after {after_count}"));
        dir.fail(Fault { operation, path_part, after_count, failure });
        self.counts.faults += 1;
    }

    fn use_it(&self, dir: &SimulatedDir, store: &Store) -> Result<(), String> {
        let world = &self.world;
        let found = Arc::new(std::sync::Mutex::new(Ok(())));
        let (other, others, findings) = (Arc::clone(world), store.clone(), Arc::clone(&found));
        dir.between_changes(move || {
            if other.one_in(12) {
                other.say("[");
                let outcome = other.act(&others);
                other.say("]");
                if outcome.is_err() {
                    *locked(&findings) = outcome;
                }
            }
        });
        let mut outcome = Ok(());
        for _ in 0..ACTS_COUNT {
            outcome = world.act(store);
            if outcome.is_err() || !world.has_power() {
                break;
            }
        }
        dir.undisturbed();
        outcome?;
        let between = locked(&found).clone();
        between?;
        if store.read_only().is_some() && !*locked(&world.faulty) && world.has_power() {
            return Err(format!("became read-only without a fault: {:?}", store.read_only()));
        }
        if world.has_power() && store.read_only().is_none() && !*locked(&world.faulty) {
            world.look(store)?;
        }
        // What a killed process leaves is what stands there while it runs; closed in order, it is what stands after.
        if world.one_in(2) {
            world.say("killed");
            *locked(&world.dir) = dir.fork();
        }
        Ok(())
    }

    fn end(&mut self, dir: &SimulatedDir, cut: bool) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        if !cut && world.has_power() && !world.one_in(4) {
            let left = world.dir();
            left.mend();
            self.counts.kills += 1;
            return self.examine(&left.fork(), &left);
        }
        if world.one_in(3) {
            // The process was killed in the middle of a step, and the kernel still knows what it wrote.
            let left = dir.fork();
            self.counts.kills += 1;
            return self.examine(&left.fork(), &left).map_err(|what| format!("after a kill: {what}"));
        }
        self.counts.cuts += 1;
        let mut chosen = None;
        let mut book = None;
        for _ in 0..SURVIVORS_COUNT {
            let seed = world.below(u64::MAX);
            let survivor = dir.after_power_cut(seed);
            book = Some(self.survive(&survivor).map_err(|what| format!("after a power cut (disk {seed}): {what}"))?);
            chosen = Some(dir.after_power_cut(seed));
        }
        if let (Some(chosen), Some(book)) = (chosen, book) {
            *locked(&world.dir) = chosen;
            *locked(&world.book) = book;
        }
        Ok(())
    }

    fn examine(&mut self, copy: &SimulatedDir, left: &SimulatedDir) -> Result<(), String> {
        // What the copy showed may still be lost: only a start that came to its end has written it once more.
        self.survive(copy)?;
        *locked(&self.world.dir) = left.clone();
        Ok(())
    }

    fn survive(&mut self, survivor: &SimulatedDir) -> Result<super::world::Book, String> {
        self.counts.states += 1;
        let store = open(survivor, &self.world)?;
        if let Some(reason) = store.read_only() {
            return Err(format!("opens read-only: {reason}"));
        }
        self.world.check(&store)
    }

    /// The last start of all: nothing is wasted and nothing is missing.
    pub fn finish(&self) -> Result<(), String> {
        let dir = self.world.dir();
        let store = open(&dir, &self.world)?;
        let book = self.world.look(&store)?;
        *locked(&self.world.book) = book;
        self.world.check_nothing_is_wasted(&store)
    }
}
