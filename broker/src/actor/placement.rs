//! Which arbiter hosts what. It is a function of the name alone, so that nobody has to be asked.

use millrace_node::{Caller, ConnectionId};
use millrace_types::{TopicId, TopicPartition};

/// The number of arbiters, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    arbiters: usize,
}

impl Placement {
    /// For `arbiters` arbiters, 1 or more.
    pub(crate) fn new(arbiters: usize) -> Self {
        Self { arbiters: arbiters.max(1) }
    }

    /// Number of arbiters.
    pub(crate) const fn arbiters(self) -> usize {
        self.arbiters
    }

    /// The arbiter of a partition: the partitions of a topic go round, so that a topic's load is spread evenly.
    pub(crate) fn partition(self, partition: &TopicPartition) -> usize {
        let (high, low) = partition.topic.0.as_u64_pair();
        let first = (high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let at = first.wrapping_add(u64::from(partition.partition.unsigned_abs()));
        // The remainder is below the number of arbiters, hence fits.
        usize::try_from(at % self.arbiters as u64).unwrap_or(0)
    }

    /// The arbiter of a group coordinator: the one of the partition that keeps its state.
    pub(crate) fn group(self, offsets_topic: TopicId, partition: i32) -> usize {
        self.partition(&TopicPartition::new(offsets_topic, partition))
    }

    /// The arbiter of the metadata store.
    pub(crate) const fn metadata(self) -> usize {
        0
    }

    /// The arbiter of the sessions with other brokers: not that of the metadata store, where there are two.
    pub(crate) const fn peers(self) -> usize {
        self.arbiters - 1
    }

    /// The arbiter of a connection, which its number says.
    pub(crate) fn connection(self, id: ConnectionId) -> usize {
        usize::try_from(id.0 % self.arbiters as u64).unwrap_or(0)
    }

    /// The number of the `sequence`-th connection of an arbiter.
    pub(crate) fn connection_id(self, arbiter: usize, sequence: u64) -> ConnectionId {
        ConnectionId(sequence.wrapping_mul(self.arbiters as u64).wrapping_add(arbiter as u64))
    }

    /// The arbiter of a caller. A coordinator calls the partition that keeps its state and is on the same arbiter;
    /// `None` says that there is no topic of offsets, hence no coordinator.
    pub(crate) fn caller(self, caller: Caller, offsets_topic: Option<TopicId>) -> Option<usize> {
        match caller {
            Caller::Connection(id) => Some(self.connection(id)),
            Caller::GroupCoordinator(partition) => offsets_topic.map(|topic| self.group(topic, partition)),
            Caller::Metadata => Some(self.metadata()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partitions_of_a_topic_are_spread_evenly() {
        let topic = TopicId(crate::random::uuid());
        for arbiters in 1..6 {
            let placement = Placement::new(arbiters);
            let mut counts = vec![0; arbiters];
            for partition in 0..60 {
                counts[placement.partition(&TopicPartition::new(topic, partition))] += 1;
            }
            assert!(counts.iter().all(|count| *count == 60 / arbiters), "{counts:?}");
        }
    }

    #[test]
    fn a_connection_is_found_by_its_number() {
        let placement = Placement::new(3);
        for arbiter in 0..3 {
            for sequence in 1..50 {
                assert_eq!(placement.connection(placement.connection_id(arbiter, sequence)), arbiter);
            }
        }
    }
}
