//! Attestations and their conditions.

use super::attestor::Attestors;
use crate::verify::condition::{Condition, Operand, Operator, Path, Tree};
use crate::verify::pattern::Pattern;
use crate::verify::policy::AttestationRule;
use crate::verify::policy::attestor::AttestorSet;
use crate::verify::policy::document::shortened;
use crate::verify::policy::error::{PolicyError, nearest};
use crate::verify::policy::fields::{Fields, refuse, scalar};
use crate::verify::sigstore::compose::PREDICATE_NAMES;
use crate::verify::slsa::PROVENANCE_V1;
use crate::verify::statement::COSIGN_SIGNATURE;
use crate::verify::yaml::{Node, Value};

/// Parses one attestation. Where it names nobody, those must have made it who must have signed the image.
pub fn parse(
    node: &Node,
    signers: Option<&AttestorSet>,
    attestors: &mut Attestors<'_>,
) -> Result<AttestationRule, PolicyError> {
    let fields = Fields::of(node, "an attestation")?;
    fields.allow_only(&["name", "type", "predicateType", "attestors", "conditions"])?;
    let conditions = match fields.optional("conditions") {
        None => None,
        Some(_) => Some(parse_blocks(fields.list("conditions")?)?),
    };
    let (key, written) = match (fields.optional_text("type")?, fields.optional_text("predicateType")?) {
        (Some(written), None) => ("type", written),
        (None, Some(written)) => ("predicateType", written),
        _ => return refuse(node.line, "an attestation has one 'type'"),
    };
    let predicate_type = match PREDICATE_NAMES.iter().find(|(name, _)| *name == written) {
        // cosign's word means v0.2, which has no buildDefinition: asked about one, v1 must be meant.
        Some(("slsaprovenance", _)) if conditions.as_ref().is_some_and(speaks_of_v1) => PROVENANCE_V1,
        Some((_, kind)) => kind,
        None if written.contains("://") && written != COSIGN_SIGNATURE => written,
        None => {
            return fields
                .refuse_at(key, &format!("'{}' is no type of attestation that is known here", shortened(written)));
        }
    };
    let set = match (fields.optional_list("attestors")?, signers) {
        ([], Some(signers)) => signers.clone(),
        ([], None) => return refuse(node.line, "nobody is named who must have made the attestation"),
        (listed, _) => attestors.all_of(listed)?,
    };
    Ok(AttestationRule {
        predicate_type: predicate_type.to_owned(),
        attestors: set,
        builders: Vec::new(),
        build_types: Vec::new(),
        conditions,
        // Kyverno refuses at the first whose conditions do not hold.
        every: true,
    })
}

/// Whether any condition goes into what only v1 of SLSA's provenance has.
fn speaks_of_v1(tree: &Tree) -> bool {
    match tree {
        Tree::All(parts) | Tree::Any(parts) => parts.iter().any(speaks_of_v1),
        Tree::One(condition) => {
            let path = condition.path.to_string();
            path.starts_with("buildDefinition") || path.starts_with("runDetails")
        }
    }
}

/// Blocks of `all` and `any`, every one of which must hold.
fn parse_blocks(blocks: &[Node]) -> Result<Tree, PolicyError> {
    let block = |node: &Node| {
        let fields = Fields::of(node, "a condition")?;
        fields.allow_only(&["all", "any"])?;
        let conditions = |key: &str| -> Result<Vec<Tree>, PolicyError> {
            fields.optional_list(key)?.iter().map(|node| parse_condition(node).map(Tree::One)).collect()
        };
        let mut parts = Vec::new();
        match conditions("all")? {
            all if all.is_empty() => {}
            all => parts.push(Tree::All(all)),
        }
        match conditions("any")? {
            any if any.is_empty() => {}
            any => parts.push(Tree::Any(any)),
        }
        if parts.is_empty() { refuse(node.line, "a condition needs 'all' or 'any'") } else { Ok(Tree::All(parts)) }
    };
    Ok(Tree::All(blocks.iter().map(block).collect::<Result<_, _>>()?))
}

fn parse_condition(node: &Node) -> Result<Condition, PolicyError> {
    let fields = Fields::of(node, "a condition")?;
    fields.allow_only(&["key", "operator", "value", "message"])?;
    let key = fields.text("key")?;
    let inner = key.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let Some(path) = inner.and_then(|inner| Path::parse(inner).ok()) else {
        return fields.refuse_at("key", "expected one path in {{ }}: names with dots, [0] and [], and no functions");
    };
    let named = fields.text("operator")?;
    let Some(operator) = Operator::named(named) else {
        let hint =
            nearest(named, Operator::names()).map(|name| format!(", did you mean '{name}'?")).unwrap_or_default();
        return fields.refuse_at("operator", &format!("'{}' is not known here{hint}", shortened(named)));
    };
    let value = fields.required("value")?;
    let values = match &value.value {
        Value::List(items) => items.iter().map(operand).collect::<Result<Vec<_>, _>>()?,
        _ => vec![operand(value)?],
    };
    if values.is_empty() || (values.len() > 1 && !operator.takes_list()) {
        return fields.refuse_at("value", "this operator compares with one value");
    }
    let message = fields.optional_text("message")?.map(ToOwned::to_owned);
    Ok(Condition { path, operator, values, message })
}

fn operand(node: &Node) -> Result<Operand, PolicyError> {
    let text = scalar(node, "a value")?;
    if text.contains("{{") || text.contains('?') {
        return refuse(node.line, "variables and ? are not read in a value; * stands for any text");
    }
    let is_quoted = matches!(&node.value, Value::Scalar { is_quoted: true, .. });
    Ok(match text {
        "true" if !is_quoted => Operand::Bool(true),
        "false" if !is_quoted => Operand::Bool(false),
        text => match text.parse::<f64>().ok().filter(|number| !is_quoted && number.is_finite()) {
            Some(number) => Operand::Number(number),
            None => Operand::Text(Pattern::new(text)),
        },
    })
}
