//! Archives of every kind that is met, and those that are refused because two readers might see two things.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::{any, prop, proptest};

use super::{Found, LayerError, look, looked};
use crate::oci::digest::Digest;
use crate::verify::TrustPolicy;
use crate::verify::content::Wanted;

/// An entry: name, type, content.
type Written<'a> = (&'a str, u8, &'a [u8]);

fn header(name: &str, kind: u8, size: usize) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size as u64);
    header.set_mode(0o755);
    header.set_cksum();
    *header.as_bytes()
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    bytes
}

fn tar(entries: &[Written<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in entries {
        bytes.extend_from_slice(&header(name, *kind, content.len()));
        bytes.extend_from_slice(&padded(content));
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn wanted() -> Wanted {
    let text = "version = 1\n[[rule]]\nname = \"r\"\nrepositories = [\"**\"]\n[rule.content]\nno_shell = true\n\
                forbidden_paths = [\"/secret/**\", \"**/*.pem\"]\n";
    TrustPolicy::parse(text.as_bytes()).unwrap().content_wanted(&"a".parse().unwrap(), None).unwrap()
}

fn seen(bytes: &[u8]) -> Result<Found, LayerError> {
    look(bytes, &Digest::of(bytes), &wanted())
}

const FILES: &[Written<'_>] = &[
    ("./", b'5', b""),
    ("bin/", b'5', b""),
    ("bin/busybox", b'0', &[7; 1000]),
    ("./bin/sh", b'2', b""),
    ("/usr/bin/apk", b'1', b""),
    ("srv/bash", b'0', b"x"),
    ("secret/deep/key", b'0', b"xy"),
    ("etc/passwd", b'0', b"app:x:5:5\n"),
    ("etc/.wh.old", b'0', b""),
    ("var/.wh..wh..opq", b'0', b""),
    (".wh..wh.plnk", b'5', b""),
];

#[test]
fn a_layer_is_read_whatever_it_is_packed_with() {
    let plain = tar(FILES);
    let expected = seen(&plain).unwrap();
    assert_eq!(expected.paths, ["bin/busybox", "bin/sh", "usr/bin/apk", "secret/deep/key"]);
    assert_eq!((expected.unpacked_bytes, expected.users.clone()), (1013, Some(Some(b"app:x:5:5\n".to_vec()))));
    assert_eq!(
        (expected.taken_away.as_slice(), expected.emptied.as_slice()),
        (&["etc/old".to_owned()][..], &["var".to_owned()][..])
    );
    let (first, second) = plain.split_at(700);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..], &zstd(&plain)].concat();
    for packed in [
        gzip(&plain),
        // As images that are fetched lazily are packed: many members, one file each.
        [gzip(first), gzip(second)].concat(),
        zstd(&plain),
        [zstd(first), zstd(second)].concat(),
        skippable,
        // Without the blocks of zeros at its end, and with something behind them.
        plain[..plain.len() - 1024].to_vec(),
        [plain.as_slice(), b"trailing"].concat(),
    ] {
        assert_eq!(seen(&packed).unwrap(), expected, "{:?}", &packed[..4]);
    }
    assert_eq!(seen(b"").unwrap(), Found::default());
    assert_eq!(seen(&gzip(b"")).unwrap(), Found::default());
}

#[test]
fn names_and_sizes_that_stand_elsewhere_are_found() {
    let long = format!("{}/bin/sh", "d/".repeat(100));
    let normal = |text: &str| text.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let len = (rest.len()..).find(|len| len.to_string().len() + rest.len() == *len).unwrap();
        format!("{len}{rest}")
    };
    let by_pax = record("path", &long);
    let found = seen(&tar(&[("x", b'x', by_pax.as_bytes()), ("short", b'0', b"1")])).unwrap();
    assert_eq!(found.paths, [normal(&long)]);
    let found = seen(&tar(&[("././@LongLink", b'L', format!("{long}\0").as_bytes()), ("short", b'0', b"1")])).unwrap();
    assert_eq!(found.paths, [normal(&long)]);
    // What holds for one entry does not hold for the next, and what is said for all names none.
    let global = record("path", "bin/zsh");
    let found = seen(&tar(&[("g", b'g', global.as_bytes()), ("a", b'0', b"1"), ("bin/sh", b'0', b"")])).unwrap();
    assert_eq!(found.paths, ["bin/sh"]);
    // A size in an extended header is the size.
    let mut bytes = tar(&[("x", b'x', record("size", "513").as_bytes())]);
    bytes.truncate(1024);
    bytes.extend_from_slice(&header("a", b'0', 0));
    bytes.extend_from_slice(&padded(&[b'b'; 513]));
    bytes.extend_from_slice(&tar(&[("bin/sh", b'0', b"")]));
    let found = seen(&bytes).unwrap();
    assert_eq!((found.paths, found.unpacked_bytes), (vec!["bin/sh".to_owned()], 513));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let check = |bytes: &[u8], reason: &str| {
        let error = seen(bytes).expect_err(reason).to_string();
        assert!(error.contains(reason), "'{error}' does not say '{reason}'");
    };
    let plain = tar(FILES);
    check(&plain[..700], "ends within");
    check(&plain[..1500], "ends within");
    check(b"no archive", "ends within a block");
    check(&[1; 1024], "checksum");
    check(&tar(&[("bin/sh", b'2', b"content")]), "has content");
    check(&tar(&[("bin/", b'0', b"content")]), "a directory has content");
    check(&tar(&[("a/../../etc", b'0', b"")]), "leads out");
    check(&tar(&[("x", b'x', b"12 path=a\0b\n"), ("a", b'0', b"")]), "an extended header");
    check(&tar(&[("x", b'x', b"99 path=a\n"), ("a", b'0', b"")]), "an extended header");
    check(&tar(&[("x", b'x', b"nonsense"), ("a", b'0', b"")]), "an extended header");
    let mut hole = tar(&[("a", b'0', b"")]);
    hole.truncate(1024);
    hole.extend_from_slice(&tar(&[("bin/sh", b'0', b"")]));
    check(&hole, "goes on behind");
    let packed = gzip(&plain);
    check(&packed[..packed.len() / 2], "cannot be unpacked");
    check(&[&packed[..20], &[0xff; 20]].concat(), "cannot be unpacked");
    let many: Vec<String> =
        (0..=crate::limits::LAYER_FOUND_COUNT_MAX).map(|number| format!("secret/{number}")).collect();
    let many: Vec<Written<'_>> = many.iter().map(|name| (name.as_str(), b'0', &b""[..])).collect();
    check(&tar(&many), "more paths");
}

/// Of other bytes than those that the manifest names nothing is said, and nothing is remembered.
#[test]
fn bytes_that_are_not_the_layers_say_nothing() {
    let (clean, bad) = (tar(&[("a", b'0', b"1")]), tar(&[("bin/sh", b'0', b"2")]));
    let digest = Digest::of(&bad);
    assert!(matches!(looked(clean.as_slice(), &digest, &wanted()), Err(LayerError::Corrupt)));
    assert_eq!(looked(bad.as_slice(), &digest, &wanted()).unwrap().paths, ["bin/sh"]);
    // From now on the bytes are not needed any more.
    assert_eq!(looked(&b""[..], &digest, &wanted()).unwrap().paths, ["bin/sh"]);
}

#[test]
fn a_source_that_fails_is_told_from_a_layer_that_is_wrong() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let half = tar(FILES)[..600].to_vec();
    let raw = std::io::Read::chain(half.as_slice(), Broken);
    assert!(matches!(look(raw, &Digest::of(b"x"), &wanted()), Err(LayerError::Source(_))));
}

proptest! {
    /// The pieces in which bytes come do not change what is seen, and no bytes break the reader.
    #[test]
    fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..2_000), at in 0_usize..3_000, value in any::<u8>()) {
        let _ = seen(&bytes);
        let mut changed = tar(FILES);
        let at = at % changed.len();
        changed[at] = value;
        let _ = seen(&changed);
        let _ = seen(&gzip(&changed));
    }
}
