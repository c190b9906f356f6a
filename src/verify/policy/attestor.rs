//! Whom a rule may name: keys, keyless identities, and Notation's trust stores; and how many of them must have signed.

use std::sync::Arc;

use crate::verify::identity_rule::IdentityRule;
use crate::verify::notation::Notation;
use crate::verify::sigstore::TrustedRoot;

/// One of the policy's names for somebody who can sign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttestorName {
    pub kind: AttestorKind,
    pub name: String,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttestorKind {
    Key,
    Identity,
    Notation,
}

impl AttestorKind {
    /// As it stands before a name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Identity => "identity",
            Self::Notation => "notation",
        }
    }
}

/// A keyless identity and the root that vouches for it.
#[derive(Clone, Debug)]
pub struct KeylessAttestor {
    pub root: Arc<TrustedRoot>,
    pub rule: IdentityRule,
}

/// Notation's trust stores and identities under one name.
pub type NotationAttestor = Arc<Notation>;

/// At least `count` of these must have signed, each by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestorSet {
    pub members: Vec<AttestorMember>,
    pub count: usize,
}

/// Somebody, or a set that counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttestorMember {
    One(AttestorName),
    Set(AttestorSet),
}

impl AttestorSet {
    /// Everybody who is named in it.
    pub fn names(&self) -> Vec<&AttestorName> {
        self.members
            .iter()
            .flat_map(|member| match member {
                AttestorMember::One(name) => vec![name],
                AttestorMember::Set(set) => set.names(),
            })
            .collect()
    }

    /// Whether it names one of these.
    pub fn names_one_of(&self, names: &[AttestorName]) -> bool {
        self.names().into_iter().any(|named| names.contains(named))
    }

    /// Whether enough different signers are among `signers`. Each stands for one member, whatever else it could stand for.
    pub fn is_satisfied_by(&self, signers: &[(&str, &[AttestorName])]) -> bool {
        const STEPS_MAX: usize = 10_000;
        let mut search = Search { signers, used: Vec::new(), steps_left: STEPS_MAX };
        search.choose(&self.members, self.count, &mut |_| true)
    }
}

struct Search<'a> {
    signers: &'a [(&'a str, &'a [AttestorName])],
    used: Vec<&'a str>,
    steps_left: usize,
}

impl<'a> Search<'a> {
    /// Chooses signers for `count` of `members`, then for whatever `then` still wants. Out of steps, nothing is satisfied.
    fn choose(&mut self, members: &'a [AttestorMember], count: usize, then: &mut dyn FnMut(&mut Self) -> bool) -> bool {
        if count == 0 {
            return then(self);
        }
        let Some((first, rest)) = members.split_first().filter(|_| members.len() >= count && self.steps_left > 0)
        else {
            return false;
        };
        self.steps_left -= 1;
        let taken = match first {
            AttestorMember::One(name) => {
                let signers = self.signers;
                signers.iter().any(|(signer, names)| {
                    if !names.contains(name) || self.used.contains(signer) {
                        return false;
                    }
                    self.used.push(signer);
                    let done = self.choose(rest, count - 1, then);
                    self.used.pop();
                    done
                })
            }
            AttestorMember::Set(set) => {
                self.choose(&set.members, set.count, &mut |search| search.choose(rest, count - 1, then))
            }
        };
        taken || self.choose(rest, count, then)
    }
}

#[cfg(test)]
mod tests {
    use super::{AttestorKind, AttestorMember, AttestorName, AttestorSet};

    fn name(text: &str) -> AttestorName {
        AttestorName { kind: AttestorKind::Identity, name: text.to_owned() }
    }

    fn set(count: usize, members: Vec<AttestorMember>) -> AttestorSet {
        AttestorSet { members, count }
    }

    fn one(text: &str) -> AttestorMember {
        AttestorMember::One(name(text))
    }

    #[track_caller]
    fn check(set: &AttestorSet, signers: &[(&str, &[&str])], expected: bool) {
        let names: Vec<Vec<AttestorName>> =
            signers.iter().map(|(_, names)| names.iter().map(|text| name(text)).collect()).collect();
        let signers: Vec<(&str, &[AttestorName])> =
            signers.iter().zip(&names).map(|((signer, _), names)| (*signer, names.as_slice())).collect();
        assert_eq!(set.is_satisfied_by(&signers), expected, "{signers:?}");
    }

    #[test]
    fn any_all_and_some_of_several() {
        let members = || vec![one("a"), one("b"), one("c")];
        let (any, two, all) = (set(1, members()), set(2, members()), set(3, members()));
        check(&any, &[("1", &["b"])], true);
        check(&any, &[("1", &["x"])], false);
        check(&two, &[("1", &["a"]), ("2", &["c"])], true);
        check(&two, &[("1", &["a"]), ("1", &["b"])], false);
        check(&all, &[("1", &["a"]), ("2", &["b"]), ("3", &["c"])], true);
        check(&all, &[("1", &["a"]), ("2", &["b"])], false);
    }

    #[test]
    fn a_signer_who_could_be_two_counts_as_one() {
        let two = set(2, vec![one("a"), one("b")]);
        check(&two, &[("1", &["a", "b"])], false);
        check(&two, &[("1", &["a", "b"]), ("2", &["a"])], true);
        check(&two, &[("2", &["a"]), ("1", &["a", "b"])], true);
    }

    #[test]
    fn a_set_within_a_set_counts_as_one_and_takes_its_signers() {
        let nested = set(2, vec![one("a"), AttestorMember::Set(set(1, vec![one("b"), one("c")]))]);
        check(&nested, &[("1", &["a"]), ("2", &["c"])], true);
        check(&nested, &[("1", &["b"]), ("2", &["c"])], false);
        check(&nested, &[("1", &["a", "b"])], false);
        let both = set(2, vec![one("a"), AttestorMember::Set(set(2, vec![one("b"), one("c")]))]);
        check(&both, &[("1", &["a"]), ("2", &["c"])], false);
        check(&both, &[("1", &["a"]), ("2", &["c"]), ("3", &["b"])], true);
    }

    #[test]
    fn a_hopeless_search_ends() {
        let members: Vec<AttestorMember> = (0..40).map(|number| one(&format!("{}", number % 3))).collect();
        let signers: Vec<(String, Vec<AttestorName>)> =
            (0..20).map(|number| (number.to_string(), vec![name("0"), name("1"), name("2")])).collect();
        let signers: Vec<(&str, &[AttestorName])> =
            signers.iter().map(|(signer, names)| (signer.as_str(), names.as_slice())).collect();
        assert!(!set(21, members).is_satisfied_by(&signers));
    }
}
