//! The definition in `file`, shown to people and machines: JSON Schema, a commented file of defaults, a page of
//! documentation, and the names of all keys.

use std::fmt::Write as _;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::{ConfigFile, Retention, Upstream};
use super::shape::Shape;

/// One key of the configuration, or one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub documentation: String,
    pub default: Value,
    /// Words that are allowed, where only some are.
    pub choices: Vec<String>,
    pub kind: Kind,
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Value { type_name: String },
    Table(Vec<Key>),
    Tables(Vec<Key>),
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| keys_of(&schema(), &Shape::of_file()));

/// The configuration's JSON Schema (draft 2020-12).
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<ConfigFile>().to_value()
}

/// Every key, tables within tables.
pub fn keys() -> &'static [Key] {
    &KEYS
}

/// Keys stand in the file's order: those of the root table first, as TOML needs it.
fn keys_of(schema: &Value, shape: &Shape) -> Vec<Key> {
    let mut keys: Vec<Key> = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.iter().map(|(name, property)| key(name, property, &shape.inner(name))).collect())
        .unwrap_or_default();
    let rank = |key: &Key| match key.kind {
        Kind::Value { .. } => 0,
        Kind::Table(_) => 1,
        Kind::Tables(_) => 2,
    };
    keys.sort_by_key(|key| (rank(key), shape.position(&key.name)));
    keys
}

fn key(name: &str, property: &Value, shape: &Shape) -> Key {
    let text = |value: &Value| value.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    let items = property.get("items").filter(|items| items.get("properties").is_some());
    let kind = if property.get("properties").is_some() {
        Kind::Table(keys_of(property, shape))
    } else if let Some(items) = items {
        Kind::Tables(keys_of(items, shape))
    } else {
        Kind::Value { type_name: type_name(property) }
    };
    Key {
        name: name.to_owned(),
        documentation: text(property),
        default: property.get("default").cloned().unwrap_or(Value::Null),
        choices: choices(property),
        kind,
    }
}

fn type_name(property: &Value) -> String {
    let of = |value: &Value| match value.as_str() {
        Some("boolean") => "true or false",
        Some("integer") => "number",
        Some("array") => "list of texts",
        _ => "text",
    };
    match property.get("type") {
        Some(Value::Array(types)) => {
            types.iter().find(|kind| kind.as_str() != Some("null")).map_or("text", of).to_owned()
        }
        Some(kind) => of(kind).to_owned(),
        None => "text".to_owned(),
    }
}

fn choices(property: &Value) -> Vec<String> {
    let listed = property.get("enum").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A complete configuration file: every key with its documentation. Those in `values` (by path, such as `tls.key`) are
/// set; of the others the default is shown behind a comment sign.
pub fn commented(values: &[(&str, Value)]) -> String {
    let mut text = String::from(COMMENTED_HEAD);
    commented_keys(&mut text, keys(), "", values);
    text
}

const COMMENTED_HEAD: &str =
    "# Postern's configuration. Lines that begin with '#' and no blank show the defaults: remove the '#' before a key,
# and before the [table] above it, to change one.\n\n";

fn commented_keys(text: &mut String, keys: &[Key], prefix: &str, values: &[(&str, Value)]) {
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        comment(text, key);
        match &key.kind {
            Kind::Value { .. } => match values.iter().find(|(name, _)| *name == path) {
                Some((_, value)) => text.push_str(&format!("{} = {}\n\n", key.name, toml_value(value))),
                None => text.push_str(&format!("#{} = {}\n\n", key.name, toml_value(&key.default))),
            },
            Kind::Table(inner) => {
                let mark = if values.iter().any(|(name, _)| name.starts_with(&format!("{path}."))) { "" } else { "#" };
                text.push_str(&format!("{mark}[{path}]\n\n"));
                commented_keys(text, inner, &format!("{path}."), values);
            }
            Kind::Tables(inner) => {
                text.push_str(&format!("#[[{path}]]\n\n"));
                commented_keys(text, inner, &format!("{path}."), values);
            }
        }
    }
}

fn comment(text: &mut String, key: &Key) {
    for line in wrapped(&key.documentation, 100) {
        let _ = writeln!(text, "# {line}");
    }
    if !key.choices.is_empty() {
        let _ = writeln!(text, "# One of: {}.", key.choices.join(", "));
    }
}

fn wrapped(paragraph: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The page of documentation, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(REFERENCE_HEAD);
    let (plain, tables): (Vec<&Key>, Vec<&Key>) = keys().iter().partition(|key| matches!(key.kind, Kind::Value { .. }));
    let _ = writeln!(text, "## At the top of the file\n");
    reference_table(&mut text, plain.into_iter());
    for key in tables {
        reference_section(&mut text, key, "");
    }
    text.push_str(REFERENCE_EXAMPLE);
    text.push_str(&example());
    text.push_str("```\n");
    text
}

/// A table of the file, and then those within it.
fn reference_section(text: &mut String, key: &Key, prefix: &str) {
    let path = format!("{prefix}{}", key.name);
    let (title, inner) = match &key.kind {
        Kind::Table(inner) => (format!("[{path}]"), inner),
        Kind::Tables(inner) => (format!("[[{path}]]"), inner),
        Kind::Value { .. } => return,
    };
    let _ = writeln!(text, "\n## `{title}`\n\n{}\n", key.documentation);
    reference_table(text, inner.iter().filter(|key| matches!(key.kind, Kind::Value { .. })));
    for key in inner {
        reference_section(text, key, &format!("{path}."));
    }
}

const REFERENCE_HEAD: &str = "# Configuration

<!-- Made from the definition in src/config/file.rs by `postern config schema --markdown`. Do not edit. -->

One TOML file, found in this order: `--config FILE`, `$POSTERN_CONFIG`, `postern.toml` in the directory of `--data` or
`$POSTERN_DATA`, `/etc/postern/postern.toml`, `/var/lib/postern/postern.toml`. Without any of them the defaults below hold.
Relative paths count from the directory of the file. `postern config check` names what is wrong with a file, by line;
`postern config show` prints what holds now; `postern config show --defaults` prints a commented file to start from.

";

const REFERENCE_EXAMPLE: &str = "
## An example

```toml
";

fn reference_table<'a>(text: &mut String, keys: impl Iterator<Item = &'a Key>) {
    text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in keys {
        let type_name = match &key.kind {
            Kind::Value { type_name } if key.choices.is_empty() => type_name.clone(),
            _ => key.choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", "),
        };
        let default = if key.default.is_null() { "none".to_owned() } else { format!("`{}`", toml_value(&key.default)) };
        let _ = writeln!(text, "| `{}` | {type_name} | {default} | {} |", key.name, key.documentation);
    }
}

/// A small file with one upstream and one rule, written by the definition itself.
fn example() -> String {
    #[derive(serde::Serialize)]
    struct Example {
        data_dir: &'static str,
        upstream: Vec<Upstream>,
        retention: Vec<Retention>,
    }
    let example = Example {
        data_dir: "/var/lib/postern",
        upstream: vec![Upstream {
            name: "registry.example".to_owned(),
            url: "https://registry.example".to_owned(),
            ..Upstream::default()
        }],
        retention: vec![Retention {
            name: "newest-three".to_owned(),
            repositories: vec!["registry.example/**".to_owned()],
            keep_semver_newest: Some(3),
            ..Retention::default()
        }],
    };
    toml::to_string(&example).expect("texts, numbers and lists are always TOML")
}

#[cfg(test)]
mod tests {
    use super::{Key, Kind, commented, keys, reference};
    use crate::config::file::ConfigFile;

    fn every(keys: &[Key], seen: &mut Vec<Key>) {
        for key in keys {
            seen.push(key.clone());
            if let Kind::Table(inner) | Kind::Tables(inner) = &key.kind {
                every(inner, seen);
            }
        }
    }

    #[test]
    fn every_key_is_documented() {
        let mut all = Vec::new();
        every(keys(), &mut all);
        assert!(all.len() > 20, "{}", all.len());
        for key in all {
            assert!(key.documentation.len() > 10, "{}", key.name);
        }
    }

    #[test]
    fn the_commented_file_holds_the_defaults() {
        let text = commented(&[]);
        assert_eq!(toml::from_str::<ConfigFile>(&text).unwrap(), ConfigFile::default());
        // With the comment signs gone, every key that has a default keeps it.
        // Tables that there may be many of have none by default.
        let mut is_one_of_many = false;
        let bare: String = text
            .lines()
            .filter(|line| {
                if line.starts_with("#[") || line.starts_with('[') {
                    is_one_of_many = line.starts_with("#[[");
                }
                !is_one_of_many
            })
            .filter(|line| !line.starts_with("# "))
            .filter(|line| !line.ends_with("\"\""))
            .map(|line| format!("{}\n", line.trim_start_matches('#')))
            .collect();
        assert_eq!(toml::from_str::<ConfigFile>(&bare).unwrap(), ConfigFile::default(), "{bare}");
    }

    #[test]
    fn the_page_of_documentation_is_the_definition() {
        assert!(
            include_str!("../../docs/configuration.md") == reference(),
            "docs/configuration.md is not the definition: run `postern config schema --markdown > docs/configuration.md`"
        );
    }
}
