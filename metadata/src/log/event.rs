//! What can happen to the log, and what it asks of its host.

use millrace_types::BrokerId;

use crate::chain::ChainHash;
use crate::command::Command;
use crate::entry::Entry;
use crate::identity::Proposer;
use crate::image::Image;
use crate::outcome::CommandResult;

use super::message::Message;

/// Everything that can happen to the log.
#[derive(Debug, Clone)]
pub enum Event {
    /// Take part. Comes once, and first.
    Start,
    /// A command of this broker or of one of its clients.
    Commit {
        /// The host's number for it; comes back with the answer.
        ticket: u64,
        /// What is asked.
        command: Command,
    },
    /// A message came from the process that its session stands for.
    Receive {
        /// Who sent it.
        from: Proposer,
        /// What it says.
        message: Message,
    },
    /// What was to be persisted is durable.
    Persisted {
        /// Token of the effect.
        token: u64,
    },
    /// The disk is full: nothing of it was written.
    Refused {
        /// Token of the effect.
        token: u64,
    },
    /// A write or flush failed: out until the process restarts.
    Poisoned,
    /// Messages to and from this process arrive.
    SessionUp(Proposer),
    /// They do not any more.
    SessionDown(BrokerId),
    /// The moment of [`super::Log::deadline`] has come.
    Timer,
}

/// Everything the log asks of its host.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Append the records to the journal and flush it. With a snapshot the journal's content is then replaced by it; a
    /// failure of the snapshot alone is no failure.
    Persist {
        /// Comes back when it is durable.
        token: u64,
        /// The records, in order.
        records: Vec<Vec<u8>>,
        /// What can stand for all records up to the last of these.
        snapshot: Option<Vec<Vec<u8>>>,
    },
    /// Replace the journal's content, durably, by a snapshot that came from another broker.
    Replace {
        /// Comes back when it is durable.
        token: u64,
        /// The records.
        snapshot: Vec<Vec<u8>>,
    },
    /// Send a message.
    Send {
        /// To this broker.
        to: BrokerId,
        /// What.
        message: Message,
    },
    /// Entries are durable: publish the state after them.
    Applied {
        /// The state.
        image: Image,
        /// The entries, in order.
        entries: Vec<Entry>,
    },
    /// A snapshot of another broker is durable: publish its state, whatever was there before.
    Replaced {
        /// The state.
        image: Image,
    },
    /// The answer to a command.
    Answer {
        /// The host's number for it.
        ticket: u64,
        /// The epoch whose state explains the answer; 0 when it is not known what became of the command.
        epoch: u64,
        /// The answer.
        result: CommandResult,
    },
    /// The log has stopped for good.
    Halted(Halt),
}

/// Why a log has stopped until its process restarts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    /// A write or flush failed.
    #[error("the metadata journal could not be written")]
    Poisoned,
    /// A chosen entry cannot be read or applied here: another release wrote it, or the state is not the same.
    #[error("metadata entry {epoch} cannot be applied: {reason}")]
    Entry {
        /// Its epoch.
        epoch: u64,
        /// What is wrong.
        reason: String,
    },
    /// Two brokers have different entries in one epoch.
    #[error("the hash of metadata epoch {epoch} is {own} here and {other} at {from}")]
    Hash {
        /// The epoch.
        epoch: u64,
        /// The hash of this broker.
        own: ChainHash,
        /// The hash of the other.
        other: ChainHash,
        /// The other.
        from: Proposer,
    },
}
