//! What the owner of a log and its readers share.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use millrace_types::Offset;
use parking_lot::RwLock;

use crate::epoch_cache::EpochCache;
use crate::recovery::Rot;
use crate::segment::Segment;

/// Segments in the order of their base offsets; the last one takes appends.
pub(crate) type Segments = Vec<Arc<Segment>>;

/// The published state. `log start <= high watermark <= log end`, but for a moment while the owner moves them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segments: ArcSwap<Segments>,
    pub(crate) epochs: RwLock<EpochCache>,
    /// Set by recovery, until the log is cut to it.
    pub(crate) damage: ArcSwapOption<Rot>,
    /// Damaged records that wait for their repair, by their offsets; few, if any.
    holes: RwLock<Vec<Range<Offset>>>,
    /// Where the first of them begins, `i64::MAX` without one.
    first_hole: AtomicI64,
    start: AtomicI64,
    end: AtomicI64,
    high_watermark: AtomicI64,
    /// First offset of the oldest open transaction, `i64::MAX` without one.
    first_undecided: AtomicI64,
    size: AtomicU64,
}

impl Shared {
    pub(crate) fn new(segments: Segments, epochs: EpochCache, start: Offset, end: Offset) -> Arc<Self> {
        let size = segments.iter().map(|segment| segment.used()).sum();
        Arc::new(Self {
            segments: ArcSwap::from_pointee(segments),
            epochs: RwLock::new(epochs),
            damage: ArcSwapOption::empty(),
            holes: RwLock::default(),
            first_hole: AtomicI64::new(Offset::MAX),
            start: AtomicI64::new(start),
            end: AtomicI64::new(end),
            high_watermark: AtomicI64::new(start),
            first_undecided: AtomicI64::new(i64::MAX),
            size: AtomicU64::new(size),
        })
    }

    pub(crate) fn start(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark.load(Ordering::Acquire)
    }

    pub(crate) fn first_undecided(&self) -> Offset {
        self.first_undecided.load(Ordering::Acquire)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(crate) fn set_start(&self, start: Offset) {
        self.start.store(start, Ordering::Release);
        self.high_watermark.fetch_max(start, Ordering::AcqRel);
    }

    /// The log holds nothing and begins at `start`.
    pub(crate) fn reset(&self, start: Offset) {
        self.start.store(start, Ordering::Release);
        self.end.store(start, Ordering::Release);
        self.high_watermark.store(start, Ordering::Release);
    }

    /// Publishes the end; every byte below it is written and its segment listed.
    pub(crate) fn set_end(&self, end: Offset) {
        self.end.store(end, Ordering::Release);
    }

    pub(crate) fn set_high_watermark(&self, to: Offset) {
        self.high_watermark.store(to, Ordering::Release);
    }

    pub(crate) fn set_first_undecided(&self, offset: Option<Offset>) {
        self.first_undecided.store(offset.unwrap_or(i64::MAX), Ordering::Release);
    }

    pub(crate) fn add_size(&self, bytes: u64) {
        self.size.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Refuses reads of `range` from now on.
    pub(crate) fn open_hole(&self, range: Range<Offset>) {
        self.change_holes(|holes| {
            if !holes.contains(&range) {
                holes.push(range);
            }
        });
    }

    /// `range` can be read again, or is the log's no more; a cut may have left a part of the hole.
    pub(crate) fn close_hole(&self, range: Range<Offset>) {
        self.change_holes(|holes| holes.retain(|hole| hole.start != range.start || hole.end > range.end));
    }

    /// The log was cut to `to`: there is no hole above. What was damaged below still is.
    pub(crate) fn cut_holes(&self, to: Offset) {
        self.change_holes(|holes| {
            holes.iter_mut().for_each(|hole| hole.end = hole.end.min(to));
            holes.retain(|hole| hole.start < hole.end);
        });
    }

    pub(crate) fn holes(&self) -> Vec<Range<Offset>> {
        self.holes.read().clone()
    }

    fn change_holes(&self, change: impl FnOnce(&mut Vec<Range<Offset>>)) {
        let mut holes = self.holes.write();
        change(&mut holes);
        let first = holes.iter().map(|hole| hole.start).min();
        self.first_hole.store(first.unwrap_or(Offset::MAX), Ordering::Release);
    }

    /// Where a read from `from` to `upto` must end: in front of the next hole.
    ///
    /// # Errors
    /// The hole that `from` lies in.
    pub(crate) fn readable(&self, from: Offset, upto: Offset) -> Result<Offset, Range<Offset>> {
        if upto <= self.first_hole.load(Ordering::Acquire) {
            return Ok(upto);
        }
        let holes = self.holes.read();
        if let Some(hole) = holes.iter().find(|hole| hole.contains(&from)) {
            return Err(hole.clone());
        }
        let next = holes.iter().map(|hole| hole.start).filter(|start| *start > from).min();
        Ok(next.map_or(upto, |next| next.min(upto)))
    }

    /// Replaces the list of segments.
    pub(crate) fn set_segments(&self, segments: Segments) {
        let size = segments.iter().map(|segment| segment.used()).sum();
        self.size.store(size, Ordering::Relaxed);
        self.segments.store(Arc::new(segments));
    }
}
