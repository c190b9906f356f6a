//! ArcSight's Common Event Format, version 0.
//!
//! ```text
//! CEF:0|Postern|postern|VERSION|EVENT|NAME|SEVERITY|rt=… externalId=… src=… request=… outcome=… …
//! ```
//!
//! In the head `\` and `|` are escaped, in the values `\` and `=`; ends of lines in values are written `\n` and `\r`.
//! Other control characters become U+FFFD.

use std::net::IpAddr;

use super::format::{Origin, Severity};
use super::record::{AccessRecord, Event, clip};

/// `record` as one line.
pub(super) fn line(record: &AccessRecord, origin: &Origin) -> String {
    let severity = match Severity::of(record) {
        Severity::Error => 7,
        Severity::Warning => 6,
        Severity::Notice => 5,
        Severity::Information => 3,
    };
    let mut line = String::from("CEF:0|Postern|postern|");
    escape_head(&mut line, env!("CARGO_PKG_VERSION"));
    line.push('|');
    line.push_str(record.event.name());
    line.push('|');
    escape_head(&mut line, title(record));
    line.push_str(&format!("|{severity}|"));
    for (position, (key, value)) in extension(record, origin).into_iter().enumerate() {
        if position > 0 {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        escape_value(&mut line, &value);
    }
    line
}

const fn title(record: &AccessRecord) -> &'static str {
    match record.event {
        Event::Pull => "Image content read",
        Event::Push => "Image content uploaded",
        Event::Delete => "Image content deleted",
        Event::List => "Names listed",
        Event::Denial => "Access denied",
        Event::Login => "Login",
        Event::Admin => "Administration",
        Event::Other => "Request answered",
    }
}

/// Keys of the format's dictionary where it has one, and its custom fields with their labels where it has none.
fn extension(record: &AccessRecord, origin: &Origin) -> Vec<(&'static str, String)> {
    let outcome = if record.succeeded() { "success" } else { "failure" };
    let mut pairs = vec![
        ("rt", record.time.as_millisecond().to_string()),
        ("externalId", record.request_id.clone()),
        ("outcome", outcome.to_owned()),
    ];
    let mut add = |key, value: Option<String>| pairs.extend(value.map(|value| (key, value)));
    add("dvchost", Some(origin.host.clone()).filter(|host| !host.is_empty()));
    match record.remote.map(|remote| (remote.ip().to_canonical(), remote.port())) {
        Some((IpAddr::V4(address), port)) => {
            add("src", Some(address.to_string()));
            add("spt", Some(port.to_string()));
        }
        Some((IpAddr::V6(address), port)) => {
            add("c6a2Label", Some("Source IPv6 Address".to_owned()));
            add("c6a2", Some(address.to_string()));
            add("spt", Some(port.to_string()));
        }
        None => {}
    }
    add("suser", record.principal.clone());
    add("act", record.operation.clone());
    add("reason", record.outcome.clone());
    add("requestMethod", Some(record.method.clone()).filter(|method| !method.is_empty()));
    add("request", Some(record.path.clone()).filter(|path| !path.is_empty()));
    add("requestClientApplication", record.user_agent.clone());
    add("out", Some(record.bytes.to_string()));
    let texts = [
        ("cs1Label", "repository", "cs1", &record.repository),
        ("cs2Label", "reference", "cs2", &record.reference),
        ("cs3Label", "namespace", "cs3", &record.ns),
        ("cs4Label", "rule", "cs4", &record.rule),
    ];
    for (label_key, label, key, value) in texts {
        if let Some(value) = value {
            add(label_key, Some(label.to_owned()));
            add(key, Some(value.clone()));
        }
    }
    let numbers = [
        ("cn1Label", "status", "cn1", u64::from(record.status)),
        ("cn2Label", "durationMicroseconds", "cn2", record.duration_us),
        ("cn3Label", "sequence", "cn3", record.sequence),
    ];
    for (label_key, label, key, value) in numbers {
        add(label_key, Some(label.to_owned()));
        add(key, Some(value.to_string()));
    }
    for (_, value) in &mut pairs {
        clip(value);
    }
    pairs
}

fn escape_head(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' | '|' => text.extend(['\\', character]),
            character if character.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            character => text.push(character),
        }
    }
}

fn escape_value(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' | '=' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            character if character.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            character => text.push(character),
        }
    }
}
