//! What has happened to a replica's consensus since it was made: for metrics, and for the log of its host.

use millrace_types::Offset;

use crate::raft::Raft;

/// Why a replica asks for votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Nobody has ever led the partition, as far as the replica knows.
    First,
    /// The leader has named it its successor.
    HandedOver,
    /// No leader is heard.
    NoLeader,
}

impl Begin {
    /// A word for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "the partition is new",
            Self::HandedOver => "the leader has handed over",
            Self::NoLeader => "no leader was heard",
        }
    }
}

/// Why a leadership has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Too few voters were heard.
    NoMajority,
    /// Too many voters may have lost records for the epoch to be committed (rule R13).
    TooManyRecover,
    /// The disk hangs, or has failed.
    Disk,
    /// It was handed over.
    HandedOver,
    /// The host asked for it.
    Stopped,
    /// There is a later epoch, or an operator has forced other members.
    Superseded,
}

impl End {
    /// A word for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoMajority => "too few voters are heard",
            Self::TooManyRecover => "too many voters may have lost records",
            Self::Disk => "the disk hangs or has failed",
            Self::HandedOver => "handed over",
            Self::Stopped => "the replica stops",
            Self::Superseded => "there is a later epoch",
        }
    }
}

/// Counts that only grow, and what was last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Epochs begun as a candidate.
    pub elections_begun: u64,
    /// Those led.
    pub elections_won: u64,
    /// Those led by the votes of all since too few voters were clean (rule R13).
    pub unclean_recoveries: u64,
    /// Times that a replica has left the in-sync set while this one led.
    pub in_sync_shrinks: u64,
    /// Times that one has joined it.
    pub in_sync_expansions: u64,
    /// Leaderships that have ended.
    pub leaderships_ended: u64,
    /// Why it last asked for votes.
    pub began: Option<Begin>,
    /// Why its last leadership ended.
    pub ended: Option<End>,
    /// At the last unclean recovery: the high watermark that the leader knew, and the end of its log. What lies between was kept;
    /// records acknowledged from the end on may be lost.
    pub recovered: Option<(Offset, Offset)>,
}

impl Raft {
    /// What has happened.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Of a leader: everything below is durable at all other data voters that have told in this epoch what they hold; `None` where
    /// none has, and of others.
    #[must_use]
    pub fn held_by_all(&self) -> Option<Offset> {
        let progress = self.as_leader()?.progress.iter();
        let others = progress.filter(|(key, _)| self.configuration.is_data_voter(**key));
        others.filter_map(|(_, progress)| progress.matched).min()
    }
}
