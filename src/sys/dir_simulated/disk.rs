//! A disk in memory that remembers what was made durable, and what a power cut may do to the rest. Pure.
//!
//! Content is kept or lost by sectors of 512 bytes, so a write may be torn. A name that was made, renamed or removed is
//! kept or lost until its directory was synced, each for itself and in any order. A rename is never half done. What a
//! failed sync left behind no later sync makes durable: the kernel forgets that such pages were dirty.

use std::collections::BTreeMap;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

pub type FileId = u64;

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Directory,
    File(FileId),
}

type Names = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What readers see.
    volatile: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Change>,
    /// Since before a sync that failed.
    abandoned: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NameChange {
    Made { path: String, node: Node },
    Renamed { from: String, to: String },
    Removed { path: String },
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    contents: BTreeMap<FileId, Content>,
    next_id: FileId,
    volatile: Names,
    durable: Names,
    pending: Vec<NameChange>,
}

/// Seeded choices, the same for the same seed everywhere.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True in about `percent` of a hundred.
    pub const fn in_hundred(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn change(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Content {
    /// What may still come out of pages that a failed sync left: their bytes as they are now, never older ones over what was
    /// written and synced since.
    fn abandoned_now(&mut self) -> Vec<Change> {
        let now = |change| match change {
            Change::Write { offset, bytes } => {
                let end = (offset + bytes.len()).min(self.volatile.len());
                Change::Write { offset, bytes: self.volatile.get(offset..end).unwrap_or_default().to_vec() }
            }
            other => other,
        };
        std::mem::take(&mut self.abandoned).into_iter().map(now).collect()
    }

    /// Applies changes of which each sector was written or not.
    fn tear(&mut self, changes: &[Change], chance: &mut Chance, kept_percent: u64) {
        for pending in changes {
            match pending {
                Change::SetLen(len) if chance.in_hundred(kept_percent) => self.durable.resize(*len, 0),
                Change::SetLen(_) => {}
                Change::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let sector_end = (offset + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
                        let end = (sector_end - offset).min(bytes.len());
                        if chance.in_hundred(kept_percent) {
                            change(&mut self.durable, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
    }
}

/// Moves a name and all below it.
fn rename(names: &mut Names, from: &str, to: &str) {
    let below = format!("{from}/");
    let moved: Vec<(String, Node)> = names
        .iter()
        .filter(|(path, _)| *path == from || path.starts_with(&below))
        .map(|(path, node)| (path.clone(), *node))
        .collect();
    for (path, node) in moved {
        names.remove(&path);
        names.insert(format!("{to}{}", &path[from.len()..]), node);
    }
}

impl NameChange {
    fn touches(&self, directory: &str) -> bool {
        match self {
            Self::Made { path, .. } | Self::Removed { path } => parent(path) == directory,
            Self::Renamed { from, to } => parent(from) == directory || parent(to) == directory,
        }
    }

    fn makes(&self, path: &str) -> bool {
        matches!(self, Self::Made { path: made, .. } if made == path)
    }
}

impl Disk {
    pub fn node(&self, path: &str) -> Option<Node> {
        if path.is_empty() { Some(Node::Directory) } else { self.volatile.get(path).copied() }
    }

    /// The names in a directory, sorted.
    pub fn names(&self, directory: &str) -> Vec<(String, Node)> {
        let inside = |path: &&String| parent(path) == directory;
        let below = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let names = self.volatile.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
        let names = names.filter(|(path, _)| inside(path));
        names.map(|(path, node)| (path.rsplit('/').next().unwrap_or(path).to_owned(), *node)).collect()
    }

    pub fn make_file(&mut self, path: &str) -> FileId {
        self.next_id += 1;
        self.contents.insert(self.next_id, Content::default());
        self.make(path, Node::File(self.next_id));
        self.next_id
    }

    pub fn make(&mut self, path: &str, node: Node) {
        self.volatile.insert(path.to_owned(), node);
        self.pending.push(NameChange::Made { path: path.to_owned(), node });
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        rename(&mut self.volatile, from, to);
        self.pending.push(NameChange::Renamed { from: from.to_owned(), to: to.to_owned() });
    }

    /// What a rename must never be: the content is written anew, and the old name goes.
    pub fn copy(&mut self, from: &str, to: &str) {
        let Some(Node::File(id)) = self.node(from) else { return self.rename(from, to) };
        let bytes = self.content(id).to_vec();
        let copied = self.make_file(to);
        self.write(copied, 0, &bytes);
        self.remove(from);
    }

    pub fn remove(&mut self, path: &str) {
        self.volatile.remove(path);
        self.pending.push(NameChange::Removed { path: path.to_owned() });
    }

    /// The path and everything below it, deepest first.
    pub fn tree(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let inside = |name: &&String| name.as_str() == path || name.starts_with(&below);
        self.volatile.keys().filter(inside).rev().cloned().collect()
    }

    pub fn content(&self, id: FileId) -> &[u8] {
        self.contents.get(&id).map_or(&[], |content| &content.volatile)
    }

    pub fn write(&mut self, id: FileId, offset: usize, bytes: &[u8]) {
        let content = self.contents.entry(id).or_default();
        change(&mut content.volatile, offset, bytes);
        content.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn set_len(&mut self, id: FileId, len: usize) {
        let content = self.contents.entry(id).or_default();
        content.volatile.resize(len, 0);
        content.pending.push(Change::SetLen(len));
    }

    pub fn sync(&mut self, id: FileId) {
        let content = self.contents.entry(id).or_default();
        for pending in std::mem::take(&mut content.pending) {
            match pending {
                Change::Write { offset, bytes } => change(&mut content.durable, offset, &bytes),
                Change::SetLen(len) => content.durable.resize(len, 0),
            }
        }
        // The length was written with the rest.
        content.abandoned.retain(|change| matches!(change, Change::Write { .. }));
    }

    /// A sync that failed: readers still see the bytes, and nothing will ever write them out.
    pub fn fail_sync(&mut self, id: FileId) {
        let content = self.contents.entry(id).or_default();
        content.abandoned.append(&mut content.pending);
    }

    pub fn sync_names(&mut self, directory: &str) {
        let mut index = 0;
        while index < self.pending.len() {
            if !self.pending[index].touches(directory) {
                index += 1;
                continue;
            }
            let made = self.pending.remove(index);
            let Some(index_before) = self.settle(made, index) else { continue };
            index = index_before;
        }
    }

    /// Makes one change of a name durable. A renamed file whose making was never synced comes with its new name, and
    /// then its making is no longer pending; the new index of the next change is given back.
    fn settle(&mut self, name_change: NameChange, index: usize) -> Option<usize> {
        match name_change {
            NameChange::Made { path, node } => {
                self.durable.insert(path, node);
            }
            NameChange::Removed { path } => {
                self.durable.remove(&path);
            }
            NameChange::Renamed { from, to } => {
                let made = self.pending[..index].iter().rposition(|earlier| earlier.makes(&from));
                if let Some(made) = made
                    && let NameChange::Made { node, .. } = self.pending.remove(made)
                {
                    self.durable.insert(from.clone(), node);
                    rename(&mut self.durable, &from, &to);
                    return Some(index - 1);
                }
                rename(&mut self.durable, &from, &to);
            }
        }
        None
    }

    /// The disk after the power was cut and came back. How much survives of what was not synced depends on the seed:
    /// nothing, everything, or a part.
    pub fn after_power_cut(&self, chance: &mut Chance) -> Self {
        let kept_percent = [0, 100, 50, 90, 10][usize::try_from(chance.next() % 5).unwrap_or_default()];
        let mut names = self.durable.clone();
        for pending in &self.pending {
            if !chance.in_hundred(kept_percent) {
                continue;
            }
            match pending {
                NameChange::Made { path, node } => {
                    names.entry(path.clone()).or_insert(*node);
                }
                NameChange::Renamed { from, to } => rename(&mut names, from, to),
                NameChange::Removed { path } => {
                    names.remove(path);
                }
            }
        }
        let whole = names.clone();
        names.retain(|path, _| {
            let mut above = parent(path);
            while !above.is_empty() {
                if whole.get(above) != Some(&Node::Directory) {
                    return false;
                }
                above = parent(above);
            }
            true
        });
        let mut contents = self.contents.clone();
        for content in contents.values_mut() {
            let abandoned = content.abandoned_now();
            let pending = std::mem::take(&mut content.pending);
            content.tear(&abandoned, chance, kept_percent);
            content.tear(&pending, chance, kept_percent);
            content.volatile.clone_from(&content.durable);
        }
        Self { contents, next_id: self.next_id, volatile: names.clone(), durable: names, pending: Vec::new() }
    }

    /// Bytes in all files that have a name.
    pub fn used_bytes(&self) -> u64 {
        let files = self.volatile.values().filter_map(|node| match node {
            Node::File(id) => self.contents.get(id),
            Node::Directory => None,
        });
        files.map(|content| content.volatile.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chance, Disk, Node};

    fn disks(disk: &Disk) -> impl Iterator<Item = Disk> + '_ {
        (0..200).map(|seed| disk.after_power_cut(&mut Chance::new(seed)))
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let mut disk = Disk::default();
        let file = disk.make_file("a");
        disk.write(file, 0, &[1; 2048]);
        disk.sync(file);
        disk.sync_names("");
        disk.write(file, 1024, &[2; 1024]);
        let contents: Vec<Vec<u8>> = disks(&disk).map(|disk| disk.content(file).to_vec()).collect();
        assert!(contents.iter().all(|content| content[..1024] == [1; 1024]));
        let torn = |content: &&Vec<u8>| content[1024..1536] != content[1536..];
        assert!(contents.iter().any(|content| content[1024..] == [1; 1024]), "lost");
        assert!(contents.iter().any(|content| content[1024..] == [2; 1024]), "kept");
        assert!(contents.iter().filter(torn).count() > 10, "torn");
    }

    #[test]
    fn a_name_is_safe_when_its_directory_was_synced() {
        let mut disk = Disk::default();
        disk.make("d", Node::Directory);
        disk.sync_names("");
        let file = disk.make_file("a");
        disk.rename("a", "d/b");
        assert!(disks(&disk).any(|disk| disk.node("d/b").is_none()));
        disk.sync_names("d");
        for disk in disks(&disk) {
            assert_eq!((disk.node("a"), disk.node("d/b")), (None, Some(Node::File(file))));
        }
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one() {
        let mut disk = Disk::default();
        let old = disk.make_file("a");
        disk.sync_names("");
        let new = disk.make_file("a.new");
        disk.rename("a.new", "a");
        let found: Vec<_> = disks(&disk).map(|disk| disk.node("a")).collect();
        assert!(found.iter().all(|node| [Some(Node::File(old)), Some(Node::File(new))].contains(node)));
        assert!(found.contains(&Some(Node::File(old))) && found.contains(&Some(Node::File(new))));
    }

    #[test]
    fn what_a_failed_sync_left_no_later_sync_saves() {
        let mut disk = Disk::default();
        let file = disk.make_file("a");
        disk.sync_names("");
        disk.write(file, 0, b"lost");
        disk.fail_sync(file);
        disk.sync(file);
        assert_eq!(disk.content(file), b"lost");
        assert!(disks(&disk).any(|disk| disk.content(file).is_empty()));
    }
}
