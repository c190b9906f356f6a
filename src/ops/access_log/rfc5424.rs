//! Messages of syslog (RFC 5424), and their framing on a stream (RFC 6587 section 3.4.1, RFC 5425 section 4.3).
//!
//! ```text
//! LENGTH SP <PRI>1 SP TIME SP HOST SP postern SP PID SP EVENT SP [meta sequenceId="…"][postern@32473 name="value" …] SP TEXT
//! ```
//!
//! What a client chose stands only in values, where three characters are escaped; control characters become U+FFFD, so
//! that no receiver that cuts at line ends can be made to see a message that was never sent.

use std::fmt::Write as _;

use super::format::{Origin, Severity};
use super::record::AccessRecord;

/// There is no enterprise number for this program; 32473 is the one that RFC 5612 keeps for such use.
const STRUCTURE: &str = "postern@32473";
const HOST_BYTES_MAX: usize = 255;
/// RFC 5424, section 7.3.1.
const SEQUENCE_MAX: u64 = 2_147_483_647;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a message carries.
pub(super) enum Content<'t> {
    StructuredData,
    /// A text in another format. It is UTF-8 and holds no control characters.
    Text(&'t [u8]),
}

/// One message, without its framing.
pub(super) fn message(record: &AccessRecord, origin: &Origin, content: &Content<'_>) -> Vec<u8> {
    let priority = u16::from(origin.facility) * 8 + Severity::of(record) as u16;
    let time = record.time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let sequence = if record.sequence == 0 { 0 } else { (record.sequence - 1) % SEQUENCE_MAX + 1 };
    let (host, process, event) = (host(&origin.host), origin.process_id, record.event.name());
    let mut head = format!("<{priority}>1 {time} {host} postern {process} {event} [meta sequenceId=\"{sequence}\"]");
    match content {
        Content::StructuredData => {
            let _ = write!(head, "[{STRUCTURE}");
            for (name, value) in record.fields() {
                let _ = write!(head, " {name}=\"");
                escape(&mut head, &value);
                head.push('"');
            }
            head.push_str("] ");
            let text = record.summary();
            // Pure ASCII needs no mark of its encoding, and some receivers show the mark.
            head.extend(text.chars().map(|character| if is_printable_ascii(character) { character } else { '?' }));
            head.into_bytes()
        }
        Content::Text(text) => {
            head.push(' ');
            let mut message = head.into_bytes();
            if !text.is_ascii() {
                message.extend_from_slice(BYTE_ORDER_MARK);
            }
            message.extend_from_slice(text);
            message
        }
    }
}

/// A message as it goes over a stream: its length in front, so that nothing in it can end it.
pub(super) fn frame(frames: &mut Vec<u8>, message: &[u8]) {
    frames.extend_from_slice(message.len().to_string().as_bytes());
    frames.push(b' ');
    frames.extend_from_slice(message);
}

fn host(name: &str) -> String {
    let kept: String = name.chars().filter(char::is_ascii_graphic).take(HOST_BYTES_MAX).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

const fn is_printable_ascii(character: char) -> bool {
    character.is_ascii_graphic() || character == ' '
}

/// RFC 5424, section 6.3.3.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => text.extend(['\\', character]),
            character if character.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            character => text.push(character),
        }
    }
}
