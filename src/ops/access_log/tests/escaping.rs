//! What a client sends cannot end a message, nor look like another: the formats are read back by readers of their own.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, any, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use crate::ops::access_log::format::{Format, Origin, line, message};
use crate::ops::access_log::{AccessRecord, Event, journal_entry, rfc5424};

/// Bytes as they come over the wire, with more of those that mean something to a reader of logs.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        any::<char>().prop_map(String::from),
        Just("\n".to_owned()),
        Just("\r\n<13>1 - - - - - - forged".to_owned()),
        Just("\" x=\"y\"][z".to_owned()),
        Just("\\".to_owned()),
        Just("|".to_owned()),
        Just("=".to_owned()),
        Just("]".to_owned()),
        Just("\u{0}\u{7f}\u{85}".to_owned()),
        Just("\u{fffd}é漢".to_owned()),
        Just("7 <0>".to_owned()),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn hostile_record(texts: &[String]) -> AccessRecord {
    let text = |at: usize| texts.get(at).cloned();
    AccessRecord {
        sequence: 7,
        event: Event::Denial,
        request_id: text(0).unwrap_or_default(),
        remote: Some("[::ffff:192.0.2.1]:80".parse().unwrap()),
        principal: text(1),
        path: text(2).unwrap_or_default(),
        method: "GET".to_owned(),
        repository: text(3),
        reference: text(4),
        ns: text(5),
        user_agent: text(6),
        rule: text(7),
        status: 403,
        ..AccessRecord::default()
    }
}

/// A value as every format but JSON has it: control characters replaced.
fn shown(value: &str) -> String {
    value.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// The parameters of the second element of structured data, read as RFC 5424 section 6.3 has it.
fn structured_data(message: &str) -> (Vec<String>, BTreeMap<String, String>, String) {
    let mut rest = message;
    let mut head = Vec::new();
    for _ in 0..6 {
        let (word, behind) = rest.split_once(' ').unwrap();
        head.push(word.to_owned());
        rest = behind;
    }
    let rest = rest.strip_prefix("[meta sequenceId=\"7\"][postern@32473").unwrap();
    let (mut values, mut characters) = (BTreeMap::new(), rest.chars());
    loop {
        match characters.next().unwrap() {
            ']' => break,
            ' ' => {}
            other => panic!("{other} between parameters"),
        }
        let name: String = characters.by_ref().take_while(|character| *character != '=').collect();
        assert_eq!(characters.next(), Some('"'), "{name}");
        let mut value = String::new();
        loop {
            match characters.next().unwrap() {
                '"' => break,
                '\\' => {
                    let escaped = characters.next().unwrap();
                    assert!(['"', '\\', ']'].contains(&escaped), "an escape that is none: {escaped}");
                    value.push(escaped);
                }
                ']' => panic!("an end within a value"),
                character => value.push(character),
            }
        }
        assert!(values.insert(name, value).is_none());
    }
    assert_eq!(characters.next(), Some(' '));
    (head, values, characters.collect())
}

/// Head and extension of a line of CEF.
fn cef(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut head, mut field, mut characters) = (Vec::new(), String::new(), line.chars());
    while head.len() < 7 {
        match characters.next().unwrap() {
            '|' => head.push(std::mem::take(&mut field)),
            '\\' => field.push(characters.next().unwrap()),
            character => field.push(character),
        }
    }
    // A key is the word before a '=' that is not escaped.
    let (mut values, mut key, mut value) = (BTreeMap::new(), None::<String>, String::new());
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next().unwrap() {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                escaped => {
                    assert!(['\\', '='].contains(&escaped), "an escape that is none: {escaped}");
                    value.push(escaped);
                }
            },
            '=' => {
                let (before, next) = value.rsplit_once(' ').map_or(("", value.as_str()), |split| split);
                let next = next.to_owned();
                if let Some(key) = key.replace(next) {
                    assert!(values.insert(key, before.to_owned()).is_none());
                }
                value.clear();
            }
            character => value.push(character),
        }
    }
    values.insert(key.unwrap(), value);
    (head, values)
}

/// The fields of an entry of the journal.
fn journal(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| *byte == b'=' || *byte == b'\n').unwrap();
        let name = String::from_utf8(entry[..end].to_vec()).unwrap();
        let value_end = if entry[end] == b'=' {
            entry = &entry[end + 1..];
            entry.iter().position(|byte| *byte == b'\n').unwrap()
        } else {
            let length = u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap());
            entry = &entry[end + 9..];
            usize::try_from(length).unwrap()
        };
        assert_eq!(entry[value_end], b'\n');
        let value = String::from_utf8(entry[..value_end].to_vec()).unwrap();
        assert!(fields.insert(name, value).is_none());
        entry = &entry[value_end + 1..];
    }
    fields
}

fn check(texts: &[String]) {
    let (record, origin) = (hostile_record(texts), Origin { host: "a b\nc".to_owned(), ..Origin::default() });
    let written = String::from_utf8(message(Format::Rfc5424, &record, &origin)).unwrap();
    assert!(!written.chars().any(char::is_control), "{written:?}");
    let (head, values, text) = structured_data(&written);
    assert_eq!((head[0].as_str(), head[2].as_str(), head[5].as_str()), ("<108>1", "abc", "denial"));
    assert!(text.is_ascii());
    let line = String::from_utf8(line(Format::Cef, &record, &origin)).unwrap();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let (head, extension) = cef(&line);
    assert_eq!((head[0].as_str(), head[4].as_str(), head[6].as_str()), ("CEF:0", "denial", "6"));
    assert_eq!((extension["src"].as_str(), extension["cn1"].as_str()), ("192.0.2.1", "403"));
    let entry = journal(&journal_entry::entry(&record));
    let names = [
        ("requestId", "externalId", "POSTERN_REQUEST_ID"),
        ("principal", "suser", "POSTERN_PRINCIPAL"),
        ("path", "request", "POSTERN_PATH"),
        ("repository", "cs1", "POSTERN_REPOSITORY"),
        ("reference", "cs2", "POSTERN_REFERENCE"),
        ("ns", "cs3", "POSTERN_NS"),
        ("userAgent", "requestClientApplication", "POSTERN_USER_AGENT"),
        ("rule", "cs4", "POSTERN_RULE"),
    ];
    for (text, (name, key, field)) in texts.iter().zip(names) {
        if text.is_empty() && name == "path" {
            continue;
        }
        assert_eq!(values[name], shown(text), "{name}");
        let with_lines: String =
            text.chars().map(|c| if c.is_control() && c != '\n' && c != '\r' { '\u{fffd}' } else { c }).collect();
        assert_eq!(extension[key], with_lines, "{name}");
        assert_eq!(entry[field], *text, "{name}");
    }
    let json = String::from_utf8(crate::ops::access_log::format::line(Format::Json, &record, &origin)).unwrap();
    assert!(!json.contains(['\n', '\r']));
    assert_eq!(serde_json::from_str::<AccessRecord>(&json).unwrap(), record);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_format_gives_back_what_was_put_in(texts in proptest::collection::vec(hostile(), 8)) {
        check(&texts);
    }

    #[test]
    fn frames_end_where_their_length_says(texts in proptest::collection::vec(hostile(), 8)) {
        let record = hostile_record(&texts);
        let (mut frames, mut messages) = (Vec::new(), Vec::new());
        for format in [Format::Rfc5424, Format::Cef, Format::Json] {
            messages.push(message(format, &record, &Origin::default()));
            rfc5424::frame(&mut frames, &messages[messages.len() - 1]);
        }
        assert_eq!(super::sinks::split(&mut frames), messages);
        assert!(frames.is_empty());
    }
}

#[test]
fn long_values_are_cut_between_characters() {
    let record = hostile_record(&["é".repeat(2_000)]);
    let written = String::from_utf8(message(Format::Rfc5424, &record, &Origin::default())).unwrap();
    assert_eq!(structured_data(&written).1["requestId"], "é".repeat(512));
}

#[test]
fn an_example_of_each() {
    let mut record = super::record("/v2/team/app/blobs/sha256:0");
    record.time = "2026-11-24T08:09:10.123456789Z".parse().unwrap();
    record.remote = Some("192.0.2.7:4000".parse().unwrap());
    record.sequence = 3;
    let origin = Origin { host: "box".to_owned(), process_id: 42, facility: 13 };
    let text = |format| String::from_utf8(message(format, &record, &origin)).unwrap();
    assert_eq!(
        text(Format::Rfc5424),
        "<110>1 2026-11-24T08:09:10.123456Z box postern 42 pull [meta sequenceId=\"3\"][postern@32473 event=\"pull\" \
         requestId=\"1\" remote=\"192.0.2.7:4000\" method=\"GET\" path=\"/v2/team/app/blobs/sha256:0\" status=\"200\" \
         bytes=\"0\" complete=\"true\" durationUs=\"1\"] pull GET /v2/team/app/blobs/sha256:0 200"
    );
    assert_eq!(
        text(Format::Cef),
        format!(
            "<110>1 2026-11-24T08:09:10.123456Z box postern 42 pull [meta sequenceId=\"3\"] CEF:0|Postern|postern|{}|pull|\
             Image content read|3|rt=1795507750123 externalId=1 outcome=success dvchost=box src=192.0.2.7 spt=4000 \
             requestMethod=GET request=/v2/team/app/blobs/sha256:0 out=0 cn1Label=status cn1=200 \
             cn2Label=durationMicroseconds cn2=1 cn3Label=sequence cn3=3",
            env!("CARGO_PKG_VERSION")
        )
    );
}
