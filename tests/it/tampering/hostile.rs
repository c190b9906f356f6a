//! `bundles/hostile/`: bundles that every version must refuse, each with its WHY. Keys and files are kept, so that a later
//! version meets the very bytes of today.
//!
//! ```text
//! bundles/hostile/sender.json         identity of the enrolled sender
//! bundles/hostile/receiver/identity/  keys of the receiver: for these tests only
//! bundles/hostile/<attack>/WHY.md     what was done, and what would happen if it were taken
//! bundles/hostile/<attack>/expect     words that the refusal must hold, one on a line
//! bundles/hostile/<attack>/medium/    the volumes
//! bundles/hostile/<attack>/before/    volumes of a good set that is imported first, where the attack needs one
//! ```

use std::path::{Path, PathBuf};

use postern::bundle::format::container::{END_BYTES, entry_bytes, header};
use postern::bundle::format::seal::table_digest;
use postern::bundle::format::table::ChunkDigest;
use postern::oci::digest::Digest;
use postern::store::DeviceRole;
use postern::sys::dir::{Dir, read_bounded, replace};
use postern::sys::dir_real::RealDir;

use super::forge::{build, parts, reseal};
use super::world::{Images, Side, World};

const ATTACKS: [&str; 13] = [
    "compression-bomb",
    "endless-data",
    "flipped-bit",
    "foreign-sealer",
    "link",
    "lying-table",
    "missing-volume",
    "mix-and-match",
    "path-traversal",
    "repository-path",
    "rollback",
    "truncated",
    "wrong-receiver",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/hostile")
}

fn files(dir: &dyn Dir, path: &str) -> Vec<(String, Vec<u8>)> {
    let entries = dir.list(path).unwrap().into_iter();
    entries
        .map(|entry| (entry.name.clone(), read_bounded(dir, &format!("{path}/{}", entry.name), 1 << 24).unwrap()))
        .collect()
}

#[test]
fn each_is_refused_for_its_reason() {
    let kept = RealDir::open(&folder()).unwrap();
    let receiver = RealDir::open(&folder().join("receiver")).unwrap();
    let sender = read_bounded(&kept, "sender.json", 1 << 16).unwrap();
    let found: Vec<String> =
        kept.list("").unwrap().into_iter().filter(|entry| entry.stat.is_dir).map(|entry| entry.name).collect();
    assert_eq!(found.iter().filter(|name| *name != "receiver").collect::<Vec<_>>(), ATTACKS.iter().collect::<Vec<_>>());
    for attack in ATTACKS {
        let mut world = World::with_receiver(&receiver, &sender);
        assert!(kept.stat(&format!("{attack}/WHY.md")).unwrap().is_some(), "{attack}");
        if kept.stat(&format!("{attack}/before")).unwrap().is_some() {
            files(&kept, &format!("{attack}/before")).iter().for_each(|(name, content)| world.put(name, content));
            world.try_import().unwrap();
            world.empty_stick();
        }
        files(&kept, &format!("{attack}/medium")).iter().for_each(|(name, content)| world.put(name, content));
        let expect = read_bounded(&kept, &format!("{attack}/expect"), 1 << 16).unwrap();
        let expect = String::from_utf8(expect).unwrap();
        world.refused(&expect.lines().collect::<Vec<_>>());
    }
}

/// Writes one attack to be kept.
fn keep(attack: &str, why: &str, expect: &[&str], medium: &[(String, Vec<u8>)]) {
    assert!(ATTACKS.contains(&attack), "{attack}");
    let dir = RealDir::create(&folder().join(attack)).unwrap();
    dir.remove_tree("medium").unwrap();
    dir.remove_tree("before").unwrap();
    dir.create_dir_all("medium").unwrap();
    replace(&dir, "WHY.md", format!("# {attack}\n\n{why}\n").as_bytes()).unwrap();
    replace(&dir, "expect", format!("{}\n", expect.join("\n")).as_bytes()).unwrap();
    for (name, content) in medium {
        replace(&dir, &format!("medium/{name}"), content).unwrap();
    }
}

fn keep_before(attack: &str, files: &[(String, Vec<u8>)]) {
    let dir = RealDir::open(&folder().join(attack)).unwrap();
    dir.create_dir_all("before").unwrap();
    for (name, content) in files {
        replace(&dir, &format!("before/{name}"), content).unwrap();
    }
}

fn keep_keys(world: &World) {
    let dir = RealDir::create(&folder()).unwrap();
    replace(&dir, "sender.json", world.low.keys.identity_file()).unwrap();
    dir.create_dir_all("receiver/identity").unwrap();
    for entry in world.high.dir().list("identity").unwrap().into_iter().filter(|entry| !entry.stat.is_dir) {
        let content = read_bounded(world.high.dir(), &format!("identity/{}", entry.name), 1 << 16).unwrap();
        replace(&dir, &format!("receiver/identity/{}", entry.name), &content).unwrap();
    }
}

/// Replaces the first `old` by `new`, which is as long.
fn patch(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    let mut patched = bytes.to_vec();
    patched[at..at + new.len()].copy_from_slice(new);
    patched
}

#[test]
#[ignore = "writes bundles/hostile anew, with new keys: for a new version of the format only"]
fn regenerate() {
    let world = World::with_image(600);
    keep_keys(&world);
    let file = world.export(1 << 20).volumes[0].file.clone();
    let good = world.read(&file);
    tampered_bytes(&file, &good);
    tampered_entries(&file, &good);
    sealed_by_a_bad_sender(&world, &file, &good);
    whole_sets(&world, &file, &good);
}

fn tampered_bytes(file: &str, good: &[u8]) {
    let mut flipped = good.to_vec();
    let at = flipped.len() - 1024 - 700;
    flipped[at] ^= 0x10;
    keep(
        "flipped-bit",
        "One bit of one chunk has changed on a bad stick, or by hand. Taken, an image would not be what was signed.",
        &[file, "chunks/", "is damaged at byte", "bring this volume again"],
        &[(file.to_owned(), flipped)],
    );
    keep(
        "truncated",
        "The stick was pulled out before everything was on it. Taken, half an image would be served.",
        &[file, "file ends here", "bring this volume again"],
        &[(file.to_owned(), good[..good.len() - 2_000].to_vec())],
    );
    let mut endless = good.to_vec();
    endless.resize(good.len() + 8_192, 0);
    keep(
        "endless-data",
        "The file goes on after its end. A reader that follows it reads for ever, or reads what no digest covers.",
        &[file, "end of the volume", "goes on after its end"],
        &[(file.to_owned(), endless)],
    );
}

fn tampered_entries(file: &str, good: &[u8]) {
    let old = &header("chunks/00000001.zst", size_of_entry(good, "chunks/00000001.zst"));
    let mut evil = *old;
    evil[..19].copy_from_slice(b"../../etc/cron.d/x1");
    let evil = summed(evil);
    keep(
        "path-traversal",
        "An entry is named '../../etc/cron.d/x1'. A reader that unpacks the archive writes a file as root.",
        &[file, "chunks/00000001.zst", "header is not the one"],
        &[(file.to_owned(), patch(good, old, &evil))],
    );
    let mut link = *old;
    link[156] = b'2';
    link[157..168].copy_from_slice(b"/etc/shadow");
    let link = summed(link);
    keep(
        "link",
        "An entry is a symbolic link to '/etc/shadow', with a proper checksum. A reader that unpacks it follows it later.",
        &[file, "chunks/00000001.zst", "header is not the one"],
        &[(file.to_owned(), patch(good, old, &link))],
    );
}

/// A header with its sum made right again.
fn summed(mut header: [u8; 512]) -> [u8; 512] {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    header
}

fn size_of_entry(volume: &[u8], name: &str) -> u64 {
    let at = volume.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let digits = std::str::from_utf8(&volume[at + 124..at + 135]).unwrap();
    u64::from_str_radix(digits, 8).unwrap()
}

/// What an enrolled sender could do who has turned, or whose key was stolen.
fn sealed_by_a_bad_sender(world: &World, file: &str, good: &[u8]) {
    let keep_resealed = |attack, why, expect: &[&str], change: &dyn Fn(&mut _)| {
        world.put(file, good);
        let name = reseal(world, file, &world.low.keys, |table, _| change(table));
        let content = world.read(&name);
        world.take_away(&name);
        keep(attack, why, expect, &[(name, content)]);
    };
    keep_resealed(
        "lying-table",
        "The sender's own seal covers a table whose last digest is not that of the content. Taken, a name under blobs/ would \
         lie for ever.",
        &["does not hash to its digest", "export a new set"],
        &|table: &mut postern::bundle::format::table::SetTable| {
            let blob = table.blobs.last_mut().unwrap();
            let mut raw = blob.digest.raw().to_vec();
            *raw.last_mut().unwrap() ^= 1;
            blob.digest = Digest::from_raw(blob.digest.algorithm(), &raw).unwrap();
        },
    );
    world.put(file, good);
    let (table, mut seal, body) = parts(world, file);
    let text = String::from_utf8(table.to_bytes()).unwrap();
    let table = text.replacen("\"docker.io/library/app\"", "\"../../../../etc/x/app\"", 1).into_bytes();
    seal.table = table_digest(&table);
    let (name, bytes) = build(&seal.sign(&world.low.keys).unwrap(), &seal, 1, &table, &body);
    keep(
        "repository-path",
        "A repository is named '../../../../etc/x/app', under a good seal. A store that makes paths out of names writes there.",
        &[&name, "set.json", "repository name"],
        &[(name.clone(), bytes)],
    );
    // The last chunk becomes a frame that claims to unpack to 4 GiB less a byte, with a good digest and a good seal.
    let (mut table, mut seal, body) = parts(world, file);
    let bomb = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff, 0x03, 0x00, 0x00, 0x00];
    let blobs_count = table.blobs.len();
    let chunk = table.blobs[blobs_count - 1].chunks.last_mut().unwrap();
    let end = usize::try_from(entry_bytes(u64::from(chunk.stored)) + END_BYTES).unwrap();
    chunk.stored = u32::try_from(bomb.len()).unwrap();
    chunk.sha256 = ChunkDigest::of(&bomb);
    let number: u32 = table.volumes[0].chunks;
    let mut body = body[..body.len() - end].to_vec();
    body.extend_from_slice(&header(&format!("chunks/{number:08}.zst"), bomb.len() as u64));
    body.extend_from_slice(&bomb);
    body.resize(body.len() + 512 - bomb.len() + 1024, 0);
    let table = table.to_bytes();
    seal.table = table_digest(&table);
    let (name, bytes) = build(&seal.sign(&world.low.keys).unwrap(), &seal, 1, &table, &body);
    keep(
        "compression-bomb",
        "A chunk of a few bytes says that it unpacks to four gigabytes. A reader that believes it dies on a small board.",
        &[&name, "chunks/", "unpacks to 4294967295 bytes"],
        &[(name.clone(), bytes)],
    );
}

fn whole_sets(world: &World, file: &str, good: &[u8]) {
    let stranger = Side::new("stranger");
    world.put(file, good);
    let name = reseal(world, file, &stranger.keys, |_, _| ());
    let fingerprint = stranger.keys.device_id().fingerprint();
    keep(
        "foreign-sealer",
        "A whole and proper set, sealed by a device that nobody here has enrolled. Taken, anybody with a stick could fill \
         the registry.",
        &[&name, "seal.json", &fingerprint, "not enrolled"],
        &[(name.clone(), world.read(&name))],
    );
    world.take_away(&name);
    world.low.enrol(&stranger, DeviceRole::Receiver);
    let mut request = world.request(&["docker.io/library/app:v1"], 1 << 20);
    request.receiver = stranger.keys.device_id().clone();
    let name = world.try_export(&request).unwrap().volumes[0].file.clone();
    keep(
        "wrong-receiver",
        "A good set for another device. Taken, what one site may have would spread to every site that a stick passes.",
        &[&name, "seal.json", &fingerprint, "carry it there"],
        &[(name.clone(), world.read(&name))],
    );
    world.take_away(&name);
    world.low.forget_exports();
    let newer = world.export(1 << 20).volumes[0].file.clone();
    keep(
        "rollback",
        "An older set of the same series, found in a drawer. Taken, a fixed hole would be open again.",
        &["seal.json", "sequence 1", "was imported already", "export a new set"],
        &[(file.to_owned(), good.to_vec())],
    );
    keep_before("rollback", &[(newer.clone(), world.read(&newer))]);
    world.take_away(&newer);
    world.low.forget_exports();
    let mut images = Images::default();
    let image = images.image("riscv64", 25_000);
    images.publish(&world.low, "apps/large", "v1", image);
    let written = world.try_export(&world.request(&["apps/large:v1"], 32 << 10)).unwrap();
    let volumes: Vec<_> =
        written.volumes.iter().map(|volume| (volume.file.clone(), world.read(&volume.file))).collect();
    assert_eq!(volumes.len(), 2);
    keep(
        "missing-volume",
        "The second stick was forgotten. Taken, half of a set would be served, and nobody would know.",
        &["volume 2 of set", "is still missing", "run the same command again"],
        &volumes[..1],
    );
    let mixed = [volumes[0].clone(), (volumes[1].0.clone(), good.to_vec())];
    keep(
        "mix-and-match",
        "A volume of one set under the name of another. Taken, an image would be put together from two.",
        &[&volumes[1].0, "volume.json", "another name"],
        &mixed,
    );
}
