//! Which connection carries a partition.

use millrace_types::TopicPartition;

/// The most shards that carry partitions.
pub const MAX_SHARDS: u8 = 64;
/// The shard whose connection stands for the session. It carries everything but records: they never stand in the way of a vote.
pub(crate) const CONTROL: u8 = 0;

/// The shard that carries a partition's records, from 1 to `shards`: the same at both ends, in every release. FNV-1a, 64 bits,
/// of the topic id and the partition, big-endian, modulo the number of shards, and 1.
#[must_use]
pub fn shard_of(partition: TopicPartition, shards: u8) -> u8 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let number = partition.partition.to_be_bytes();
    let bytes = partition.topic.0.as_bytes().iter().chain(&number);
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    u8::try_from(1 + hash % u64::from(shards.max(1))).unwrap_or(MAX_SHARDS)
}

/// A shard that has lost messages, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The shard.
    pub shard: u8,
    /// Shards of the session that carry partitions.
    pub shards: u8,
}

impl Lost {
    /// Whether a message of the partition may be among what is lost. The catch-up shard carries every partition.
    #[must_use]
    pub fn covers(self, partition: TopicPartition) -> bool {
        self.shard > self.shards || shard_of(partition, self.shards) == self.shard
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::TopicId;
    use uuid::Uuid;

    use super::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new(TopicId(Uuid::from_u128(0x70)), partition)
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        let shards: Vec<u8> = (0..12).map(|partition| shard_of(tp(partition), 5)).collect();
        assert_eq!(shards, [2, 1, 5, 4, 3, 2, 1, 5, 5, 4, 3, 2]);
    }

    #[test]
    fn partitions_spread_evenly() {
        let mut load = [0; 4];
        (0..1_000).for_each(|partition| load[usize::from(shard_of(tp(partition), 4)) - 1] += 1);
        assert!(load.iter().all(|count| (200..300).contains(count)), "{load:?}");
    }

    #[test]
    fn what_the_catch_up_shard_loses_may_be_of_any_partition() {
        let shards = 3;
        assert!((0..50).all(|partition| Lost { shard: 4, shards }.covers(tp(partition))));
        assert!((0..50).all(|partition| Lost { shard: shard_of(tp(partition), 3), shards }.covers(tp(partition))));
        assert!(!Lost { shard: shard_of(tp(1), 3) % 3 + 1, shards }.covers(tp(1)));
    }
}
