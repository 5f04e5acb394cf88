//! Producer ids without a commit per block: the numbers of broker and process start in the upper bits, a counter in the lower.

use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::{BrokerId, Incarnation, ProducerId};

/// Bits of the counter: an incarnation can hand out 16,777,216 ids.
const COUNTER_BITS: u32 = 24;
/// First counter that does not fit.
const COUNTER_END: u64 = 1 << COUNTER_BITS;
/// Bits of the incarnation: a data directory can be started 1,048,576 times.
const INCARNATION_BITS: u32 = 20;
/// First incarnation that does not fit.
const INCARNATION_END: u64 = 1 << INCARNATION_BITS;
/// Bits of the broker: what is left of a positive `i64`. A cluster has no broker with a number beyond.
const BROKER_BITS: u32 = 63 - INCARNATION_BITS - COUNTER_BITS;

/// Hands out producer ids that are unique over all process starts of all brokers.
///
/// `id = broker << 44 | incarnation << 24 | counter`: an incarnation is durable before its process serves anything, so that
/// no two process starts share one and nothing has to be written for an id.
#[derive(Debug)]
pub struct ProducerIds {
    broker: u64,
    incarnation: Incarnation,
    counter: AtomicU64,
}

impl ProducerIds {
    /// The highest number of a broker in a cluster.
    pub const MAX_BROKER: i32 = (1 << BROKER_BITS) - 1;

    /// The ids of the process start `incarnation` of `broker`. A broker that is alone may have any number.
    #[must_use]
    pub fn new(broker: BrokerId, incarnation: Incarnation) -> Self {
        let broker = u64::from((broker.0 & Self::MAX_BROKER).unsigned_abs());
        Self { broker, incarnation, counter: AtomicU64::new(0) }
    }

    /// The next id; `None` when the ids of this incarnation are used up, until the broker is started again.
    #[must_use]
    pub fn next(&self) -> Option<ProducerId> {
        if self.incarnation >= INCARNATION_END {
            return None;
        }
        let counter = self
            .counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counter| {
                (counter < COUNTER_END).then_some(counter + 1)
            })
            .ok()?;
        let start = self.broker << INCARNATION_BITS | self.incarnation;
        i64::try_from(start << COUNTER_BITS | counter).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_two_incarnations_differ() {
        let (first, second) = (ProducerIds::new(BrokerId(0), 1), ProducerIds::new(BrokerId(0), 2));
        assert_eq!(first.next(), Some(1 << 24));
        assert_eq!(first.next(), Some((1 << 24) + 1));
        assert_eq!(second.next(), Some(2 << 24));
    }

    #[test]
    fn ids_of_two_brokers_differ_whatever_their_starts() {
        let last = ProducerIds {
            counter: AtomicU64::new(COUNTER_END - 1),
            ..ProducerIds::new(BrokerId(1), INCARNATION_END - 1)
        };
        let next = ProducerIds::new(BrokerId(2), 0);
        assert_eq!(last.next().map(|id| id + 1), next.next(), "one begins where the other ends");
        let highest = ProducerIds { broker: (1 << BROKER_BITS) - 1, ..last };
        highest.counter.store(COUNTER_END - 1, Ordering::Relaxed);
        assert_eq!(highest.next(), Some(i64::MAX));
    }

    #[test]
    fn used_up_ids_never_spill_into_the_next_incarnation() {
        let ids = ProducerIds { broker: 0, incarnation: 1, counter: AtomicU64::new(COUNTER_END - 1) };
        assert_eq!(ids.next(), Some((2 << 24) - 1));
        assert_eq!(ids.next(), None);
        assert_eq!(ids.next(), None);
    }

    #[test]
    fn an_incarnation_out_of_range_gives_no_id() {
        assert_eq!(ProducerIds::new(BrokerId(1), INCARNATION_END).next(), None);
        assert!(ProducerIds::new(BrokerId(1), INCARNATION_END - 1).next().is_some_and(|id| id > 0));
    }
}
