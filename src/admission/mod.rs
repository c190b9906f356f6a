//! The one door through which an image enters, whether it is mirrored or imported.
//!
//! It finds the evidence about an image, lets [`crate::verify`] judge, and turns what was admitted into changes for the
//! store. It decides nothing itself: no rule of its own, no exception. Where a rule asks what an image holds, its layers are looked into. What it reads comes through [`Content`], so that
//! it never knows whether that is a far registry or a volume on a table.

mod attach;
mod changes;
mod content;
mod described;
mod error;
mod gather;
mod inspect;
mod judge;
pub mod layer;
pub mod recheck;
mod stored;
#[cfg(test)]
mod tests;

pub use attach::{AttachError, Attachment};
pub use changes::{Destination, raise_time};
pub use content::{Allowance, Bytes, Content, ContentError, Stream};
pub use described::{Described, DescribedPlatform, Document, DocumentForm, DocumentKind, describe};
pub use error::AdmissionError;
pub use inspect::needed;
pub use judge::{AdmittedImage, Candidate, Judgement, judge, judge_for};
pub use recheck::{RecheckSettings, Rechecks, ReviewCounts, ReviewEnd, Served, Unserved};
pub use stored::Stored;
