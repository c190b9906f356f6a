//! [`Dir`] in memory, with power cuts and faults: the ground that crash tests stand on.
//!
//! It never touches a real file. [`SimulatedDir::after_power_cut`] gives the directory as it may be found at the next
//! start; the same seed gives the same one.

mod disk;
mod planted;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

pub use self::disk::Chance;
use self::disk::{Disk, FileId, Node};
pub use self::planted::Planted;
use super::dir::{Create, Dir, DirError, Entry, File, Stat, parent};

/// What a fault can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Write,
    SetLen,
    Sync,
    SyncDir,
    Rename,
    Remove,
    /// Of a file's content. It changes nothing and is no step.
    Read,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device reports an error.
    Io,
    /// The file system is full.
    Full,
    /// The file system is full after half of the bytes.
    Short,
}

/// A fault that is still to come.
#[derive(Clone, Debug)]
pub struct Fault {
    pub operation: Operation,
    /// Only what has this in its path counts.
    pub path_part: String,
    /// How many of them still succeed.
    pub after_count: u64,
    pub failure: Failure,
}

#[derive(Debug)]
struct World {
    disk: Disk,
    faults: Vec<Fault>,
    capacity_bytes: u64,
    /// Changes so far.
    steps_count: u64,
    /// After so many, the power is off.
    power_steps_count: u64,
    syncs_are_ignored: bool,
    planted: Option<Planted>,
    /// A sync that was said to be done and is still to come, and whether the step behind it has been made.
    owed: Option<(FileId, bool)>,
}

/// What somebody else does between two changes of one thread.
struct Between {
    thread: ThreadId,
    act: Box<dyn FnMut() + Send>,
}

/// A simulated directory tree. Clones share it.
#[derive(Clone)]
pub struct SimulatedDir {
    world: Arc<Mutex<World>>,
    between: Arc<Mutex<Option<Between>>>,
}

impl Default for SimulatedDir {
    fn default() -> Self {
        Self::of(Disk::default())
    }
}

impl fmt::Debug for SimulatedDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDir").field("steps_count", &self.steps_count()).finish()
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl World {
    fn check_power(&self) -> io::Result<()> {
        if self.steps_count >= self.power_steps_count { Err(power_is_off()) } else { Ok(()) }
    }

    /// Counts a change, and fails it where that was asked for.
    fn step(&mut self, operation: Operation, path: &str) -> Result<(), (Failure, io::Error)> {
        self.check_power().map_err(|error| (Failure::Io, error))?;
        self.steps_count += 1;
        // The one during which the power fails does not take place.
        self.check_power().map_err(|error| (Failure::Io, error))?;
        match self.owed.take() {
            Some((id, true)) => self.disk.sync(id),
            owed => self.owed = owed.map(|(id, _)| (id, true)),
        }
        self.fault(operation, path)
    }

    /// The fault that is due, if one is.
    fn fault(&mut self, operation: Operation, path: &str) -> Result<(), (Failure, io::Error)> {
        let hit = |fault: &Fault| fault.operation == operation && path.contains(&fault.path_part);
        let Some(index) = self.faults.iter().position(hit) else { return Ok(()) };
        if self.faults[index].after_count > 0 {
            self.faults[index].after_count -= 1;
            return Ok(());
        }
        let failure = self.faults.remove(index).failure;
        Err((failure, failure.error()))
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::other("input/output error"),
            Self::Full | Self::Short => io::ErrorKind::StorageFull.into(),
        }
    }
}

impl SimulatedDir {
    fn of(disk: Disk) -> Self {
        let world = World {
            disk,
            faults: Vec::new(),
            capacity_bytes: u64::MAX,
            steps_count: 0,
            power_steps_count: u64::MAX,
            syncs_are_ignored: false,
            planted: None,
            owed: None,
        };
        Self { world: Arc::new(Mutex::new(world)), between: Arc::default() }
    }

    /// Lets `act` happen before every change that this thread makes from here on: what others do meanwhile, in an order
    /// that a seed decides and a replay repeats. Changes of `act` itself are not interrupted.
    pub fn between_changes(&self, act: impl FnMut() + Send + 'static) {
        let between = Between { thread: std::thread::current().id(), act: Box::new(act) };
        *self.between.lock().unwrap_or_else(PoisonError::into_inner) = Some(between);
    }

    /// Nobody comes between any more.
    pub fn undisturbed(&self) {
        self.between.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn let_others(&self) {
        let slot = || self.between.lock().unwrap_or_else(PoisonError::into_inner);
        let is_mine = |between: &mut Between| between.thread == std::thread::current().id();
        let taken = slot().take_if(is_mine);
        if let Some(mut between) = taken {
            (between.act)();
            slot().get_or_insert(between);
        }
    }

    /// Plants a mistake, so that a test can show that it would be noticed.
    pub fn plant(&self, planted: Planted) {
        self.world().planted = Some(planted);
    }

    /// Takes back every fault that is still to come.
    pub fn mend(&self) {
        self.world().faults.clear();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another directory with the same content, that goes its own way.
    pub fn fork(&self) -> Self {
        Self::of(self.world().disk.clone())
    }

    /// The directory as the next start may find it.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        Self::of(self.world().disk.after_power_cut(&mut Chance::new(seed)))
    }

    /// Changes so far: writes, syncs, names made, renamed, removed.
    pub fn steps_count(&self) -> u64 {
        self.world().steps_count
    }

    /// Cuts the power at the change after `steps_count` more. From there everything fails.
    pub fn cut_power_after(&self, steps_count: u64) {
        let mut world = self.world();
        world.power_steps_count = world.steps_count.saturating_add(steps_count).saturating_add(1);
    }

    /// Lets something fail later.
    pub fn fail(&self, fault: Fault) {
        self.world().faults.push(fault);
    }

    /// Bytes that fit.
    pub fn set_capacity(&self, bytes: u64) {
        self.world().capacity_bytes = bytes;
    }

    /// A device that says it has synced and has not. No store survives it; a crash test must notice it.
    pub fn ignore_syncs(&self) {
        self.world().syncs_are_ignored = true;
    }

    fn named<T>(operation: &'static str, path: &str, result: io::Result<T>) -> Result<T, DirError> {
        result.map_err(|source| DirError { operation, path: path.to_owned(), source })
    }

    fn stepped(
        &self,
        what: &'static str,
        operation: Operation,
        path: &str,
        change: impl FnOnce(&mut World) -> io::Result<()>,
    ) -> Result<(), DirError> {
        self.let_others();
        let mut world = self.world();
        let stepped = world.step(operation, path).map_err(|(_, error)| error);
        Self::named(what, path, stepped.and_then(|()| change(&mut world)))
    }

    fn file(&self, path: &str, id: FileId) -> Arc<dyn File> {
        Arc::new(SimulatedFile { dir: self.clone(), path: path.to_owned(), id })
    }
}

fn file_id(node: Option<Node>) -> io::Result<FileId> {
    match node {
        Some(Node::File(id)) => Ok(id),
        Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

impl World {
    fn has_directory(&self, path: &str) -> io::Result<()> {
        match self.disk.node(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn open(&self, path: &str) -> io::Result<FileId> {
        self.check_power()?;
        file_id(self.disk.node(path))
    }

    fn stat(&self, node: Node) -> Stat {
        match node {
            Node::Directory => Stat { is_dir: true, len_bytes: 0 },
            Node::File(id) => Stat { is_dir: false, len_bytes: self.disk.content(id).len() as u64 },
        }
    }
}

impl Dir for SimulatedDir {
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DirError> {
        let id = Self::named("open", path, self.world().open(path))?;
        Ok(self.file(path, id))
    }

    fn open_write(&self, path: &str, create: Create) -> Result<Arc<dyn File>, DirError> {
        const WHAT: &str = "open for writing";
        let there = {
            let world = self.world();
            Self::named(WHAT, path, world.check_power())?;
            world.disk.node(path)
        };
        let id = match (there, create) {
            (Some(_), Create::New) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(_), _) | (None, Create::Existing) => file_id(there),
            (None, Create::New | Create::Missing) => {
                let mut id = 0;
                self.stepped(WHAT, Operation::Create, path, |world| {
                    world.has_directory(parent(path))?;
                    id = world.disk.make_file(path);
                    Ok(())
                })?;
                Ok(id)
            }
        };
        Ok(self.file(path, Self::named(WHAT, path, id)?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        self.stepped("rename", Operation::Rename, to, |world| {
            world.disk.node(from).ok_or(io::ErrorKind::NotFound)?;
            world.has_directory(parent(to))?;
            if world.planted.as_ref().is_some_and(|planted| planted.hits(Operation::Rename, to)) {
                world.disk.copy(from, to);
            } else {
                world.disk.rename(from, to);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> Result<(), DirError> {
        self.stepped("remove", Operation::Remove, path, |world| {
            file_id(world.disk.node(path))?;
            world.disk.remove(path);
            Ok(())
        })
    }

    fn remove_tree(&self, path: &str) -> Result<(), DirError> {
        let names = self.world().disk.tree(path);
        for name in names {
            self.stepped("remove", Operation::Remove, &name, |world| {
                world.disk.remove(&name);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn create_dir_all(&self, path: &str) -> Result<(), DirError> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for directory in ends.map(|end| &path[..end]).filter(|directory| !directory.is_empty()) {
            if self.world().disk.node(directory) == Some(Node::Directory) {
                continue;
            }
            self.stepped("make directory", Operation::Create, directory, |world| {
                world.disk.make(directory, Node::Directory);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, DirError> {
        let world = self.world();
        Self::named("list", path, world.check_power().and_then(|()| world.has_directory(path)))?;
        let names = world.disk.names(path);
        Ok(names.into_iter().map(|(name, node)| Entry { name, stat: world.stat(node) }).collect())
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, DirError> {
        let world = self.world();
        Self::named("stat", path, world.check_power())?;
        Ok(world.disk.node(path).map(|node| world.stat(node)))
    }

    fn sync_dir(&self, path: &str) -> Result<(), DirError> {
        self.stepped("sync", Operation::SyncDir, path, |world| {
            world.has_directory(path)?;
            let planted = world.planted.as_ref().is_some_and(|planted| planted.hits(Operation::SyncDir, path));
            if !world.syncs_are_ignored && !planted {
                world.disk.sync_names(path);
            }
            Ok(())
        })
    }

    fn free_bytes(&self) -> Result<u64, DirError> {
        let world = self.world();
        Self::named("measure", "", world.check_power())?;
        Ok(world.capacity_bytes.saturating_sub(world.disk.used_bytes()))
    }

    fn real_path(&self, _path: &str) -> Option<PathBuf> {
        None
    }
}

struct SimulatedFile {
    dir: SimulatedDir,
    path: String,
    id: FileId,
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedFile").field("path", &self.path).finish()
    }
}

fn position(offset_bytes: u64) -> io::Result<usize> {
    usize::try_from(offset_bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        let mut world = self.dir.world();
        world.check_power()?;
        world.fault(Operation::Read, &self.path).map_err(|(_, error)| error)?;
        let rest = world.disk.content(self.id).get(position(offset_bytes)?..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        let offset = position(offset_bytes)?;
        self.dir.let_others();
        let mut world = self.dir.world();
        match world.step(Operation::Write, &self.path) {
            Ok(()) => {}
            Err((failure, error)) => {
                if failure == Failure::Short {
                    world.disk.write(self.id, offset, &bytes[..bytes.len() / 2]);
                }
                return Err(error);
            }
        }
        let grows_bytes = (offset + bytes.len()).saturating_sub(world.disk.content(self.id).len()) as u64;
        if grows_bytes > 0 && world.disk.used_bytes().saturating_add(grows_bytes) > world.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.disk.write(self.id, offset, bytes);
        Ok(())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        let world = self.dir.world();
        world.check_power()?;
        Ok(world.disk.content(self.id).len() as u64)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let len = position(len_bytes)?;
        self.dir.let_others();
        let mut world = self.dir.world();
        world.step(Operation::SetLen, &self.path).map_err(|(_, error)| error)?;
        world.disk.set_len(self.id, len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.dir.let_others();
        let mut world = self.dir.world();
        if let Err((_, error)) = world.step(Operation::Sync, &self.path) {
            world.disk.fail_sync(self.id);
            return Err(error);
        }
        match world.planted.as_ref().filter(|planted| planted.hits(Operation::Sync, &self.path)) {
            _ if world.syncs_are_ignored => {}
            None => world.disk.sync(self.id),
            Some(planted) => world.owed = planted.is_late().then_some((self.id, false)),
        }
        Ok(())
    }

    fn start_write_back(&self, _offset_bytes: u64, _len_bytes: u64) {}

    fn drop_cache(&self) {}
}
