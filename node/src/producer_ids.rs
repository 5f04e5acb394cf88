//! Producer ids without a commit per block: the process start's number in the upper bits, a counter in the lower.

use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::{Incarnation, ProducerId};

/// Bits of the counter: an incarnation can hand out 16,777,216 ids.
const COUNTER_BITS: u32 = 24;
/// First counter that does not fit.
const COUNTER_END: u64 = 1 << COUNTER_BITS;
/// First incarnation that does not fit: a producer id is a positive `i64`.
const INCARNATION_END: u64 = 1 << (63 - COUNTER_BITS);

/// Hands out producer ids that are unique over all process starts of the broker.
///
/// `id = incarnation << 24 | counter`: an incarnation is durable before its process serves anything, so that no two
/// process starts share one and nothing has to be written for an id.
#[derive(Debug)]
pub struct ProducerIds {
    incarnation: Incarnation,
    counter: AtomicU64,
}

impl ProducerIds {
    /// The ids of the process start `incarnation`.
    #[must_use]
    pub const fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, counter: AtomicU64::new(0) }
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
        i64::try_from(self.incarnation << COUNTER_BITS | counter).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_two_incarnations_differ() {
        let (first, second) = (ProducerIds::new(1), ProducerIds::new(2));
        assert_eq!(first.next(), Some(1 << 24));
        assert_eq!(first.next(), Some((1 << 24) + 1));
        assert_eq!(second.next(), Some(2 << 24));
    }

    #[test]
    fn used_up_ids_never_spill_into_the_next_incarnation() {
        let ids = ProducerIds { incarnation: 1, counter: AtomicU64::new(COUNTER_END - 1) };
        assert_eq!(ids.next(), Some((2 << 24) - 1));
        assert_eq!(ids.next(), None);
        assert_eq!(ids.next(), None);
    }

    #[test]
    fn an_incarnation_out_of_range_gives_no_id() {
        assert_eq!(ProducerIds::new(INCARNATION_END).next(), None);
        assert!(ProducerIds::new(INCARNATION_END - 1).next().is_some_and(|id| id > 0));
    }
}
