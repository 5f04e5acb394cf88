//! Sessions with one other broker: what replicas of two brokers tell each other, and whether they hear each other.
//!
//! [`Peer`] is the core of everything between this broker and one other: it dials or accepts the connections, checks who
//! is at the other end, batches the messages of all partitions into frames, and tells replicas when the broker is heard,
//! when it is not, and when messages are lost. What it says, and the rules P1 to P9 behind it, are in
//! `docs/peer_protocol.md`; why it is not Kafka's Fetch, in `docs/adr/0025-sessions-of-our-own-between-brokers.md`.
//!
//! # The host's duties
//!
//! One core per other broker, for as long as the process runs. The host carries out effects in order, beside
//! `node/src/core.rs`:
//!
//! 1. *Connections.* It opens, reads and writes sockets. It draws a [`LinkId`] for each that is never used again. Of an accepted
//!    one it reads the first frame itself, at most [`MAX_GREETING`] bytes and within a time of its own, and hands the hello to the
//!    core of the broker that it names; to a broker that it does not know it answers [`refused_frame`].
//! 2. *Frames.* Behind each length, checked by [`frame_size`], it reads a frame and delivers it whole. While one takes its time, it says
//!    [`PeerEvent::Progress`] as bytes come. Nothing is dropped: a host that cannot keep up stops reading.
//! 3. *Writes.* Frames of a connection leave in order, and [`PeerEvent::Written`] says so soon, but for the last [`UNREPORTED_BYTES`]: what is
//!    urgent waits behind what was handed over. What has left is not to wait long in the kernel.
//! 4. *Keepalives.* From [`PeerEffect::Keepalives`] on a thread that never touches a disk writes [`keepalive_frame`] at once, then at each
//!    interval, between two frames. It needs nothing of the core; that stops when the connection is closed.
//! 5. *Memory.* [`PeerEffect::Remember`] goes to the write-ahead store; puts become durable in their order. What the store holds at the
//!    start is the argument `seen` of [`Peer::new`]. The process's own start is durable before it says hello.
//! 6. *Turns.* What replicas send in a turn is handed over as [`PeerEvent::Send`], and [`PeerEvent::Flush`] ends the turn. Before it reads
//!    records for a response the host asks [`Peer::room`].
//! 7. *Replicas.* [`PeerEffect::SessionUp`], [`PeerEffect::SessionDown`], [`PeerEffect::Deliver`] and [`PeerEffect::Refetch`] reach
//!    them in this order. A replica whose leader is gone is told when [`Campaigns`] says so.
//! 8. *Time.* [`PeerEvent::Timer`] at the moment asked for, behind the frames that came before it. When it comes late the host says how late
//!    first, as [`PeerEvent::Lag`].

mod answers;
mod campaigns;
mod codec;
mod core;
mod event;
mod flush;
mod handshake;
mod link;
mod memory;
pub mod mutation;
mod pace;
mod queue;
mod session;
mod settings;
mod shard;
#[cfg(test)]
mod tests;

pub use self::core::{Peer, PeerStatus};
pub use answers::UNREPORTED_BYTES;
pub use campaigns::{Campaigns, SLICE, SLICES_IN_FLIGHT};
pub(crate) use codec::Fields;
pub use codec::{
    Hello, LENGTH_LEN, MAX_BATCH, MAX_FRAME, MAX_GREETING, MAX_MESSAGES, MAX_STARTS, Messages, PROTOCOL, PeerFrame,
    PeerMessage, PeerWireError, Plane, PlaneMessage, Refusal, Start, decode, frame_size, hello_frame, keepalive_frame,
    refused_frame,
};
pub use event::{LinkId, Outgoing, PeerEffect, PeerEvent, Remembered};
pub use settings::{LocalBroker, PeerSettings};
pub use shard::{Lost, MAX_SHARDS, shard_of};
