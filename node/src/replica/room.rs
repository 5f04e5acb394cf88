//! How much more may be queued for each other broker: thousands of partitions that catch up at once would fill the queue
//! to a broker, and a queue that is full is given up with all that is in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_types::BrokerId;

/// Bytes queued for a broker above which followers there that are not in sync wait for their records: a part of what a
/// connection's queue takes, so that followers in sync find room. Those wait above twice as many: with one more answer, of the
/// longest batch, that is still less than a queue takes.
pub const ROOM_BOUND: usize = 64 << 20;

/// What is queued for each other broker. Replicas ask it, the hosts of replicas and sessions keep it.
#[derive(Debug, Default)]
pub struct Room {
    brokers: BTreeMap<BrokerId, Queued>,
    bound: usize,
}

#[derive(Debug, Default)]
struct Queued {
    /// On the way from replicas to the sessions.
    leaving: AtomicUsize,
    /// In the queues of the sessions.
    queued: AtomicUsize,
}

impl Room {
    /// Room of `bound` bytes for each of `brokers`. For others there is always room: what is sent to them is lost.
    #[must_use]
    pub fn new(brokers: impl IntoIterator<Item = BrokerId>, bound: usize) -> Self {
        Self { brokers: brokers.into_iter().map(|broker| (broker, Queued::default())).collect(), bound }
    }

    /// Whether followers of the broker have to wait, those in sync or the others.
    #[must_use]
    pub fn is_full(&self, broker: BrokerId, in_sync: bool) -> bool {
        let bound = if in_sync { self.bound.saturating_mul(2) } else { self.bound };
        self.brokers
            .get(&broker)
            .is_some_and(|found| found.leaving.load(Ordering::Relaxed) + found.queued.load(Ordering::Relaxed) >= bound)
    }

    /// A replica has sent records, which are on their way to the sessions.
    pub fn leave(&self, broker: BrokerId, bytes: usize) {
        if let Some(found) = self.brokers.get(&broker) {
            found.leaving.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The sessions have taken what [`Room::leave`] counted.
    pub fn arrive(&self, broker: BrokerId, bytes: usize) {
        if let Some(found) = self.brokers.get(&broker) {
            found.leaving.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// So many bytes are in the queues of the sessions with the broker.
    pub fn set_queued(&self, broker: BrokerId, bytes: usize) {
        if let Some(found) = self.brokers.get(&broker) {
            found.queued.store(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_it_is_in_the_queue() {
        let (near, far) = (BrokerId(1), BrokerId(2));
        let room = Room::new([near, far], 100);
        room.leave(near, 60);
        room.set_queued(near, 39);
        assert!(!room.is_full(near, false));
        room.leave(near, 1);
        assert!(room.is_full(near, false) && !room.is_full(far, false), "each broker has its own");
        room.arrive(near, 61);
        assert!(!room.is_full(near, false));
        room.set_queued(near, 100);
        assert!(room.is_full(near, false) && !room.is_full(near, true), "who is in sync waits later");
        room.set_queued(near, 200);
        assert!(room.is_full(near, true));
        assert!(
            !room.is_full(BrokerId(9), false) && !Room::default().is_full(near, false),
            "who is not known is never waited for"
        );
    }
}
