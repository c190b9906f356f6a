//! Which keyless identities a policy trusts: the issuer that vouches, the subject, and what a CI system claims.

use std::collections::BTreeMap;
use std::fmt;

use super::pattern::Pattern;
use super::sigstore::identity::CertificateIdentity;

/// One identity, or a pattern of them. Every part matches its whole text: an issuer that only begins with a trusted one is
/// another issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRule {
    pub issuer: Pattern,
    pub subject: Pattern,
    /// Claims that must be there and match.
    pub claims: BTreeMap<&'static str, Pattern>,
}

impl IdentityRule {
    /// Whether it describes this identity.
    pub fn matches(&self, found: &CertificateIdentity) -> bool {
        let claims = || {
            self.claims.iter().all(|(name, pattern)| found.claims.get(name).is_some_and(|value| pattern.matches(value)))
        };
        self.issuer.matches(&found.issuer) && self.subject.matches(&found.subject) && claims()
    }

    /// The first claim that is missing or another, where issuer and subject match.
    pub fn unmet_claim(&self, found: &CertificateIdentity) -> Option<&'static str> {
        let met = |name: &str, pattern: &Pattern| found.claims.get(name).is_some_and(|value| pattern.matches(value));
        self.claims.iter().find(|(name, pattern)| !met(name, pattern)).map(|(name, _)| *name)
    }
}

impl fmt::Display for IdentityRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' of issuer '{}'", self.subject, self.issuer)?;
        for (name, pattern) in &self.claims {
            write!(f, ", {name} '{pattern}'")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::IdentityRule;
    use crate::verify::pattern::Pattern;
    use crate::verify::sigstore::identity::CertificateIdentity;

    /// Pitfall 4 of the design: an unanchored pattern takes an enterprise's issuer for the public one.
    #[test]
    fn pitfall_4_issuers_and_subjects_match_whole() {
        let rule = IdentityRule {
            issuer: Pattern::new("https://token.actions.example"),
            subject: Pattern::new("https://git.example/team/app/.ci/release.yml@refs/tags/*"),
            claims: BTreeMap::from([("runner_environment", Pattern::new("hosted"))]),
        };
        let found = |issuer: &str, subject: &str, runner: Option<&str>| CertificateIdentity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            claims: runner.map(|runner| ("runner_environment", runner.to_owned())).into_iter().collect(),
        };
        const ISSUER: &str = "https://token.actions.example";
        const SUBJECT: &str = "https://git.example/team/app/.ci/release.yml@refs/tags/v1";
        let check = |issuer: &str, subject: &str, runner: Option<&str>, expected: bool| {
            assert_eq!(rule.matches(&found(issuer, subject, runner)), expected, "{issuer} {subject} {runner:?}");
        };
        check(ISSUER, SUBJECT, Some("hosted"), true);
        check("https://token.actions.example/hammer-time", SUBJECT, Some("hosted"), false);
        check("https://evil.example/https://token.actions.example", SUBJECT, Some("hosted"), false);
        check(ISSUER, &format!("https://evil.example/{SUBJECT}"), Some("hosted"), false);
        check(ISSUER, "https://git.example/team/app/.ci/release.yml@refs/heads/main", Some("hosted"), false);
        check(ISSUER, SUBJECT, Some("self-hosted"), false);
        check(ISSUER, SUBJECT, None, false);
        assert_eq!(rule.unmet_claim(&found(ISSUER, SUBJECT, None)), Some("runner_environment"));
    }
}
