//! Transfer bundles: signed sets of volumes that carry images over a gap (`bundles/FORMAT.md`).
//!
//! A set is planned ([`plan`]), written and read back ([`export`]), looked at ([`inspect`]) and taken in ([`import`]),
//! which ends with a signed receipt ([`receipt`]). Nothing here opens a socket, takes a name in a volume for a path, or
//! makes anything visible before the seal, every chunk, every blob and the policy have been checked.

pub mod closure;
mod content;
pub mod export;
pub mod format;
pub mod import;
pub mod inspect;
mod medium_scan;
pub mod plan;
pub mod reader;
pub mod receipt;
pub mod writer;
