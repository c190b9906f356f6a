//! The policy as it is written: shape and spelling are checked here, what it means in `resolve` and `trust`.

use std::fmt;

use super::binary_authorization::{self, WrittenBinaryAuthorization};
use super::content_rule::{self, ContentRule};
use super::document::{self, At, Scalar, Table};
use super::error::{PolicyError, Problem, nearest};
use super::objects::{self, ObjectKind, TrustObjects};
use super::rego_rule::{self, RegoRule};
use crate::limits::{CONDITION_DEPTH_COUNT_MAX, POLICY_KEYS_COUNT_MAX, POLICY_RULES_COUNT_MAX};
use crate::verify::condition::{Condition, Operand, Operator, Path, Tree};
use crate::verify::pattern::Pattern;

/// The whole file.
#[derive(Debug)]
pub struct WrittenPolicy {
    pub default: Option<At<String>>,
    pub keys: Vec<(String, WrittenKey)>,
    pub roots: Vec<(String, WrittenRoot)>,
    pub identities: Vec<(String, WrittenIdentity)>,
    pub stores: Vec<(String, WrittenStore)>,
    pub notation: Vec<(String, WrittenNotation)>,
    pub denials: Vec<WrittenDenial>,
    pub rules: Vec<WrittenRule>,
    pub binary_authorization: Option<WrittenBinaryAuthorization>,
}

/// One of `[keys]`.
#[derive(Debug)]
pub struct WrittenKey {
    pub text: At<String>,
    pub is_certificate: bool,
    pub from: Option<At<String>>,
    pub until: Option<At<String>>,
}

/// One of `[roots]`.
#[derive(Debug)]
pub struct WrittenRoot {
    pub source: At<String>,
    pub is_builtin: bool,
    pub instance: Option<At<String>>,
}

/// One of `[identities]`.
#[derive(Debug)]
pub struct WrittenIdentity {
    pub line: usize,
    pub root: At<String>,
    pub issuer: At<String>,
    pub subject: At<String>,
    pub claims: Vec<(String, At<String>)>,
}

/// One of `[stores]`.
#[derive(Debug)]
pub struct WrittenStore {
    pub kind: At<String>,
    pub certificates: At<String>,
    pub revocation_lists: Option<At<String>>,
}

/// One of `[notation]`.
#[derive(Debug)]
pub struct WrittenNotation {
    pub line: usize,
    pub level: Option<At<String>>,
    pub stores: Vec<At<String>>,
    pub identities: Vec<At<String>>,
}

/// One `[[deny]]`.
#[derive(Debug)]
pub struct WrittenDenial {
    pub digest: Option<At<String>>,
    pub certificate: Option<At<String>>,
    pub key: Option<At<String>>,
    /// Issuer and subject.
    pub identity: Option<(At<String>, At<String>)>,
    pub from: Option<At<String>>,
    pub until: Option<At<String>>,
    pub reason: At<String>,
}

/// One `[[rule]]`.
#[derive(Debug)]
pub struct WrittenRule {
    pub name: At<String>,
    pub repositories: Vec<At<String>>,
    pub signature: Option<WrittenSet>,
    pub attestations: Vec<WrittenAttestation>,
    pub content: Option<ContentRule>,
    pub rego: Option<RegoRule>,
}

/// Names, sets of names, and how many of them.
#[derive(Debug)]
pub struct WrittenSet {
    pub table: String,
    pub line: usize,
    pub keys: Vec<At<String>>,
    pub identities: Vec<At<String>>,
    pub notation: Vec<At<String>>,
    pub sets: Vec<WrittenSet>,
    pub count: Option<At<WrittenCount>>,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenCount {
    Any,
    All,
    Number(i64),
}

impl fmt::Display for WrittenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::All => f.write_str("all"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// One of a rule's `[[rule.attestation]]`.
#[derive(Debug)]
pub struct WrittenAttestation {
    pub predicate_type: At<String>,
    pub set: WrittenSet,
    pub builders: Vec<At<String>>,
    pub build_types: Vec<At<String>>,
    pub conditions: Option<Tree>,
}

/// Parses the file.
pub fn parse(bytes: &[u8], objects: &TrustObjects) -> Result<WrittenPolicy, PolicyError> {
    let (text, parsed) = document::parse(bytes)?;
    let top = Table::top(text, &parsed);
    // The version comes first: another version may well have other keys.
    match top.integer("version")? {
        Some(At { value: 1, .. }) => {}
        Some(other) => return other.refuse(Problem::Version(other.value)),
        None => return top.refuse(Problem::Missing { key: "version", table: top.name.clone() }),
    }
    top.allow_only(&[
        "version",
        "default",
        "keys",
        "roots",
        "identities",
        "stores",
        "notation",
        "deny",
        "rule",
        "binary_authorization",
    ])?;
    let rules = top.tables("rule", "rule")?;
    if let Some(over) = rules.get(POLICY_RULES_COUNT_MAX) {
        return over.refuse(Problem::TooManyRules);
    }
    let denials = top.tables("deny", "deny")?;
    if let Some(over) = denials.get(POLICY_KEYS_COUNT_MAX) {
        return over.refuse(Problem::TooManyKeys);
    }
    Ok(WrittenPolicy {
        default: top.text("default")?,
        keys: named(&top, "keys", "key", |table| parse_key(table, objects))?,
        roots: named(&top, "roots", "root", |table| parse_root(table, objects))?,
        identities: named(&top, "identities", "identity", parse_identity)?,
        stores: named(&top, "stores", "store", |table| parse_store(table, objects))?,
        notation: named(&top, "notation", "notation", parse_notation)?,
        denials: denials.iter().map(parse_denial).collect::<Result<_, _>>()?,
        rules: rules.iter().map(parse_rule).collect::<Result<_, _>>()?,
        binary_authorization: binary_authorization::read(&top)?,
    })
}

fn named<'a, T>(
    top: &Table<'a>,
    key: &'static str,
    word: &str,
    parse: impl Fn(&Table<'a>) -> Result<T, PolicyError>,
) -> Result<Vec<(String, T)>, PolicyError> {
    let Some(table) = top.table(key, key)? else {
        return Ok(Vec::new());
    };
    let tables = table.named_tables(word)?;
    if let Some((_, over)) = tables.get(POLICY_KEYS_COUNT_MAX) {
        return over.refuse(Problem::TooManyKeys);
    }
    tables.iter().map(|(name, inner)| Ok((name.clone(), parse(inner)?))).collect()
}

/// The text of the object that stands under `key`, on the line where it is named.
fn object(
    table: &Table<'_>,
    key: &'static str,
    kind: ObjectKind,
    objects: &TrustObjects,
) -> Result<Option<At<String>>, PolicyError> {
    let Some(At { line, value }) = table.text(key)? else { return Ok(None) };
    match objects.text(kind, &value) {
        Some(text) => Ok(Some(At { line, value: text.to_owned() })),
        None => {
            let nearest = nearest(&value, objects.names(kind));
            At { line, value: () }.refuse(Problem::NoSuchObject {
                kind: kind.name(),
                name: document::shortened(&value),
                nearest,
            })
        }
    }
}

fn parse_key(table: &Table<'_>, objects: &TrustObjects) -> Result<WrittenKey, PolicyError> {
    table.allow_only(&["pem", "certificate", "object", "from", "until"])?;
    let object = object(table, "object", ObjectKind::Key, objects)?;
    let (text, is_certificate) = match (table.text("pem")?, table.text("certificate")?, object) {
        (Some(pem), None, None) => (pem, false),
        (None, Some(certificate), None) => (certificate, true),
        (None, None, Some(object)) => {
            let is_certificate = objects::is_certificate(&object.value);
            (object, is_certificate)
        }
        (None, None, None) => (table.required_text("pem")?, false),
        _ => return table.refuse(Problem::OneOf(table.name.clone())),
    };
    Ok(WrittenKey { text, is_certificate, from: table.text("from")?, until: table.text("until")? })
}

fn parse_root(table: &Table<'_>, objects: &TrustObjects) -> Result<WrittenRoot, PolicyError> {
    table.allow_only(&["json", "builtin", "object", "instance"])?;
    let object = object(table, "object", ObjectKind::Root, objects)?;
    let (source, is_builtin) = match (table.text("json")?, table.text("builtin")?, object) {
        (Some(json), None, None) => (json, false),
        (None, Some(builtin), None) => (builtin, true),
        (None, None, Some(object)) => (object, false),
        _ => return table.refuse(Problem::OneOf(table.name.clone())),
    };
    Ok(WrittenRoot { source, is_builtin, instance: table.text("instance")? })
}

fn parse_identity(table: &Table<'_>) -> Result<WrittenIdentity, PolicyError> {
    table.allow_only(&["root", "issuer", "subject", "claims"])?;
    let claims = match table.table("claims", &format!("{}, claims", table.name))? {
        Some(claims) => claims.all_texts()?,
        None => Vec::new(),
    };
    Ok(WrittenIdentity {
        line: table.line,
        root: table.required_text("root")?,
        issuer: table.required_text("issuer")?,
        subject: table.required_text("subject")?,
        claims,
    })
}

fn parse_store(table: &Table<'_>, objects: &TrustObjects) -> Result<WrittenStore, PolicyError> {
    table.allow_only(&["kind", "certificates", "object", "revocation_lists", "revocation_object"])?;
    let certificates = object(table, "object", ObjectKind::Certificates, objects)?;
    let certificates = match (table.text("certificates")?, certificates) {
        (Some(_), Some(_)) => return table.refuse(Problem::OneOf(table.name.clone())),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => table.required_text("certificates")?,
    };
    let revoked = object(table, "revocation_object", ObjectKind::Crl, objects)?;
    let revocation_lists = match (table.text("revocation_lists")?, revoked) {
        (Some(_), Some(_)) => return table.refuse(Problem::OneOf(table.name.clone())),
        (text, object) => text.or(object),
    };
    Ok(WrittenStore { kind: table.required_text("kind")?, certificates, revocation_lists })
}

fn parse_notation(table: &Table<'_>) -> Result<WrittenNotation, PolicyError> {
    table.allow_only(&["level", "stores", "identities"])?;
    Ok(WrittenNotation {
        line: table.line,
        level: table.text("level")?,
        stores: table.required_texts("stores")?,
        identities: table.required_texts("identities")?,
    })
}

fn parse_denial(table: &Table<'_>) -> Result<WrittenDenial, PolicyError> {
    table.allow_only(&["digest", "certificate", "key", "identity", "from", "until", "reason"])?;
    let identity = match table.table("identity", &format!("{}, identity", table.name))? {
        Some(inner) => {
            inner.allow_only(&["issuer", "subject"])?;
            Some((inner.required_text("issuer")?, inner.required_text("subject")?))
        }
        None => None,
    };
    Ok(WrittenDenial {
        digest: table.text("digest")?,
        certificate: table.text("certificate")?,
        key: table.text("key")?,
        identity,
        from: table.text("from")?,
        until: table.text("until")?,
        reason: table.required_text("reason")?,
    })
}

fn parse_rule(table: &Table<'_>) -> Result<WrittenRule, PolicyError> {
    table.allow_only(&["name", "repositories", "signature", "attestation", "content", "rego"])?;
    let name = table.required_text("name")?;
    let called = format!("rule '{}'", document::shortened(&name.value));
    let signature = match table.table("signature", &format!("{called}, signature"))? {
        Some(inner) => Some(parse_set(&inner, &[], 0)?),
        None => None,
    };
    let attestations = table.tables("attestation", &format!("{called}, attestation"))?;
    let content = match table.table("content", &format!("{called}, content"))? {
        Some(inner) => Some(content_rule::parse(&inner)?),
        None => None,
    };
    let rego = match table.table("rego", &format!("{called}, rego"))? {
        Some(inner) => Some(rego_rule::parse(&inner)?),
        None => None,
    };
    if signature.is_none() && attestations.is_empty() && content.is_none() && rego.is_none() {
        return table.refuse(Problem::NothingAsked(called));
    }
    Ok(WrittenRule {
        repositories: table.required_texts("repositories")?,
        signature,
        attestations: attestations.iter().map(parse_attestation).collect::<Result<_, _>>()?,
        content,
        rego,
        name,
    })
}

fn parse_set(table: &Table<'_>, beside: &[&str], depth: usize) -> Result<WrittenSet, PolicyError> {
    let own = ["keys", "identities", "notation", "set", "count"];
    table.allow_only(&own.iter().chain(beside).copied().collect::<Vec<_>>())?;
    if depth > CONDITION_DEPTH_COUNT_MAX {
        return table.refuse(Problem::NobodyNamed(table.name.clone()));
    }
    let sets = table.tables("set", &format!("{}, set", table.name))?;
    let set = WrittenSet {
        table: table.name.clone(),
        line: table.line,
        keys: table.texts("keys")?,
        identities: table.texts("identities")?,
        notation: table.texts("notation")?,
        sets: sets.iter().map(|set| parse_set(set, &[], depth + 1)).collect::<Result<_, _>>()?,
        count: parse_count(table)?,
    };
    if set.keys.is_empty() && set.identities.is_empty() && set.notation.is_empty() && set.sets.is_empty() {
        // Where a list is there and empty, the complaint is about the list.
        table.required_if_there(&["keys", "identities", "notation"])?;
        return table.refuse(Problem::NobodyNamed(table.name.clone()));
    }
    Ok(set)
}

fn parse_count(table: &Table<'_>) -> Result<Option<At<WrittenCount>>, PolicyError> {
    let Some(found) = table.scalar("count")? else { return Ok(None) };
    let value = match &found.value {
        Scalar::Integer(number) => WrittenCount::Number(*number),
        Scalar::Text(text) if text == "all" => WrittenCount::All,
        Scalar::Text(text) if text == "any" => WrittenCount::Any,
        _ => {
            let reason = "expected a whole number, \"all\" or \"any\"".to_owned();
            return found.refuse(Problem::Value { key: "count", value: table.name.clone(), reason });
        }
    };
    Ok(Some(At { line: found.line, value }))
}

fn parse_attestation(table: &Table<'_>) -> Result<WrittenAttestation, PolicyError> {
    let predicate_type = table.required_text("type")?;
    let set = parse_set(table, &["type", "builders", "build_types", "conditions"], 0)?;
    let conditions = match table.table("conditions", &format!("{}, conditions", table.name))? {
        Some(inner) => Some(parse_tree(&inner, 0)?),
        None => None,
    };
    Ok(WrittenAttestation {
        predicate_type,
        set,
        builders: table.texts("builders")?,
        build_types: table.texts("build_types")?,
        conditions,
    })
}

/// `all` or `any` with more of these, or one condition.
fn parse_tree(table: &Table<'_>, depth: usize) -> Result<Tree, PolicyError> {
    let refused =
        |reason: &str| table.refuse(Problem::Condition { table: table.name.clone(), reason: reason.to_owned() });
    if depth > CONDITION_DEPTH_COUNT_MAX {
        return refused("conditions are nested too deep");
    }
    table.allow_only(&["all", "any", "path", "operator", "value", "message"])?;
    let inner = |key: &str| -> Result<Vec<Tree>, PolicyError> {
        let tables = table.tables(key, &format!("{}, {key}", table.name))?;
        tables.iter().map(|inner| parse_tree(inner, depth + 1)).collect()
    };
    let (all, any) = (inner("all")?, inner("any")?);
    let is_leaf = table.text("path")?.is_some();
    match (all.is_empty(), any.is_empty(), is_leaf) {
        (false, true, false) => Ok(Tree::All(all)),
        (true, false, false) => Ok(Tree::Any(any)),
        (false, false, false) => Ok(Tree::All(vec![Tree::All(all), Tree::Any(any)])),
        (true, true, true) => Ok(Tree::One(parse_condition(table)?)),
        (true, true, false) => refused("give 'all', 'any', or 'path', 'operator' and 'value'"),
        _ => refused("'path' stands beside 'all' or 'any': a condition is one or the other"),
    }
}

fn parse_condition(table: &Table<'_>) -> Result<Condition, PolicyError> {
    let refused = |reason: String| Problem::Condition { table: table.name.clone(), reason };
    let written = table.required_text("path")?;
    let path = Path::parse(&written.value).or_else(|error| written.refuse(refused(error.to_string())))?;
    let named = table.required_text("operator")?;
    let Some(operator) = Operator::named(&named.value) else {
        let nearest = super::error::nearest(&named.value, Operator::names());
        let hint = nearest.map(|name| format!(", did you mean '{name}'?")).unwrap_or_default();
        return named.refuse(refused(format!("operator '{}' is not known{hint}", document::shortened(&named.value))));
    };
    let Some((values, line)) = table.scalars("value")? else {
        return table.refuse(Problem::Missing { key: "value", table: table.name.clone() });
    };
    if values.is_empty() || (values.len() > 1 && !operator.takes_list()) {
        let at = At { line, value: () };
        return at.refuse(refused(format!("'{}' compares with one value", named.value)));
    }
    let operand = |value: Scalar| match value {
        Scalar::Text(text) => Some(Operand::Text(Pattern::new(&text))),
        Scalar::Integer(number) => format!("{number}").parse().ok().map(Operand::Number),
        Scalar::Float(number) => Some(Operand::Number(number)),
        Scalar::Bool(value) => Some(Operand::Bool(value)),
    };
    let values: Option<Vec<Operand>> = values.into_iter().map(operand).collect();
    let Some(values) = values else { return table.refuse(refused("a number is none".to_owned())) };
    Ok(Condition { path, operator, values, message: table.text("message")?.map(|at| at.value) })
}
