//! What brokers say to each other about the log.

use crate::chain::ChainHash;
use crate::command::Command;
use crate::outcome::CommandResult;

use super::ballot::{Ballot, Value};

/// A message from one broker to another. Who sent it, the session knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Proposer to acceptor: take no lower ballot of this slot, and say what you have accepted.
    Prepare {
        /// The slot.
        slot: u64,
        /// The ballot.
        ballot: Ballot,
    },
    /// Acceptor to proposer: promised, durably.
    Promise {
        /// The slot.
        slot: u64,
        /// The ballot that was asked for.
        ballot: Ballot,
        /// What was accepted last, under which ballot.
        accepted: Option<(Ballot, Value)>,
    },
    /// Acceptor to proposer: a higher ballot is promised.
    Nack {
        /// The slot.
        slot: u64,
        /// The ballot that was asked for.
        ballot: Ballot,
        /// The ballot that is promised.
        promised: Ballot,
    },
    /// Proposer to acceptor: accept this entry.
    Accept {
        /// The slot.
        slot: u64,
        /// The ballot.
        ballot: Ballot,
        /// The entry.
        value: Value,
    },
    /// Acceptor to proposer: accepted, durably.
    Accepted {
        /// The slot.
        slot: u64,
        /// The ballot.
        ballot: Ballot,
    },
    /// These entries are chosen: to learn one, to catch up, or in answer to a question about a slot that is decided.
    Chosen {
        /// Epoch of the first.
        first: u64,
        /// The entries.
        values: Vec<Value>,
        /// The hash chain after the last.
        hash: ChainHash,
    },
    /// Acceptor to proposer: the slot is beyond the one behind the acceptor's last entry.
    Behind {
        /// The slot that was asked about.
        slot: u64,
        /// Epoch of the acceptor's last entry.
        applied: u64,
    },
    /// The receiver of a question is no acceptor of the slot.
    NotAcceptor {
        /// The slot.
        slot: u64,
    },
    /// What the sender has applied, durably.
    Status {
        /// The epoch.
        applied: u64,
        /// The hash chain at this epoch.
        hash: ChainHash,
    },
    /// Proposer to acceptor: is the slot open?
    Query {
        /// Number of the question.
        id: u64,
        /// The slot.
        slot: u64,
    },
    /// Acceptor to proposer: the answer.
    Head {
        /// Number of the question.
        id: u64,
        /// Epoch of the acceptor's last entry.
        applied: u64,
        /// Whether it has accepted an entry of the slot.
        undecided: bool,
    },
    /// Send what follows this epoch.
    Fetch {
        /// The epoch.
        after: u64,
        /// Epoch of a snapshot of which a part is there, and the bytes that are.
        snapshot: Option<(u64, u64)>,
    },
    /// A part of a snapshot.
    Snapshot {
        /// Its epoch.
        epoch: u64,
        /// Bytes of the whole.
        total: u64,
        /// Position of this part.
        offset: u64,
        /// The part.
        bytes: Value,
    },
    /// Commit these commands for the sender, who has met a ballot of the receiver.
    Forward {
        /// Number of the request, growing within a process.
        id: u64,
        /// The slot in which the sender has proposed them.
        slot: u64,
        /// Number of that proposal.
        number: u64,
        /// The commands.
        commands: Vec<Command>,
    },
    /// What came of a [`Message::Forward`].
    Forwarded {
        /// Number of the request.
        id: u64,
        /// The epoch that explains the results, and these; `None` when nothing was done.
        outcome: Option<(u64, Vec<CommandResult>)>,
    },
}
