//! How much memory each part of the program may take when all of it together is bounded.
//!
//! One number goes in, concrete bounds come out, and their sum stays below the number. What cannot be made smaller is
//! counted first; the rest is divided:
//!
//! ```text
//! memory_max_bytes
//! ├ PROGRAM_BYTES    code, allocator, certificates, rows under way           fixed
//! ├ THREADS_BYTES    touched part of the stacks, and the allocator's share   fixed
//! ├ INDEX_ROWS_BYTES rows that wait for the index, rows of a rebuild         fixed
//! ├ OPERATION_BYTES  a chunk and its compressed form, a group of the journal fixed
//! ├ UPSTREAM_BYTES   connections to registries outside                       fixed
//! ├ PUSHED_BYTES     a manifest that is pushed                                fixed
//! ├ LOOKED_UP_BYTES_MAX  manifests that are remembered until the next change  fixed
//! └ the rest         1/16 cache of the index
//!                    8/16 images that are being judged: one of a mirror and its copy, one of an import, one of a push
//!                    3/16 the table of a set: its text, what is parsed of it, and its text again to be compared
//!                    4/16 connections: streams, pieces of bodies both ways, windows, TLS
//! ```
//!
//! It divides what this program decides on. The kernel's page cache is not in it: that gives way by itself.
//!
//! Not divided yet, each with its own bound in `limits`: the receipt of a set and its one transaction of the journal (both
//! follow from its table), what a command asks of one image or of all, answers on the administration socket, and what is
//! remembered of verdicts and of changes of repositories (2 MB together).

use serde::Serialize;

use crate::limits::{
    BODY_CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_STORED_BYTES_MAX, GATHERED_BYTES_MAX, INDEX_OVERLAY_BYTES,
    INDEX_REBUILD_BYTES, JOURNAL_GROUP_BYTES, KIB, LOOKED_UP_BYTES_MAX, MANIFEST_BYTES_MAX, MIB, SET_TABLE_BYTES_MAX,
};

/// What the program takes when it does nothing, with the parts of its code that it comes back to.
const PROGRAM_BYTES: usize = 8 * MIB;
/// What a thread touches of its stack, with what the allocator keeps for it.
const THREAD_BYTES: usize = 128 * KIB;
const WORKER_THREADS_COUNT: usize = 2;
const BLOCKING_THREADS_COUNT: usize = 32;
/// The sequencer, the access log, the main thread and the index's own.
const OTHER_THREADS_COUNT: usize = 6;
const THREADS_BYTES: usize = (WORKER_THREADS_COUNT + BLOCKING_THREADS_COUNT + OTHER_THREADS_COUNT) * THREAD_BYTES;
const INDEX_ROWS_BYTES: usize = INDEX_OVERLAY_BYTES + INDEX_REBUILD_BYTES;
const OPERATION_BYTES: usize = CHUNK_BYTES_MAX + CHUNK_STORED_BYTES_MAX + JOURNAL_GROUP_BYTES;
const PUSHED_BYTES: usize = MANIFEST_BYTES_MAX;
const UPSTREAM_BYTES: usize = UPSTREAM_CONNECTIONS_COUNT * CONNECTION_BUFFER_BYTES;
const FIXED_BYTES: usize = PROGRAM_BYTES
    + THREADS_BYTES
    + INDEX_ROWS_BYTES
    + OPERATION_BYTES
    + UPSTREAM_BYTES
    + PUSHED_BYTES
    + LOOKED_UP_BYTES_MAX;

/// The smallest number that can be asked for: below it not even a few connections are left.
pub const MEMORY_MAX_BYTES_MIN: u64 = 48 * MIB as u64;

/// Piece of a file that is read and sent, where memory is bounded.
const SMALL_PIECE_BYTES: usize = 32 * KIB;
const SMALL_STREAMS_COUNT: u32 = 4;
/// What came over a connection and waits to be read: the buffer of HTTP/1, the windows of HTTP/2.
const SMALL_RECEIVE_BYTES: u32 = 65_536;
/// Beside the streams of one connection: headers, what waits to be read, TLS records.
const CONNECTION_BUFFER_BYTES: usize = SMALL_RECEIVE_BYTES as usize + 48 * KIB;
/// Each stream holds the piece that is read and the one that is sent.
const CONNECTION_BYTES: usize = CONNECTION_BUFFER_BYTES + SMALL_STREAMS_COUNT as usize * 2 * SMALL_PIECE_BYTES;
/// A mirror gathers an image and judges a copy; an import and a push read theirs once.
const JUDGED_COPIES_COUNT: usize = 4;
/// What a table takes while it is read, as a multiple of its length.
const TABLE_COPIES_COUNT: usize = 4;
/// Connections to the administration socket; an operation may hold a thread of its own.
const ADMIN_CONNECTIONS_COUNT: usize = 4;
/// A download holds a thread while it writes.
const DOWNLOADS_COUNT: usize = 8;
/// One for each download, for what is gathered, and for a token.
const UPSTREAM_CONNECTIONS_COUNT: usize = DOWNLOADS_COUNT + 2;

/// The bounds that hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Upper bound of the index's cache; the configuration may ask for less.
    pub index_cache_bytes_max: u64,
    /// Threads that run tasks; `None` is one for each core.
    pub worker_threads_count: Option<usize>,
    /// Threads for what blocks.
    pub blocking_threads_count_max: usize,
    /// Connections of clients that are open at the same time.
    pub connections_count_max: usize,
    /// Connections of commands that are open at the same time.
    pub admin_connections_count_max: usize,
    /// Requests under way at the same time on one HTTP/2 connection.
    pub streams_count_max: u32,
    /// Piece in which a stored file is read and sent, and in which a pushed body is written.
    pub piece_bytes: usize,
    /// What came over one connection and waits to be read; `None` leaves it to the HTTP library.
    pub receive_bytes_max: Option<u32>,
    /// Manifests and evidence of one image that are held until it is judged.
    pub gathered_bytes_max: usize,
    /// Images that are gathered and judged at the same time, of mirrors and of pushes each.
    pub gathering_count_max: usize,
    /// Manifests and evidence of one image that an import or a push reads; `None` leaves it to the bounds of an image.
    pub judged_bytes_max: Option<usize>,
    /// Blobs that are fetched at the same time.
    pub downloads_count_max: usize,
    /// Largest table of a set that is read from a medium.
    pub set_table_bytes_max: usize,
}

impl Bounds {
    /// Bounds without a budget: each part has its own, and nobody adds them up.
    pub const UNBOUNDED: Self = Self {
        index_cache_bytes_max: u64::MAX,
        worker_threads_count: None,
        blocking_threads_count_max: 512,
        connections_count_max: 1_024,
        admin_connections_count_max: 1_024,
        streams_count_max: 32,
        piece_bytes: BODY_CHUNK_BYTES,
        receive_bytes_max: None,
        gathered_bytes_max: GATHERED_BYTES_MAX,
        gathering_count_max: 1_024,
        judged_bytes_max: None,
        downloads_count_max: 32,
        set_table_bytes_max: SET_TABLE_BYTES_MAX,
    };

    /// What a budget means; `None` where it is too small for anything.
    pub fn of(memory_max_bytes: Option<u64>) -> Option<Self> {
        let Some(budget) = memory_max_bytes else { return Some(Self::UNBOUNDED) };
        if budget < MEMORY_MAX_BYTES_MIN {
            return None;
        }
        // A budget that this machine cannot address is no bound.
        let rest = usize::try_from(budget).unwrap_or(usize::MAX) - FIXED_BYTES;
        let gathered_bytes_max = (rest / 2 / JUDGED_COPIES_COUNT).min(GATHERED_BYTES_MAX);
        let set_table_bytes_max = (rest / 16 * 3 / TABLE_COPIES_COUNT).min(SET_TABLE_BYTES_MAX);
        let connections = rest / 4 / CONNECTION_BYTES;
        Some(Self {
            index_cache_bytes_max: (rest / 16) as u64,
            worker_threads_count: Some(WORKER_THREADS_COUNT),
            blocking_threads_count_max: BLOCKING_THREADS_COUNT,
            connections_count_max: connections.min(Self::UNBOUNDED.connections_count_max),
            admin_connections_count_max: ADMIN_CONNECTIONS_COUNT,
            streams_count_max: SMALL_STREAMS_COUNT,
            piece_bytes: SMALL_PIECE_BYTES,
            receive_bytes_max: Some(SMALL_RECEIVE_BYTES),
            gathered_bytes_max,
            gathering_count_max: 1,
            judged_bytes_max: Some(gathered_bytes_max),
            downloads_count_max: DOWNLOADS_COUNT,
            set_table_bytes_max,
        })
    }
}

const _: () = assert!(FIXED_BYTES < 48 * MIB);
const _: () = assert!(ADMIN_CONNECTIONS_COUNT + DOWNLOADS_COUNT < BLOCKING_THREADS_COUNT);

#[cfg(test)]
mod tests {
    use super::{
        BLOCKING_THREADS_COUNT, Bounds, CONNECTION_BUFFER_BYTES, FIXED_BYTES, MEMORY_MAX_BYTES_MIN, TABLE_COPIES_COUNT,
        THREAD_BYTES, THREADS_BYTES,
    };
    use crate::limits::MIB;

    /// What all parts take when each takes all that it may.
    fn sum_bytes(bounds: &Bounds) -> u64 {
        let threads = bounds.blocking_threads_count_max + bounds.worker_threads_count.unwrap() + 6;
        assert_eq!(threads * THREAD_BYTES, THREADS_BYTES);
        let connection = CONNECTION_BUFFER_BYTES + bounds.streams_count_max as usize * 2 * bounds.piece_bytes;
        let by_others = bounds.judged_bytes_max.unwrap() * (1 + bounds.gathering_count_max);
        let judged = 2 * bounds.gathered_bytes_max * bounds.gathering_count_max + by_others;
        let table = TABLE_COPIES_COUNT * bounds.set_table_bytes_max;
        (FIXED_BYTES + bounds.connections_count_max * connection + judged + table) as u64 + bounds.index_cache_bytes_max
    }

    #[test]
    fn the_parts_stay_below_the_whole() {
        for budget in
            [MEMORY_MAX_BYTES_MIN, MEMORY_MAX_BYTES_MIN + 1, 56_000_000, 64 << 20, 1 << 30, u64::from(u32::MAX)]
        {
            let bounds = Bounds::of(Some(budget)).unwrap();
            assert!(sum_bytes(&bounds) <= budget, "{budget}: {bounds:?}");
            assert!(bounds.connections_count_max >= 8, "{budget}: {bounds:?}");
            assert!(bounds.gathered_bytes_max >= MIB, "{budget}: {bounds:?}");
            assert!(bounds.set_table_bytes_max >= MIB / 2, "{budget}: {bounds:?}");
            assert!(bounds.admin_connections_count_max + bounds.downloads_count_max < BLOCKING_THREADS_COUNT);
        }
    }

    #[test]
    fn a_budget_beyond_any_address_is_taken() {
        let bounds = Bounds::of(Some(u64::MAX)).unwrap();
        assert_eq!(bounds.connections_count_max, Bounds::UNBOUNDED.connections_count_max);
        assert_eq!(bounds.gathered_bytes_max, Bounds::UNBOUNDED.gathered_bytes_max);
    }

    #[test]
    fn too_little_is_refused_and_nothing_asked_changes_nothing() {
        assert_eq!(Bounds::of(Some(MEMORY_MAX_BYTES_MIN - 1)), None);
        assert_eq!(Bounds::of(None), Some(Bounds::UNBOUNDED));
    }
}
