//! What can happen to the sessions with all brokers, and what they ask of their host.

use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Envelope, Message, Peer as RemotePeer, ReplicaKey};
use millrace_types::{BrokerId, Instant, TopicPartition};

use crate::peer::{LinkId, PeerEvent, PeerMessage, PlaneMessage, Refusal, Remembered, Start};
use crate::replica::ReplicaEvent;
use crate::wire::Frame;

/// Everything that can happen to the sessions.
#[derive(Debug, Clone)]
pub enum PeersEvent {
    /// Begin.
    Start,
    /// Something has happened to the connections with a broker, or a start of it is remembered.
    Peer {
        /// The broker.
        broker: BrokerId,
        /// What. Of these events the host sends `Connected`, `DialFailed`, `Frame`, `Progress`, `Written`, `Closed`, `Remembered` and `Nudge`.
        event: PeerEvent,
    },
    /// Somebody has dialed, and this is the first frame, without its length.
    Accepted {
        /// The connection.
        connection: LinkId,
        /// The frame.
        frame: Bytes,
    },
    /// A replica has something to say to another of its partition.
    Send {
        /// The partition.
        partition: TopicPartition,
        /// To whom.
        to: ReplicaKey,
        /// What.
        message: Message,
        /// Record batches that go with a fetch response, else nothing.
        records: Bytes,
        /// Whether the response is for a follower that is far behind.
        catch_up: bool,
    },
    /// Something to say to a broker that is not of a partition.
    SendPlane {
        /// To whom.
        to: BrokerId,
        /// What.
        message: PlaneMessage,
    },
    /// The host's turn ends: what was sent in it leaves.
    Flush,
    /// A replica of this partition was made here.
    Hosted(TopicPartition),
    /// The replica is gone.
    Unhosted(TopicPartition),
    /// What the replica's view says of its leader has changed.
    Leader(TopicPartition),
    /// This broker has applied a metadata epoch.
    Applied(u64),
    /// By how much the host's loop was late.
    Lag(Duration),
    /// The time asked for by the latest `Timer` effect has come.
    Timer,
}

/// What replicas are told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Frames come from this broker again, or for the first time.
    Up(RemotePeer),
    /// No frames come from the broker any more.
    Down {
        /// The broker.
        broker: BrokerId,
        /// When the last bytes came.
        heard: Instant,
    },
    /// Messages of the leader, or to it, were lost.
    Refetch,
}

impl From<News> for ReplicaEvent {
    fn from(news: News) -> Self {
        match news {
            News::Up(peer) => Self::SessionUp(peer),
            News::Down { broker, heard } => Self::SessionDown { broker, heard },
            News::Refetch => Self::Refetch,
        }
    }
}

/// Everything the sessions ask of their host, to be carried out in order.
#[derive(Debug, Clone)]
pub enum PeersEffect {
    /// Open a connection: `Connected` or `DialFailed` follows, or nothing.
    Dial {
        /// To this broker.
        broker: BrokerId,
        /// The shard it is for.
        shard: u8,
        /// Number of the dial.
        attempt: u64,
    },
    /// Write the frame behind all earlier ones, and say `Written` as its bytes leave.
    Write {
        /// The connection.
        connection: LinkId,
        /// The frame with its length.
        frame: Frame,
    },
    /// Send a keepalive at once and then at this interval, until the connection ends.
    Keepalives {
        /// The connection.
        connection: LinkId,
        /// The interval.
        every: Duration,
    },
    /// Close the connection; frames written before may still leave.
    Close {
        /// The connection.
        connection: LinkId,
        /// Why, for the log.
        why: &'static str,
    },
    /// Make durable that this start was seen; completes as [`PeerEvent::Remembered`].
    Remember {
        /// Number of the effect, for the core of `seen.broker`.
        token: u64,
        /// What to remember.
        seen: Remembered,
    },
    /// Note durably, behind everything else, that the broker remembers this start of the own directory; nothing waits for it.
    Told {
        /// The broker.
        broker: BrokerId,
        /// The start.
        start: Start,
    },
    /// Tell these replicas.
    Tell {
        /// Whom.
        partitions: Vec<TopicPartition>,
        /// What.
        news: News,
    },
    /// Messages for replicas, in the order they were sent; see [`replica_event`].
    Deliver {
        /// Who speaks.
        from: RemotePeer,
        /// The messages.
        messages: Vec<PeerMessage>,
    },
    /// A message that is not of a partition.
    Plane {
        /// Who speaks.
        from: RemotePeer,
        /// What.
        message: PlaneMessage,
    },
    /// The broker is heard: for those that are not replicas.
    Heard(RemotePeer),
    /// The broker is heard no longer.
    Silent(BrokerId),
    /// The broker has applied this metadata epoch, more than it said before.
    Ahead {
        /// The broker.
        broker: BrokerId,
        /// The epoch.
        epoch: u64,
    },
    /// A hello was not accepted; worth an alarm when [`Refusal::is_lasting`].
    Refused {
        /// The broker.
        broker: BrokerId,
        /// Whether it is that broker that has refused this one.
        by_remote: bool,
        /// Why.
        reason: Refusal,
    },
    /// Wake the sessions at this moment; replaces the timer asked for before.
    Timer(Instant),
}

/// A message that came for a replica of `broker`, as that replica takes it.
#[must_use]
pub fn replica_event(from: RemotePeer, broker: BrokerId, message: PeerMessage) -> (TopicPartition, ReplicaEvent) {
    let PeerMessage { partition, to, message, records } = message;
    let envelope = Envelope { from, to: ReplicaKey { broker, directory: to }, message };
    (partition, ReplicaEvent::Peer { envelope: Box::new(envelope), records: records.to_bytes() })
}
