//! Writes one volume, entry after entry, and makes it durable. It never decides what goes into it.

use std::io;
use std::sync::Arc;

use super::format::container::{BLOCK_BYTES, END, header, padding_bytes};
use crate::limits::MIB;
use crate::sys::dir::File;

/// Write-back begins every so often, so that the sync at the end is short and the memory of a small board stays free.
const WRITE_BACK_BYTES: u64 = 4 * MIB as u64;

/// A volume that is being written.
pub struct VolumeWriter {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written_bytes: u64,
    write_back_from: u64,
}

impl VolumeWriter {
    /// Begins a volume in an empty file.
    pub fn new(file: Arc<dyn File>) -> Self {
        Self { file, buffer: Vec::with_capacity(2 * MIB), written_bytes: 0, write_back_from: 0 }
    }

    /// Writes an entry: header, content and padding.
    pub fn entry(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.buffer.extend_from_slice(&header(name, size));
        self.buffer.extend_from_slice(content);
        self.buffer.resize(self.buffer.len() + padding_bytes(size), 0);
        debug_assert_eq!(self.buffer.len() % BLOCK_BYTES, 0, "entries end on a block");
        if self.buffer.len() >= MIB { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written_bytes)?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        let pending = self.written_bytes - self.write_back_from;
        if pending >= WRITE_BACK_BYTES {
            self.file.start_write_back(self.write_back_from, pending);
            self.write_back_from = self.written_bytes;
        }
        Ok(())
    }

    /// Writes the closing zeros and waits until the medium has everything; answers the volume's length.
    pub fn finish(mut self) -> io::Result<u64> {
        self.buffer.extend_from_slice(&END);
        self.flush()?;
        self.file.sync_data()?;
        Ok(self.written_bytes)
    }
}
