//! Volumes as somebody builds them who can write, and perhaps even seal, what they like.

use postern::bundle::format::container::{header, padding_bytes};
use postern::bundle::format::seal::{Seal, table_digest};
use postern::bundle::format::table::SetTable;
use postern::bundle::format::volume::VolumeHead;
use postern::bundle::reader::VolumeReader;
use postern::sys::keys::KeyRing;

use super::world::World;

/// Takes a volume apart: head, table, seal, and everything behind.
pub fn parts(world: &World, file: &str) -> (SetTable, Seal, Vec<u8>) {
    let mut reader = VolumeReader::open(&world.medium, file).unwrap();
    let head = reader.head().unwrap();
    let body = world.read(file)[usize::try_from(head.body_at).unwrap()..].to_vec();
    (SetTable::parse(&head.table_bytes).unwrap(), head.seal.claims().clone(), body)
}

/// A volume as somebody would build it who can seal what they like.
pub fn build(seal_bytes: &[u8], seal: &Seal, volume: u16, table: &[u8], body: &[u8]) -> (String, Vec<u8>) {
    let head = VolumeHead::new(seal.set_id(), volume, seal.volumes);
    let mut bytes = Vec::new();
    for (name, content) in [("volume.json", &*head.to_bytes()), ("set.json", table), ("seal.json", seal_bytes)] {
        bytes.extend_from_slice(&header(name, content.len() as u64));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + padding_bytes(content.len() as u64), 0);
    }
    bytes.extend_from_slice(body);
    (head.file_name().to_string(), bytes)
}

/// The only volume on the stick, sealed anew by `keys` after `change`.
pub fn reseal(world: &World, file: &str, keys: &KeyRing, change: impl FnOnce(&mut SetTable, &mut Seal)) -> String {
    let (mut table, mut seal, body) = parts(world, file);
    seal.sender = keys.device_id().clone();
    change(&mut table, &mut seal);
    let table = table.to_bytes();
    seal.table = table_digest(&table);
    let (name, bytes) = build(&seal.sign(keys).unwrap(), &seal, 1, &table, &body);
    world.take_away(file);
    world.put(&name, &bytes);
    name
}
