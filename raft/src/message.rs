//! What replicas of a partition tell each other. The records themselves travel beside, in the host's hands.
//!
//! A host carries the messages of many partitions between two brokers in one frame. The frame names sender, receiver
//! and the sender's incarnation once.

use millrace_types::{Incarnation, LeaderEpoch, Offset};

use crate::configuration::{Configuration, ConfigurationId};
use crate::identity::{Peer, ReplicaKey};
use crate::position::{Acknowledged, EpochStart, Position, Span};

/// A message with its sender and the replica it is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who speaks.
    pub from: Peer,
    /// To whom; another directory than the receiver's refuses it (KIP-853).
    pub to: ReplicaKey,
    /// What is said.
    pub message: Message,
}

/// What one replica tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A replica asks for a vote, or whether it would get one.
    Vote(VoteRequest),
    /// The answer.
    VoteResponse(VoteResponse),
    /// A leader says that it leads (KIP-595 BeginQuorumEpoch).
    BeginEpoch(BeginEpoch),
    /// A leader says that it leads no longer (KIP-595 EndQuorumEpoch).
    EndEpoch(EndEpoch),
    /// Tells a leader that its epoch is over.
    Fenced(Fenced),
    /// A follower asks for what comes behind its position, and says what it holds durably.
    Fetch(FetchRequest),
    /// The leader's answer.
    FetchResponse(FetchResponse),
    /// A follower says what it holds durably, apart from its fetches.
    Ack(Ack),
    /// A replica asks for committed records that have rotted in its log. It is between the hosts: no consensus sends or
    /// takes it.
    Repair(RepairRequest),
    /// The answer, with the records beside it; without any, they cannot be had there.
    RepairResponse(RepairResponse),
}

/// Asks for committed records, as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairRequest {
    /// The asker's number for it.
    pub token: u64,
    /// Base offset of the first batch.
    pub from: Offset,
    /// The last batch ends at or below this offset.
    pub upto: Offset,
}

/// Answers a [`RepairRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairResponse {
    /// Number of the request.
    pub token: u64,
    /// Base offset of the first batch, as it was asked for.
    pub from: Offset,
}

/// Asks for a vote (Raft 5.2, KIP-996).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRequest {
    /// Epoch of the candidate; of a pre-vote the epoch before its candidacy.
    pub epoch: LeaderEpoch,
    /// Whether nothing is promised yet.
    pub pre: bool,
    /// The leader that named the candidate its successor: its followers need not wait for its session to end.
    pub transfer: Option<ReplicaKey>,
    /// End of the candidate's log.
    pub position: Position,
    /// The candidate's configuration, so that a voter learns of it that does not know yet that it is one.
    pub configuration: Configuration,
}

/// Why there is no vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The request's epoch is over.
    Epoch,
    /// The vote of the epoch is given to another.
    Voted,
    /// The voter has a leader that lives.
    Leader,
    /// The voter's log is ahead.
    Position,
    /// The voter knows a newer configuration.
    Configuration,
}

/// Answers a [`VoteRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteResponse {
    /// The voter's epoch.
    pub epoch: LeaderEpoch,
    /// Epoch of the request.
    pub asked: LeaderEpoch,
    /// Whether a pre-vote was asked for.
    pub pre: bool,
    /// The vote, or why there is none.
    pub vote: Result<(), Denial>,
    /// Whether the voter may have lost records that it had acknowledged (rule R11).
    pub recovering: bool,
    /// Leader of the voter's epoch as the voter knows it.
    pub leader: Option<ReplicaKey>,
    /// The voter's configuration, if it is newer than the candidate's.
    pub configuration: Option<Configuration>,
}

/// Says who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginEpoch {
    /// The epoch that the sender leads.
    pub epoch: LeaderEpoch,
}

/// Answers a [`BeginEpoch`] of an epoch that is over: whoever sent it may be no member any more, and so nobody else tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    /// The present epoch.
    pub epoch: LeaderEpoch,
    /// Its leader, where known.
    pub leader: Option<ReplicaKey>,
}

/// Says that a leadership is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndEpoch {
    /// The epoch that the sender led.
    pub epoch: LeaderEpoch,
    /// Who should lead next, the best first.
    pub successors: Vec<ReplicaKey>,
}

/// Asks for what comes behind `position` (KIP-595 Fetch, with an acknowledgement of its own).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchRequest {
    /// The follower's epoch.
    pub epoch: LeaderEpoch,
    /// End of the follower's log.
    pub position: Position,
    /// What the follower holds durably.
    pub acknowledged: Acknowledged,
    /// Whether the follower may have lost what it had acknowledged: then it is not counted.
    pub recovering: bool,
    /// Whether the follower had better not lead: its disk hangs, or its log is damaged. Nobody hands over to it (rule R18).
    pub unfit: bool,
    /// The follower's configuration, which is durable.
    pub configuration: ConfigurationId,
    /// The high watermark as the follower knows it.
    pub high_watermark: Offset,
    /// The follower's log start offset.
    pub log_start: Offset,
}

/// What the follower holds durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The follower's epoch.
    pub epoch: LeaderEpoch,
    /// What it holds.
    pub acknowledged: Acknowledged,
    /// As in [`FetchRequest`].
    pub recovering: bool,
}

/// Answers a [`FetchRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// Epoch of the answering replica.
    pub epoch: LeaderEpoch,
    /// Leader of that epoch, where known.
    pub leader: Option<ReplicaKey>,
    /// Position in the request: an answer to another position is stale.
    pub position: Position,
    /// Incarnation of the follower that asked: its next start forgets what it asked for.
    pub incarnation: Incarnation,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The leader's log start offset.
    pub log_start: Offset,
    /// What the majority holds, once that reaches the start of the leader's epoch (rule R12).
    pub commit: Option<Offset>,
    /// Whether the leader was elected by every voter, since too few were clean, and by this start of the follower (rule R13).
    pub unanimous: bool,
    /// The leader's configuration, if the follower's is older.
    pub configuration: Option<Configuration>,
    /// The answer itself.
    pub body: FetchBody,
}

/// What a fetch is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchBody {
    /// The answering replica does not lead the follower's epoch.
    NotLeader,
    /// What comes behind the follower's position.
    Records {
        /// The leader serves records below this offset, as many as it likes; a witness takes it as its log end.
        upto: Offset,
        /// Epochs that begin within the answer, those without records included.
        markers: Vec<EpochStart>,
        /// The records that came, filled in by the follower's host.
        spans: Vec<Span>,
    },
    /// The logs differ: the follower cuts to `end`, or to where its own greatest epoch up to `epoch` ends, and asks again.
    Diverging {
        /// The leader's greatest epoch not above the follower's.
        epoch: LeaderEpoch,
        /// Where it ends.
        end: Offset,
    },
    /// What the follower lacks is deleted: it begins anew at `start` (Raft's snapshot without a state machine).
    Reset {
        /// The leader's log start offset.
        start: Offset,
        /// The newest epoch that begins below it.
        below: Option<EpochStart>,
    },
}

impl FetchResponse {
    /// What is answered for a replica that is not there, or takes no part: it does not lead. Otherwise who follows it by hearsay
    /// would wait for ever, and tell others that it leads.
    #[must_use]
    pub const fn refusing(request: &FetchRequest, from: Peer) -> Self {
        Self {
            epoch: request.epoch,
            leader: None,
            position: request.position,
            incarnation: from.incarnation,
            high_watermark: 0,
            log_start: 0,
            commit: None,
            unanimous: false,
            configuration: None,
            body: FetchBody::NotLeader,
        }
    }

    /// Says that the records served end at `end`: what belongs behind it is left for the next answer. The leader's host
    /// calls it when it has read fewer records than it might.
    pub fn limit(&mut self, end: Offset) {
        if let FetchBody::Records { upto, markers, .. } = &mut self.body {
            *upto = (*upto).min(end);
            markers.retain(|marker| marker.start <= end);
        }
    }
}
