//! The states of a group and every transition between them.

use std::fmt;

/// The state of a classic group.
///
/// | from | to | when |
/// | --- | --- | --- |
/// | Empty | PreparingRebalance | the first member joins; the initial delay begins (KIP-134) |
/// | Empty | Dead | the group is deleted, or its last offset expires |
/// | PreparingRebalance | CompletingRebalance | all members have joined again, or the rebalance timeout has removed those that did not |
/// | PreparingRebalance | Empty | the last member has left or expired |
/// | CompletingRebalance | Stable | the leader brings the assignment |
/// | CompletingRebalance | PreparingRebalance | a member joins, changes, leaves or expires, or does not sync in time |
/// | Stable | PreparingRebalance | a member joins, changes, leaves or expires, or the leader joins again |
///
/// From PreparingRebalance, CompletingRebalance and Stable a group never dies: it is emptied first. `Dead` is what a
/// group that does not exist is described as; a group in memory is never in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// It has no members; it may have offsets.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// It waits for the leader's assignment.
    CompletingRebalance,
    /// Its members consume.
    Stable,
    /// It does not exist.
    Dead,
}

impl GroupState {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether the table above has the transition.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Empty, Self::PreparingRebalance | Self::Dead)
                | (Self::PreparingRebalance, Self::CompletingRebalance | Self::Empty)
                | (Self::CompletingRebalance, Self::Stable | Self::PreparingRebalance)
                | (Self::Stable, Self::PreparingRebalance)
        )
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
