//! What can happen to the table of leaders, and what it asks of its host.

use bytes::Bytes;
use millrace_raft::{Peer as RemotePeer, ReplicaKey};
use millrace_types::{BrokerId, ErrorCode, Instant, LeaderEpoch, TopicPartition};

use crate::call::ReplyTo;
use crate::peer::PlaneMessage;

/// Everything that can happen to the table.
#[derive(Debug, Clone)]
pub enum LeadersEvent {
    /// What the view of a replica hosted here says of its leader or its in-sync replicas has changed.
    View(TopicPartition),
    /// The replica is gone.
    Unhosted(TopicPartition),
    /// The broker is heard.
    Heard(RemotePeer),
    /// The broker is heard no longer.
    Silent(BrokerId),
    /// The broker is no longer of the cluster.
    Removed(BrokerId),
    /// A broker said something about leaders.
    Plane {
        /// Who.
        from: RemotePeer,
        /// What, as [`crate::peer::PlaneMessage::body`] has it.
        body: Bytes,
    },
    /// A call: have leadership of a partition handed over, whoever has it.
    Elect {
        /// Where the answer goes.
        from: ReplyTo,
        /// The partition.
        partition: TopicPartition,
        /// Who is to lead.
        to: BrokerId,
        /// When to give up with `REQUEST_TIMED_OUT`.
        deadline: Instant,
    },
    /// The time asked for by the latest `Timer` effect has come.
    Timer,
}

/// Everything the table asks of its host.
#[derive(Debug, Clone)]
pub enum LeadersEffect {
    /// Say something to a broker.
    Send {
        /// To whom.
        to: BrokerId,
        /// What.
        message: PlaneMessage,
    },
    /// Tell the replica hosted here who leads ([`crate::replica::ReplicaEvent::Hint`]).
    Hint {
        /// The partition.
        partition: TopicPartition,
        /// The leader.
        leader: ReplicaKey,
        /// Of this epoch.
        epoch: LeaderEpoch,
    },
    /// Have the replica hosted here hand leadership over ([`crate::replica::ReplicaEvent::Transfer`]).
    Transfer {
        /// The partition.
        partition: TopicPartition,
        /// To whom.
        to: ReplicaKey,
    },
    /// The answer to an `Elect`: no error when `to` leads.
    Elected {
        /// To whom.
        to: ReplyTo,
        /// What came of it.
        error: ErrorCode,
    },
    /// Wake the table at this moment; replaces the timer asked for before.
    Timer(Instant),
}
