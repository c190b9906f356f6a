//! The file that says that a directory is an image layout. Pure.

use serde::{Deserialize, Serialize};

use crate::limits::LAYOUT_MARKER_BYTES_MAX;

const VERSION: &str = "1.0.0";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    image_layout_version: String,
}

/// Why a file does not make its directory an image layout that can be read.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    #[error("it is {0} bytes long, the most is {LAYOUT_MARKER_BYTES_MAX}")]
    TooLarge(usize),
    #[error("it is not valid JSON of its kind")]
    Json(#[source] serde_json::Error),
    #[error("it says version '{0}', and {VERSION} is the one that is known")]
    Version(String),
}

/// The file as it is written.
pub fn written() -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written { image_layout_version: VERSION.to_owned() })
}

/// Checks a foreign one.
pub fn check(bytes: &[u8]) -> Result<(), MarkerError> {
    if bytes.len() > LAYOUT_MARKER_BYTES_MAX {
        return Err(MarkerError::TooLarge(bytes.len()));
    }
    let written: Written = serde_json::from_slice(bytes).map_err(MarkerError::Json)?;
    if written.image_layout_version != VERSION {
        return Err(MarkerError::Version(written.image_layout_version.chars().take(80).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MarkerError, check, written};

    #[test]
    fn only_the_known_version_is_taken() {
        assert!(check(&written().unwrap()).is_ok());
        assert!(matches!(check(br#"{"imageLayoutVersion":"2.0.0"}"#), Err(MarkerError::Version(_))));
        assert!(matches!(check(b"{}"), Err(MarkerError::Json(_))));
        assert!(matches!(check(&[b' '; 2000]), Err(MarkerError::TooLarge(2000))));
    }
}
