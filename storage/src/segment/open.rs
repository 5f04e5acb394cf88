//! The bound on open segments: files are opened on demand and closed again when many others were used since.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Segment;

/// Segments looked at in one go at most.
const TRIM_MAX: usize = 64;

/// Segments of all logs of a disk whose file is open, at most as many as the capacity, but for those with unflushed
/// bytes. Clones share one bound. Readers that hold bytes of a closed segment keep its mapping until they drop them.
#[derive(Debug, Clone)]
pub struct OpenSegments {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: usize,
    /// In the order they were opened; a segment that was used since it was last looked at gets another round.
    open: Mutex<VecDeque<Weak<Segment>>>,
}

impl Default for OpenSegments {
    /// Room for 1024 open segments.
    fn default() -> Self {
        Self::new(1024)
    }
}

impl OpenSegments {
    /// A bound of `capacity` open segments, 1 at least.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { shared: Arc::new(Shared { capacity: capacity.max(1), open: Mutex::default() }) }
    }

    /// How many segments are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.open.lock().iter().filter(|weak| weak.strong_count() > 0).count()
    }

    /// The bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Notes that `segment` was opened and closes others beyond the capacity.
    pub(super) fn opened(&self, segment: &Arc<Segment>) {
        let mut open = self.shared.open.lock();
        open.push_back(Arc::downgrade(segment));
        self.trim(&mut open, Some(segment));
    }

    /// Closes segments beyond the capacity; called when one has nothing unflushed any more.
    pub(super) fn unpinned(&self) {
        self.trim(&mut self.shared.open.lock(), None);
    }

    /// Looks at a bounded number of segments, so that a caller pays little even while many cannot be closed.
    fn trim(&self, open: &mut VecDeque<Weak<Segment>>, keep: Option<&Arc<Segment>>) {
        // Two rounds at most: the first takes the marks of use away, the second finds those without.
        for _ in 0..(open.len() * 2).min(TRIM_MAX) {
            if open.len() <= self.shared.capacity {
                break;
            }
            let Some(weak) = open.pop_front() else { break };
            let Some(candidate) = weak.upgrade() else { continue };
            if keep.is_some_and(|keep| Arc::ptr_eq(&candidate, keep)) || !candidate.close_if_idle() {
                open.push_back(weak);
            }
        }
    }
}

impl Segment {
    /// Closes the file unless it was used lately, holds unflushed bytes, or is being opened. Says whether it is closed.
    fn close_if_idle(&self) -> bool {
        if self.touched.swap(false, Ordering::Relaxed) || self.pinned.load(Ordering::Acquire) {
            return false;
        }
        let Some(mut slot) = self.slot.try_lock() else { return false };
        slot.take();
        true
    }
}
