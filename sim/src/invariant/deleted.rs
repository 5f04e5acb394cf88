//! I20: no replica's data is deleted while it is in the newest configuration of its partition, unless its topic is deleted.
//!
//! One that knows that it is no member any more may go although it is a learner, or the witness, again and has not been told yet: what it
//! has held counts for nobody before it says that it knows (`CountBeforeJoining`). A data voter knows.

use millrace_node::metadata_store::Part;
use millrace_raft::{Configuration, ReplicaKey};

use crate::ghost::Ghost;

/// What `key` has of the partition is deleted from its disk, and its topic is not.
///
/// # Errors
/// It is a member.
pub fn check(ghost: &Ghost, key: ReplicaKey, part: Part) -> Result<(), String> {
    let Some(newest) = &ghost.newest else { return Ok(()) };
    let names = |known: &Configuration| match part {
        Part::Witness => known.is_witness(key),
        Part::Replica => known.members().any(|member| member == key),
    };
    let is_unaware = || ghost.held.get(&key).is_some_and(|held| held.id < newest.id && !names(held));
    if newest.is_data_voter(key) || (names(newest) && !is_unaware()) {
        return Err(format!("the {part:?} on {key} is deleted, and a member of {newest:?}"));
    }
    Ok(())
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
        let check = |ghost: &Ghost, key| check(ghost, key, Part::Replica);
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
        ghost.holds(key(2), &without);
        assert_eq!(check(&ghost, key(2)), Ok(()), "which it does not know yet");
        ghost.holds(key(2), &learns);
        assert!(check(&ghost, key(2)).is_err(), "and now does");
    }
}
