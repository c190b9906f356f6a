//! Chains and revocation lists of a fabricated authority, whose keys were thrown away.

use data_encoding::BASE64;
use serde_json::Value;

use super::{Certificate, ChainError, Purpose, RevocationLists, verify_chain};

fn bytes(name: &str) -> Vec<u8> {
    let fabricated: Value = serde_json::from_str(include_str!("fabricated.json")).unwrap();
    BASE64.decode(fabricated[name].as_str().unwrap().as_bytes()).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::parse(&bytes(name)).unwrap()
}

/// In July 2026, with the lists valid then unless something else is said.
fn verify(leaf: &str, lists: &[&str], strict: bool, lists_at: Option<&str>) -> Result<(), ChainError> {
    let mut lists = RevocationLists::parse(lists.iter().map(|name| bytes(name)).collect()).unwrap();
    lists.strict = strict;
    let lists = match lists_at {
        Some(at) => lists.valid_at(at.parse().unwrap()),
        None => lists,
    };
    let time = "2026-07-01T00:00:00Z".parse().unwrap();
    let root = certificate("root");
    verify_chain(&certificate(leaf), &[], std::slice::from_ref(&root), time, Purpose::Code, Some(&lists)).map(|_| ())
}

#[test]
fn what_a_list_names_is_revoked_however_strict() {
    for strict in [true, false] {
        assert_eq!(verify("leaf", &["clean"], strict, None), Ok(()));
        assert_eq!(verify("leaf", &["revoked"], strict, None), Err(ChainError::Revoked));
        assert_eq!(verify("quiet_leaf", &["revoked"], strict, None), Ok(()));
        // A list that is past its time still says truly what it says was revoked.
        assert_eq!(verify("leaf", &["old_revoked"], strict, None), Err(ChainError::Revoked));
        // One that somebody else signed in the authority's name is none.
        assert!(verify("leaf", &["forged"], strict, None).is_err());
    }
}

#[test]
fn strictly_a_list_that_is_named_must_be_here_and_valid() {
    let missing = |result: Result<(), ChainError>| matches!(result, Err(ChainError::NoRevocationList(_)));
    assert!(missing(verify("leaf", &[], true, None)));
    assert!(missing(verify("leaf", &["old"], true, None)));
    assert!(missing(verify("leaf", &["clean"], true, Some("2027-06-01T00:00:00Z"))));
    assert!(missing(verify("leaf", &["clean"], true, Some("1970-01-01T00:00:00Z"))));
    assert_eq!(verify("leaf", &["clean"], true, Some("2026-12-01T00:00:00Z")), Ok(()));
    // What names no list needs none, and in the other level nothing is demanded.
    assert_eq!(verify("quiet_leaf", &[], true, None), Ok(()));
    assert_eq!(verify("leaf", &[], false, None), Ok(()));
    assert_eq!(verify("leaf", &["old"], false, None), Ok(()));
}

#[test]
fn the_leaf_must_be_for_the_purpose_and_the_time_within_its_validity() {
    let (leaf, root) = (certificate("leaf"), certificate("root"));
    let check = |purpose: Purpose, time: &str| {
        verify_chain(&leaf, &[], std::slice::from_ref(&root), time.parse().unwrap(), purpose, None).is_ok()
    };
    assert!(check(Purpose::Code, "2026-07-01T00:00:00Z") && check(Purpose::CodeIfSaid, "2026-07-01T00:00:00Z"));
    assert!(!check(Purpose::Timestamps, "2026-07-01T00:00:00Z"));
    assert!(!check(Purpose::Code, "2025-07-01T00:00:00Z"));
    assert!(!check(Purpose::Code, "2037-07-01T00:00:00Z"));
    assert!(!check(Purpose::Code, "1969-07-01T00:00:00Z"));
    assert!(verify_chain(&leaf, &[], &[], "2026-07-01T00:00:00Z".parse().unwrap(), Purpose::Code, None).is_err());
    assert!(leaf.is_code_signing_leaf() && root.is_well_formed_authority() && !leaf.is_well_formed_authority());
}
