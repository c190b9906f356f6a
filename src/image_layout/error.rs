//! Why an image layout cannot be made or read.

use super::elf::ElfError;
use super::marker::MarkerError;
use crate::oci::descriptor::Platform;
use crate::oci::digest::Digest;
use crate::oci::manifest::ManifestError;
use crate::sys::dir::DirError;

/// A failure. Blobs are named by their digests, which is how they are found in the layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("no platform was given a binary")]
    NoPlatform,
    #[error("'{0}' is none of the platforms that Postern is built for: linux/amd64, linux/arm64, linux/arm/v7")]
    Platform(Platform),
    #[error("platform '{0}' was given two binaries")]
    PlatformTwice(Platform),
    #[error("'{path}' cannot be the binary for {platform}")]
    Binary {
        path: String,
        platform: Platform,
        #[source]
        source: ElfError,
    },
    #[error("'{path}' is a binary for another machine than {platform}")]
    OtherMachine { path: String, platform: Platform },
    #[error("'{path}' is {actual} bytes long, the most is {limit}")]
    BinarySize { path: String, actual: u64, limit: u64 },
    #[error("'{path}' cannot be read")]
    BinaryRead {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the directory for the layout is not empty")]
    NotEmpty,
    #[error("a document of the image cannot be written")]
    Json(#[from] serde_json::Error),
    #[error("the directory is no image layout: it has no file 'oci-layout'")]
    NoLayout,
    #[error("the layout's file 'oci-layout' cannot be used")]
    Marker(#[from] MarkerError),
    #[error("the layout's 'index.json' cannot be used")]
    Index(#[source] ManifestError),
    #[error("the layout holds no image that could be pushed")]
    NoImage,
    #[error("the layout holds no image of the name '{0}'")]
    NoSuchImage(String),
    #[error("the layout holds {count} images{}", if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) })]
    SeveralImages { count: usize, names: Vec<String> },
    #[error("manifest '{digest}' in the layout cannot be used")]
    Manifest {
        digest: Digest,
        #[source]
        source: ManifestError,
    },
    #[error("the layout lacks '{digest}'{}", platform.as_ref().map(|platform| format!(", the image for {platform}")).unwrap_or_default())]
    Absent { digest: Digest, platform: Option<Platform> },
    #[error("'{digest}' is {actual} bytes long in the layout, and should be {expected}: the layout is damaged")]
    Size { digest: Digest, expected: u64, actual: u64 },
    #[error("what lies under '{expected}' in the layout hashes to '{actual}': the layout is damaged")]
    Content { expected: Digest, actual: Digest },
    #[error("'{digest}' cannot be read from the layout")]
    Read {
        digest: Digest,
        #[source]
        source: std::io::Error,
    },
    #[error("the layout has more than {limit} {what} to look at")]
    TooMuch { what: &'static str, limit: u64 },
    #[error("the layout cannot be read or written")]
    Dir(#[from] DirError),
}
