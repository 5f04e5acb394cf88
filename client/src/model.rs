//! The nouns of the public interface: partitions, records, offsets, and what describes a cluster.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{LeaderEpoch, Offset, Timestamp};

/// A partition of a topic, by the topic's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition, 0 or greater.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A named value that travels with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; it need not be unique.
    pub key: Arc<str>,
    /// The value, or none.
    pub value: Option<Bytes>,
}

/// A record to be produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// The partition; without one the partitioner chooses.
    pub partition: Option<i32>,
    /// Wall-clock time in milliseconds; without one the time of `send`.
    pub timestamp: Option<Timestamp>,
    /// The key; records of one key go to one partition.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Further named values.
    pub headers: Vec<Header>,
}

impl ProducerRecord {
    /// An empty record for `topic`.
    #[must_use]
    pub fn to(topic: impl Into<Arc<str>>) -> Self {
        Self { topic: topic.into(), partition: None, timestamp: None, key: None, value: None, headers: Vec::new() }
    }

    /// The same record with this partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same record with this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The same record with this timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The same record with one header more.
    #[must_use]
    pub fn header(mut self, key: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }
}

/// Where an acknowledged record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition.
    pub partition: i32,
    /// Offset of the record; -1 with [`Acks::None`](crate::Acks::None).
    pub offset: Offset,
    /// The record's timestamp in milliseconds: its own, or the broker's under LogAppendTime.
    pub timestamp: Timestamp,
}

/// A record as consumed. Key, value and header values are slices of the fetched buffer when it was not compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition.
    pub partition: i32,
    /// Offset of the record.
    pub offset: Offset,
    /// Leader epoch of its batch, -1 when unknown.
    pub leader_epoch: LeaderEpoch,
    /// Wall-clock time in milliseconds.
    pub timestamp: Timestamp,
    /// The key, or none.
    pub key: Option<Bytes>,
    /// The value, or none.
    pub value: Option<Bytes>,
    /// The headers, in the order of the record.
    pub headers: Vec<Header>,
}

/// An offset to commit: that of the next record to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Offset of the next record to read.
    pub offset: Offset,
    /// Leader epoch of the record before it, -1 when unknown (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// The application's note.
    pub metadata: String,
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> Self {
        Self { offset, leader_epoch: -1, metadata: String::new() }
    }
}

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The high watermark, or the last stable offset when reading committed records.
    Latest,
    /// The first record whose timestamp is this many milliseconds since the Unix epoch or later.
    Timestamp(Timestamp),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

impl OffsetSpec {
    /// The timestamp that stands for it in ListOffsets.
    #[must_use]
    pub const fn wire(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::Timestamp(timestamp) => timestamp,
            Self::MaxTimestamp => -3,
        }
    }
}

/// An offset found by [`OffsetSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset, -1 when no record fits.
    pub offset: Offset,
    /// Timestamp of the record in milliseconds, -1 when unknown.
    pub timestamp: Timestamp,
    /// Leader epoch of the record, -1 when unknown.
    pub leader_epoch: LeaderEpoch,
}

/// A broker as the metadata names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// Its advertised host.
    pub host: String,
    /// Its advertised port.
    pub port: u16,
    /// Its rack, if it names one.
    pub rack: Option<String>,
}

/// A partition as the metadata names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// Number of the leader, -1 when there is none.
    pub leader: i32,
    /// The leader epoch, -1 when unknown.
    pub leader_epoch: LeaderEpoch,
    /// Numbers of all replicas.
    pub replicas: Vec<i32>,
    /// Numbers of the in-sync replicas.
    pub in_sync: Vec<i32>,
}
