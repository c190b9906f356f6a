//! Leg 6: what was done to a medium on its way, as the person at the receiving side meets it: an exit code, the volume,
//! the place, the next step, and a store that is what it was before. Every single byte is flipped elsewhere, without
//! the command line; here is one case of each kind.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Ran;

use super::appliance::Appliance;
use super::carried::{Carried, carried};
use super::export;

const REFUSED: i32 = 3;
const DAMAGED: i32 = 4;
const NOT_NOW: i32 = 5;

/// A copy of a medium to be spoilt, and a receiver that has seen nothing.
struct Case {
    receiver: Appliance<'static>,
    medium: PathBuf,
    _folder: TempDir,
}

impl Case {
    #[track_caller]
    fn new(carried: &Carried, medium: &Path) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let receiver = carried.receiver(folder.path());
        let copy = folder.path().join("stick");
        std::fs::create_dir(&copy).expect("the folder is ours");
        for name in export::volumes(medium).keys() {
            std::fs::copy(medium.join(name), copy.join(name)).expect("the folders are ours");
        }
        Self { receiver, medium: copy, _folder: folder }
    }

    /// The volume with this number, counted from 1.
    #[track_caller]
    fn volume(&self, number: usize) -> PathBuf {
        let names = export::volumes(&self.medium);
        self.medium.join(names.keys().nth(number - 1).expect("the set has so many volumes"))
    }

    /// Flips one byte of the second volume.
    #[track_caller]
    fn flip(&self, place: impl Fn(&[Entry]) -> usize) {
        let path = self.volume(2);
        let mut bytes = std::fs::read(&path).expect("it is ours");
        let offset = place(&entries(&bytes));
        bytes[offset] ^= 0x01;
        std::fs::write(&path, bytes).expect("it is ours");
    }

    /// Imports; it must fail in this way, say these words, and leave everything as it was.
    #[track_caller]
    fn refused(&self, exit: i32, words: &[&str]) {
        let before = state(&self.receiver);
        let ran = self.import();
        assert_eq!(ran.status.code(), Some(exit), "{}", ran.report());
        let said = ran.complaint();
        for words in words.iter().chain(&["next step"]) {
            assert!(said.contains(words), "{words:?}: {}", ran.report());
        }
        assert_eq!(state(&self.receiver), before, "{}", ran.report());
    }

    #[track_caller]
    fn import(&self) -> Ran {
        self.receiver.run(["bundle", "import", &self.medium.display().to_string()])
    }
}

/// Journal head, and everything that anyone could pull.
#[track_caller]
fn state(receiver: &Appliance<'_>) -> (Value, Value) {
    (export::head(receiver), receiver.json(["image", "list"]))
}

/// One file in a volume.
struct Entry {
    name: String,
    header: usize,
    data: usize,
    bytes: usize,
}

/// The entries of a volume, read as any reader of tar would.
fn entries(volume: &[u8]) -> Vec<Entry> {
    let (mut found, mut header) = (Vec::new(), 0);
    while volume.get(header).is_some_and(|byte| *byte != 0) {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&volume[header + range.start..header + range.end]).trim_matches('\0').to_owned()
        };
        let bytes = usize::from_str_radix(&text(124..135), 8).expect("a size in octal digits");
        found.push(Entry { name: text(0..100), header, data: header + 512, bytes });
        header += 512 + bytes.next_multiple_of(512);
    }
    found
}

#[track_caller]
fn named<'e>(entries: &'e [Entry], start: &str) -> &'e Entry {
    entries.iter().find(|entry| entry.name.starts_with(start)).expect("every volume has it")
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let Some(carried) = carried() else { return };
    let check = |place: &dyn Fn(&[Entry]) -> usize, words: &[&str]| {
        let case = Case::new(&carried, &carried.first);
        case.flip(place);
        let volume = case.volume(2);
        let name = volume.file_name().and_then(|name| name.to_str()).expect("a plain name");
        case.refused(DAMAGED, &[&[name], words].concat());
    };
    check(&|entries| named(entries, "set.json").header, &["set.json"]);
    check(&|entries| named(entries, "volume.json").data + 20, &[]);
    check(&|entries| named(entries, "set.json").data + 300, &["set.json"]);
    check(&|entries| named(entries, "seal.json").data + 100, &["seal.json"]);
    check(&|entries| named(entries, "chunks/").data + 4000, &["chunks/"]);
    let padded = |entries: &[Entry]| {
        let entry = entries.iter().find(|entry| entry.bytes % 512 != 0 && entry.name.starts_with("chunks/"));
        entry.map(|entry| entry.data + entry.bytes).expect("a chunk of no round size")
    };
    check(&padded, &["chunks/"]);
    let end = |entries: &[Entry]| entries.last().map(|entry| entry.data + entry.bytes.next_multiple_of(512) + 700);
    check(&|entries| end(entries).expect("a volume has entries"), &[]);
}

#[test]
fn a_missing_volume_is_named_and_awaited() {
    let Some(carried) = carried() else { return };
    let case = Case::new(&carried, &carried.first);
    let (gone, kept) = (case.volume(2), case.medium.with_extension("kept"));
    std::fs::rename(&gone, &kept).expect("the folder is ours");
    case.refused(NOT_NOW, &["volume", "2"]);
    std::fs::rename(&kept, &gone).expect("the folder is ours");
    assert_eq!(case.import().status.code(), Some(REFUSED), "whole again, it comes in, but for what is not signed");
}

#[test]
fn a_truncated_volume_is_named() {
    let Some(carried) = carried() else { return };
    let case = Case::new(&carried, &carried.first);
    let volume = case.volume(3);
    let length = std::fs::metadata(&volume).expect("it is ours").len();
    let file = std::fs::File::options().write(true).open(&volume).expect("it is ours");
    file.set_len(length / 2).expect("it is ours");
    let name = volume.file_name().and_then(|name| name.to_str()).expect("a plain name");
    case.refused(DAMAGED, &[name]);
}

#[test]
fn a_foreign_volume_is_named() {
    let Some(carried) = carried() else { return };
    let case = Case::new(&carried, &carried.first);
    let volume = case.volume(2);
    let other = export::volumes(&carried.second).into_keys().nth(1).expect("the set has so many volumes");
    std::fs::copy(carried.second.join(other), &volume).expect("the folders are ours");
    let name = volume.file_name().and_then(|name| name.to_str()).expect("a plain name");
    case.refused(DAMAGED, &[name]);
}

#[test]
fn a_sealer_nobody_enrolled_is_refused() {
    let Some(carried) = carried() else { return };
    Case::new(&carried, &carried.by_a_stranger).refused(REFUSED, &["enroll"]);
}

#[test]
fn a_set_for_another_is_refused() {
    let Some(carried) = carried() else { return };
    Case::new(&carried, &carried.of_another).refused(REFUSED, &["receiver"]);
}

/// Rollback: what was old once stays old, whatever happens to the index.
#[test]
fn an_older_sequence_is_refused_even_after_a_rebuild() {
    let Some(carried) = carried() else { return };
    let newer = Case::new(&carried, &carried.second);
    newer.import().succeeded();
    let older = Case { medium: carried.first.clone(), ..newer };
    older.refused(REFUSED, &["sequence", "1", "2"]);
    older.receiver.run(["store", "rebuild"]).succeeded();
    older.refused(REFUSED, &["sequence", "1", "2"]);
}
