//! Producer ids without a commit per block: the numbers of broker and start in the upper bits, a counter in the lower.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::{BrokerId, ErrorCode, ProducerId};

/// Bits of the counter: a start can hand out 16,777,216 ids.
const COUNTER_BITS: u32 = 24;
/// First counter that does not fit.
const COUNTER_END: u64 = 1 << COUNTER_BITS;
/// Bits of the start: a broker can be started 1,048,576 times.
const START_BITS: u32 = 20;
/// First start that does not fit.
const START_END: u64 = 1 << START_BITS;
/// Bits of the broker: what is left of a positive `i64`. A cluster has no broker with a number beyond.
const BROKER_BITS: u32 = 63 - START_BITS - COUNTER_BITS;

/// Hands out producer ids that are unique over all starts of all brokers.
///
/// `id = broker << 44 | start << 24 | counter`. The metadata log numbers the starts of a broker over all its directories, so
/// that no two share a number, also when a disk was wiped; nothing has to be written for an id.
#[derive(Debug)]
pub struct ProducerIds {
    broker: u64,
    start: OnceLock<u64>,
    counter: AtomicU64,
}

impl ProducerIds {
    /// The highest number of a broker in a cluster.
    pub const MAX_BROKER: i32 = (1 << BROKER_BITS) - 1;

    /// The ids of `broker`, of which there are none before [`ProducerIds::begin`]. A broker that is alone may have any number.
    #[must_use]
    pub fn new(broker: BrokerId) -> Self {
        let broker = u64::from((broker.0 & Self::MAX_BROKER).unsigned_abs());
        Self { broker, start: OnceLock::new(), counter: AtomicU64::new(0) }
    }

    /// This start is registered under this number. A process has one: a second call changes nothing.
    pub fn begin(&self, start: u64) {
        let _known = self.start.set(start);
    }

    /// The next id.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` before the start is registered, which clients retry; `COORDINATOR_NOT_AVAILABLE` when its
    /// ids are used up, until the broker is started again.
    pub fn next(&self) -> Result<ProducerId, ErrorCode> {
        let start = *self.start.get().ok_or(ErrorCode::CoordinatorLoadInProgress)?;
        if start >= START_END {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let counter = self
            .counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counter| {
                (counter < COUNTER_END).then_some(counter + 1)
            })
            .map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        let start = self.broker << START_BITS | start;
        i64::try_from(start << COUNTER_BITS | counter).map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(broker: i32, start: u64, counter: u64) -> ProducerIds {
        let ids = ProducerIds { counter: AtomicU64::new(counter), ..ProducerIds::new(BrokerId(broker)) };
        ids.begin(start);
        ids
    }

    #[test]
    fn there_is_no_id_before_the_start_is_registered() {
        let ids = ProducerIds::new(BrokerId(0));
        assert_eq!(ids.next(), Err(ErrorCode::CoordinatorLoadInProgress));
        ids.begin(3);
        ids.begin(4);
        assert_eq!(ids.next(), Ok(3 << 24));
    }

    #[test]
    fn ids_of_two_starts_differ() {
        let (first, second) = (ids(0, 1, 0), ids(0, 2, 0));
        assert_eq!(first.next(), Ok(1 << 24));
        assert_eq!(first.next(), Ok((1 << 24) + 1));
        assert_eq!(second.next(), Ok(2 << 24));
    }

    #[test]
    fn ids_of_two_brokers_differ_whatever_their_starts() {
        let last = ids(1, START_END - 1, COUNTER_END - 1);
        assert_eq!(last.next().map(|id| id + 1), ids(2, 0, 0).next(), "one begins where the other ends");
        assert_eq!(ids(ProducerIds::MAX_BROKER, START_END - 1, COUNTER_END - 1).next(), Ok(i64::MAX));
    }

    #[test]
    fn used_up_ids_never_spill_into_the_next_start() {
        let ids = ids(0, 1, COUNTER_END - 1);
        assert_eq!(ids.next(), Ok((2 << 24) - 1));
        assert_eq!(ids.next(), Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(ids.next(), Err(ErrorCode::CoordinatorNotAvailable));
    }

    #[test]
    fn a_start_out_of_range_gives_no_id() {
        assert_eq!(ids(1, START_END, 0).next(), Err(ErrorCode::CoordinatorNotAvailable));
        assert!(ids(1, START_END - 1, 0).next().is_ok_and(|id| id > 0));
    }
}
