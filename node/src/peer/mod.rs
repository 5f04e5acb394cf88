//! Sessions with one other broker.

mod codec;

pub use codec::{
    Hello, LENGTH_LEN, MAX_FRAME, MAX_GREETING, MAX_STARTS, Messages, PROTOCOL, PeerFrame, PeerMessage, PeerWireError,
    Refusal, Start, decode, frame_size, hello_frame, keepalive_frame, refused_frame,
};
