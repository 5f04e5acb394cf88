//! One replica of a partition: log, consensus, producer state and the requests that wait for them.
//!
//! ```text
//! Opened --Start--> Running --Stop--> Stopping --drained--> Closing --> Stopped
//!                      |
//!                      +--> Failed: a write or flush failed (serves reads below what is durable)
//! ```
//!
//! While it runs, a replica hosts `millrace_raft`, which decides who leads and what is committed. A replica that is the only
//! voter of its partition elects itself; what it commits is what it holds durably, or, where the topic acknowledges from the
//! page cache, what it holds at all.

mod consensus;
mod core;
mod cut;
mod early;
mod event;
mod follower;
mod force;
mod heal;
mod invariants;
mod leadership;
mod lifecycle;
mod members;
pub mod mutation;
mod operations;
mod promises;
mod purgatory;
mod puts;
mod room;
mod salvage;
mod serve;
mod settle;
mod stall;
#[cfg(test)]
mod tests;
mod upkeep;
mod watchers;

pub use self::core::{Replica, ReplicaParts};
pub(crate) use consensus::seed;
pub use event::{ReplicaEffect, ReplicaEvent, TargetVoters};
pub use force::{FORCE_PATIENCE, ForceRefusal, Forced};
pub use promises::Promises;
pub(crate) use promises::record as stored_record;
pub use room::{ROOM_BOUND, Room};
