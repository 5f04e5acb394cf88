//! The deterministic half of a broker: the cores composed, one file per Kafka API key, and the contract with the host.
//!
//! No actix, no socket, no clock: the broker hosts these cores in actors, the simulator in a scheduler.

#![forbid(unsafe_code)]

pub mod api;
mod call;
pub mod connection;
mod core;
mod deadline;
mod directory;
mod fetch_session;
pub mod group;
pub mod leaders;
pub mod metadata_store;
pub mod peer;
pub mod peers;
mod producer_ids;
pub mod replica;
mod settings;
mod shared;
mod standing;
#[cfg(test)]
mod testing;
pub mod wire;
pub mod witness;

pub use crate::core::Core;
pub use call::{Acks, Answer, Call, Caller, ConnectionId, PartitionAnswer, PartitionOp, ReplicaDescription, ReplyTo};
pub use directory::{Directory, Leader, PartitionView};
pub use fetch_session::FetchSessions;
pub use producer_ids::ProducerIds;
pub use settings::{DiskSpace, GroupSettings, Limits, OffsetsSettings, Replication, Settings, log_config};
pub use shared::Shared;
pub use standing::Standing;
