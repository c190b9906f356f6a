//! Checkpoints of transparency logs: signed notes that say how large a tree is and what its root is.
//!
//! ```text
//! <origin>\n<size>\n<root in base64>\n[other lines]\n\n— <name> <base64 of key hint and signature>\n…
//! ```

use data_encoding::BASE64;

use super::merkle::{Hash, Tree};
use crate::limits::CHECKPOINT_SIGNATURES_COUNT_MAX;

/// A checkpoint, read and not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    /// The log's own name.
    pub origin: &'a str,
    pub tree: Tree,
    /// The bytes under every signature.
    pub signed: &'a [u8],
    pub signatures: Vec<NoteSignature<'a>>,
}

/// One signature of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature<'a> {
    /// Who says to have made it.
    pub name: &'a str,
    /// The beginning of the key's identifier.
    pub key_hint: [u8; 4],
    pub signature: Vec<u8>,
}

/// Why a text is not a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("checkpoint has no empty line between what is signed and the signatures")]
    NoSignatures,
    #[error("checkpoint names no log")]
    Origin,
    #[error("checkpoint's tree size is not a number")]
    Size,
    #[error("checkpoint's root is not 32 bytes in base64")]
    Root,
    #[error("a signature line of the checkpoint is damaged")]
    Signature,
    #[error("checkpoint has more than {CHECKPOINT_SIGNATURES_COUNT_MAX} signatures")]
    TooMany,
}

impl<'a> Checkpoint<'a> {
    /// Parses a signed note.
    pub fn parse(text: &'a str) -> Result<Self, CheckpointError> {
        let (body, rest) = text.split_once("\n\n").ok_or(CheckpointError::NoSignatures)?;
        let signed = &text.as_bytes()[..=body.len()];
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|line| !line.trim().is_empty()).ok_or(CheckpointError::Origin)?;
        // A number as its log writes it: no sign, no leading zero, no space.
        let written = lines.next().ok_or(CheckpointError::Size)?;
        let size: u64 = written.parse().map_err(|_| CheckpointError::Size)?;
        if size.to_string() != written {
            return Err(CheckpointError::Size);
        }
        let root = lines.next().and_then(|line| BASE64.decode(line.as_bytes()).ok()).ok_or(CheckpointError::Root)?;
        let root: Hash = root.try_into().map_err(|_| CheckpointError::Root)?;
        let mut signatures = Vec::new();
        for line in rest.lines().filter(|line| !line.is_empty()) {
            if signatures.len() == CHECKPOINT_SIGNATURES_COUNT_MAX {
                return Err(CheckpointError::TooMany);
            }
            signatures.push(parse_signature(line).ok_or(CheckpointError::Signature)?);
        }
        if signatures.is_empty() {
            return Err(CheckpointError::NoSignatures);
        }
        Ok(Self { origin, tree: Tree { size, root }, signed, signatures })
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature<'_>> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let decoded = BASE64.decode(encoded.as_bytes()).ok()?;
    let (key_hint, signature) = decoded.split_first_chunk::<4>()?;
    (!name.is_empty() && !signature.is_empty()).then(|| NoteSignature {
        name,
        key_hint: *key_hint,
        signature: signature.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, CheckpointError};

    const NOTE: &str = "log.example - 1\n23\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nTimestamp: 1\n\n\u{2014} log.example AQIDBAU=\n";

    #[test]
    fn a_note_is_read_and_what_is_signed_ends_before_the_empty_line() {
        let checkpoint = Checkpoint::parse(NOTE).unwrap();
        assert_eq!((checkpoint.origin, checkpoint.tree.size), ("log.example - 1", 23));
        assert!(checkpoint.signed.ends_with(b"Timestamp: 1\n"));
        let [only] = checkpoint.signatures.as_slice() else { panic!("one signature") };
        assert_eq!((only.name, only.key_hint, only.signature.as_slice()), ("log.example", [1, 2, 3, 4], &[5_u8][..]));
    }

    #[test]
    fn what_is_damaged_is_refused_by_its_part() {
        let check = |from: &str, to: &str, expected: CheckpointError| {
            assert_eq!(Checkpoint::parse(&NOTE.replace(from, to)).unwrap_err(), expected, "{to}");
        };
        check("\n\n", "\n", CheckpointError::NoSignatures);
        check("log.example - 1", "", CheckpointError::Origin);
        for size in ["", "x", "-1", "+23", "023", " 23"] {
            check("\n23\n", &format!("\n{size}\n"), CheckpointError::Size);
        }
        check("AAAAAAAAAAA=", "AAAAAAA=", CheckpointError::Root);
        check("AQIDBAU=", "AQIDBA==", CheckpointError::Signature);
        check("\u{2014} ", "- ", CheckpointError::Signature);
        check("\u{2014} log.example AQIDBAU=\n", "", CheckpointError::NoSignatures);
        let many = "\u{2014} a AQIDBAU=\n".repeat(65);
        check("\u{2014} log.example AQIDBAU=\n", &many, CheckpointError::TooMany);
    }
}
