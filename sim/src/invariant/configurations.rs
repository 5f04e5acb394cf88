//! I19: any two configurations of one generation that can elect a leader have majorities that meet (Raft thesis 4.1).
//!
//! A configuration can elect as long as a majority of its voters knows no newer one.

use std::collections::BTreeSet;

use millrace_raft::{Configuration, ReplicaKey};

use crate::ghost::Ghost;

/// A replica holds another configuration than before.
///
/// # Errors
/// Two groups of voters that have nobody in common can each elect a leader.
pub fn check(ghost: &Ghost, gone: &BTreeSet<ReplicaKey>) -> Result<(), String> {
    let active: BTreeSet<_> =
        ghost.held.values().filter(|held| elects(ghost, gone, held)).map(|held| held.id).collect();
    let active: Vec<&Configuration> =
        active.iter().filter_map(|id| ghost.held.values().find(|held| held.id == *id)).collect();
    for (a, b) in active.iter().flat_map(|a| active.iter().map(move |b| (*a, *b))) {
        let common = a.voters.iter().filter(|voter| b.voter(voter.key).is_some()).count();
        let all = a.voters.len() + b.voters.len() - common;
        // Majorities meet in every case exactly when their sizes add up to more than all voters of both.
        if a.id.generation == b.id.generation && a.majority() + b.majority() <= all {
            return Err(format!("{a:?} and {b:?} can both elect"));
        }
    }
    Ok(())
}

/// Whether a majority of the voters may vote under a configuration. One that has not been seen yet holds the first; one whose
/// disk is another now holds none.
fn elects(ghost: &Ghost, gone: &BTreeSet<ReplicaKey>, configuration: &Configuration) -> bool {
    let knows_newer = |key: &ReplicaKey| ghost.held.get(key).is_some_and(|held| held.id > configuration.id);
    let keys = configuration.voters.iter().map(|voter| voter.key);
    keys.filter(|key| !gone.contains(key) && !knows_newer(key)).count() >= configuration.majority()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_raft::{Change, Voter, VoterRole};
    use millrace_types::{BrokerId, DirectoryId};

    fn key(broker: i32) -> ReplicaKey {
        ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(1) }
    }

    fn voter(broker: i32) -> Voter {
        Voter { key: key(broker), role: VoterRole::Data }
    }

    #[test]
    fn groups_that_do_not_meet_are_found() {
        let first = Configuration::first((1..=3).map(voter).collect());
        let after = |from: &Configuration, change| from.after(change).expect("a change that applies");
        let two = after(&first, Change::RemoveVoter(key(3)));
        let one = after(&two, Change::RemoveVoter(key(2)));
        let mut ghost = Ghost::default();
        ghost.held.extend([(key(1), two.clone()), (key(2), first.clone()), (key(3), first.clone())]);
        assert_eq!(check(&ghost, &BTreeSet::new()), Ok(()), "two of two meet two of three");
        ghost.held.insert(key(1), one.clone());
        assert!(check(&ghost, &BTreeSet::new()).is_err(), "two steps at once leave two of three behind");
        assert_eq!(check(&ghost, &BTreeSet::from([key(3)])), Ok(()), "of whom one is gone for good");
        ghost.held.insert(key(2), one);
        assert_eq!(check(&ghost, &BTreeSet::new()), Ok(()), "or knows better");
    }
}
