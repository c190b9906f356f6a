//! Plans over small worlds, written as text: `tag=letter` for tags, `letter>letters` for an index and its children,
//! `letter~letter` for a manifest and its subject.

use super::{Action, Facts, ManifestFacts, RepositoryPlan, plan};
use crate::oci::digest::Digest;
use crate::oci::signature_tag::SignatureTagKind;
use crate::retention::rules::{RetentionRule, WrittenRule};

fn digest(letter: &str) -> Digest {
    Digest::of(letter.as_bytes())
}

fn world(text: &str) -> Facts {
    let mut facts = Facts::default();
    for word in text.split_whitespace() {
        if let Some((tag, target)) = word.split_once('=') {
            let tag = match tag.strip_prefix("sig-") {
                Some(subject) => SignatureTagKind::Signature.tag_for(&digest(subject)),
                None => tag.parse().unwrap(),
            };
            facts.tags.push((tag, digest(target)));
        } else {
            let (own, rest) = word.split_at(1);
            let children = rest.strip_prefix('>').unwrap_or_default();
            facts.manifests.push(ManifestFacts {
                digest: digest(own),
                subject: rest.strip_prefix('~').map(digest),
                children: children.split("").filter(|child| !child.is_empty()).map(digest).collect(),
            });
        }
    }
    facts
}

fn planned(newest: u32, text: &str) -> RepositoryPlan {
    let written = WrittenRule {
        name: "few".into(),
        repositories: vec!["**".into()],
        keep_semver_newest: Some(newest),
        keep_tags: vec![],
    };
    let rules = [RetentionRule::new(written).unwrap()];
    plan(&rules, &"team/app".parse().unwrap(), &world(text)).unwrap()
}

/// Which tags go (a signature's tag is written `sig-x`), and which manifests.
fn check(text: &str, expected_tags: &str, expected_manifests: &str) {
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let letter = |wanted: &Digest| letters.iter().find(|letter| digest(letter) == *wanted).unwrap().clone();
    let plan = planned(1, text);
    let (mut tags, mut manifests) = (Vec::new(), Vec::new());
    for line in plan.retired() {
        match &line.tag {
            Some(tag) => tags.push(match crate::oci::signature_tag::parse(tag) {
                Some((subject, _)) => format!("sig-{}", letter(&subject)),
                None => tag.as_str().to_owned(),
            }),
            None => manifests.push(letter(&line.digest)),
        }
    }
    manifests.sort();
    assert_eq!((tags.join(" ").as_str(), manifests.join(" ").as_str()), (expected_tags, expected_manifests), "{text}");
}

#[test]
fn an_old_version_goes_with_its_children() {
    check("1.0.0=a 2.0.0=b a>cd b>ef c d e f", "1.0.0", "a c d");
}

#[test]
fn parents_go_before_their_children() {
    let plan = planned(1, "1.0.0=a 2.0.0=b a>cd c>d b d");
    let going: Vec<_> = plan.retired().filter(|line| line.tag.is_none()).map(|line| line.digest).collect();
    assert_eq!(going, [digest("a"), digest("c"), digest("d")]);
}

#[test]
fn a_shared_child_stays() {
    check("1.0.0=a 2.0.0=b a>cd b>de c d e", "1.0.0", "a c");
}

#[test]
fn another_tag_on_the_same_digest_keeps_it() {
    check("1.0.0=a 2.0.0=b latest=a a b", "1.0.0", "");
    let plan = planned(1, "1.0.0=a 2.0.0=b latest=a a b");
    let line = plan.lines.iter().find(|line| line.tag.is_none()).unwrap();
    assert_eq!((line.action, line.reason.as_str()), (Action::Keep, "still needed by tag 'latest'"));
}

#[test]
fn an_untagged_index_keeps_its_children() {
    check("1.0.0=a 2.0.0=b a b i>a", "1.0.0", "");
}

#[test]
fn signatures_follow_their_image_whichever_way_they_point() {
    // s by cosign's tag, r by subject, q a signature of the signature.
    check("1.0.0=a 2.0.0=b sig-a=s sig-b=t a b s t r~a q~r", "1.0.0 sig-a", "a q r s");
}

#[test]
fn a_signature_of_a_child_follows_the_child() {
    check("1.0.0=a 2.0.0=b sig-c=s a>c b>c c s", "1.0.0", "a");
    check("1.0.0=a 2.0.0=b sig-c=s a>c b c s", "1.0.0 sig-c", "a c s");
}

#[test]
fn a_signature_of_what_is_not_here_stays() {
    check("1.0.0=a 2.0.0=b sig-x=s a b s", "1.0.0", "a");
}

#[test]
fn a_signature_with_a_tag_of_its_own_stays() {
    check("1.0.0=a 2.0.0=b proof=r a b r~a", "1.0.0", "a");
}

#[test]
fn every_tag_has_a_line_and_every_line_a_reason() {
    let plan = planned(2, "1.0.0=a 2.0.0=b 3.0.0=c latest=c sig-a=s a b c s");
    assert_eq!(plan.lines.iter().filter(|line| line.tag.is_some()).count(), 5);
    assert!(plan.lines.iter().all(|line| !line.reason.is_empty()));
}

#[test]
fn a_repository_that_no_rule_names_has_no_plan() {
    assert_eq!(plan(&[], &"team/app".parse().unwrap(), &world("1.0.0=a a")), None);
}
