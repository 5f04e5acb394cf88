//! The records of the write-ahead store: everything a broker must know durably before it acts (consensus rules, 2.1).

use millrace_types::{BrokerId, DirectoryId, Incarnation, LeaderEpoch, Offset, TopicPartition};

/// What a voter of a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoterRole {
    /// The log itself.
    Data,
    /// Epochs and offsets only (consensus rules, 3.4).
    Witness,
    /// The log, without a vote until it has caught up (8.3).
    Learner,
}

/// A member of a partition's configuration (KIP-853 voter keys).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// The broker.
    pub broker: BrokerId,
    /// The directory of the broker: one with a wiped disk is another voter.
    pub directory: DirectoryId,
    /// What it holds.
    pub role: VoterRole,
}

/// A partition's configuration, ordered by (`generation`, `epoch`, `version`) (consensus rules, 8.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Configuration {
    /// Raised by a forced configuration only.
    pub generation: u32,
    /// Epoch of the leader that installed it.
    pub epoch: LeaderEpoch,
    /// Number within the epoch.
    pub version: u32,
    /// The members.
    pub voters: Vec<Voter>,
}

/// One start of the process on one data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRecord {
    /// The directory.
    pub directory: DirectoryId,
    /// Number of the start, from 1.
    pub incarnation: Incarnation,
    /// Identity of the operating system's run: equal at two starts when the page cache survived between them.
    pub boot_id: String,
    /// Drawn at random at the start, so that two copies of one directory are told apart (consensus rules, 2.5).
    pub nonce: u64,
}

/// The newest start of another broker's directory that this broker has seen: an older one, or another that claims its
/// number, is not believed again (consensus rules, 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenStart {
    /// The broker.
    pub broker: BrokerId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// Number of the start.
    pub incarnation: Incarnation,
    /// What was drawn at random for it.
    pub nonce: u64,
}

/// The newest start of this directory that another broker is known to remember: the hello to it has to tell that start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldStart {
    /// The other broker.
    pub broker: BrokerId,
    /// Number of the start.
    pub incarnation: Incarnation,
    /// What was drawn at random for it.
    pub nonce: u64,
}

/// A record of the write-ahead store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QRecord {
    /// The epoch this replica is in and whom it voted for; durable before the vote is answered.
    Term {
        /// The partition.
        tp: TopicPartition,
        /// The epoch.
        term: LeaderEpoch,
        /// The candidate that got the vote.
        voted_for: Option<(BrokerId, DirectoryId)>,
    },
    /// A leader epoch begins at an offset; a zero-width marker of the log (1.4).
    Epoch {
        /// The partition.
        tp: TopicPartition,
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its first offset.
        start: Offset,
    },
    /// The log was cut: every earlier `Epoch` with a greater epoch or a start beyond `to` is void (1.7).
    Trunc {
        /// The partition.
        tp: TopicPartition,
        /// The log end offset after the cut.
        to: Offset,
        /// The last epoch after the cut; 0 if none.
        epoch: LeaderEpoch,
    },
    /// The log is about to be cut, as `Trunc` says when it is done. A start that finds this and no `Trunc` behind it
    /// finishes the cut: what is left of the old suffix must not be taken for the log (1.7).
    Cutting {
        /// The partition.
        tp: TopicPartition,
        /// The log end offset after the cut; at the log start offset no record stays.
        to: Offset,
        /// The last epoch after the cut; 0 if none.
        epoch: LeaderEpoch,
    },
    /// The configuration in force.
    Cfg {
        /// The partition.
        tp: TopicPartition,
        /// The configuration.
        cfg: Configuration,
    },
    /// Whether there are acknowledged records that were never flushed (2.4).
    Volatile {
        /// The partition.
        tp: TopicPartition,
        /// Whether there are.
        volatile: bool,
    },
    /// Everything below `upto` was flushed. Written behind, so it may trail.
    Flushed {
        /// The partition.
        tp: TopicPartition,
        /// The offset.
        upto: Offset,
    },
    /// A flush of the log failed: what is behind the flushed offset may read back from the page cache and still not be
    /// on the disk, and a later flush would report success (2.2). A start within the same run of the operating system
    /// cuts the log to the flushed offset; a `Trunc`, or another run, voids this.
    Suspect {
        /// The partition.
        tp: TopicPartition,
    },
    /// Whether acknowledged records may be lost and have not been fetched again (2.4): the replica's votes and
    /// acknowledgements do not count until it holds them. Durable, since a later start cannot see it any more.
    Recovering {
        /// The partition.
        tp: TopicPartition,
        /// Whether they may.
        recovering: bool,
    },
    /// The log start offset, raised by DeleteRecords or retention.
    Start {
        /// The partition.
        tp: TopicPartition,
        /// The offset.
        offset: Offset,
    },
    /// How far the log goes that a witness votes for; it holds none itself (3.4).
    WitnessEnd {
        /// The partition.
        tp: TopicPartition,
        /// The log end offset that it was told.
        end: Offset,
    },
    /// The replica was deleted.
    Forget {
        /// The partition.
        tp: TopicPartition,
    },
    /// The process started.
    Boot(BootRecord),
    /// Another broker was heard; durable before anything that it says counts.
    Seen(SeenStart),
    /// Another broker remembers a start of this directory. Written behind: without it, that broker has to hear of this
    /// directory again before the start is forgotten here.
    Told(ToldStart),
}

impl QRecord {
    /// The partition the record is about; `None` for a record about the broker.
    #[must_use]
    pub fn partition(&self) -> Option<TopicPartition> {
        match self {
            Self::Term { tp, .. }
            | Self::Epoch { tp, .. }
            | Self::Trunc { tp, .. }
            | Self::Cutting { tp, .. }
            | Self::Cfg { tp, .. }
            | Self::Volatile { tp, .. }
            | Self::Recovering { tp, .. }
            | Self::Flushed { tp, .. }
            | Self::Start { tp, .. }
            | Self::WitnessEnd { tp, .. }
            | Self::Suspect { tp }
            | Self::Forget { tp } => Some(*tp),
            Self::Boot(_) | Self::Seen(_) | Self::Told(_) => None,
        }
    }
}
