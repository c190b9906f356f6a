//! From a layer's bytes to its archive: gzip, zstd, or as they are, told by the first bytes as container runtimes do.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::limits::{BODY_CHUNK_BYTES, LAYER_WINDOW_LOG_MAX};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frames that hold nothing, of which some tools put one in front; their first byte counts up to 0x5f.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The archive in `raw`, which is read in pieces and never held whole.
pub fn unpacked<'a>(mut raw: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(ZSTD.len());
    raw.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let is_zstd = head == ZSTD || matches!(head.as_slice(), [0x50..=0x5f, rest @ ..] if rest == ZSTD_SKIPPABLE);
    let is_gzip = head.starts_with(&GZIP);
    let whole = BufReader::with_capacity(BODY_CHUNK_BYTES, Cursor::new(head).chain(raw));
    if is_gzip {
        return Ok(Box::new(MultiGzDecoder::new(whole)));
    }
    if is_zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
        decoder.window_log_max(LAYER_WINDOW_LOG_MAX)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(whole))
}
