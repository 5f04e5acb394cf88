//! I12: the witness is not ahead of a full in-sync replica: whoever of them is left gets its vote (rule R14).

use millrace_raft::{ReplicaKey, RoleKind, Status};

use crate::ghost::Ghost;

/// The witness of a partition is in the state `told`, and these replicas are in sync, says `leader`.
///
/// # Errors
/// One of them holds less than the witness was told of, or does not hold it durably.
pub fn check(
    ghost: &Ghost,
    told: &Status,
    leader: (ReplicaKey, &Status),
    in_sync: &[(ReplicaKey, Status)],
) -> Result<(), String> {
    let (leads, leader) = leader;
    if told.epoch != leader.epoch || told.role != RoleKind::Follower {
        return Ok(());
    }
    for (key, held) in in_sync.iter().filter(|(_, held)| held.epoch == leader.epoch && !held.recovering) {
        // A new leader has not counted itself yet.
        if *key == leads && held.acknowledged.epoch < leader.epoch {
            continue;
        }
        let said = ghost.words.get(&(leader.epoch, *key)).copied().unwrap_or(0);
        let is_durable = told.position.epoch < leader.epoch || said >= told.position.offset;
        if held.position < told.position || !is_durable {
            let has = format!("holds {:?}, {said} of it durably", held.position);
            return Err(format!("{key} {has}, and is in sync; the witness was told {:?}", told.position));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_raft::{Acknowledged, Position};
    use millrace_types::{BrokerId, DirectoryId};

    fn status(role: RoleKind, epoch: i32, offset: i64) -> Status {
        Status {
            role,
            epoch,
            leader: None,
            position: Position { epoch, offset },
            acknowledged: Acknowledged { epoch, offset },
            high_watermark: 0,
            log_start: 0,
            commit: None,
            epoch_start: None,
            in_sync: Vec::new(),
            recovering: false,
            unanimous: false,
            is_busy: false,
        }
    }

    #[test]
    fn a_witness_ahead_of_a_replica_in_sync_is_found() {
        let key = |broker| ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(1) };
        let leader = status(RoleKind::Leader, 3, 10);
        let follower = status(RoleKind::Follower, 3, 8);
        let in_sync = [(key(1), leader.clone()), (key(2), follower)];
        let mut ghost = Ghost::default();
        ghost.words.extend([((3, key(1)), 10), ((3, key(2)), 7)]);
        let check = |told: Status, ghost: &Ghost| check(ghost, &told, (key(1), &leader), &in_sync);
        assert_eq!(check(status(RoleKind::Follower, 3, 7), &ghost), Ok(()));
        assert!(check(status(RoleKind::Follower, 3, 8), &ghost).is_err(), "it is not durable there");
        ghost.words.insert((3, key(2)), 8);
        assert_eq!(check(status(RoleKind::Follower, 3, 8), &ghost), Ok(()));
        assert!(check(status(RoleKind::Follower, 3, 9), &ghost).is_err(), "it is not there");
        assert_eq!(check(status(RoleKind::Unattached, 4, 9), &ghost), Ok(()), "it is in another epoch");
    }
}
