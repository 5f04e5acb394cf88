//! What is told of a producer.

use millrace_types::{Offset, ProducerId, Timestamp};

/// What the log remembers of an idempotent producer (`DescribeProducers`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSummary {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its latest epoch.
    pub producer_epoch: i16,
    /// The last sequence, -1 without one.
    pub last_sequence: i32,
    /// The timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// The epoch of the coordinator that ended its last transaction, -1 without one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, -1 without one.
    pub current_txn_start: Offset,
}
