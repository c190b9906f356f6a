//! Notation's envelopes, their time stamps, and the stores by which they are trusted.

use jiff::Timestamp;
use postern::verify::notation::{
    Envelope, EnvelopeError, Level, Notation, Target, TrustStore, TrustStoreKind, TrustedIdentities, cose, jws,
};
use serde_json::Value;

use super::{Case, Check, Expected, Judge, read};

/// Whom a test trusts: everybody whom the stores vouch for.
pub fn trusting(level: Level, stores: Vec<TrustStore>) -> Notation {
    Notation { level, stores, identities: TrustedIdentities::Any }
}

pub fn store(kind: TrustStoreKind, bytes: &[u8]) -> TrustStore {
    TrustStore::parse(kind, bytes, Vec::new()).expect("a store")
}

/// Verifies an envelope for what it says to be about: the question here is whether it is genuine.
fn verify(bytes: &[u8], notation: &Notation, now: Timestamp) -> Result<(), String> {
    let envelope = jws::parse(bytes).map_err(|error| error.to_string())?;
    let signed = &envelope.target;
    let target = Target { media_type: &signed.media_type, digest: signed.digest, size: signed.size };
    notation.verify(&envelope, &target, now).map(|_| ()).map_err(|error| error.to_string())
}

/// The root that the envelope itself carries, for envelopes whose makers' roots are not among the vectors.
fn own_root(envelope: &Envelope) -> Vec<u8> {
    envelope.chain.last().expect("a root").der().to_vec()
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub fn envelope(case: &Case, judge: Judge) -> Vec<Check> {
    if case.has("conformance.json") {
        return conformance(case, judge);
    }
    let bytes = read(&case.only_file());
    let expected = if case.field("expect") == Some("input") { Expected::Pass } else { case.expected() };
    let wabbit = case.shared("notation-truststore/ca-valid-trust-store/wabbit-networks.io.crt/wabbit-networks.io.crt");
    // The certificates of these were made for tests in 2022 and 2023; each is asked at a time at which its own was valid.
    let parsed = jws::parse(&bytes);
    let kind = if case.name.contains("mock-sa") { TrustStoreKind::SigningAuthority } else { TrustStoreKind::Ca };
    let root = parsed.as_ref().map_or_else(|_| wabbit.clone(), own_root);
    let now = match &parsed {
        Ok(envelope) => envelope.chain.iter().map(|one| one.not_before()).max().expect("a chain"),
        Err(_) => time("2023-06-01T00:00:00Z"),
    };
    // What expired must fail because of that.
    let now = if case.name.contains("expired") { time("2026-11-01T00:00:00Z") } else { now };
    let trusted = trusting(Level::Strict, vec![store(kind, &root)]);
    let mut checks = vec![judge.ask("strict", expected, || verify(&bytes, &trusted, now))];
    if expected == Expected::Pass {
        let digicert =
            case.shared("notation-truststore/tsa-test-mismatch/DigiCertTSARootSHA384.cer/DigiCertTSARootSHA384.cer");
        let other = trusting(Level::Permissive, vec![store(kind, &digicert)]);
        checks.push(judge.ask("a root that is none of its", Expected::Fail, || verify(&bytes, &other, now)));
        let wrong = trusting(Level::Permissive, vec![store(TrustStoreKind::SigningAuthority, &root)]);
        checks.push(judge.ask("a store of another kind", Expected::Fail, || verify(&bytes, &wrong, now)));
        let nobody = Notation {
            identities: TrustedIdentities::parse(["x509.subject: C=XX, ST=XX, O=Nobody"]).expect("an identity"),
            ..trusting(Level::Permissive, vec![store(kind, &root)])
        };
        checks.push(judge.ask("an identity that is not its", Expected::Fail, || verify(&bytes, &nobody, now)));
        let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
        value["signature"] = Value::String("AAAA".to_owned());
        let unsigned = value.to_string();
        checks.push(judge.ask("another signature", Expected::Fail, || verify(unsigned.as_bytes(), &trusted, now)));
    }
    checks
}

/// An envelope in hex, without its certificates. It holds a critical header that nobody here understands, so it must be read
/// up to that and refused for that; and its parts must be those that are written beside it.
fn conformance(case: &Case, judge: Judge) -> Vec<Check> {
    let text = case.text("conformance.json");
    // Not quite JSON: a comma too many at its end.
    let hex: Vec<Vec<u8>> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"cborHex\": \""))
        .map(|line| data_encoding::HEXUPPER_PERMISSIVE.decode(line.trim_end_matches("\",").as_bytes()).expect("hex"))
        .collect();
    let [protected, _, output] = hex.as_slice() else { panic!("three parts in hex") };
    let payload = b"hello COSE";
    let critical = |bytes: &[u8]| match cose::parse(bytes) {
        Err(EnvelopeError::Critical(name)) if name == "signedCritKey1" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    let signed = cose::signed_bytes(protected, payload);
    let holds = |part: &[u8]| signed.windows(part.len()).any(|piece| piece == part);
    let mut other = output.clone();
    other[0] = 0xd1;
    vec![
        judge.ask("read up to what is not understood", Expected::Pass, || critical(output)),
        judge.ask("another kind of COSE", Expected::Fail, || critical(&other)),
        judge.ask("what is signed", Expected::Pass, || {
            if signed.starts_with(b"\x84\x6aSignature1\x59\x01\x17") && holds(protected) && holds(b"\x40\x4ahello COSE")
            {
                Ok(())
            } else {
                Err(data_encoding::HEXUPPER.encode(&signed))
            }
        }),
    ]
}

pub fn timestamp(case: &Case, judge: Judge) -> Vec<Check> {
    let (_, name) = case.name.split_once('/').expect("a name");
    let bytes = case.bytes(&format!("{}.sig", name.trim_end_matches("_fail")));
    let stores = |tsa: &str| {
        let mut stores: Vec<TrustStore> =
            ["signing-root-TestTimestamp.crt", "signing-root-TestTimestampNotYetValid.crt"]
                .map(|file| store(TrustStoreKind::Ca, &case.bytes(file)))
                .into();
        // The one that lived for ten minutes is only in its envelope.
        let envelope = jws::parse(&bytes).expect("an envelope");
        stores.push(store(TrustStoreKind::Ca, &own_root(&envelope)));
        stores.push(store(TrustStoreKind::Tsa, &case.bytes(tsa)));
        stores
    };
    let now = time("2026-11-27T00:00:00Z");
    let with = |tsa: &str| trusting(Level::Strict, stores(tsa));
    vec![
        judge.ask("strict", case.expected(), || verify(&bytes, &with("tsa-root.cer"), now)),
        judge
            .ask("by another authority's root", Expected::Fail, || verify(&bytes, &with("tsa-root-mismatch.cer"), now)),
    ]
}

pub fn trust_store(case: &Case, judge: Judge) -> Vec<Check> {
    let bytes = read(&case.only_file());
    let kind = match case.name.split('/').nth(1).expect("a store") {
        tsa if tsa.starts_with("tsa-") => TrustStoreKind::Tsa,
        authority if authority.starts_with("signingAuthority-") => TrustStoreKind::SigningAuthority,
        _ => TrustStoreKind::Ca,
    };
    let load = || TrustStore::parse(kind, &bytes, Vec::new()).map(|_| ());
    if case.name.contains("mismatch") {
        // A good root, of another authority than the one that stamped.
        let stamped = case.shared("notation-timestamp/jwsWithTimestamp/jwsWithTimestamp.sig");
        let signing = case.shared("notation-timestamp/jwsWithTimestamp/signing-root-TestTimestamp.crt");
        return vec![
            judge.ask("loads", Expected::Pass, load),
            judge.ask("for a stamp of another", Expected::Fail, || {
                let stores = vec![store(TrustStoreKind::Ca, &signing), store(TrustStoreKind::Tsa, &bytes)];
                verify(&stamped, &trusting(Level::Strict, stores), time("2026-11-27T00:00:00Z"))
            }),
        ];
    }
    let expected = if case.field("expect") == Some("input") { Expected::Pass } else { case.expected() };
    vec![judge.ask("loads", expected, load)]
}
