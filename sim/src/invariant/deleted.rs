//! I20: no replica's data is deleted while it is in the newest configuration of its partition, unless its topic is deleted.

use millrace_raft::ReplicaKey;

use crate::ghost::Ghost;

/// The replica `key` is deleted from its disk, and its topic is not.
///
/// # Errors
/// It is a member.
pub fn check(ghost: &Ghost, key: ReplicaKey) -> Result<(), String> {
    match &ghost.newest {
        Some(newest) if newest.members().any(|member| member == key) => {
            Err(format!("the replica on {key} is deleted, and a member of {newest:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_raft::{Change, Configuration, Voter, VoterRole};
    use millrace_types::{BrokerId, DirectoryId};

    #[test]
    fn a_member_stays() {
        let key = |broker| ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(1) };
        let first = Configuration::first((1..=2).map(|one| Voter { key: key(one), role: VoterRole::Data }).collect());
        let mut ghost = Ghost::default();
        assert_eq!(check(&ghost, key(2)), Ok(()), "nobody knows any members");
        ghost.holds(key(1), &first);
        assert!(check(&ghost, key(2)).is_err());
        let without = first.after(Change::RemoveVoter(key(2))).expect("a change that applies");
        ghost.holds(key(1), &without);
        ghost.holds(key(2), &first);
        assert_eq!(check(&ghost, key(2)), Ok(()), "that it does not know it is none changes nothing");
        let learns = without.after(Change::AddLearner(key(2))).expect("a change that applies");
        ghost.holds(key(1), &learns);
        assert!(check(&ghost, key(2)).is_err(), "a learner is a member");
    }
}
