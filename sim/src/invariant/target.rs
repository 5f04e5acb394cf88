//! L4: when the faults are over, the members of a partition become who they shall be, on every replica.

use millrace_raft::{Configuration, Voter};

/// A replica that is to be a member holds `configuration`; `target` are the voters that there shall be.
///
/// # Errors
/// These are other members.
pub fn check(configuration: &Configuration, target: &[Voter]) -> Result<(), String> {
    let sorted = |voters: &[Voter]| {
        let mut voters = voters.to_vec();
        voters.sort_unstable();
        voters
    };
    if configuration.learners.is_empty() && sorted(&configuration.voters) == sorted(target) {
        return Ok(());
    }
    Err(format!("{configuration:?} are the members, and shall be {target:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_raft::{Change, ReplicaKey, VoterRole};
    use millrace_types::{BrokerId, DirectoryId};

    #[test]
    fn members_are_compared_with_directory_and_role() {
        let voter = |broker, directory, role| Voter {
            key: ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(directory) },
            role,
        };
        let data = VoterRole::Data;
        let members = Configuration::first(vec![voter(1, 1, data), voter(2, 2, data)]);
        assert_eq!(check(&members, &[voter(2, 2, data), voter(1, 1, data)]), Ok(()), "in any order");
        for other in [voter(2, 3, data), voter(3, 2, data), voter(2, 2, VoterRole::Witness)] {
            assert!(check(&members, &[voter(1, 1, data), other]).is_err(), "{other:?}");
        }
        let learns = members.after(Change::AddLearner(voter(3, 3, data).key)).expect("a change that applies");
        assert!(check(&learns, &members.voters).is_err());
    }
}
