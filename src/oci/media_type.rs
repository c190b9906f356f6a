//! Media types that have a meaning here; any other is carried as it is.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer: a tar archive in gzip's format.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The empty JSON object as a blob (OCI image specification, "Guidance for an empty descriptor").
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list, version 2.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker manifest, schema 1, plain and signed: refused with a clear text.
pub const DOCKER_MANIFEST_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
/// Layers that are fetched from elsewhere and need not be in a registry (OCI image specification, "Non-Distributable
/// Layers", deprecated but still made), whatever is behind the prefix.
const OCI_LAYER_NON_DISTRIBUTABLE_PREFIX: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// Docker's name for the same.
const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// The layer of a cosign signature: a simple signing payload.
pub const COSIGN_SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// A DSSE envelope, the layer of a cosign attestation.
pub const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Every version of a Sigstore bundle begins so.
pub const SIGSTORE_BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// The type without parameters, as it is compared: `application/json; charset=utf-8` becomes `application/json`.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Whether content of this type is an image index or manifest list.
pub fn is_index(media_type: &str) -> bool {
    matches!(essence(media_type), OCI_INDEX | DOCKER_MANIFEST_LIST)
}

/// Whether content of this type is a manifest for one image or artifact.
pub fn is_image_manifest(media_type: &str) -> bool {
    matches!(essence(media_type), OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether content of this type may be missing from an image that is whole.
pub fn is_non_distributable(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == DOCKER_LAYER_FOREIGN || essence.starts_with(OCI_LAYER_NON_DISTRIBUTABLE_PREFIX)
}

/// Whether a descriptor of this type points at something that is stored as a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    is_index(media_type) || is_image_manifest(media_type)
}
