//! Sockets to other brokers, on a thread of their own that touches no disk and waits for no partition.
//!
//! ```text
//! arbiter: actor of the sessions <- Arrivals <- | peer thread | <- sockets
//!                                -> Orders   -> |             | -> sockets, keepalives
//! ```
//!
//! What is said on a connection is the matter of `millrace_node::peers`; here frames are cut out of bytes, written in
//! their order, and between two of them the other end is told that this process lives. The thread takes no part in
//! partitions, so that load on them is not taken for death (`docs/peer_protocol.md`, P5).

mod dial;
pub(crate) mod handoff;
mod link;
mod listen;
pub(crate) mod thread;
