//! Content that was here, is still admitted, and whose bytes the disk has lost: it comes once more. Nothing is judged
//! anew, because nothing becomes visible that was not.

use std::sync::Arc;

use super::error::{MirrorError, SharedError};
use super::source::Ask;
use super::{Mirror, blocking};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;

impl Mirror {
    /// Fetches the bytes of a blob that a repository holds.
    pub async fn restore_blob(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<(), SharedError> {
        self.start_download(repository, digest, size_bytes).await?.finished(|_| {}).await
    }

    /// Fetches the bytes of a manifest that a repository holds.
    pub async fn restore_manifest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<(), SharedError> {
        Ok(self.manifest_again(repository, digest, size_bytes).await?)
    }

    async fn manifest_again(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<(), MirrorError> {
        if self.settings.offline {
            return Err(MirrorError::Offline);
        }
        let (upstream, path) = self.upstream_of(repository)?;
        let expected = size_bytes.min(MANIFEST_BYTES_MAX as u64);
        let response = upstream.ask(&Ask::get(path, &format!("manifests/{digest}"))).await?;
        let (mut body, mut bytes) = (response.into_body(), Vec::new());
        loop {
            let piece = body.next().await;
            let failed = |source| MirrorError::Body { upstream: upstream.name.clone(), source };
            let Some(piece) = piece.map_err(failed)? else { break };
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > expected {
                break;
            }
        }
        if bytes.len() as u64 != expected {
            let actual = bytes.len() as u64;
            return Err(MirrorError::WrongSize { upstream: upstream.name.clone(), digest, expected, actual });
        }
        let blobs = Arc::clone(self.store.blobs());
        blocking(move || {
            let mut writer = blobs.begin_with(digest.algorithm())?;
            writer.write(&bytes)?;
            writer.finish(Some(&digest))?;
            Ok(())
        })
        .await
    }
}
