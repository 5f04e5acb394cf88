//! The group that the members of a run are in, and the epochs of its coordinators.

use millrace_types::{Instant, LeaderEpoch};

use super::Context;

/// The group of all members.
pub const GROUP: &str = "readers";

/// The partition of `__consumer_offsets` that holds [`GROUP`]: by the hash of Java's strings, as in Kafka.
#[must_use]
pub fn group_partition(partitions: u64) -> i32 {
    let hash = GROUP.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    hash.wrapping_abs().max(0) % i32::try_from(partitions).unwrap_or(1).max(1)
}

impl Context<'_> {
    /// The epoch of the coordinator whose answer to a question of `asked` this is, or an earlier one.
    #[must_use]
    pub fn epoch_since(&self, asked: Instant) -> LeaderEpoch {
        let known = self.coordinated.partition_point(|(since, _)| *since <= asked).saturating_sub(1);
        self.coordinated.get(known).map_or(0, |(_, epoch)| *epoch)
    }

    /// The epoch of the coordinator whose answer this is, or a later one.
    #[must_use]
    pub fn epoch_by_now(&self) -> LeaderEpoch {
        self.coordinated.last().map_or(0, |(_, epoch)| *epoch)
    }
}
