//! Settings, findings and failures of a journal.

use std::path::PathBuf;

use thiserror::Error;

use crate::disk::DiskError;

/// Settings of a journal.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Bytes preallocated for records beyond the snapshot.
    pub room: u64,
    /// Below this many bytes of room, growing is tried, before the room is needed.
    pub reserve: u64,
    /// Longest record in bytes.
    pub max_record: usize,
    /// Whether a journal that does not exist is made; otherwise its absence is an error.
    pub create: bool,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { room: 4 << 20, reserve: 1 << 20, max_record: 8 << 20, create: true }
    }
}

/// What opening a journal found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Whether it was made.
    pub created: bool,
    /// Generation of the file, from 1.
    pub generation: u64,
    /// Records in the snapshot.
    pub snapshot_records: u64,
    /// Records appended since.
    pub tail_records: u64,
    /// Position in the file from which a torn, never durable tail was cut.
    pub cut_at: Option<u64>,
}

/// A failure of a journal.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk failed or is full.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no journal, and none may be made.
    #[error("{}: the journal is missing", path.display())]
    Missing {
        /// What its first file would be called.
        path: PathBuf,
    },
    /// Bytes that were durable do not read back as written.
    #[error("{}: damaged at byte {position}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The file was written by a version whose format is not known here.
    #[error("{}: format version {found} is unknown; this program knows version {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: u32,
        /// The version this program writes and reads.
        known: u32,
    },
    /// A record is longer than the settings allow.
    #[error("a record of {len} bytes is longer than {max}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
}
