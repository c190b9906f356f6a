//! Flipped bytes and cut files: the whole head of a volume and every header byte by byte, data and padding in steps.

use postern::bundle::format::container::{BLOCK_BYTES, END};

use super::world::World;

/// Where the parts of a volume are: (name, header, content, padding, end).
struct Entry {
    name: String,
    at: usize,
    content: usize,
    padding: usize,
    end: usize,
}

/// A reader of its own, so that the product's does not vouch for itself.
fn entries(volume: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while volume[at] != 0 {
        let text =
            |from: usize, to: usize| std::str::from_utf8(&volume[at + from..at + to]).unwrap().trim_matches('\0');
        let (name, size) = (text(0, 100).to_owned(), usize::from_str_radix(text(124, 136), 8).unwrap());
        let content = at + BLOCK_BYTES;
        let padding = content + size;
        let end = padding.next_multiple_of(BLOCK_BYTES);
        entries.push(Entry { name, at, content, padding, end });
        at = end;
    }
    assert_eq!(at + END.len(), volume.len());
    entries
}

/// Flips a bit of one byte whenever it is read, and expects a refusal that names the volume and the place.
#[track_caller]
fn flip(world: &World, file: &str, at: usize, place: &[&str]) {
    world.medium.lie_about(file, at as u64);
    let text = world.refused_at_a_glance(&["volume 'postern-"]);
    let placed = place.iter().any(|place| text.contains(place)) && text.contains(file);
    assert!(placed, "byte {at} should be placed in {place:?} of '{file}': {text}");
    let next_step = text.contains("bring this volume again") || text.contains("enrol it with");
    assert!(next_step, "no next step: {text}");
    world.high.forget_staged();
}

/// Every byte of the leading entries and of every header, as one of two halves, so that two can run at once.
fn every_byte(half: usize) {
    let world = World::with_image(600);
    let written = world.export(1 << 20);
    let file = &written.volumes[0].file;
    let volume = world.read(file);
    let entries = entries(&volume);
    let names: Vec<_> = entries[..3].iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["volume.json", "set.json", "seal.json"]);
    assert_eq!(entries.len(), 3 + 10, "an index, two manifests, a statement, and their six blobs");
    for (nth, entry) in entries.iter().enumerate() {
        // The first two are bound by the third: where they disagree, either may be called wrong.
        let places = [&*entry.name, "volume.json", "set.json", "seal.json"];
        let places = if nth < 3 { &places[..] } else { &places[..1] };
        let end = if nth < 3 { entry.end } else { entry.content };
        for at in (entry.at..end).filter(|at| at % 2 == half) {
            flip(&world, file, at, places);
        }
    }
    assert_eq!(world.high.blobs_count(), 0);
    // Nothing was broken by all this.
    world.medium.lie_about("nothing", 0);
    world.try_import().unwrap();
}

#[test]
fn every_even_byte_of_the_leading_entries_and_of_every_header() {
    every_byte(0);
}

#[test]
fn every_odd_byte_of_the_leading_entries_and_of_every_header() {
    every_byte(1);
}

#[test]
fn bytes_of_data_padding_and_the_end_on_every_volume() {
    let world = World::with_image(60_000);
    let written = world.export(64 << 10);
    assert!(written.volumes.len() >= 3);
    for volume in &written.volumes {
        let content = world.read(&volume.file);
        let entries = entries(&content);
        for entry in &entries {
            let data = (entry.content..entry.padding).step_by(4096).chain([entry.padding - 1]);
            let padding =
                (entry.padding..entry.end).step_by(97).chain((entry.padding < entry.end).then(|| entry.end - 1));
            for at in data.chain(padding) {
                flip(&world, &volume.file, at, &[&entry.name, "set.json", "volume.json", "seal.json"]);
            }
        }
        let end = entries.last().unwrap().end;
        for at in (end..content.len()).step_by(101).chain([content.len() - 1]) {
            flip(&world, &volume.file, at, &["end of the volume"]);
        }
    }
}

#[test]
fn files_cut_short_or_made_longer() {
    let world = World::with_image(20_000);
    let written = world.export(64 << 10);
    let file = &written.volumes[0].file;
    let whole = world.read(file);
    let entries = entries(&whole);
    let edges = entries.iter().flat_map(|entry| [entry.at, entry.at + 1, entry.content, entry.padding, entry.end]);
    let lengths = edges.chain((0..whole.len()).step_by(997)).chain([whole.len() - 1, whole.len() - 512]);
    for length in lengths.filter(|length| *length < whole.len()) {
        world.put(file, &whole[..length]);
        let text = world.refused(&[file, "bring this volume again"]);
        assert!(text.contains(&format!("byte {length}")) && text.contains("file ends here"), "{length}: {text}");
        world.high.forget_staged();
    }
    for more in [1, 511, 512, 10_240] {
        let mut longer = whole.clone();
        longer.resize(whole.len() + more, 0);
        world.put(file, &longer);
        world.refused(&[file, "goes on after its end", &format!("byte {}", whole.len())]);
    }
    world.put(file, &whole);
    world.try_import().unwrap();
}

#[test]
fn a_flipped_byte_costs_only_the_chunks_behind_it() {
    let world = World::with_image(100_000);
    let written = world.export(1 << 20);
    let file = &written.volumes[0].file;
    let entries = entries(&world.read(file));
    let last = entries.last().unwrap();
    world.medium.lie_about(file, last.content as u64);
    world.refused(&[&last.name, "sealed table"]);
    world.medium.lie_about("nothing", 0);
    let report = world.try_import().unwrap();
    assert!(report.bytes_read < written.volumes[0].bytes, "{} bytes read again", report.bytes_read);
}
