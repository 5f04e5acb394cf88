//! The coordinator of the groups whose state is in one partition of `__consumer_offsets`.
//!
//! It hosts a [`GroupShard`](millrace_coordinator::GroupShard) and owns the partition's log: it loads the shard from it,
//! appends the shard's records, and lets replies go when what they promise is committed. After a failed append it does
//! not know what the log holds; it turns everyone away and loads again.
//!
//! ```text
//! Stopped --Start--> Waiting --this broker leads--> Loading --log replayed, epoch's start committed--> Serving
//!                       ^                              |                                               |   |
//!                       +---- epoch over --------------+------------------ epoch over, append failed --+  Stop
//!                                                                                                          v
//!                                                               Stopped <--append answered-- Stopping <----+
//! ```

mod checkpoint;
mod coordinator;
mod event;
mod load;
mod serve;
mod stats;
#[cfg(test)]
mod tests;

pub use coordinator::GroupCoordinator;
pub use event::{GroupEffect, GroupEvent};
pub use stats::GroupCoordinatorStats;
