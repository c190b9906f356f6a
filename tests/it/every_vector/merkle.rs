//! Proofs of logs: of every kind of tree, whole and damaged in every way.

use data_encoding::BASE64;
use postern::oci::digest::sha256;
use postern::verify::sigstore::merkle::{Hash, Tree, verify_consistency, verify_inclusion};
use serde_json::Value;

use super::{read, vectors};

fn hash(value: &Value) -> Option<Hash> {
    BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).ok()?.try_into().ok()
}

/// A root. Some are of another length, which the product's types cannot even say: these stand for their own hash.
fn root(value: &Value) -> Option<Hash> {
    let raw = BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).ok()?;
    Some(raw.as_slice().try_into().unwrap_or_else(|_| sha256(&raw)))
}

/// Whether the proof in a file holds.
fn holds(case: &Value) -> bool {
    let number = |key: &str| case[key].as_u64();
    let proof: Option<Vec<Hash>> = case["proof"].as_array().into_iter().flatten().map(hash).collect();
    let Some(proof) = proof else { return false };
    if let Some(index) = number("leafIdx") {
        let (Some(leaf), Some(root)) = (hash(&case["leafHash"]), root(&case["root"])) else { return false };
        return verify_inclusion(&leaf, index, number("treeSize").expect("a size"), &proof, &root).is_ok();
    }
    let tree = |size: &str, root: &str| Some(Tree { size: number(size)?, root: self::root(&case[root])? });
    match (tree("size1", "root1"), tree("size2", "root2")) {
        (Some(older), Some(newer)) => verify_consistency(&older, &newer, &proof).is_ok(),
        _ => false,
    }
}

#[test]
fn every_proof_of_a_log_gets_its_verdict() {
    let Some((vectors, _unpacked)) = vectors() else { return };
    let (mut good, mut bad) = (0, 0);
    let mut folders = vec![vectors.join("merkle")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder lists") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                let case: Value = serde_json::from_slice(&read(&path)).expect("JSON");
                let wanted = case["wantErr"] == false;
                assert_eq!(holds(&case), wanted, "{}: {}", path.display(), case["desc"]);
                if wanted { good += 1 } else { bad += 1 }
            }
        }
    }
    assert!(good >= 5 && good + bad >= 118, "only {good} good and {bad} bad proofs were found");
}
