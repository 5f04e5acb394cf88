//! The roles of a replica, one file each, and the transitions between them.
//!
//! | from | to | when |
//! | --- | --- | --- |
//! | unattached | unattached | a later epoch is seen; a vote is given; an election has to wait |
//! | unattached | follower | a leader of the epoch is known and heard |
//! | unattached | prospective | no leader for the election delay, or named successor |
//! | follower | unattached | a later epoch; the leader is silent, has resigned, or says that it does not lead |
//! | follower | follower | the session with the leader is new |
//! | prospective | candidate | enough pre-votes |
//! | prospective | unattached | a later epoch; too many denials; time is up |
//! | prospective | follower | a leader of the epoch is known and heard |
//! | candidate | leader | enough votes (Raft 5.2) |
//! | candidate | unattached | a later epoch; too many denials; time is up |
//! | candidate | follower | never: nobody else leads the candidate's epoch unless the candidate has lost, see unattached |
//! | leader | unattached | a later epoch; a forced configuration |
//! | leader | resigned | it hears no majority; its disk hangs or has failed; it hands over |
//! | resigned | unattached | its pause is over; a later epoch |
//! | resigned | follower | never in its own epoch; by way of unattached in a later one |
//!
//! All other pairs are illegal. [`Raft::transition`] is the one place where the role changes, and checks.

mod candidate;
mod follower;
mod leader;
mod prospective;
mod resigned;
mod unattached;

pub(crate) use candidate::Candidate;
pub(crate) use follower::Follower;
pub(crate) use leader::{Leader, Transfer};
pub(crate) use prospective::Prospective;
pub(crate) use resigned::Resigned;
pub(crate) use unattached::Unattached;

use crate::raft::Raft;
use crate::tally::End;

/// A role with what only it knows.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    Unattached(Unattached),
    Follower(Follower),
    Prospective(Prospective),
    Candidate(Candidate),
    Leader(Box<Leader>),
    Resigned(Resigned),
}

/// Name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// Knows no leader of its epoch.
    Unattached,
    /// Fetches from the leader.
    Follower,
    /// Asks whether it would be elected (KIP-996).
    Prospective,
    /// Asks for votes.
    Candidate,
    /// Appends and commits.
    Leader,
    /// Has led its epoch and leads no longer.
    Resigned,
}

impl Default for Role {
    fn default() -> Self {
        Self::Unattached(Unattached::default())
    }
}

impl Role {
    pub(crate) const fn kind(&self) -> RoleKind {
        match self {
            Self::Unattached(_) => RoleKind::Unattached,
            Self::Follower(_) => RoleKind::Follower,
            Self::Prospective(_) => RoleKind::Prospective,
            Self::Candidate(_) => RoleKind::Candidate,
            Self::Leader(_) => RoleKind::Leader,
            Self::Resigned(_) => RoleKind::Resigned,
        }
    }
}

impl RoleKind {
    /// Whether the table above has a row for it.
    const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Unattached => matches!(next, Self::Unattached | Self::Follower | Self::Prospective),
            Self::Follower => matches!(next, Self::Unattached | Self::Follower),
            Self::Prospective => matches!(next, Self::Unattached | Self::Follower | Self::Candidate),
            Self::Candidate => matches!(next, Self::Unattached | Self::Leader),
            Self::Leader => matches!(next, Self::Unattached | Self::Resigned),
            Self::Resigned => matches!(next, Self::Unattached),
        }
    }
}

impl Raft {
    /// Changes the role.
    pub(crate) fn transition(&mut self, next: Role) {
        let (from, to) = (self.role.kind(), next.kind());
        debug_assert!(from.may_become(to) || crate::mutation::any_broken(), "{from:?} may not become {to:?}");
        if matches!(to, RoleKind::Follower | RoleKind::Leader) {
            self.led_epoch = self.epoch;
        }
        if from == RoleKind::Leader {
            self.tally.leaderships_ended += 1;
            if to == RoleKind::Unattached {
                self.tally.ended = Some(End::Superseded);
            }
        }
        self.role = next;
    }

    pub(crate) fn as_leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    pub(crate) fn as_leader_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        }
    }
}
