//! Trees of hashes as RFC 6962 has them: whether a leaf is in a tree, and whether one tree grew out of another.
//!
//! Numbers in a proof come from outside. Nothing is allocated by them, and a proof that is longer or shorter than the
//! tree's shape demands proves nothing.

use crate::oci::digest::sha256;

/// A hash in a tree.
pub type Hash = [u8; 32];

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("leaf {index} is not within a tree of {size}")]
    Index { index: u64, size: u64 },
    #[error("proof has {found} hashes where the tree's shape wants {wanted}")]
    Length { found: usize, wanted: usize },
    #[error("proof leads to another root")]
    Root,
    #[error("a tree of {older} leaves cannot have grown into one of {newer}")]
    Shrunk { older: u64, newer: u64 },
}

/// The hash of a leaf.
pub fn leaf_hash(content: &[u8]) -> Hash {
    sha256(&[&[0], content].concat())
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(left);
    node[33..].copy_from_slice(right);
    sha256(&node)
}

/// Whether the leaf at `index` is in the tree of `size` leaves with this root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let (inner, border) = shape(index, size);
    let wanted = inner + border;
    if proof.len() != wanted {
        return Err(ProofError::Length { found: proof.len(), wanted });
    }
    let (below, above) = proof.split_at(inner);
    let within = chain_inner(*leaf, below, index);
    if chain_border(within, above) == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Two trees of the same log: how many leaves, and the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    pub size: u64,
    pub root: Hash,
}

/// Whether `newer` holds all that `older` held, in the same places.
pub fn verify_consistency(older: &Tree, newer: &Tree, proof: &[Hash]) -> Result<(), ProofError> {
    let length = |wanted| match proof.len() == wanted {
        true => Ok(()),
        false => Err(ProofError::Length { found: proof.len(), wanted }),
    };
    if older.size > newer.size {
        return Err(ProofError::Shrunk { older: older.size, newer: newer.size });
    }
    if older.size == 0 {
        // Every tree has grown out of the empty one: a proof of it proves nothing, so none is taken for one.
        return Err(ProofError::Root);
    }
    if older.size == newer.size {
        length(0)?;
        return if older.root == newer.root { Ok(()) } else { Err(ProofError::Root) };
    }
    let last = older.size - 1;
    let (mut inner, border) = shape(last, newer.size);
    let full = older.size.trailing_zeros() as usize;
    inner -= full;
    // The older tree is one whole subtree of the newer where its size is a power of two: its root begins the proof.
    let whole = older.size.is_power_of_two();
    length(inner + border + usize::from(!whole))?;
    let (seed, rest) = if whole { (older.root, proof) } else { (proof[0], &proof[1..]) };
    let (below, above) = rest.split_at(inner);
    let index = last >> full;
    let old = chain_border(chain_inner_right(seed, below, index), above);
    let new = chain_border(chain_inner(seed, below, index), above);
    if old == older.root && new == newer.root { Ok(()) } else { Err(ProofError::Root) }
}

/// How many hashes of a proof lie below the point where the leaf's path meets the tree's right border, and how many on it.
fn shape(index: u64, size: u64) -> (usize, usize) {
    let inner = 64 - (index ^ (size - 1)).leading_zeros() as usize;
    let border = index.checked_shr(u32::try_from(inner).unwrap_or(u32::MAX)).unwrap_or(0).count_ones() as usize;
    (inner, border)
}

fn chain_inner(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    proof.iter().enumerate().fold(seed, |hash, (level, other)| match (index >> level) & 1 {
        0 => node_hash(&hash, other),
        _ => node_hash(other, &hash),
    })
}

fn chain_inner_right(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    proof.iter().enumerate().fold(seed, |hash, (level, other)| match (index >> level) & 1 {
        0 => hash,
        _ => node_hash(other, &hash),
    })
}

fn chain_border(seed: Hash, proof: &[Hash]) -> Hash {
    proof.iter().fold(seed, |hash, other| node_hash(other, &hash))
}

#[cfg(test)]
mod tests {
    use super::{Hash, ProofError, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion};

    /// The root by the definition, for comparison.
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => crate::oci::digest::sha256(b""),
            [only] => *only,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&root(&leaves[..split]), &root(&leaves[split..]))
            }
        }
    }

    fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        let (mut proof, other) =
            if index < split { (path(index, left), root(right)) } else { (path(index - split, right), root(left)) };
        proof.push(other);
        proof
    }

    fn grown(older: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if older == leaves.len() {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        let (mut proof, other) = if older <= split {
            (grown(older, left, whole), root(right))
        } else {
            (grown(older - split, right, false), root(left))
        };
        proof.push(other);
        proof
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_nothing_else_is() {
        let leaves: Vec<Hash> = (0_u8..17).map(|number| leaf_hash(&[number])).collect();
        for size in 1..=leaves.len() {
            let tree = &leaves[..size];
            for index in 0..size {
                let proof = path(index, tree);
                let check = |index: u64, proof: &[Hash], root: &Hash| {
                    verify_inclusion(&leaves[usize::try_from(index).unwrap() % 17], index, size as u64, proof, root)
                };
                assert_eq!(check(index as u64, &proof, &root(tree)), Ok(()), "{index} of {size}");
                assert_eq!(check(index as u64, &proof, &[9; 32]), Err(ProofError::Root));
                let longer = [proof.as_slice(), &[[0; 32]]].concat();
                assert!(matches!(check(index as u64, &longer, &root(tree)), Err(ProofError::Length { .. })));
                assert!(check(size as u64, &proof, &root(tree)).is_err());
            }
        }
    }

    #[test]
    fn every_small_tree_grew_out_of_every_smaller_one() {
        let leaves: Vec<Hash> = (0_u8..17).map(|number| leaf_hash(&[number])).collect();
        for newer in 1..=leaves.len() {
            for older in 1..=newer {
                let tree = |size: usize| Tree { size: size as u64, root: root(&leaves[..size]) };
                let proof = grown(older, &leaves[..newer], true);
                assert_eq!(verify_consistency(&tree(older), &tree(newer), &proof), Ok(()), "{older} to {newer}");
                let other = Tree { root: [7; 32], ..tree(newer) };
                assert!(verify_consistency(&tree(older), &other, &proof).is_err());
                if older < newer {
                    assert!(matches!(
                        verify_consistency(&tree(newer), &tree(older), &proof),
                        Err(ProofError::Shrunk { .. })
                    ));
                }
            }
        }
    }
}
