//! What can happen to the core.

use millrace_types::{BrokerId, Instant, LeaderEpoch, Offset};

use crate::configuration::{Change, Configuration};
use crate::identity::{Peer, ReplicaKey};
use crate::message::Envelope;
use crate::settings::Settings;

/// Everything that can happen to a replica's consensus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The log is open: take part. Comes once, and before anything else has an effect.
    Start,
    /// A message came. The host has put the spans of its records into a fetch response.
    Receive(Envelope),
    /// The records put under `token`, and all before them, are durable.
    PutDone {
        /// Token of the effect.
        token: u64,
    },
    /// The log ends at `end`: the leader's host has appended, or an [`crate::Effect::Append`] is carried out.
    Appended {
        /// The log end offset.
        end: Offset,
    },
    /// An [`crate::Effect::Append`] was refused (a full disk): nothing has changed.
    AppendRefused,
    /// Everything below `upto` is flushed. Never reported for a flush that was taken before a cut, once that is done.
    Flushed {
        /// The offset.
        upto: Offset,
    },
    /// A cut or reset is carried out, durably.
    CutDone {
        /// The log end offset: where asked for, or below, where a batch begins.
        end: Offset,
    },
    /// Retention or DeleteRecords has raised the log start offset; at most to the high watermark.
    LogStart {
        /// The offset.
        start: Offset,
    },
    /// Frames come from this replica's broker again, or for the first time.
    SessionUp(Peer),
    /// No frames come from the broker any more.
    SessionDown {
        /// The broker.
        broker: BrokerId,
        /// When the last frame came.
        heard: Instant,
    },
    /// The moment of [`crate::Raft::deadline`] has come.
    Timer,
    /// Ask again: the session was renewed, or an answer is overdue.
    Refetch,
    /// Someone says who leads (gossip). Only a hint.
    Hint {
        /// The leader.
        leader: ReplicaKey,
        /// Of this epoch.
        epoch: LeaderEpoch,
    },
    /// Hand leadership over.
    Transfer {
        /// To whom: an in-sync data voter.
        to: ReplicaKey,
    },
    /// Change the members by one step; only the leader does, and only when [`crate::Raft::change_blocked`] says nothing.
    Change(Change),
    /// The operator forces a configuration with a greater generation, since a majority is lost for good.
    Force(Configuration),
    /// The topic's settings changed.
    Configure(Settings),
    /// The replica had better not lead (`true`), since its disk hangs or its log is damaged; or may again.
    Stalled(bool),
    /// A write or flush failed: out until the process restarts.
    Poisoned,
    /// The process is about to stop: hand over at once.
    Resign,
}
