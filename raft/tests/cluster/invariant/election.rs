//! I1: an epoch has at most one leader.

use millrace_raft::ReplicaKey;
use millrace_types::LeaderEpoch;

use super::{Checked, Ghost};

pub(super) fn check(ghost: &mut Ghost, leader: ReplicaKey, epoch: LeaderEpoch) -> Checked {
    match ghost.leaders.insert(epoch, leader) {
        Some(other) if other != leader => Err(format!("epoch {epoch} is led by {other} and by {leader}")),
        _ => Ok(()),
    }
}
