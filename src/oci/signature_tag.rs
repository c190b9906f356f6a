//! Tags that clients make out of a digest: cosign's `.sig`, `.att` and `.sbom`, and the referrers fallback tag.
//!
//! They must survive mirroring, retention and sweeps together with the manifest that they speak of.

use super::digest::Digest;
use super::name::Tag;

/// What a tag made out of a digest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureTagKind {
    /// `sha256-<hex>.sig`: signatures, one a layer.
    Signature,
    /// `sha256-<hex>.att`: DSSE envelopes, one a layer.
    Attestation,
    /// `sha256-<hex>.sbom`: an unsigned SBOM, never evidence.
    Sbom,
    /// `sha256-<hex>`: the referrers of a registry without a referrers API (distribution specification, "Referrers tag schema").
    ReferrersFallback,
}

/// All kinds, in the order in which they are looked for.
pub const KINDS: [SignatureTagKind; 4] = [
    SignatureTagKind::Signature,
    SignatureTagKind::Attestation,
    SignatureTagKind::Sbom,
    SignatureTagKind::ReferrersFallback,
];

/// As much of a digest as the specification puts into a fallback tag; a whole SHA-512 would be too long for any tag.
const HEX_CHARS_MAX: usize = 64;

impl SignatureTagKind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Signature => ".sig",
            Self::Attestation => ".att",
            Self::Sbom => ".sbom",
            Self::ReferrersFallback => "",
        }
    }

    /// The tag of this kind for `subject`. Of a SHA-512 only the beginning stands in it, so that it is not read back by
    /// [`parse`]: what is found there must say itself of what it speaks.
    pub fn tag_for(self, subject: &Digest) -> Tag {
        let hex = subject.hex();
        let text = format!("{}-{}{}", subject.algorithm().name(), &hex[..HEX_CHARS_MAX], self.suffix());
        text.parse().expect("64 digits of a digest's text, with '-' for ':', are a tag")
    }
}

/// The digest that a tag speaks of, and how; `None` for an ordinary tag.
pub fn parse(tag: &Tag) -> Option<(Digest, SignatureTagKind)> {
    let (algorithm, rest) = tag.as_str().split_once('-')?;
    let (hex, kind) = match rest.split_once('.') {
        None => (rest, SignatureTagKind::ReferrersFallback),
        Some((hex, "sig")) => (hex, SignatureTagKind::Signature),
        Some((hex, "att")) => (hex, SignatureTagKind::Attestation),
        Some((hex, "sbom")) => (hex, SignatureTagKind::Sbom),
        Some(_) => return None,
    };
    Some((format!("{algorithm}:{hex}").parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::{KINDS, parse};
    use crate::oci::digest::{Algorithm, Digest};

    #[test]
    fn round_trips_and_leaves_ordinary_tags_alone() {
        let digest = Digest::of(b"x");
        for kind in KINDS {
            assert_eq!(parse(&kind.tag_for(&digest)), Some((digest, kind)));
        }
        let long = Algorithm::Sha512.hash(b"x");
        for kind in KINDS {
            let tag = kind.tag_for(&long);
            assert!(tag.as_str().starts_with(&format!("sha512-{}", &long.hex()[..64])), "{tag}");
            assert_eq!(parse(&tag), None);
        }
        for ordinary in ["latest", "v1.0-rc.sig", "sha256-00", "sha256-zz.sig"] {
            assert_eq!(parse(&ordinary.parse().unwrap()), None, "{ordinary}");
        }
    }
}
