//! How many requests of which kind were answered, and how. Counted with one atomic addition a request.

use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds of routes that are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteClass {
    Base,
    Health,
    Catalog,
    Tags,
    Referrers,
    ManifestGet,
    ManifestPut,
    ManifestDelete,
    BlobGet,
    BlobDelete,
    Upload,
    Token,
    Admin,
    Review,
    #[default]
    Other,
}

/// All of them, with their names.
pub const CLASSES: [(RouteClass, &str); 15] = [
    (RouteClass::Base, "base"),
    (RouteClass::Health, "health"),
    (RouteClass::Catalog, "catalog"),
    (RouteClass::Tags, "tags"),
    (RouteClass::Referrers, "referrers"),
    (RouteClass::ManifestGet, "manifest_get"),
    (RouteClass::ManifestPut, "manifest_put"),
    (RouteClass::ManifestDelete, "manifest_delete"),
    (RouteClass::BlobGet, "blob_get"),
    (RouteClass::BlobDelete, "blob_delete"),
    (RouteClass::Upload, "upload"),
    (RouteClass::Token, "token"),
    (RouteClass::Admin, "admin"),
    (RouteClass::Review, "review"),
    (RouteClass::Other, "other"),
];

/// The statuses that are told apart; all others are counted together, as 0.
const STATUSES: [u16; 25] = [
    0, 200, 201, 202, 204, 206, 304, 307, 400, 401, 403, 404, 405, 409, 411, 412, 413, 416, 429, 431, 499, 500, 502,
    503, 504,
];

/// Requests answered so far.
#[derive(Debug)]
pub struct Requests {
    answered: [[AtomicU64; STATUSES.len()]; CLASSES.len()],
    sent_bytes: [AtomicU64; CLASSES.len()],
}

impl Default for Requests {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self { answered: std::array::from_fn(|_| zeros()), sent_bytes: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Requests {
    /// Counts one that was answered with `status` and a body of which `sent_bytes` were taken.
    pub fn count(&self, class: RouteClass, status: u16, sent_bytes: u64) {
        let column = STATUSES.iter().position(|known| *known == status).unwrap_or(0);
        let row = CLASSES.iter().position(|(known, _)| *known == class);
        if let Some(counter) = row.and_then(|row| self.answered.get(row)).and_then(|row| row.get(column)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counter) = row.and_then(|row| self.sent_bytes.get(row)) {
            counter.fetch_add(sent_bytes, Ordering::Relaxed);
        }
    }

    /// What was counted, where it is not zero: class, status (0 for any other), requests.
    pub fn answered(&self) -> Vec<(&'static str, u16, u64)> {
        let mut found = Vec::new();
        for ((_, name), row) in CLASSES.iter().zip(&self.answered) {
            let counts =
                STATUSES.iter().zip(row).map(|(status, count)| (*name, *status, count.load(Ordering::Relaxed)));
            found.extend(counts.filter(|(_, _, count)| *count > 0));
        }
        found
    }

    /// Bytes of bodies that were sent, where there were any.
    pub fn sent_bytes(&self) -> Vec<(&'static str, u64)> {
        let counts = CLASSES.iter().zip(&self.sent_bytes);
        counts
            .map(|((_, name), bytes)| (*name, bytes.load(Ordering::Relaxed)))
            .filter(|(_, bytes)| *bytes > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Requests, RouteClass};

    #[test]
    fn each_kind_is_counted_for_itself() {
        let requests = Requests::default();
        requests.count(RouteClass::BlobGet, 200, 10);
        requests.count(RouteClass::BlobGet, 200, 5);
        requests.count(RouteClass::BlobGet, 404, 0);
        requests.count(RouteClass::Other, 418, 0);
        assert_eq!(requests.answered(), [("blob_get", 200, 2), ("blob_get", 404, 1), ("other", 0, 1)]);
        assert_eq!(requests.sent_bytes(), [("blob_get", 15)]);
    }
}
