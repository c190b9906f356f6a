//! As much of an ELF file as says for which machine it is, and whether it needs anything beside itself. Pure.
//!
//! ```text
//!            32 bits  64 bits
//! magic           0        0   7f 'E' 'L' 'F'
//! class, data     4        4   1 or 2, then 1 for little-endian
//! type           16       16   2 a program, 3 the same at any address (or a library)
//! machine        18       18
//! entry          24       24   where it begins; a library has none
//! table at       28       32   program headers, each beginning with its type: 3 names a loader
//! entry bytes    42       54
//! count          44       56
//! ```

use crate::limits::ELF_SEGMENTS_COUNT_MAX;

/// Bytes from the beginning of a file that [`parse`] wants; a file for 32 bits has a shorter header.
pub const HEADER_BYTES: usize = 64;

/// A machine that Postern is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Amd64,
    Arm64,
    Arm,
}

/// Why a file is no program that could be the only file of an image.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    #[error("it is no ELF file, so Linux cannot run it")]
    Magic,
    #[error("its header is cut off or says what no linker writes")]
    Header,
    #[error("it is for a machine that Postern is not built for")]
    Machine,
    #[error("it is no program: it has no place to begin at")]
    NoProgram,
    #[error("it asks for a dynamic loader, which an image of one file does not have; build it static (`make dist`)")]
    Dynamic,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub machine: Machine,
    /// Where the program headers begin.
    pub table_at_bytes: u64,
    /// How long they are together; bounded by [`ELF_SEGMENTS_COUNT_MAX`].
    pub table_bytes: usize,
    entry_bytes: usize,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ElfError> {
    bytes.get(at..at + N).and_then(|field| field.try_into().ok()).ok_or(ElfError::Header)
}

fn short(bytes: &[u8], at: usize) -> Result<u16, ElfError> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> Result<u64, ElfError> {
    field(bytes, at).map(|field| u64::from(u32::from_le_bytes(field)))
}

fn long(bytes: &[u8], at: usize) -> Result<u64, ElfError> {
    field(bytes, at).map(u64::from_le_bytes)
}

/// Reads the header at the beginning of a file.
pub fn parse(bytes: &[u8]) -> Result<Header, ElfError> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(ElfError::Magic);
    }
    let [class, data] = field(bytes, 4)?;
    let machine = match (class, data, short(bytes, 18)?) {
        (2, 1, 62) => Machine::Amd64,
        (2, 1, 183) => Machine::Arm64,
        (1, 1, 40) => Machine::Arm,
        _ => return Err(ElfError::Machine),
    };
    let (begins_at, table_at_bytes, sizes_at, expected) = match class {
        1 => (word(bytes, 24)?, word(bytes, 28)?, 42, 32),
        _ => (long(bytes, 24)?, long(bytes, 32)?, 54, 56),
    };
    if !matches!(short(bytes, 16)?, 2 | 3) || begins_at == 0 {
        return Err(ElfError::NoProgram);
    }
    let (entry_bytes, count) = (usize::from(short(bytes, sizes_at)?), short(bytes, sizes_at + 2)?);
    if entry_bytes != expected || count == 0 || count > ELF_SEGMENTS_COUNT_MAX {
        return Err(ElfError::Header);
    }
    Ok(Header { machine, table_at_bytes, table_bytes: entry_bytes * usize::from(count), entry_bytes })
}

impl Header {
    /// Checks in the program headers that nobody else is needed to start it.
    pub fn check_static(&self, table: &[u8]) -> Result<(), ElfError> {
        if table.len() != self.table_bytes {
            return Err(ElfError::Header);
        }
        for entry in table.chunks_exact(self.entry_bytes) {
            if word(entry, 0)? == 3 {
                return Err(ElfError::Dynamic);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod sample {
    use super::Machine;

    /// The smallest file that passes: a header, one program header of type `segment`, and some content.
    pub fn program(machine: Machine, segment: u32, content: &[u8]) -> Vec<u8> {
        let (class, number, head, entry): (u8, u16, usize, usize) = match machine {
            Machine::Amd64 => (2, 62, 64, 56),
            Machine::Arm64 => (2, 183, 64, 56),
            Machine::Arm => (1, 40, 52, 32),
        };
        let mut bytes = vec![0; head + entry];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &[0x7f, b'E', b'L', b'F', class, 1, 1]);
        put(16, &3_u16.to_le_bytes());
        put(18, &number.to_le_bytes());
        put(24, &1_u32.to_le_bytes());
        let (table_at, sizes_at) = if class == 1 { (28, 42) } else { (32, 54) };
        put(table_at, &u32::try_from(head).unwrap().to_le_bytes());
        put(sizes_at, &u16::try_from(entry).unwrap().to_le_bytes());
        put(sizes_at + 2, &1_u16.to_le_bytes());
        put(head, &segment.to_le_bytes());
        bytes.extend_from_slice(content);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::sample::program;
    use super::{ElfError, Machine, parse};

    #[test]
    fn the_three_machines_are_told_apart() {
        for machine in [Machine::Amd64, Machine::Arm64, Machine::Arm] {
            let bytes = program(machine, 1, b"");
            let header = parse(&bytes).unwrap();
            assert_eq!(header.machine, machine);
            let at = usize::try_from(header.table_at_bytes).unwrap();
            let table = &bytes[at..at + header.table_bytes];
            assert_eq!(header.check_static(table), Ok(()));
            assert_eq!(header.check_static(&table[1..]), Err(ElfError::Header));
            let dynamic = program(machine, 3, b"");
            assert_eq!(header.check_static(&dynamic[at..at + header.table_bytes]), Err(ElfError::Dynamic));
        }
    }

    #[test]
    fn what_is_no_program_of_ours() {
        let good = program(Machine::Amd64, 1, b"");
        let check = |at: usize, byte: u8, expected: ElfError| {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(parse(&bad), Err(expected), "byte {byte} at {at}");
        };
        check(1, b'X', ElfError::Magic);
        check(4, 1, ElfError::Machine);
        check(5, 2, ElfError::Machine);
        check(18, 3, ElfError::Machine);
        check(16, 1, ElfError::NoProgram);
        check(24, 0, ElfError::NoProgram);
        check(54, 55, ElfError::Header);
        check(56, 0, ElfError::Header);
        check(57, 2, ElfError::Header);
        for length in 4..58 {
            assert_eq!(parse(&good[..length]), Err(ElfError::Header), "{length}");
        }
        assert_eq!(parse(b"#!/bin/sh\n"), Err(ElfError::Magic));
    }
}
