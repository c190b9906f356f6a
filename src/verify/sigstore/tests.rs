//! A fabricated instance's bundle, whole and with one thing changed at a time.

use serde_json::{Value, json};

use super::{Instance, KeylessError, KeylessSigner, Material, TrustedRoot, keyless, parse};
use crate::verify::artifact::Artifact;

const FABRICATED: &str = include_str!("../policy/kyverno/fabricated.json");

struct World {
    root: Value,
    bundle: Value,
}

impl World {
    fn new() -> Self {
        let fabricated: Value = serde_json::from_str(FABRICATED).unwrap();
        Self { root: fabricated["trusted_root"].clone(), bundle: fabricated["cases"]["good"][0].clone() }
    }

    fn verify(&self) -> Result<KeylessSigner, KeylessError> {
        let root = TrustedRoot::parse(self.root.to_string().as_bytes(), Instance::Logged).unwrap();
        let bundle = parse(self.bundle.to_string().as_bytes()).unwrap();
        let Material::Keyless(material) = &bundle.material else { panic!("a keyless bundle") };
        keyless::verify(material, &bundle.content, Artifact::Bytes(b"unused"), &root)
    }

    fn entry(&mut self) -> &mut Value {
        &mut self.bundle["verificationMaterial"]["tlogEntries"][0]
    }
}

#[test]
fn who_signed_and_when_is_told() {
    let signer = World::new().verify().unwrap();
    assert_eq!(signer.identity.issuer, "https://token.actions.githubusercontent.com");
    assert!(signer.identity.subject.starts_with("https://github.com/myorg/app/"));
    assert_eq!(signer.times, ["2026-11-01T12:00:05Z".parse().unwrap()]);
}

/// Pitfall 7: every time lies within what the root says of authority and logs.
#[test]
fn pitfall_7_every_time_lies_within_every_span() {
    for pointer in ["/tlogs/0/publicKey/validFor", "/certificateAuthorities/0/validFor", "/ctlogs/0/publicKey/validFor"]
    {
        for span in [
            json!({"start": "2026-01-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}),
            json!({"start": "2026-12-01T00:00:00Z"}),
        ] {
            let mut world = World::new();
            *world.root.pointer_mut(pointer).unwrap() = span.clone();
            assert!(world.verify().is_err(), "{pointer} {span}");
        }
        let mut world = World::new();
        *world.root.pointer_mut(pointer).unwrap() =
            json!({"start": "2026-11-01T12:00:00Z", "end": "2026-11-01T12:00:05Z"});
        assert!(world.verify().is_ok(), "{pointer}");
    }
}

#[test]
fn each_entry_must_be_proved() {
    let mut world = World::new();
    world.entry()["inclusionProof"] = Value::Null;
    assert_eq!(world.verify().unwrap_err(), KeylessError::Unproved);
    let mut world = World::new();
    world.entry().as_object_mut().unwrap().remove("inclusionPromise");
    assert_eq!(world.verify().unwrap_err(), KeylessError::NoTime);
    let mut world = World::new();
    world.bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    assert_eq!(world.verify().unwrap_err(), KeylessError::NotLogged);
    // A second entry without a proof is not passed over because the first has one.
    let mut world = World::new();
    let mut second = world.entry().clone();
    second["inclusionProof"] = Value::Null;
    world.bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(second);
    assert_eq!(world.verify().unwrap_err(), KeylessError::Unproved);
}

#[test]
fn what_was_changed_is_refused() {
    let change = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        world.verify().unwrap_err()
    };
    assert!(matches!(change(&|world| world.entry()["integratedTime"] = json!("1793534406")), KeylessError::Log(_)));
    assert!(matches!(change(&|world| world.entry()["logIndex"] = json!("99")), KeylessError::Log(_)));
    assert!(matches!(change(&|world| world.bundle["dsseEnvelope"]["payload"] = json!("e30=")), KeylessError::Entry(_)));
    let other: Value = serde_json::from_str::<Value>(FABRICATED).unwrap()["cases"]["good"][1].clone();
    // Another signature's entry, certificate or envelope: each is of the same instance and does not go with the others.
    for pointer in ["/verificationMaterial/tlogEntries", "/verificationMaterial/certificate", "/dsseEnvelope"] {
        let error = change(&|world| {
            *world.bundle.pointer_mut(pointer).unwrap() = other.pointer(pointer).unwrap().clone();
        });
        assert!(matches!(error, KeylessError::Entry(_) | KeylessError::Signature), "{pointer}: {error}");
    }
    // The root of somebody else.
    assert!(matches!(change(&|world| world.root["certificateAuthorities"] = json!([])), KeylessError::Chain(_)));
    assert!(matches!(change(&|world| world.root["ctlogs"] = json!([])), KeylessError::Sct(_)));
    assert!(matches!(change(&|world| world.root["tlogs"] = json!([])), KeylessError::Log(_)));
}

/// The one relaxation belongs to GitHub's own root.
#[test]
fn only_githubs_root_may_do_without_logs() {
    let world = World::new();
    assert!(TrustedRoot::parse(world.root.to_string().as_bytes(), Instance::GitHub).is_err());
    let mut bare = world.root.clone();
    bare["tlogs"] = json!([]);
    bare["ctlogs"] = json!([]);
    assert!(TrustedRoot::parse(bare.to_string().as_bytes(), Instance::GitHub).is_err());
    assert_eq!(TrustedRoot::github().unwrap().instance(), Instance::GitHub);
    assert_eq!(TrustedRoot::public_good().unwrap().instance(), Instance::Logged);
}
