//! Requests that wait for an offset: what was appended for the high watermark, deletions for the log start offset of others.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::{Instant, Offset, Timestamp};

use crate::call::ReplyTo;

/// The most requests that wait.
const MAX_WAITING: usize = 20_000;
/// The most bytes of record batches that wait to be acknowledged: beyond it the disk does not keep up.
const MAX_BYTES: usize = 256 << 20;

/// A request that waits for an offset to reach `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) from: ReplyTo,
    pub(super) base_offset: Offset,
    /// The offset behind its last record.
    pub(super) end: Offset,
    pub(super) log_append_time: Timestamp,
    /// Bytes of its batch.
    pub(super) bytes: usize,
    pub(super) deadline: Instant,
}

impl Waiting {
    /// A deletion up to `start`.
    pub(super) const fn for_deletion(from: ReplyTo, start: Offset, deadline: Instant) -> Self {
        Self { from, base_offset: start, end: start, log_append_time: -1, bytes: 0, deadline }
    }
}

/// Place in the purgatory: by offset, then by arrival. A duplicate waits at the offset of the batch it repeats.
type Place = (Offset, u64);

/// The requests that wait, in the order of the offsets they wait for.
///
/// Invariant: `bytes` is the sum over `waiting`, and `deadlines` holds every place with a deadline that can come.
#[derive(Debug, Default)]
pub(super) struct Purgatory {
    waiting: BTreeMap<Place, Waiting>,
    deadlines: BTreeSet<(Instant, Place)>,
    bytes: usize,
    arrivals: u64,
}

impl Purgatory {
    /// Whether one more request finds no room.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.bytes >= MAX_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, request: Waiting) {
        let place = (request.end, self.arrivals);
        self.arrivals += 1;
        self.bytes += request.bytes;
        if request.deadline < Instant::NEVER {
            self.deadlines.insert((request.deadline, place));
        }
        self.waiting.insert(place, request);
    }

    /// Takes the next request whose records are below `high_watermark`.
    pub(super) fn release(&mut self, high_watermark: Offset) -> Option<Waiting> {
        let (place, _) = self.waiting.first_key_value()?;
        if place.0 > high_watermark {
            return None;
        }
        let place = *place;
        self.remove(place)
    }

    /// Takes the next request whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Waiting> {
        let (deadline, place) = *self.deadlines.first()?;
        if deadline > now { None } else { self.remove(place) }
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waiting> {
        self.deadlines.clear();
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_values()
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Instant {
        self.deadlines.first().map_or(Instant::NEVER, |(deadline, _)| *deadline)
    }

    /// The lowest offset that is waited for.
    pub(super) fn first_end(&self) -> Option<Offset> {
        self.waiting.first_key_value().map(|(place, _)| place.0)
    }

    fn remove(&mut self, place: Place) -> Option<Waiting> {
        let request = self.waiting.remove(&place)?;
        self.deadlines.remove(&(request.deadline, place));
        self.bytes -= request.bytes;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Caller, ConnectionId};

    fn waiting(token: u64, end: Offset, deadline: u64) -> Waiting {
        let from = ReplyTo { caller: Caller::Connection(ConnectionId(1)), token };
        let deadline = if deadline == 0 { Instant::NEVER } else { Instant::from_micros(deadline) };
        Waiting { from, base_offset: end - 1, end, log_append_time: -1, bytes: 100, deadline }
    }

    #[test]
    fn requests_leave_in_the_order_of_their_offsets() {
        let mut purgatory = Purgatory::default();
        for (token, end) in [(1, 5), (2, 9), (3, 5), (4, 2)] {
            purgatory.push(waiting(token, end, 0));
        }
        let mut order = Vec::new();
        while let Some(request) = purgatory.release(8) {
            order.push(request.from.token);
        }
        assert_eq!(order, [4, 1, 3]);
        assert_eq!(purgatory.first_end(), Some(9));
    }

    #[test]
    fn deadlines_take_requests_out() {
        let mut purgatory = Purgatory::default();
        purgatory.push(waiting(1, 5, 200));
        purgatory.push(waiting(2, 6, 100));
        purgatory.push(waiting(3, 7, 0));
        assert_eq!(purgatory.deadline(), Instant::from_micros(100));
        assert_eq!(purgatory.expire(Instant::from_micros(99)), None);
        assert_eq!(purgatory.expire(Instant::from_micros(100)).map(|request| request.from.token), Some(2));
        assert_eq!(purgatory.deadline(), Instant::from_micros(200));
        assert_eq!(purgatory.release(7).map(|request| request.from.token), Some(1));
        assert_eq!(purgatory.deadline(), Instant::NEVER);
        assert!(!purgatory.is_empty());
        assert_eq!(purgatory.take().count(), 1);
        assert!(purgatory.is_empty());
    }

    #[test]
    fn it_fills_up_by_bytes_and_by_number() {
        let mut purgatory = Purgatory::default();
        purgatory.push(Waiting { bytes: MAX_BYTES, ..waiting(1, 5, 0) });
        assert!(purgatory.is_full());
        assert!(purgatory.release(5).is_some());
        assert!(!purgatory.is_full());
        for token in 0..MAX_WAITING as u64 {
            purgatory.push(Waiting { bytes: 0, ..waiting(token, 5, 0) });
        }
        assert!(purgatory.is_full());
    }
}
