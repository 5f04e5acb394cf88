//! Calls between cores: who asks, what is asked of a partition, and the answers.

use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_metadata::{Command, CommandResult};
use millrace_storage::{AppendError, ValidBatches};
use millrace_types::{BrokerId, ErrorCode, Instant, LeaderEpoch, Offset, Timestamp, TopicPartition};

/// Number of a connection, unique in a broker's process; the broker's own local clients have one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A core that calls others and gets their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// The core of a client connection.
    Connection(ConnectionId),
    /// The coordinator that keeps its state in this partition of `__consumer_offsets`.
    GroupCoordinator(i32),
    /// The metadata store.
    Metadata,
}

/// Where an answer goes. The caller chose `token` and finds its waiting request by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The core that asked.
    pub caller: Caller,
    /// The caller's own number for the call.
    pub token: u64,
}

/// A call of one core to another.
#[derive(Debug)]
pub enum Call {
    /// To the replica of a partition on this broker.
    Partition(TopicPartition, PartitionOp),
    /// To the coordinator hosted by this partition of `__consumer_offsets`.
    Group(i32, GroupRequest),
    /// To the metadata store.
    Metadata(Command),
    /// To the table of leaders: have a partition's leadership handed over, whichever broker has it.
    Elect {
        /// The partition.
        partition: TopicPartition,
        /// Who is to lead.
        to: BrokerId,
        /// When to give up with `REQUEST_TIMED_OUT`.
        deadline: Instant,
    },
}

/// The answer to a [`Call`].
#[derive(Debug)]
pub enum Answer {
    /// Of a partition.
    Partition(PartitionAnswer),
    /// Of a group coordinator.
    Group(GroupResponse),
    /// Of the metadata store.
    Metadata(CommandResult),
    /// What came of an election: no error when the wanted broker leads.
    Elected(ErrorCode),
    /// The callee is not hosted here, has stopped, or its queue is full: the code says which.
    Gone(ErrorCode),
}

/// The acks a producer asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// 0: the client expects no response at all.
    None,
    /// 1: the leader's own log, durable as the topic's setting says.
    Leader,
    /// -1: every in-sync replica.
    All,
}

/// What can be asked of a partition's replica.
#[derive(Debug)]
pub enum PartitionOp {
    /// Append producer batches; answered when `acks` is met or `deadline` has passed.
    Produce {
        /// Batches whose checksum and format the connection has checked.
        batches: ValidBatches,
        /// How many replicas must have them.
        acks: Acks,
        /// When to give up waiting with `REQUEST_TIMED_OUT`.
        deadline: Instant,
    },
    /// Answer once, with [`PartitionAnswer::Advanced`], when the high watermark is above `beyond` (at once if it is).
    /// The registration stays until it fires or is cancelled.
    Watch {
        /// The high watermark the caller has seen.
        beyond: Offset,
    },
    /// Move the log start offset up (`DeleteRecords`); `-1` means to the high watermark.
    DeleteRecords {
        /// The first offset to keep.
        before: Offset,
        /// When to give up.
        deadline: Instant,
    },
    /// Numbers about the replica: sizes, producers.
    Describe,
}

/// The answer to a [`PartitionOp`].
#[derive(Debug)]
pub enum PartitionAnswer {
    /// The batches are in the log, as durable as was asked for.
    Produced {
        /// Offset of the first record.
        base_offset: Offset,
        /// The time the broker stamped, `-1` with CreateTime.
        log_append_time: Timestamp,
        /// The partition's log start offset.
        log_start: Offset,
    },
    /// The batches were refused; nothing of them is in the log unless the code says so.
    Refused {
        /// Why.
        error: AppendError,
        /// The partition's log start offset.
        log_start: Offset,
    },
    /// The high watermark went beyond the watched one.
    Advanced,
    /// The log start offset after a `DeleteRecords`.
    Deleted {
        /// The low watermark.
        low_watermark: Offset,
    },
    /// Numbers about the replica.
    Described(ReplicaDescription),
    /// The operation failed.
    Failed(ErrorCode),
}

/// Numbers about one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// Bytes of record batches in the log, not what is preallocated.
    pub size_bytes: u64,
    /// The current leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The log end offset.
    pub log_end: Offset,
}
