//! A rule: of which repositories it speaks, and what it asks.

use super::DefaultAction;
use super::attestor::AttestorSet;
use super::content_rule::ContentRule;
use super::rego_rule::RegoRule;
use super::scope::Scopes;
use super::signed_identity::SignedIdentity;
use crate::oci::name::RepositoryName;
use crate::verify::condition::Tree;
use crate::verify::pattern::Pattern;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(in crate::verify) name: String,
    pub(super) scopes: Scopes,
    /// What becomes of the image whatever speaks of it; `None` where that is to be judged. Formats that choose one rule for
    /// a name have such rules.
    pub(in crate::verify) outright: Option<DefaultAction>,
    pub(in crate::verify) signature: Option<SignatureRule>,
    pub(in crate::verify) attestations: Vec<AttestationRule>,
    pub(in crate::verify) content: Option<ContentRule>,
    pub(in crate::verify) rego: Option<RegoRule>,
}

/// A rule and the names of an image of which it speaks.
#[derive(Clone, Debug)]
pub struct Applicable<'a> {
    pub rule: &'a Rule,
    pub names: Vec<&'a RepositoryName>,
}

/// Signatures by enough of those named.
#[derive(Clone, Debug)]
pub struct SignatureRule {
    pub attestors: AttestorSet,
    /// What the name within a signature must be; `None` where it is not looked at, since mirrors rename.
    pub identity: Option<SignedIdentity>,
}

/// An attestation of one type, by enough of those named, whose builder and build type match one pattern each where patterns
/// are given, and whose content satisfies the conditions.
#[derive(Clone, Debug)]
pub struct AttestationRule {
    pub predicate_type: String,
    pub attestors: AttestorSet,
    pub builders: Vec<Pattern>,
    pub build_types: Vec<Pattern>,
    pub conditions: Option<Tree>,
    /// Whether every attestation of the type by those named must satisfy the conditions, and not only one.
    pub every: bool,
}

impl Rule {
    /// The name that a refusal shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it speaks of every repository and lets in whatever comes.
    pub(super) fn admits_everything(&self) -> bool {
        self.outright == Some(DefaultAction::Admit) && self.scopes.are_everything()
    }
}
