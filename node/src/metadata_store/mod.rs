//! The metadata store: one broker's copy of the replicated metadata, and the commands that change it.
//!
//! What is decided, and when it is durable, is the matter of the log (`millrace_metadata::log`); the store hosts it, and
//! makes this broker follow what was decided.

mod event;
mod leaders;
mod orphans;
mod replicas;
mod retiring;
mod spread;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use event::{MetadataEffect, MetadataEvent};
pub use orphans::Orphans;
pub use replicas::{Part, part, target};
pub use store::{MAX_QUEUED, MetadataStore, StoreOptions};

/// How long an answer waits for the other brokers to have applied what it tells of.
pub const SPREAD_WAIT: Duration = Duration::from_secs(1);

/// How long the answer to a command that created partitions waits for their leaders.
pub const LEADER_WAIT: Duration = Duration::from_secs(2);
