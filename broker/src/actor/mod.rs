//! The actors: thin hosts of the cores, and what carries messages between them.
//!
//! ```text
//! arbiter (thread)      router <- inbox <- other arbiters, storage threads, listeners
//!                         |
//!   socket <-> connection |-> partition, witness -> storage threads
//!                         |-> group coordinator
//!                         |-> metadata store (arbiter 0)
//!                         `-> sessions with other brokers (the last arbiter) <-> peer thread
//! ```

pub(crate) mod arbiter;
mod connection;
mod connections;
pub(crate) mod countdown;
mod counted;
pub(crate) mod forcing;
mod group_coordinator;
mod host;
pub(crate) mod inbox;
pub(crate) mod journal_thread;
mod local_connection;
mod mail;
mod metadata;
pub(crate) mod parcel;
mod partition;
pub(crate) mod peers;
pub(crate) mod placement;
mod router;
mod storage_port;
pub(crate) mod supervisor;
pub(crate) mod threads;
mod timers;
mod witness;
