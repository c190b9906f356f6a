//! From a layer's bytes to its archive: gzip, zstd, or as they are, told by the first bytes as some container runtimes do.
//! Others go by the media type, so that the two must agree.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::limits::{BODY_CHUNK_BYTES, LAYER_WINDOW_LOG_MAX};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frames that hold nothing, of which some tools put one in front; their first byte counts up to 0x5f.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// What a layer is packed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    #[default]
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// What a layer of this media type is packed with; nothing where the type does not say that it is an archive.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let ends_with = |ends: [&str; 2]| ends.iter().any(|end| media_type.ends_with(end));
        match () {
            () if media_type.ends_with(".tar") => Some(Self::Plain),
            () if ends_with([".tar+gzip", ".tar.gzip"]) => Some(Self::Gzip),
            () if ends_with([".tar+zstd", ".tar.zstd"]) => Some(Self::Zstd),
            () => None,
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "nothing",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The archive in `raw`, which is read in pieces and never held whole, and what it is packed with.
pub fn unpacked<'a>(mut raw: impl Read + 'a) -> io::Result<(Packing, Box<dyn Read + 'a>)> {
    let mut head = Vec::with_capacity(ZSTD.len());
    raw.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let is_zstd = head == ZSTD || matches!(head.as_slice(), [0x50..=0x5f, rest @ ..] if rest == ZSTD_SKIPPABLE);
    let is_gzip = head.starts_with(&GZIP);
    let whole = BufReader::with_capacity(BODY_CHUNK_BYTES, Cursor::new(head).chain(raw));
    if is_gzip {
        return Ok((Packing::Gzip, Box::new(MultiGzDecoder::new(whole))));
    }
    if is_zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
        decoder.window_log_max(LAYER_WINDOW_LOG_MAX)?;
        return Ok((Packing::Zstd, Box::new(decoder)));
    }
    Ok((Packing::Plain, Box::new(whole)))
}
