//! Identifiers of brokers, topics, partitions and producers.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Position of a record in a partition, counted in records from 0. Negative values are sentinels of the wire.
pub type Offset = i64;

/// Number of a leadership of one partition: it grows by at least one with each change of leader (Raft's term).
/// The first leader of a partition has epoch 1 or greater; `-1` on the wire means unknown.
pub type LeaderEpoch = i32;

/// Identity of an idempotent producer (KIP-98).
pub type ProducerId = i64;

/// Number of the process start of a broker's directory; it grows by one at each start.
pub type Incarnation = u64;

/// Producer id of a batch whose producer is not idempotent.
pub const NO_PRODUCER_ID: ProducerId = -1;

/// Sequence number of a batch whose producer is not idempotent.
pub const NO_SEQUENCE: i32 = -1;

/// Number of a broker, unique in its cluster, 0 or greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BrokerId(pub i32);

/// Identity of one data directory: drawn at random when the directory is made, so that a broker with a wiped disk is
/// not taken for the one that voted before (KIP-858, KIP-853).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DirectoryId(pub Uuid);

/// Identity of a topic, never used twice, also not by a topic created again under the same name (KIP-516).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub Uuid);

/// One partition of a topic; everything in a broker is keyed by it, never by a topic's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// Number of the partition in its topic, 0 or greater.
    pub partition: i32,
}

impl DirectoryId {
    /// The directory with this number; for hosts that draw it, and for tests.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    #[must_use]
    pub const fn new(topic: TopicId, partition: i32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
