//! Trusted roots, certificates and revocation lists, as documents.

use postern::verify::sigstore::trusted_root::parse_authority;
use postern::verify::sigstore::{Instance, TrustedRoot};
use postern::verify::x509::{Certificate, RevocationLists};

use super::{Case, Check, Expected, Judge};

pub fn trusted_root(case: &Case, judge: Judge) -> Vec<Check> {
    let expected = if case.field("expect") == Some("input") { Expected::Pass } else { case.expected() };
    let bytes = super::read(&case.only_file());
    if case.name.contains("certificate_authority") {
        return vec![judge.ask("authority", expected, || parse_authority(&bytes).map(|_| ()))];
    }
    let mut checks =
        vec![judge.ask("trusted root", expected, || TrustedRoot::parse(&bytes, Instance::Logged).map(|_| ()))];
    // Only GitHub's own may do without logs.
    let github = if case.name.ends_with("/github") { Expected::Pass } else { Expected::Fail };
    checks.push(judge.ask("as GitHub's", github, || TrustedRoot::parse(&bytes, Instance::GitHub).map(|_| ())));
    checks
}

pub fn certificate_profile(case: &Case, judge: Judge) -> Vec<Check> {
    let certificate = Certificate::parse_pem(&String::from_utf8(super::read(&case.only_file())).expect("PEM"));
    let certificate = certificate.expect("a certificate").remove(0);
    let (_, name) = case.name.split_once('/').expect("a name");
    let good = matches!(name, "bogus-leaf" | "bogus-root" | "bogus-intermediate");
    let expected = if good { Expected::Pass } else { Expected::Fail };
    let leaf = name.starts_with("bogus-leaf");
    vec![judge.ask("profile", expected, || {
        let holds = if leaf { certificate.is_code_signing_leaf() } else { certificate.is_well_formed_authority() };
        if holds { Ok(()) } else { Err("not of the profile") }
    })]
}

pub fn revocation(case: &Case, judge: Judge) -> Vec<Check> {
    let bytes = super::read(&case.only_file());
    if case.name.ends_with(".crl") {
        // A list of changes to another list says nothing by itself: it would let a certificate through that the whole list
        // has long named.
        return vec![judge.ask("a delta alone", Expected::Fail, || RevocationLists::parse(vec![bytes]).map(|_| ()))];
    }
    vec![judge.ask("certificate", Expected::Pass, || match std::str::from_utf8(&bytes) {
        Ok(text) => Certificate::parse_pem(text).map(|_| ()),
        Err(_) => Certificate::parse(&bytes).map(|_| ()),
    })]
}
