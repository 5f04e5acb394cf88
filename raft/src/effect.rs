//! What the core asks of its host, and what it tells it.

use millrace_types::{LeaderEpoch, Offset};

use crate::configuration::{Change, Configuration};
use crate::identity::ReplicaKey;
use crate::message::{FetchResponse, Message};
use crate::position::EpochStart;

/// A record for the write-ahead store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The epoch the replica is in, and whom it voted for.
    Term {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The candidate that has the vote.
        voted_for: Option<ReplicaKey>,
    },
    /// An epoch begins at an offset.
    Epoch(EpochStart),
    /// The log is cut: every earlier `Epoch` record above `epoch`, or that begins above `to`, is void.
    Trunc {
        /// The log end offset.
        to: Offset,
        /// The last epoch.
        epoch: LeaderEpoch,
    },
    /// The log is emptied and begins at `start`; every earlier `Epoch` record is void.
    Reset {
        /// The log start offset and log end offset.
        start: Offset,
        /// The epoch before it.
        below: Option<EpochStart>,
    },
    /// The configuration.
    Configuration(Configuration),
    /// Whether records may be acknowledged that were never flushed.
    Volatile(bool),
    /// Whether acknowledged records may be lost, and have not been fetched again (rule R11).
    Recovering(bool),
    /// The log end offset of a witness, which has no log to read it from.
    WitnessEnd(Offset),
}

/// Everything the core asks of its host. To be carried out in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the records durable, behind all earlier ones; completes as [`crate::Event::PutDone`].
    Put {
        /// Number of the put, growing.
        token: u64,
        /// The records.
        records: Vec<Record>,
    },
    /// Send a message. A fetch response of this kind carries no records.
    Send {
        /// To whom.
        to: ReplicaKey,
        /// What.
        message: Message,
    },
    /// Send a fetch response with records from its position up to its `upto`. With fewer, call [`FetchResponse::limit`].
    Serve {
        /// To whom.
        to: ReplicaKey,
        /// The response.
        response: FetchResponse,
    },
    /// Append the records of the fetch response that is being received, at once: [`crate::Event::Appended`] or
    /// [`crate::Event::AppendRefused`] comes before any other event.
    Append {
        /// The log end offset before.
        from: Offset,
        /// The log end offset after.
        upto: Offset,
    },
    /// Cut the log and drop later epochs, durably; completes as [`crate::Event::CutDone`]. Nothing is appended before.
    Truncate {
        /// The log end offset to be.
        to: Offset,
        /// The last epoch to stay.
        epoch: LeaderEpoch,
    },
    /// Empty the log, durably; completes as [`crate::Event::CutDone`].
    Reset {
        /// The log start offset to be.
        start: Offset,
        /// The epoch before it.
        below: Option<EpochStart>,
    },
    /// Delete records below this offset, as the leader has. The host says so when that is durable ([`crate::Event::LogStart`]): until then a follower does not fetch.
    RaiseLogStart {
        /// The log start offset to be.
        start: Offset,
    },
    /// The high watermark has moved.
    HighWatermark(Offset),
    /// Epoch, leader or role have changed: see [`crate::Raft::status`].
    Leadership {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its leader, where known.
        leader: Option<ReplicaKey>,
    },
    /// The leader's in-sync replicas have changed.
    InSync(Vec<ReplicaKey>),
    /// The configuration is in force.
    Configured(Configuration),
    /// A change of members does not fit the moment or the configuration; it may be asked for again.
    ChangeRefused(Change),
    /// Leadership is not handed over.
    TransferRefused {
        /// Who was to get it.
        to: ReplicaKey,
    },
    /// The replica holds again what it may have lost, or leads because every voter has less: its votes and acknowledgements
    /// count.
    Recovered,
}
