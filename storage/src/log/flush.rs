//! Which files are dirty, which are being flushed, and up to where the log is durable.

use std::sync::Arc;

use millrace_types::{Instant, LeaderEpoch, Offset};
use smallvec::SmallVec;

use super::Log;
use crate::disk::DiskError;
use crate::flusher::FlushWork;
use crate::mutation::{Mutation, broken};
use crate::segment::{DurableName, Home, Segment};

/// `flushed <= taken <= log end`: below `flushed` all is durable, below `taken` a flush is under way.
#[derive(Debug)]
pub(super) struct FlushState {
    flushed: Offset,
    taken: Offset,
    /// When the oldest append above `flushed` was made.
    oldest: Option<Instant>,
    /// When the first append above `taken` was made.
    since_take: Option<Instant>,
    /// Segments with bytes above `flushed`.
    dirty: Vec<Arc<Segment>>,
    /// Segments whose name may not be durable, and the first take that covers it.
    unnamed: Vec<(Arc<Segment>, Option<Offset>)>,
}

impl FlushState {
    pub(super) const fn new(flushed: Offset) -> Self {
        let (oldest, since_take) = (None, None);
        Self { flushed, taken: flushed, oldest, since_take, dirty: Vec::new(), unnamed: Vec::new() }
    }

    /// Notes what a restart found in the page cache.
    pub(super) fn recovered(&mut self, segments: &[Arc<Segment>], now: Instant) {
        let flushed = self.flushed;
        for segment in segments.iter().filter(|segment| segment.is_created()) {
            // An empty file was made by an append that did not come to write: nobody has seen to its name.
            if segment.used() == 0 || segment.next() > flushed {
                self.created(segment);
            }
            if segment.next() > flushed && segment.used() > 0 {
                self.appended(segment, now);
            }
        }
    }

    /// Notes that the file of `segment` was made.
    pub(super) fn created(&mut self, segment: &Arc<Segment>) {
        if !broken(Mutation::NoDirectorySync) {
            self.unnamed.push((segment.clone(), None));
        }
    }

    /// Notes an append to `segment`.
    pub(super) fn appended(&mut self, segment: &Arc<Segment>, now: Instant) {
        if !self.dirty.last().is_some_and(|last| Arc::ptr_eq(last, segment)) {
            segment.set_pinned(true);
            self.dirty.push(segment.clone());
        }
        self.since_take.get_or_insert(now);
        self.oldest.get_or_insert(now);
    }

    /// The work that makes everything below `end` durable, which is the log's end or the start of its active segment;
    /// `None` when it is, or is under way.
    pub(super) fn take(
        &mut self,
        end: Offset,
        epoch: LeaderEpoch,
        home: &Home,
    ) -> Result<Option<FlushWork>, DiskError> {
        if self.taken >= end {
            return Ok(None);
        }
        let mut files = SmallVec::new();
        for segment in self.dirty.iter().filter(|segment| segment.base() < end && segment.next() > self.taken) {
            let file = segment.file()?;
            let unnamed = self.unnamed.iter_mut().find(|(unnamed, _)| Arc::ptr_eq(unnamed, segment));
            files.push(match unnamed {
                None => file,
                Some((_, covered)) => {
                    covered.get_or_insert(end);
                    DurableName::wrap(file, home.disk.clone(), home.dir.clone())
                }
            });
        }
        self.taken = end;
        // What is left may have been appended at any time since.
        if self.dirty.last().is_none_or(|last| last.next() <= end) {
            self.since_take = None;
        }
        Ok(Some(FlushWork { files, upto: end, epoch, rewritten: false }))
    }

    fn done(&mut self, upto: Offset) {
        self.flushed = self.flushed.max(upto);
        self.taken = self.taken.max(self.flushed);
        self.dirty.retain(|segment| {
            let dirty = segment.next() > upto;
            segment.set_pinned(dirty);
            dirty
        });
        self.unnamed.retain(|(_, covered)| covered.is_none_or(|covered| covered > upto));
        if upto >= self.taken {
            self.oldest = self.since_take;
        }
    }

    /// Notes a cut of the log to `to`, whose last segment was flushed.
    pub(super) fn cut(&mut self, to: Offset, segments: &[Arc<Segment>]) {
        self.flushed = self.flushed.min(to);
        self.taken = self.taken.min(to);
        let kept = |segment: &Arc<Segment>| segments.iter().any(|kept| Arc::ptr_eq(kept, segment));
        self.dirty.retain(kept);
        self.unnamed.retain(|(segment, _)| kept(segment));
    }

    /// The log holds nothing and begins at `start`.
    pub(super) const fn begin_anew(&mut self, start: Offset) {
        (self.flushed, self.taken) = (start, start);
        (self.oldest, self.since_take) = (None, None);
    }

    /// Forgets a segment that left the log.
    pub(super) fn forget(&mut self, segment: &Arc<Segment>) {
        self.dirty.retain(|dirty| !Arc::ptr_eq(dirty, segment));
        self.unnamed.retain(|(unnamed, _)| !Arc::ptr_eq(unnamed, segment));
    }

    /// Lets everything that is not flushed be taken again.
    pub(super) fn retry(&mut self) {
        self.taken = self.flushed;
    }
}

impl Log {
    /// The work that makes the log durable up to its end: the files written to since the last take. `None` when there
    /// are none. The caller reports the outcome with [`Log::flushed`] or [`Log::poison`].
    pub fn take_flush(&mut self) -> Option<FlushWork> {
        self.take_flush_below(self.log_end())
    }

    /// The work that makes all segments but the active one durable; `None` when they are, or it is under way. A segment
    /// with unflushed bytes stays open and mapped, so one that was rolled is flushed even where nobody waits for it, as
    /// Kafka does.
    pub fn take_rolled_flush(&mut self) -> Option<FlushWork> {
        self.take_flush_below(self.active.base())
    }

    fn take_flush_below(&mut self, end: Offset) -> Option<FlushWork> {
        if self.is_poisoned() || self.shared.damage.load().is_some() {
            return None;
        }
        match self.flush.take(end, self.latest_epoch, &self.home) {
            Ok(work) => work,
            Err(error) => {
                // A dirty file that cannot be reached can never be called flushed.
                self.poison.set(&error);
                None
            }
        }
    }

    /// Everything below `upto` is durable.
    pub fn flushed(&mut self, upto: Offset) {
        self.flush.done(upto.min(self.log_end()));
    }

    /// Everything below is durable.
    #[must_use]
    pub const fn flushed_offset(&self) -> Offset {
        self.flush.flushed
    }

    /// Records that are not durable yet.
    #[must_use]
    pub fn unflushed_records(&self) -> u64 {
        u64::try_from(self.log_end() - self.flush.flushed).unwrap_or(0)
    }

    /// When the oldest append that is not durable was made.
    #[must_use]
    pub const fn unflushed_since(&self) -> Option<Instant> {
        self.flush.oldest
    }
}
