//! Groups of the machine by name, from its own file, the same in every edition.
//!
//! Why not `getgrnam`: a static glibc cannot load the modules it wants, as with names of hosts. A group that comes from
//! elsewhere (a directory service) is written as its number.

use std::path::Path;

use super::dir::{DirError, read_bounded};
use super::dir_real::RealDir;
use crate::limits::GROUPS_BYTES_MAX;

/// The number of the group `written`: a number itself, or a name in `/etc/group`.
pub fn number(written: &str) -> Result<Option<u32>, DirError> {
    if let Ok(number) = written.parse() {
        return Ok(Some(number));
    }
    let bytes = read_bounded(&RealDir::open(Path::new("/etc"))?, "group", GROUPS_BYTES_MAX)?;
    Ok(in_file(&bytes, written))
}

/// group(5): `name:password:number:members`.
fn in_file(bytes: &[u8], wanted: &str) -> Option<u32> {
    bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = std::str::from_utf8(line).ok()?.split(':');
        let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
        if name == wanted { number.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::{in_file, number};

    #[test]
    fn groups_are_found_by_name_and_by_number() {
        let file = b"root:x:0:\ngames:x:60:\n\xff\xff:x:1:\nbroken\noperators:x:1005:alice,bob\nlate:x:nan:";
        let check = |name: &str, expected: Option<u32>| assert_eq!(in_file(file, name), expected, "{name}");
        check("root", Some(0));
        check("operators", Some(1005));
        check("broken", None);
        check("late", None);
        check("alice", None);
        check("", None);
        assert_eq!(number("1234").unwrap(), Some(1234));
        assert_eq!(number("root").unwrap(), Some(0));
        assert_eq!(number("no group has this name").unwrap(), None);
    }
}
