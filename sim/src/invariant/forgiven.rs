//! I8: what is given up when every voter has elected a leader, as too few had kept all (rule R13), no voter has any more.

use millrace_raft::ReplicaKey;
use millrace_types::Offset;

use crate::ghost::{Ghost, Mirror};

/// The log of the leader that all have elected ends at `end`; these voters run, and hold these logs.
///
/// # Errors
/// One of them holds what was acknowledged, or committed, at `end` or above.
pub fn check(ghost: &Ghost, end: Offset, voters: &[(ReplicaKey, &Mirror)]) -> Result<(), String> {
    for (what, owed) in [("committed", &ghost.committed), ("acknowledged", &ghost.passed)] {
        for (base, (batch, since)) in owed.iter().rev().take_while(|(_, (batch, _))| batch.last >= end) {
            if let Some((key, _)) = voters.iter().find(|(_, mirror)| mirror.batches.get(base) == Some(batch)) {
                return Err(format!(
                    "{batch:?} at {base}, {what} in {since}, is lost from {end} on, and {key} holds it"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghost::Rec;
    use millrace_types::{BrokerId, DirectoryId};

    #[test]
    fn what_a_voter_still_holds_is_not_forgiven() {
        let batch = |last| Rec { last, epoch: 1, crc: 7 };
        let key = ReplicaKey { broker: BrokerId(1), directory: DirectoryId::from_u128(1) };
        let mut ghost = Ghost::default();
        ghost.passed.insert(0, (batch(4), 1));
        ghost.passed.insert(5, (batch(9), 1));
        let mut mirror = Mirror { end: 10, ..Mirror::default() };
        mirror.batches.insert(0, batch(4));
        assert_eq!(check(&ghost, 5, &[(key, &mirror)]), Ok(()), "what it had above is gone");
        mirror.batches.insert(5, batch(9));
        assert!(check(&ghost, 5, &[(key, &mirror)]).is_err());
        assert_eq!(check(&ghost, 10, &[(key, &mirror)]), Ok(()), "nothing is given up");
        mirror.batches.insert(5, Rec { crc: 8, ..batch(9) });
        assert_eq!(check(&ghost, 5, &[(key, &mirror)]), Ok(()), "that is something else");
    }
}
