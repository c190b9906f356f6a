//! An entry of systemd's journal in its native protocol: fields, one after the other, in one datagram.
//!
//! ```text
//! NAME=VALUE\n                                where the value holds no end of a line
//! NAME\n  length as u64, little endian  VALUE\n        for any value
//! ```

use super::format::Severity;
use super::record::AccessRecord;

/// `record` as an entry.
pub(super) fn entry(record: &AccessRecord) -> Vec<u8> {
    let mut entry = Vec::with_capacity(512);
    field(&mut entry, "MESSAGE", &record.summary());
    field(&mut entry, "PRIORITY", &(Severity::of(record) as u8).to_string());
    field(&mut entry, "SYSLOG_IDENTIFIER", "postern-access");
    field(&mut entry, "POSTERN_SEQUENCE", &record.sequence.to_string());
    field(&mut entry, "POSTERN_TIME", &record.time.to_string());
    for (name, value) in record.fields() {
        field(&mut entry, &format!("POSTERN_{}", upper(name)), &value);
    }
    entry
}

/// `userAgent` as `USER_AGENT`.
fn upper(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(character.to_ascii_uppercase());
    }
    text
}

fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}
