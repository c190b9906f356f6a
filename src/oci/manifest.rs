//! Bounded parsing of manifests and indexes: just what the store, the gate and the mirror need to know of one.
//!
//! The bytes are never changed or written anew: a manifest is what its digest says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::{Descriptor, Platform};
use super::digest::{Algorithm, Digest};
use super::{folded_keys, media_type};
use crate::limits::{ANNOTATIONS_COUNT_MAX, MANIFEST_BYTES_MAX, MANIFEST_DESCRIPTORS_COUNT_MAX, MEDIA_TYPE_BYTES_MAX};

/// What kind of content an edge of a manifest points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// A child of an index that is itself a manifest.
    Manifest,
    /// A config, a layer, or any child that is no manifest (BuildKit lists cache layers in an index).
    Blob,
}

/// One thing that a manifest needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub kind: EdgeKind,
    pub digest: Digest,
    /// Size in bytes, as the manifest claims it.
    pub size: u64,
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A parsed manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Digest of exactly the bytes that were parsed.
    pub digest: Digest,
    /// Size of these bytes.
    pub size: u64,
    /// The media type under which it is served.
    pub media_type: String,
    /// `artifactType`, or the config's media type where the manifest has none (distribution specification, referrers).
    pub artifact_type: Option<String>,
    /// The config's descriptor, for an image manifest.
    pub config: Option<Descriptor>,
    /// Layers of an image manifest, or children of an index, in order.
    pub parts: Vec<Descriptor>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

/// Why bytes are not a manifest that can be stored.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("manifest is {0} bytes long, the most is {MANIFEST_BYTES_MAX}")]
    TooLarge(usize),
    #[error("manifest is not valid JSON of its kind")]
    Json(#[source] serde_json::Error),
    #[error(
        "manifest is of Docker schema 1, which carries no reliable digest: push it again with a client from after 2016"
    )]
    Schema1,
    #[error("manifest says mediaType '{inside}', but was given as '{outside}'")]
    MediaTypeMismatch { inside: String, outside: String },
    #[error("manifest holds both 'layers' and 'manifests', so that clients could read two different images from it")]
    Ambiguous,
    #[error(
        "manifest has the key '{0}', which some clients take for another one, so that they would read another image from it"
    )]
    FoldedKey(String),
    #[error("manifest type '{0}' is not known")]
    UnknownType(String),
    #[error("manifest lists {0} descriptors, the most is {MANIFEST_DESCRIPTORS_COUNT_MAX}")]
    TooManyDescriptors(usize),
    #[error("manifest has too many annotations or too long a media type")]
    TooMuchText,
}

/// What clients look for in manifests and descriptors.
const KEYS: [&str; 16] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "digest",
    "size",
    "urls",
    "data",
    "platform",
    "architecture",
    "os",
    "variant",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Parses `bytes`, which were offered as `content_type` (parameters are ignored), and names them by SHA-256.
    pub fn parse(bytes: &[u8], content_type: &str) -> Result<Self, ManifestError> {
        Self::parse_with(bytes, content_type, Algorithm::Sha256)
    }

    /// The same, named by a digest of `algorithm`.
    pub fn parse_with(bytes: &[u8], content_type: &str, algorithm: Algorithm) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let outside = media_type::essence(content_type);
        if media_type::DOCKER_MANIFEST_SCHEMA1.contains(&outside) {
            return Err(ManifestError::Schema1);
        }
        let written: Written = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if let Some(key) = folded_keys::find(bytes, &KEYS, &["annotations"]) {
            return Err(ManifestError::FoldedKey(key));
        }
        if written.schema_version != 2 {
            return Err(ManifestError::Schema1);
        }
        let media_type = agreed_media_type(written.media_type.as_deref(), outside)?;
        let is_index = media_type::is_index(&media_type);
        if written.layers.is_some() && written.manifests.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        let parts = if is_index { written.manifests } else { written.layers }.unwrap_or_default();
        check_bounds(&parts, written.annotations.as_ref())?;
        let beside = written.config.iter().chain(&written.subject).map(|part| &part.media_type);
        if beside.chain(&written.artifact_type).any(|kind| kind.len() > MEDIA_TYPE_BYTES_MAX) {
            return Err(ManifestError::TooMuchText);
        }
        let artifact_type = written
            .artifact_type
            .or_else(|| written.config.as_ref().map(|config| config.media_type.clone()).filter(|_| !is_index));
        Ok(Self {
            digest: algorithm.hash(bytes),
            size: bytes.len() as u64,
            media_type,
            artifact_type,
            config: written.config,
            parts,
            subject: written.subject,
            annotations: written.annotations.unwrap_or_default(),
        })
    }

    /// Whether this is an index of other manifests.
    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.media_type)
    }

    /// Everything that this manifest needs: config first, then parts in order. The subject is no edge: it may be absent.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        self.config.iter().chain(&self.parts).map(|part| Edge {
            kind: if self.is_index() && media_type::is_manifest(&part.media_type) {
                EdgeKind::Manifest
            } else {
                EdgeKind::Blob
            },
            digest: part.digest,
            size: part.size,
            media_type: part.media_type.clone(),
            platform: part.platform.clone(),
        })
    }
}

/// The type inside and the type outside must agree, or one bytes could be read as two things.
fn agreed_media_type(inside: Option<&str>, outside: &str) -> Result<String, ManifestError> {
    let chosen = match inside {
        Some(inside) if !outside.is_empty() && media_type::essence(inside) != outside => {
            return Err(ManifestError::MediaTypeMismatch {
                inside: inside.chars().take(200).collect(),
                outside: outside.to_owned(),
            });
        }
        Some(inside) => media_type::essence(inside),
        None => outside,
    };
    if !media_type::is_manifest(chosen) {
        return Err(ManifestError::UnknownType(chosen.chars().take(200).collect()));
    }
    Ok(chosen.to_owned())
}

fn check_bounds(parts: &[Descriptor], annotations: Option<&BTreeMap<String, String>>) -> Result<(), ManifestError> {
    if parts.len() > MANIFEST_DESCRIPTORS_COUNT_MAX {
        return Err(ManifestError::TooManyDescriptors(parts.len()));
    }
    let too_many = annotations.is_some_and(|map| map.len() > ANNOTATIONS_COUNT_MAX);
    if too_many || parts.iter().any(|part| part.media_type.len() > MEDIA_TYPE_BYTES_MAX) {
        return Err(ManifestError::TooMuchText);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{EdgeKind, Manifest, ManifestError};
    use crate::oci::media_type::{OCI_INDEX, OCI_MANIFEST};

    const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{EMPTY}","size":2}}"#)
    }

    #[test]
    fn an_index_tells_manifests_from_cache_layers() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{},{}]}}"#,
            descriptor(OCI_MANIFEST),
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip")
        );
        let manifest =
            Manifest::parse(text.as_bytes(), "application/vnd.oci.image.index.v1+json; charset=utf-8").unwrap();
        let kinds: Vec<_> = manifest.edges().map(|edge| edge.kind).collect();
        assert_eq!(kinds, [EdgeKind::Manifest, EdgeKind::Blob]);
    }

    /// Go's decoder would run the other layers.
    #[test]
    fn a_manifest_that_clients_read_otherwise_is_none() {
        let (layer, type_) = (descriptor("application/vnd.oci.image.layer.v1.tar"), OCI_MANIFEST);
        for more in [format!(r#""Layers":[{layer}]"#), format!(r#""Config":{layer}"#), r#""SUBJECT":null"#.to_owned()] {
            let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[],{more}}}"#, descriptor("x"));
            let error = Manifest::parse(text.as_bytes(), type_).unwrap_err();
            assert!(matches!(error, ManifestError::FoldedKey(_)), "{error}");
        }
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{{"mediaType":"x","digest":"{EMPTY}","size":2,"Digest":"{EMPTY}"}}]}}"#,
            descriptor("x")
        );
        assert!(
            matches!(Manifest::parse(text.as_bytes(), type_), Err(ManifestError::FoldedKey(key)) if key == "Digest")
        );
    }

    #[test]
    fn artifact_type_falls_back_to_the_configs_type() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
            descriptor("application/vnd.cncf.notary.signature")
        );
        let manifest = Manifest::parse(text.as_bytes(), OCI_MANIFEST).unwrap();
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.cncf.notary.signature"));
    }

    /// A row of the index holds each media type, and rows are bounded: one that is too long must never reach the journal.
    #[test]
    fn a_media_type_is_bounded_wherever_it_stands() {
        let (short, long) = ("a/b", "x".repeat(256));
        let check = |artifact: &str, config: &str, layer: &str, subject: &str| {
            let text = format!(
                r#"{{"schemaVersion":2,"artifactType":"{artifact}","config":{},"layers":[{}],"subject":{}}}"#,
                descriptor(config),
                descriptor(layer),
                descriptor(subject)
            );
            Manifest::parse(text.as_bytes(), OCI_MANIFEST)
        };
        assert!(check(short, short, short, short).is_ok());
        for at in 0..4 {
            let kind = |place| if place == at { long.as_str() } else { short };
            let parsed = check(kind(0), kind(1), kind(2), kind(3));
            assert!(matches!(parsed, Err(ManifestError::TooMuchText)), "{at}");
        }
    }

    #[test]
    fn refuses_what_could_be_read_as_two_things() {
        let check = |text: String, content_type: &str| Manifest::parse(text.as_bytes(), content_type).unwrap_err();
        let both = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","layers":[],"manifests":[]}}"#);
        assert!(matches!(check(both, OCI_INDEX), ManifestError::Ambiguous));
        let inside = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        assert!(matches!(check(inside, OCI_MANIFEST), ManifestError::MediaTypeMismatch { .. }));
        assert!(matches!(check(r#"{"schemaVersion":1}"#.into(), OCI_MANIFEST), ManifestError::Schema1));
        assert!(matches!(check("{".into(), OCI_MANIFEST), ManifestError::Json(_)));
    }
}
