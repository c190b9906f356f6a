//! The content of a stored blob on its way out: hashed as it is read, and broken off before its last piece when it is not
//! what it is called. No registry gets a whole body that is wrong.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use crate::http::Body;
use crate::http::body::BodyError;
use crate::image_layout::{LayoutError, PlannedBlob};
use crate::limits::BODY_CHUNK_BYTES;
use crate::oci::digest::Hasher;
use crate::sys::dir::{File, read_exact_at};

/// A blob that can be sent, more than once if need be.
pub(super) struct Content {
    blob: PlannedBlob,
    file: Arc<dyn File>,
    sent_bytes: watch::Sender<u64>,
    damage: Arc<Mutex<Option<LayoutError>>>,
}

impl Content {
    /// `file` is what lies under the blob's digest; `sent_bytes` is told how far it is.
    pub(super) fn new(blob: PlannedBlob, file: Arc<dyn File>, sent_bytes: watch::Sender<u64>) -> Self {
        Self { blob, file, sent_bytes, damage: Arc::default() }
    }

    /// The content from its beginning.
    pub(super) fn body(&self) -> Body {
        let reader = Reader {
            blob: self.blob,
            file: Arc::clone(&self.file),
            hasher: self.blob.digest.algorithm().hasher(),
            at_bytes: 0,
        };
        let (sent_bytes, damage) = (self.sent_bytes.clone(), Arc::clone(&self.damage));
        let stream = futures_util::stream::unfold(Some(reader), move |reader| {
            let (sent_bytes, damage) = (sent_bytes.clone(), Arc::clone(&damage));
            async move {
                let reader = reader.filter(|reader| reader.at_bytes < reader.blob.size_bytes)?;
                match tokio::task::spawn_blocking(move || reader.next()).await {
                    Ok(Ok((piece, reader))) => {
                        sent_bytes.send_replace(reader.at_bytes);
                        Some((Ok(piece), Some(reader)))
                    }
                    Ok(Err(error)) => {
                        let text = error.to_string();
                        *damage.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Some((Err(BodyError::Source(text)), None))
                    }
                    Err(error) => Some((Err(BodyError::Source(error.to_string())), None)),
                }
            }
        });
        Body::stream(stream.boxed(), Some(self.blob.size_bytes))
    }

    /// What was wrong with it, if that is why it broke off.
    pub(super) fn damage(&self) -> Option<LayoutError> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Reader {
    blob: PlannedBlob,
    file: Arc<dyn File>,
    hasher: Hasher,
    at_bytes: u64,
}

impl Reader {
    /// The next piece. The last one is given only when all of them together are what they should be.
    fn next(mut self) -> Result<(Bytes, Self), LayoutError> {
        let PlannedBlob { digest, size_bytes } = self.blob;
        let left = usize::try_from(size_bytes - self.at_bytes).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(BODY_CHUNK_BYTES)];
        read_exact_at(self.file.as_ref(), &mut piece, self.at_bytes)
            .map_err(|source| LayoutError::Read { digest, source })?;
        self.hasher.update(&piece);
        self.at_bytes += piece.len() as u64;
        if self.at_bytes == size_bytes {
            let actual = self.hasher.clone().finish();
            if actual != digest {
                return Err(LayoutError::Content { expected: digest, actual });
            }
        }
        Ok((piece.into(), self))
    }
}
