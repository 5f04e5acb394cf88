//! Classic consumer groups as a deterministic state machine: request in, records and responses out.
//!
//! One [`GroupShard`] holds the groups whose state is kept in one partition of `__consumer_offsets`. It has no clock,
//! thread, socket or random source. A request yields an [`Outcome`]: records to append and replies; a start (or a
//! failed append) builds the same state again by feeding the partition's records to [`GroupShard::replay`].
//!
//! # The host's duties, in order
//!
//! 1. Feed every record of the partition's log to `replay`, then call [`GroupShard::loaded`] once.
//! 2. After each `handle` and `on_timer`, append the outcome's records in their order. Send the outcome's replies only
//!    when these and all records of earlier outcomes are committed: a reply may show what a record not yet committed
//!    says.
//! 3. When an append fails, drop the shard, answer whatever still waits with an error, and begin again at 1.
//! 4. Call `on_timer` when [`GroupShard::next_deadline`] has come. Early calls do no harm.

#![forbid(unsafe_code)]

mod config;
mod group;
mod member_id;
mod outcome;
pub mod record;
mod request;
mod response;
mod shard;
mod timers;

pub use config::GroupConfig;
pub use group::GroupState;
pub use outcome::{Outcome, Record};
pub use request::{
    CommitOffset, CommitOffsets, CommitTopic, DeleteOffsets, FetchOffsets, GroupRequest, Heartbeat, JoinGroup,
    JoinProtocol, LeaveGroup, LeavingMember, SyncGroup, TopicPartitions,
};
pub use response::{
    CommittedTopic, DescribedGroup, DescribedMember, FetchedOffset, FetchedOffsets, FetchedTopic, GroupResponse,
    JoinedGroup, JoinedMember, LeftGroup, LeftMember, ListedGroup, SyncedGroup,
};
pub use shard::{CheckpointCursor, GroupShard, ReplayError};
