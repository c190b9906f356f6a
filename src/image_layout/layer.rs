//! The one layer of Postern's image: a tar archive that is written around a binary without holding it. Pure.
//!
//! ```text
//! usr/  usr/bin/             root, 0755
//! usr/bin/postern            root, 0755
//! var/  var/lib/             root, 0755
//! var/lib/postern/           65532, 0700: a new volume takes over owner and mode
//! ```
//!
//! No time stands in it, so that the same binary is the same layer in every release and on every day.

use tar::{EntryType, Header};

/// The user that the image runs as: nobody's on any machine.
pub const USER_ID: u64 = 65_532;
/// Where the binary lies.
pub const BINARY: &str = "usr/bin/postern";
/// Where everything is kept.
pub const DATA: &str = "var/lib/postern";
const BLOCK_BYTES: usize = 512;

fn header(path: &str, kind: EntryType, mode: u32, owner: u64, size_bytes: u64) -> [u8; BLOCK_BYTES] {
    let mut header = Header::new_ustar();
    header.set_path(path).expect("paths in the layer are short and relative");
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(size_bytes);
    header.set_mtime(0);
    header.set_device_major(0).expect("a ustar header has device numbers");
    header.set_device_minor(0).expect("a ustar header has device numbers");
    header.set_cksum();
    *header.as_bytes()
}

fn directory(path: &str, mode: u32, owner: u64) -> [u8; BLOCK_BYTES] {
    header(path, EntryType::Directory, mode, owner, 0)
}

/// What stands before the binary.
pub fn head(binary_bytes: u64) -> Vec<u8> {
    let blocks = [
        directory("usr/", 0o755, 0),
        directory("usr/bin/", 0o755, 0),
        header(BINARY, EntryType::Regular, 0o755, 0, binary_bytes),
    ];
    blocks.concat()
}

/// What stands behind it: its padding, the other directories, and the end.
pub fn tail(binary_bytes: u64) -> Vec<u8> {
    let padding = binary_bytes.next_multiple_of(BLOCK_BYTES as u64) - binary_bytes;
    let mut bytes = vec![0; usize::try_from(padding).unwrap_or_default()];
    for block in [
        directory("var/", 0o755, 0),
        directory("var/lib/", 0o755, 0),
        directory(&format!("{DATA}/"), 0o700, USER_ID),
        [0; BLOCK_BYTES],
        [0; BLOCK_BYTES],
    ] {
        bytes.extend_from_slice(&block);
    }
    bytes
}
