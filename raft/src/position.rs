//! Positions in a log, and the epochs that make them comparable.

use std::fmt;

use millrace_types::{LeaderEpoch, Offset};

/// End of a log: its last epoch and its log end offset, compared in this order (rule R1).
///
/// An epoch counts from its marker on, also before its first record. So of two logs with equal epoch the one with the
/// greater offset is the longer, and every record of an earlier epoch that either holds below the marker is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Epoch of the last entry of the epoch cache; 0 without one.
    pub epoch: LeaderEpoch,
    /// The log end offset.
    pub offset: Offset,
}

/// An epoch and the offset it begins at: a marker of width zero, which takes no offset in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochStart {
    /// The epoch, 1 or greater.
    pub epoch: LeaderEpoch,
    /// Offset of its first record, had it one.
    pub start: Offset,
}

/// What a replica holds as durably as its topic asks, as a prefix of its log (rule R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Acknowledged {
    /// The last epoch whose marker, and all before it, are durable.
    pub epoch: LeaderEpoch,
    /// Everything below is durable.
    pub offset: Offset,
}

/// Records of one leader epoch that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first record.
    pub base: Offset,
    /// Offset behind the last record; above `base`.
    pub end: Offset,
    /// The epoch.
    pub epoch: LeaderEpoch,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.offset)
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.offset)
    }
}

impl fmt::Display for EpochStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.epoch, self.start)
    }
}
