//! Distinguished names as trust policies write them: `x509.subject: C=US, ST=WA, O=acme-rockets.io`.

use std::collections::BTreeMap;

use x509_cert::der::Tagged as _;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Tag, oid::ObjectIdentifier};
use x509_cert::name::Name;

/// The parts of a name that must be there, each with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule(BTreeMap<&'static str, String>);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("'{0}' is not one attribute of a name, such as O=Example")]
    Attribute(String),
    #[error("attribute '{0}' of a name is not known: C, ST, L, O, OU, CN, STREET and POSTALCODE are")]
    Unknown(String),
    #[error("attribute '{0}' stands twice in the name")]
    Twice(&'static str),
    #[error("the name must hold C, ST and O at least, and lacks {0}")]
    Lacks(&'static str),
}

const ATTRIBUTES: [(&str, &str, ObjectIdentifier); 8] = [
    ("C", "C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    ("ST", "S", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("L", "L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("O", "O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", "OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("CN", "CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
    ("STREET", "STREET", ObjectIdentifier::new_unwrap("2.5.4.9")),
    ("POSTALCODE", "POSTALCODE", ObjectIdentifier::new_unwrap("2.5.4.17")),
];

impl NameRule {
    /// Parses attributes with commas between them; a comma within a value has a backslash before it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut parts = BTreeMap::new();
        for written in split(text) {
            let shown = || written.chars().take(80).collect::<String>();
            let (name, value) = written.split_once('=').ok_or_else(|| NameError::Attribute(shown()))?;
            let (name, value) = (name.trim().to_uppercase(), value.trim());
            if value.is_empty() {
                return Err(NameError::Attribute(shown()));
            }
            let known = ATTRIBUTES.iter().find(|(long, short, _)| name == *long || name == *short);
            let (known, ..) = known.ok_or_else(|| NameError::Unknown(shown()))?;
            if parts.insert(*known, value.to_owned()).is_some() {
                return Err(NameError::Twice(known));
            }
        }
        for wanted in ["C", "ST", "O"] {
            if !parts.contains_key(wanted) {
                return Err(NameError::Lacks(wanted));
            }
        }
        Ok(Self(parts))
    }

    /// Whether `name` holds every part, each once and with the same value.
    pub fn matches(&self, name: &Name) -> bool {
        let found: Vec<(ObjectIdentifier, Option<String>)> =
            name.0.iter().flat_map(|set| set.0.iter()).map(|part| (part.oid, text_of(&part.value))).collect();
        self.0.iter().all(|(wanted, value)| {
            let id = ATTRIBUTES.iter().find(|(long, ..)| long == wanted).map(|(.., id)| *id);
            let mut values = found.iter().filter(|(found, _)| Some(*found) == id);
            let only = values.next().filter(|_| values.next().is_none());
            only.is_some_and(|(_, found)| found.as_ref() == Some(value))
        })
    }
}

fn text_of(value: &x509_cert::der::Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        _ => None,
    }
}

fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let last = parts.last_mut().expect("there is always one");
        match letter {
            '\\' => last.extend(letters.next()),
            ',' | '+' => parts.push(String::new()),
            other => last.push(other),
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{NameError, NameRule};

    #[test]
    fn names_are_read_and_what_is_short_of_one_is_refused() {
        assert!(NameRule::parse(r"C=US, S=WA, O=Acme\, Inc., CN=release").is_ok());
        let check =
            |text: &str, expected: NameError| assert_eq!(NameRule::parse(text).unwrap_err(), expected, "{text}");
        check("C=US,ST=WA", NameError::Lacks("O"));
        check("C=US,ST=WA,O=a,O=b", NameError::Twice("O"));
        check("C=US,ST=WA,O=", NameError::Attribute("O=".to_owned()));
        check("C=US,ST=WA,O=a,X=b", NameError::Unknown("X=b".to_owned()));
        check("", NameError::Attribute(String::new()));
    }
}
