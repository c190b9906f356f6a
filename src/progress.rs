//! How long work tells how far it is, without knowing who listens.

/// Something that wants to know how far a long operation is: a terminal, a log, a far client, or nobody.
pub trait Progress: Send + Sync {
    /// `what` is being done; `done` of `total` units (bytes unless `what` says otherwise) are behind. `total` 0 is unknown.
    fn step(&self, what: &str, done: u64, total: u64);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str, _done: u64, _total: u64) {}
}
