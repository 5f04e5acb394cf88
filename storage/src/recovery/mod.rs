//! Opening a log after whatever happened: what the write-ahead store knew, and what was found.

mod epochs;
mod files;
mod open;
mod scan;
mod sealed;

use std::fmt;
use std::path::PathBuf;

use millrace_types::{LeaderEpoch, Offset};

use crate::flusher::FlushWork;
use crate::qstate::{PartitionState, QRecord};

pub(crate) use epochs::Epochs;
pub(crate) use files::{remove_segment, remove_segments_but, remove_snapshots_above};
pub(crate) use open::open;
pub(crate) use scan::{Bad, Expected, scan};

/// What the write-ahead store knows of a log before its files are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Everything below was made durable; bad bytes there are rot, not a torn tail.
    pub flushed: Option<Offset>,
    /// The log start offset set by retention or `DeleteRecords`.
    pub start: Option<Offset>,
    /// Leader epochs and the offsets they begin at, also those without a record.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// The term: no batch is of a later epoch. `None` when nothing is known of the epochs, so that those of the batches are believed.
    pub term: Option<LeaderEpoch>,
    /// The latest truncation.
    pub trunc: Option<(Offset, LeaderEpoch)>,
    /// A truncation that was begun and is not known to be done: opening the log finishes it (rule T1).
    pub cutting: Option<(Offset, LeaderEpoch)>,
    /// Whether acknowledgements were given from the page cache.
    pub volatile: bool,
    /// Whether the page cache survived: a clean stop, or a crash of the process alone.
    pub clean: bool,
    /// Whether a flush failed in this run of the operating system: the log ends at what was flushed before, whatever the
    /// page cache shows (consensus rules, 2.2).
    pub suspect: bool,
}

impl Known {
    /// What the write-ahead store says of a log. `clean` is whether the page cache survived: the data directory was left
    /// clean, or the previous start was in the same run of the operating system. It is not enough when that start had lost
    /// the page cache and ended before it opened the log.
    #[must_use]
    pub fn from_state(state: &PartitionState, clean: bool) -> Self {
        Self {
            flushed: state.flushed,
            start: state.start,
            epochs: state.epochs.clone(),
            term: Some(state.term),
            trunc: state.trunc,
            cutting: state.cutting,
            volatile: state.volatile,
            clean: clean && !state.missed_loss,
            suspect: state.suspect,
        }
    }
}

/// What opening a log found and did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// What was cut from the end of the log.
    pub cut: Option<Cut>,
    /// Records to make durable in the write-ahead store before anything is appended, acknowledged or voted (rule T2).
    pub records: Vec<QRecord>,
    /// Bytes whose checksums were computed.
    pub scanned_bytes: u64,
    /// Work to do before everything below the log end offset counts as flushed.
    pub flush: Option<FlushWork>,
    /// Bad bytes below what was flushed; nothing was cut, and the log refuses appends until it is cut to the damage
    /// ([`Log::truncate_to_damage`](crate::Log::truncate_to_damage)).
    pub damaged: Option<Rot>,
    /// Sealed segments with bad or missing bytes, whose extent and epochs are known all the same: the log is open over them,
    /// refuses to read them, and takes appends. Each is to be looked at, and repaired ([`Log::look_around`](crate::Log::look_around)).
    pub holes: Vec<Rot>,
    /// Whether acknowledged records may be missing at the end: they were acknowledged from a page cache that is lost, or
    /// that could not be flushed.
    pub suffix_lost: bool,
}

/// What a recovery cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The log end offset after the cut.
    pub to: Offset,
    /// The leader epoch of the log's end after the cut.
    pub epoch: LeaderEpoch,
    /// Bytes that were cut: those up to the last that is not zero, and the whole of later files.
    pub bytes: u64,
    /// The file that was cut, or the first that was removed.
    pub file: PathBuf,
    /// Position in the file of the first byte that was cut.
    pub position: u64,
    /// What was wrong with the first of them.
    pub reason: String,
}

/// Bad or missing bytes where flushed records were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rot {
    /// The file.
    pub file: PathBuf,
    /// Position in the file.
    pub position: u64,
    /// First offset that cannot be read.
    pub offset: Offset,
    /// Everything below this offset was known to be flushed.
    pub flushed: Offset,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Rot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is damaged at byte {}: {}; offsets {} to {} were flushed and cannot be read. A replica among others fetches \
             them again; one that is alone serves what lies below and takes no writes: restore the file from a copy, or \
             give the range up by removing the partition",
            self.file.display(),
            self.position,
            self.reason,
            self.offset,
            self.flushed.saturating_sub(1),
        )
    }
}
