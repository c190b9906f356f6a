//! Archives of every kind that is met, and those that are refused because two readers might see two things.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::{any, prop, proptest};

use super::{Found, LayerError, Packing, look, looked};
use crate::limits::{
    LAYER_DIRECTORIES_COUNT_MAX, LAYER_FOUND_COUNT_MAX, LAYER_TAKEN_AWAY_BYTES_MAX, LAYER_TAKEN_AWAY_COUNT_MAX,
};
use crate::oci::digest::Digest;
use crate::verify::TrustPolicy;
use crate::verify::content::Wanted;

/// An entry: name, type, content.
type Written<'a> = (&'a str, u8, &'a [u8]);

fn header(name: &str, kind: u8, size: usize) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[156] = kind;
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

/// The archive, with other bytes in its first header.
fn patched(mut archive: Vec<u8>, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&archive[..512]);
    for (at, bytes) in patches {
        header.as_mut_bytes()[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    header.set_cksum();
    archive[..512].copy_from_slice(header.as_bytes());
    archive
}

/// A record of an extended header.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let len = (rest.len()..).find(|len| len.to_string().len() + rest.len() == *len).unwrap();
    format!("{len}{rest}")
}

#[track_caller]
fn check_refused(bytes: &[u8], reason: &str) {
    let error = seen(bytes).expect_err(reason).to_string();
    assert!(error.contains(reason), "'{error}' does not say '{reason}'");
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
    for (packing, packed) in [
        (Packing::Gzip, gzip(&plain)),
        // As images that are fetched lazily are packed: many members, one file each.
        (Packing::Gzip, [gzip(first), gzip(second)].concat()),
        (Packing::Zstd, zstd(&plain)),
        (Packing::Zstd, [zstd(first), zstd(second)].concat()),
        (Packing::Zstd, skippable),
        // Without the blocks of zeros at its end, and with something behind them.
        (Packing::Plain, plain[..plain.len() - 1024].to_vec()),
        (Packing::Plain, [plain.as_slice(), b"trailing"].concat()),
    ] {
        assert_eq!(seen(&packed).unwrap(), Found { packing, ..expected.clone() }, "{:?}", &packed[..4]);
    }
    assert_eq!(seen(b"").unwrap(), Found::default());
    assert_eq!(seen(&gzip(b"")).unwrap(), Found { packing: Packing::Gzip, ..Found::default() });
}

#[test]
fn names_and_sizes_that_stand_elsewhere_are_found() {
    let long = format!("{}/bin/sh", "d/".repeat(100));
    let normal = |text: &str| text.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
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
    let check = check_refused;
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
    let many: Vec<String> = (0..=LAYER_FOUND_COUNT_MAX).map(|number| format!("secret/{number}")).collect();
    let many: Vec<Written<'_>> = many.iter().map(|name| (name.as_str(), b'0', &b""[..])).collect();
    check(&tar(&many), "more paths");
}

/// Go's reader forgets the first of two, prefers one to the other, or ends both at a header for all entries.
#[test]
fn an_entry_with_two_names_is_refused() {
    const TWO: &str = "more than one header speaks";
    const HOLES: &str = "a file has holes";
    let by_record = record("path", "srv/a");
    let other_record = record("mtime", "1");
    let (x, other, g) =
        (("x", b'x', by_record.as_bytes()), ("x", b'x', other_record.as_bytes()), ("g", b'g', &b""[..]));
    let (long, file) = (("././@LongLink", b'L', &b"srv/b\0"[..]), ("bin/sh", b'0', &b""[..]));
    for pair in [[x, x], [x, other], [other, x], [long, long], [x, long], [other, long], [long, x], [x, g], [long, g]] {
        check_refused(&tar(&[pair[0], pair[1], file]), TWO);
    }
    // Each on its own is what every archive has, before every entry.
    let link = ("././@LongLink", b'K', &b"target\0"[..]);
    let found = seen(&tar(&[g, x, link, file, long, file, link, other, file])).unwrap();
    assert_eq!(found.paths, ["bin/sh"]);
    for empty in [&b""[..], b"\0", b"\0bin/sh"] {
        check_refused(&tar(&[("././@LongLink", b'L', empty), file]), "a long name is empty");
    }
    for key in ["GNU.sparse.name", "GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.realsize", "GNU.sparse.size"] {
        check_refused(&tar(&[("x", b'x', record(key, "1").as_bytes()), file]), HOLES);
    }
    check_refused(&tar(&[("a", b'S', b"")]), HOLES);
}

/// The kind of a header says where the rest of a name stands, and readers tell the kinds apart by different bytes.
#[test]
fn a_header_of_which_the_kind_is_unclear_is_refused() {
    const MAGIC: usize = 257;
    const PREFIX: usize = 345;
    let one = || tar(&[("sh", b'0', b"")]);
    let paths = |patches: &[(usize, &[u8])]| seen(&patched(one(), patches)).unwrap().paths;
    assert_eq!(paths(&[(PREFIX, b"usr/bin")]), ["usr/bin/sh"]);
    // The oldest kind and GNU's have no such place.
    assert_eq!(paths(&[(MAGIC, &[0; 8]), (PREFIX, b"usr/bin")]), [""; 0]);
    assert_eq!(paths(&[(MAGIC, b"ustar  \0"), (PREFIX, b"14777777777\0 14777777777")]), [""; 0]);
    let check = |patches: &[(usize, &[u8])], reason| check_refused(&patched(one(), patches), reason);
    for version in [b"01", b" \0", b"\0\0"] {
        check(&[(MAGIC + 6, version), (PREFIX, b"usr/bin")], "an unknown version");
    }
    check(&[(508, b"tar\0"), (PREFIX, b"usr/bin")], "star writes");
    for prefix in [&b"usr/bin"[..], b"8", b"1 1", b"1\x001", b"\x80", b"\0\0\0\0\0\0\0\0\0\0\0\0bin"] {
        check(&[(MAGIC, b"ustar  \0"), (PREFIX, prefix)], "a time in a header");
    }
}

/// What a layer brings is there, wherever in it the mark stands that takes the one below away.
#[test]
fn a_directory_that_is_taken_away_and_brought_is_not_taken_away() {
    let check = |entries: &[Written<'_>], taken_away: &[&str], emptied: &[&str]| {
        let found = seen(&tar(entries)).unwrap();
        assert_eq!(found.taken_away, taken_away);
        assert_eq!(found.emptied, emptied);
    };
    let (mark, directory, within) = ((".wh.a", b'0', &b""[..]), ("a/", b'5', &b""[..]), ("a/b/c", b'0', &b""[..]));
    check(&[mark], &["a"], &[]);
    check(&[mark, ("ab/", b'5', b""), ("b/a/", b'5', b"")], &["a"], &[]);
    for other in [directory, within, ("a/.wh.x/.wh.y", b'0', b""), ("a/.wh..wh.plnk", b'0', b"")] {
        for entries in [[mark, other], [other, mark]] {
            assert!(!seen(&tar(&entries)).unwrap().taken_away.contains(&"a".to_owned()), "{entries:?}");
        }
    }
    check(&[("a/.wh.b", b'0', b""), within], &[], &[]);
    check(&[("a/.wh.c", b'0', b""), within], &["a/c"], &[]);
    // overlayfs does not look for this mark at the root.
    check(&[(".wh..wh..opq", b'0', b""), ("./.wh..wh..opq", b'0', b""), ("a/.wh..wh..opq", b'0', b"")], &[], &["a"]);
    let many: Vec<String> = (0..=LAYER_DIRECTORIES_COUNT_MAX).map(|number| format!("d{number}")).collect();
    let mut entries: Vec<Written<'_>> = many.iter().map(|name| (name.as_str(), b'5', &b""[..])).collect();
    entries.extend([mark, ("x/.wh..wh..opq", b'0', b"")]);
    check(&entries, &[], &[]);
    check(&entries[2..], &["a"], &["x"]);
}

#[test]
fn what_a_layer_takes_away_is_bounded() {
    let check = |count: usize, name_bytes: usize, expected: Option<&str>| {
        let folder = "d".repeat(name_bytes);
        let mut bytes = Vec::new();
        for number in 0..count {
            let path = record("path", &format!("{folder}/.wh.{number:05}"));
            bytes.extend_from_slice(&tar(&[("x", b'x', path.as_bytes()), ("a", b'0', b"")]));
            bytes.truncate(bytes.len() - 1024);
        }
        match expected {
            None => assert_eq!(seen(&bytes).unwrap().taken_away.len(), count),
            Some(reason) => check_refused(&bytes, reason),
        }
    };
    check(LAYER_TAKEN_AWAY_COUNT_MAX, 1, None);
    check(LAYER_TAKEN_AWAY_COUNT_MAX + 1, 1, Some("more paths that it takes away"));
    let most = LAYER_TAKEN_AWAY_BYTES_MAX / 4_000;
    check(most, 4_000 - 6, None);
    check(most + 1, 4_000 - 6, Some("more bytes of paths that it takes away"));
}

/// Other names may lead to a list of users that lies below a link.
#[test]
fn users_below_what_is_no_directory_are_unknown() {
    let list = ("etc/passwd", b'0', &b"app:x:5:5:::\n"[..]);
    let users = |entries: &[Written<'_>]| seen(&tar(entries)).unwrap().users;
    assert_eq!(users(&[("etc/", b'5', b""), list]), Some(Some(list.2.to_vec())));
    assert_eq!(users(&[("etc/", 0, b""), list]), Some(Some(list.2.to_vec())));
    for kind in [b'0', b'1', b'2', b'3', b'7'] {
        for entries in [[("etc", kind, &b""[..]), list], [list, ("etc/", kind, b"")]] {
            assert_eq!(users(&entries), Some(None), "{entries:?}");
        }
        assert_eq!(users(&[("etc", kind, b"")]), Some(None));
    }
    assert_eq!(users(&[("etcetera", b'2', b"")]), None);
}

#[test]
fn a_layer_that_is_refused_is_not_read_another_time() {
    let bad = tar(&[("a/../../refused", b'0', b"")]);
    let torn = gzip(&tar(&[("torn", b'0', b"1")]));
    for bytes in [&bad[..], &torn[..torn.len() / 2]] {
        let digest = Digest::of(bytes);
        let first = looked(bytes, &digest, &wanted()).unwrap_err().to_string();
        // Without the bytes it would be one that does not hash to its digest.
        assert_eq!(looked(&b""[..], &digest, &wanted()).unwrap_err().to_string(), first);
    }
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
