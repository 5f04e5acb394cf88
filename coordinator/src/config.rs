//! What a shard is allowed and how long it waits: Kafka's `group.*` and `offsets.*` keys, and bounds of our own.

use std::time::Duration;

/// Settings of a [`GroupShard`](crate::GroupShard).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members (KIP-134).
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members of one group.
    pub max_group_size: usize,
    /// `offset.metadata.max.bytes`: the metadata string of one committed offset.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`: how long offsets outlive the last member, or the last commit of a group that has
    /// no members at all (KIP-211).
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// Largest record, key and value, that the partition of `__consumer_offsets` takes in one batch.
    pub max_record_bytes: usize,
    /// Groups of one shard.
    pub max_groups: usize,
    /// Members of all groups of one shard, those that only have been given a member id included.
    pub max_members: usize,
    /// Committed offsets of all groups of one shard.
    pub max_offsets: usize,
    /// Bytes of the names, protocol metadata and assignments of all members of one shard.
    pub max_member_bytes: usize,
    /// Bytes of the records that hold the live state of one shard; commits that would exceed them are refused.
    pub max_live_bytes: usize,
}

impl Default for GroupConfig {
    /// The defaults of Apache Kafka 4. The bounds of our own are for one of 50 shards: what a hostile client can fill
    /// is a few gigabytes over all of them, what Kafka's largest clusters are known to hold is far below.
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_millis(6_000),
            max_session_timeout: Duration::from_millis(1_800_000),
            initial_rebalance_delay: Duration::from_millis(3_000),
            max_group_size: usize::MAX,
            offset_metadata_max_bytes: 4_096,
            offsets_retention: Duration::from_secs(10_080 * 60),
            offsets_retention_check_interval: Duration::from_millis(600_000),
            max_record_bytes: 1_000_000,
            max_groups: 20_000,
            max_members: 20_000,
            max_offsets: 200_000,
            max_member_bytes: 32 << 20,
            max_live_bytes: 64 << 20,
        }
    }
}
