//! One replica of a partition: log, leadership, producer state and the requests that wait for them.
//!
//! ```text
//! Opened --Start--> Starting --epoch durable, log flushed--> Leader --Stop--> Stopping --drained--> Stopped
//!                       |                                      |
//!                       +--------- a write or flush failed ----+--> Failed (serves reads below what is durable)
//! ```
//!
//! A replica is the only voter of its partition and elects itself; what it commits is what it holds durably, or, where
//! the topic acknowledges from the page cache, what it holds at all.

mod core;
mod early;
mod event;
mod invariants;
mod lifecycle;
pub mod mutation;
mod operations;
mod purgatory;
mod puts;
mod settle;
#[cfg(test)]
mod tests;
mod watchers;

pub use self::core::{Replica, ReplicaParts};
pub use event::{ReplicaEffect, ReplicaEvent};
