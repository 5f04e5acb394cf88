//! What the core knows of the log: its ends, its epochs, and the one change of it that is under way.

use millrace_types::Offset;

use crate::epoch_cache::EpochCache;
use crate::message::FetchResponse;
use crate::mutation::{Mutation, broken};
use crate::position::{Acknowledged, EpochStart, Position};
use crate::settings::FlushMode;

/// Whether the write-ahead store says that records may be acknowledged from the page cache (rule R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volatile {
    /// It says no: nothing counts that is not flushed.
    Clear,
    /// It is being told so.
    Setting,
    /// It says yes.
    Set,
    /// It is being told no; everything is flushed.
    Clearing,
}

/// A change of the log that the host carries out. Nothing else happens to the log before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pending {
    /// The records of this response are being appended.
    Append(Box<FetchResponse>),
    /// A cut becomes durable (rule R8): first its note, then itself.
    Cut,
    /// As a cut, of everything.
    Reset {
        /// The epoch before the new start.
        below: Option<EpochStart>,
    },
}

/// The log as consensus sees it.
#[derive(Debug, Clone)]
pub(crate) struct LogState {
    pub(crate) start: Offset,
    /// The start that the host has durably: whoever is told of a start above it would rely on what a crash takes back.
    pub(crate) start_noted: Offset,
    pub(crate) end: Offset,
    /// Everything below is flushed.
    pub(crate) flushed: Offset,
    pub(crate) cache: EpochCache,
    pub(crate) volatile: Volatile,
    pub(crate) pending: Option<Pending>,
}

impl LogState {
    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.cache.latest(), offset: self.end }
    }

    /// The position that candidates and voters compare.
    pub(crate) fn vote_position(&self) -> Position {
        let position = self.position();
        let of_last_record = || self.cache.newest_below(self.end).map_or(0, |known| known.epoch);
        if broken(Mutation::VoteWithoutMarkers) { Position { epoch: of_last_record(), ..position } } else { position }
    }

    /// The prefix that is as durable as `mode` asks (rule R4).
    pub(crate) fn acknowledged(&self, mode: FlushMode) -> Acknowledged {
        let in_memory = mode == FlushMode::PageCache && self.volatile == Volatile::Set;
        let offset = if in_memory || broken(Mutation::CountBeforeFlush) { self.end } else { self.flushed };
        Acknowledged { epoch: self.cache.durable_epoch(offset), offset }
    }

    /// Forgets what lies beyond `to` and the epochs above `epoch`; returns the offset and the last epoch left.
    pub(crate) fn cut(&mut self, to: Offset, epoch: i32) -> Position {
        self.end = to.clamp(self.start, self.end);
        self.flushed = self.flushed.min(self.end);
        if !broken(Mutation::CutKeepsEpochs) {
            self.cache.cut(self.end, epoch);
        }
        self.position()
    }

    /// Forgets everything: the log begins at `start`.
    pub(crate) fn reset(&mut self, start: Offset, below: Option<EpochStart>) {
        (self.start, self.start_noted, self.end, self.flushed) = (start, start, start, start);
        self.cache.reset(below);
    }

    pub(crate) fn raise_start(&mut self, start: Offset) {
        self.start = self.start.max(start);
        self.cache.raise_start(self.start);
    }

    /// The host durably begins its log at `start`.
    pub(crate) fn note_start(&mut self, start: Offset) {
        self.raise_start(start);
        self.start_noted = self.start_noted.max(start);
    }

    /// Whether the start is as durable as it is said to be.
    pub(crate) const fn is_start_noted(&self) -> bool {
        self.start_noted >= self.start
    }

    pub(crate) fn flushed(&mut self, upto: Offset) {
        self.flushed = self.flushed.max(upto.min(self.end));
    }
}
