//! `multipart/byteranges` (RFC 9110, section 14.6): several ranges of one file in one answer, in the order asked.
//!
//! ```text
//! --boundary
//! Content-Type: application/octet-stream
//! Content-Range: bytes 0-1/10
//!
//! (the bytes)
//! --boundary--
//! ```

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;

use super::range::Span;
use crate::http::Body;
use crate::sys::dir::File;

/// How one answer is divided. The boundary is random, so that no content is made to hold it.
pub(super) struct Multipart {
    boundary: String,
    size_bytes: u64,
    spans: Vec<Span>,
}

impl Multipart {
    pub(super) const fn new(boundary: String, size_bytes: u64, spans: Vec<Span>) -> Self {
        Self { boundary, size_bytes, spans }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    fn head(&self, span: Span) -> Bytes {
        let (first, last) = (span.offset_bytes, span.offset_bytes + (span.len_bytes - 1));
        let text = format!(
            "\r\n--{}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
            self.boundary, self.size_bytes
        );
        Bytes::from(text)
    }

    fn end(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary))
    }

    /// Length of the whole body.
    pub(super) fn len_bytes(&self) -> u64 {
        let parts = self.spans.iter().map(|span| self.head(*span).len() as u64 + span.len_bytes);
        parts.sum::<u64>() + self.end().len() as u64
    }

    /// The body; a part of the file is opened for reading when the one before was sent.
    pub(super) fn body(self, file: Arc<dyn File>, piece_bytes: usize) -> Body {
        let len_bytes = self.len_bytes();
        let end = self.end();
        let spans = self.spans.clone().into_iter();
        let parts = stream::iter(spans).flat_map(move |span| {
            let content = Body::file(Arc::clone(&file), span.offset_bytes, span.len_bytes, piece_bytes);
            stream::iter([Ok(self.head(span))]).chain(content.into_data_stream())
        });
        Body::stream(parts.chain(stream::iter([Ok(end)])).boxed(), Some(len_bytes))
    }
}
