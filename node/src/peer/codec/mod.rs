//! Frames between brokers, byte for byte as `docs/peer_protocol.md` draws them.
//!
//! A length that a frame names is compared with what is there before anything is allocated for it, and records are
//! slices of the frame they came in, or of the mapping they were read from: no copy either way.

mod batch;
mod fields;
mod frame;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod generate;
mod hello;
mod message;
#[cfg(test)]
mod tests;

pub(crate) use batch::Batch;
pub(crate) use fields::Fields;
pub use frame::{
    LENGTH_LEN, MAX_BATCH, MAX_FRAME, MAX_GREETING, MAX_MESSAGES, Messages, PROTOCOL, PeerFrame, PeerWireError, Plane,
    PlaneMessage, decode, frame_size, hello_frame, keepalive_frame, refused_frame,
};
pub use hello::{Hello, MAX_STARTS, Refusal, Start};
pub use message::PeerMessage;
pub(crate) use message::{Encoded, encode_message};
#[cfg(test)]
pub(crate) use tests::sealed;
