//! What can happen to the sessions with a broker, and what they ask of their host.

use std::time::Duration;

use bytes::Bytes;
use millrace_raft::Peer as RemotePeer;
use millrace_types::{BrokerId, DirectoryId, Instant};

use super::{Hello, Lost, PeerMessage, PlaneMessage, Refusal, Start};
use crate::wire::Frame;

/// Number of a connection, which the host draws: never used again while the process runs.
pub type LinkId = u64;

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The message.
    pub message: PeerMessage,
    /// Whether it is an answer to a follower that is far behind: then its records go by the catch-up shard.
    pub catch_up: bool,
}

/// Everything that can happen to the sessions with a broker.
#[derive(Debug, Clone)]
pub enum PeerEvent {
    /// Begin.
    Start,
    /// A dial has come through.
    Connected {
        /// The shard, as in the effect.
        shard: u8,
        /// Number of the dial, as in the effect.
        attempt: u64,
        /// The connection.
        connection: LinkId,
    },
    /// A dial has failed.
    DialFailed {
        /// The shard, as in the effect.
        shard: u8,
        /// Number of the dial, as in the effect.
        attempt: u64,
        /// Whether the other machine answered that nobody listens: then the process is gone.
        refused: bool,
    },
    /// The broker has dialed, and its first frame, which the host has read, is a hello.
    Accepted {
        /// The connection.
        connection: LinkId,
        /// The frame.
        hello: Hello,
    },
    /// A frame came, without its length.
    Frame {
        /// The connection.
        connection: LinkId,
        /// The frame.
        frame: Bytes,
    },
    /// Bytes came that are part of a frame. Said several times in each session timeout while no whole frame comes, and not for every read.
    Progress {
        /// The connection.
        connection: LinkId,
    },
    /// Bytes of `Write` effects have left for the socket.
    Written {
        /// The connection.
        connection: LinkId,
        /// How many since the last such event.
        bytes: usize,
    },
    /// A connection was reset or closed from outside.
    Closed {
        /// The connection.
        connection: LinkId,
    },
    /// What a `Remember` effect named is durable.
    Remembered {
        /// Token of the effect.
        token: u64,
    },
    /// Replicas have something to say to those of that broker: in the order in which they said it.
    Send(Vec<Outgoing>),
    /// Something to say that is not of a partition.
    SendPlane(PlaneMessage),
    /// The host's turn ends: what was sent in it leaves.
    Flush,
    /// This broker has applied a metadata epoch.
    Applied(u64),
    /// By how much the host's loop was late, measured by the host; reported about once per keepalive interval, and before
    /// a timer that is late itself.
    Lag(Duration),
    /// Someone says that the broker lives: dial without waiting longer.
    Nudge,
    /// The time asked for by the latest `Timer` effect has come. Frames that came before are delivered before.
    Timer,
}

/// A start of a remote directory, to be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The broker.
    pub broker: BrokerId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// The newest start seen of that directory.
    pub start: Start,
}

/// Everything the sessions ask of their host, to be carried out in order.
#[derive(Debug, Clone)]
pub enum PeerEffect {
    /// Open a connection to the broker: `Connected` or `DialFailed` follows, or nothing.
    Dial {
        /// The shard it is for.
        shard: u8,
        /// Number of the dial.
        attempt: u64,
    },
    /// Write the frame behind all earlier ones, and say `Written` as its bytes leave. Never more than the window and a frame
    /// are under way.
    Write {
        /// The connection.
        connection: LinkId,
        /// The frame with its length.
        frame: Frame,
    },
    /// Send a keepalive at once and then at this interval, until the connection ends, between two frames: from a thread
    /// that never touches a disk.
    Keepalives {
        /// The connection.
        connection: LinkId,
        /// The interval.
        every: Duration,
    },
    /// Close the connection; frames written before may still leave. `Closed` need not follow.
    Close {
        /// The connection.
        connection: LinkId,
        /// Why, for the log.
        why: &'static str,
    },
    /// Make durable that this start was seen; completes as [`PeerEvent::Remembered`].
    Remember {
        /// Number of the effect.
        token: u64,
        /// What to remember; it replaces what is known of the directory.
        seen: Remembered,
    },
    /// The broker is heard: tell every replica that has a peer there.
    SessionUp(RemotePeer),
    /// It is heard no longer: tell every such replica.
    SessionDown {
        /// The broker.
        broker: BrokerId,
        /// When its last bytes came.
        heard: Instant,
    },
    /// Messages came; each belongs to the replica of its partition, if its directory is this broker's.
    Deliver {
        /// Who speaks.
        from: RemotePeer,
        /// The messages, in the order they were sent.
        messages: Vec<PeerMessage>,
    },
    /// A message came that is not of a partition.
    Plane {
        /// Who speaks.
        from: RemotePeer,
        /// What.
        message: PlaneMessage,
    },
    /// Note durably, behind everything else, that the broker remembers this start of the own directory; nothing waits for it.
    Told(Start),
    /// Messages were lost, and the way is open again: tell the replicas concerned to ask again.
    Refetch(Lost),
    /// The broker has applied this metadata epoch, more than it said before.
    Ahead {
        /// The broker.
        broker: BrokerId,
        /// The epoch.
        epoch: u64,
    },
    /// A hello was not accepted. See [`Refusal::is_lasting`].
    Refused {
        /// Whether that broker has refused this one.
        by_remote: bool,
        /// Why.
        reason: Refusal,
    },
    /// Wake the sessions at this moment; replaces the timer asked for before.
    Timer(Instant),
}
