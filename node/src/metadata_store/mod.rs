//! The metadata store: one broker's copy of the replicated metadata, and the commands that change it.

mod batch;
mod event;
mod leaders;
mod replicas;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use event::{MetadataEffect, MetadataEvent};
pub use store::{MAX_QUEUED, MetadataStore, StoreOptions};

/// How long the answer to a command that created partitions waits for their leaders.
pub const LEADER_WAIT: Duration = Duration::from_secs(2);
