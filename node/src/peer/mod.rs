//! Sessions with one other broker.

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
pub use campaigns::{Campaigns, SLICE, SLICES_IN_FLIGHT};
pub use codec::{
    Hello, LENGTH_LEN, MAX_FRAME, MAX_GREETING, MAX_STARTS, Messages, PROTOCOL, PeerFrame, PeerMessage, PeerWireError,
    Refusal, Start, decode, frame_size, hello_frame, keepalive_frame, refused_frame,
};
pub use event::{LinkId, Outgoing, PeerEffect, PeerEvent, Remembered};
pub use settings::{LocalBroker, PeerSettings};
pub use shard::{Lost, MAX_SHARDS, shard_of};
