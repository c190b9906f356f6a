//! The documents of Postern's own image: configuration, manifest, index. Each is written by one serialisation of one
//! type, so that equal input gives equal bytes. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::REF_NAME;
use super::layer::{BINARY, DATA, USER_ID};
use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::oci::name::Tag;

/// Where the configuration that `postern setup` writes listens, unless it is told otherwise.
const PORT: &str = "5000/tcp";

/// What an image says of itself, beside its binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Particulars {
    /// When it was made, as it is to be said.
    pub created: Timestamp,
    /// The version of the binaries, which is also what the image is called in the layout.
    pub release: Tag,
    /// The commit that they were built from.
    pub revision: Option<String>,
}

#[derive(Serialize)]
struct Image<'a> {
    created: Timestamp,
    #[serde(flatten)]
    platform: &'a Platform,
    config: Execution,
    rootfs: RootFs,
    history: [History; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    user: String,
    exposed_ports: BTreeMap<&'static str, Empty>,
    entrypoint: [String; 3],
    cmd: [&'static str; 1],
    volumes: BTreeMap<String, Empty>,
    working_dir: &'static str,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [Digest; 1],
}

#[derive(Serialize)]
struct History {
    created: Timestamp,
    created_by: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// A document's bytes, and the descriptor that names them.
#[derive(Debug)]
pub struct Document {
    pub bytes: Vec<u8>,
    pub descriptor: Descriptor,
}

fn document(media_type: &str, content: &impl Serialize) -> Result<Document, serde_json::Error> {
    let bytes = serde_json::to_vec(content)?;
    let descriptor = descriptor(media_type, Digest::of(&bytes), bytes.len() as u64);
    Ok(Document { bytes, descriptor })
}

/// A descriptor without anything beside type, digest and size.
pub fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let media_type = media_type.to_owned();
    Descriptor { media_type, digest, size, artifact_type: None, platform: None, annotations: BTreeMap::new() }
}

fn labels(particulars: &Particulars) -> BTreeMap<String, String> {
    let revision = particulars.revision.as_ref().map(|revision| ("revision", revision.clone()));
    let always = [
        ("title", "Postern".to_owned()),
        ("description", env!("CARGO_PKG_DESCRIPTION").to_owned()),
        ("licenses", env!("CARGO_PKG_LICENSE").to_owned()),
        ("version", particulars.release.to_string()),
        ("created", particulars.created.to_string()),
    ];
    let all = always.into_iter().chain(revision);
    all.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value)).collect()
}

/// The configuration of one platform's image; `diff_id` is the digest of its only layer's archive without the frame.
pub fn config(particulars: &Particulars, platform: &Platform, diff_id: Digest) -> Result<Document, serde_json::Error> {
    let execution = Execution {
        user: format!("{USER_ID}:{USER_ID}"),
        exposed_ports: BTreeMap::from([(PORT, Empty {})]),
        entrypoint: [format!("/{BINARY}"), "--data".to_owned(), format!("/{DATA}")],
        cmd: ["serve"],
        volumes: BTreeMap::from([(format!("/{DATA}"), Empty {})]),
        working_dir: "/",
        labels: labels(particulars),
    };
    let image = Image {
        created: particulars.created,
        platform,
        config: execution,
        rootfs: RootFs { r#type: "layers", diff_ids: [diff_id] },
        history: [History { created: particulars.created, created_by: "postern image assemble" }],
    };
    document(OCI_CONFIG, &image)
}

/// The manifest of one platform's image, whose descriptor names the platform.
pub fn manifest(
    particulars: &Particulars,
    platform: &Platform,
    config: Descriptor,
    layer: Digest,
    layer_bytes: u64,
) -> Result<Document, serde_json::Error> {
    let layers = [descriptor(OCI_LAYER_GZIP, layer, layer_bytes)];
    let annotations = labels(particulars);
    let manifest = Manifest { schema_version: 2, media_type: OCI_MANIFEST, config, layers, annotations };
    let mut document = document(OCI_MANIFEST, &manifest)?;
    document.descriptor.platform = Some(platform.clone());
    Ok(document)
}

/// The image of all platforms, whose descriptor carries its name in the layout.
pub fn image_index(particulars: &Particulars, manifests: Vec<Descriptor>) -> Result<Document, serde_json::Error> {
    let annotations = labels(particulars);
    let mut document =
        document(OCI_INDEX, &Index { schema_version: 2, media_type: OCI_INDEX, manifests, annotations })?;
    document.descriptor.annotations.insert(REF_NAME.to_owned(), particulars.release.to_string());
    Ok(document)
}

/// The layout's `index.json`.
pub fn layout_index(image: Descriptor) -> Result<Vec<u8>, serde_json::Error> {
    let manifests = vec![image];
    serde_json::to_vec(&Index { schema_version: 2, media_type: OCI_INDEX, manifests, annotations: BTreeMap::new() })
}
