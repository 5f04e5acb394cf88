//! What can happen to a connection, and what it asks of its host.

use bytes::Bytes;
use millrace_storage::WarmJob;
use millrace_types::{Instant, TopicPartition};

use crate::call::{Answer, Call};
use crate::wire::Frame;

/// Everything that can happen to a connection.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// A whole frame arrived: the bytes behind the length prefix. The host delivers frames only while the core says
    /// that it takes more (in-flight bound).
    Frame(Bytes),
    /// The answer to a call.
    Answer {
        /// The token of the call.
        token: u64,
        /// What came back.
        answer: Answer,
    },
    /// A cold range has been read in; the request that asked for it goes on.
    Warmed {
        /// The token of the `Warm` effect.
        token: u64,
    },
    /// The time asked for by the latest `Timer` effect has come.
    Timer,
    /// The socket is closed: abandon what waits.
    Closed,
}

/// Everything a connection asks of its host.
#[derive(Debug)]
pub enum ConnectionEffect {
    /// Write a response: length prefix, header and body, in chunks that are sent one after another.
    Send(Frame),
    /// Call another core; the answer comes back as [`ConnectionEvent::Answer`].
    Call {
        /// The connection's number for the call.
        token: u64,
        /// The call.
        call: Call,
    },
    /// Take back the `Watch` registered under `token`.
    CancelWatch {
        /// The connection's number for the call.
        token: u64,
        /// The partition.
        partition: TopicPartition,
    },
    /// Read a cold range on a storage thread; completes as [`ConnectionEvent::Warmed`].
    Warm {
        /// The connection's number for it.
        token: u64,
        /// The work.
        job: WarmJob,
    },
    /// Wake the connection at this moment; replaces the timer asked for before.
    Timer(Instant),
    /// Close the socket; the text says why.
    Close(&'static str),
}
