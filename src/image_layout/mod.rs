//! OCI image layouts: directories that hold images as a registry would (image specification, "Image Layout"). Postern's
//! own image is assembled into one, and any can be read to be pushed.
//!
//! ```text
//! LAYOUT/
//! ├ oci-layout           {"imageLayoutVersion":"1.0.0"}
//! ├ index.json           names the images
//! └ blobs/sha256/HEX     every manifest, config and layer under its digest
//! ```
//!
//! Nothing in a foreign layout is a path: files are found by digests alone. It never dials; `upstream` does.

pub mod assemble;
mod content;
mod document;
pub mod elf;
mod error;
mod gzip;
pub mod layer;
pub mod marker;
mod read;

pub use content::LayoutContent;
pub use error::LayoutError;
pub use read::{Layout, PlannedBlob, PlannedManifest, PushPlan};

use crate::oci::digest::Digest;

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
/// The tag that an image of a layout is known by there (image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Where content lies.
fn blob_path(digest: &Digest) -> String {
    format!("{}/{}", blobs_dir(digest), digest.hex())
}

fn blobs_dir(digest: &Digest) -> String {
    format!("blobs/{}", digest.algorithm().name())
}

#[cfg(test)]
mod tests;
