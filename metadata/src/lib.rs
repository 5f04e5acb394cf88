//! The cluster's metadata as a replicated state machine: brokers, topics, their placement and their configuration.
//!
//! A [`Command`] asks for a change. [`plan`] checks it against an [`Image`] by Kafka's rules and yields the
//! [`Entry`] to log and the [`CommandResult`] to answer once that entry is durable. [`apply`] is the only way an image
//! changes: `S_e = apply(S_{e-1}, entry_e)`, a pure function without clock, random source or map order, so every broker
//! that applies the same entries holds the same image, and the hash chain `H_e = h(H_{e-1}, entry_e)` proves it.
//!
//! The crate does no I/O. Its host decides where entries are kept and who agrees on them.

#![forbid(unsafe_code)]

mod apply;
mod broker;
mod chain;
mod command;
pub mod config;
mod entry;
mod identity;
mod image;
pub mod log;
pub mod mutation;
mod name;
mod named;
mod outcome;
mod placement;
mod plan;
mod reassignment;
mod record;
mod shards;
mod topic;
mod topic_ids;

pub use apply::{ApplyError, apply, apply_encoded};
pub use broker::{Broker, BrokerRole, Endpoint};
pub use chain::ChainHash;
pub use command::{
    AlterReassignments, Command, ConfigOperation, ConfigOperationKind, ConfigResource, CreatePartitions, CreateTopics,
    DeleteTopics, FinishReassignment, NewPartitions, NewTopic, ReassignPartition, ResourceChange, SetConfigs, TopicRef,
};
pub use entry::{Change, Entry, EntryError, NewAssignments, TopicRecord};
pub use identity::{Acceptor, Proposal, Proposer};
pub use image::{ClientMetrics, Image, Local};
pub use name::{CONSUMER_OFFSETS, check_topic_name, is_internal, is_reserved};
pub use outcome::{CommandResult, CreatedTopic, DeletedTopic, ItemError, Outcome};
pub use placement::{Placement, place};
pub use plan::{Planned, plan};
pub use reassignment::{PartitionTarget, Reassignment, TargetReached, TopicTargets};
pub use record::{Replay, ReplayError, entry_record, snapshot_records};
pub use topic::{Assignment, Topic};
pub use topic_ids::TopicIds;
