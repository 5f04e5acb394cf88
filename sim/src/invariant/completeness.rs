//! I3: what is committed never changes, and every later leader holds it (Raft 5.4).

use millrace_raft::Status;
use millrace_types::LeaderEpoch;

use crate::ghost::{Ghost, Mirror};

/// A new leader of `epoch` holds what earlier epochs have committed, and what their high watermarks have passed (I5).
///
/// # Errors
/// It does not.
pub fn check_leader(ghost: &Ghost, mirror: &Mirror, epoch: LeaderEpoch) -> Result<(), String> {
    for (what, owed) in [("committed", &ghost.committed), ("acknowledged", &ghost.passed)] {
        for (base, (batch, since)) in owed {
            let gone = batch.last >= mirror.start && *base >= mirror.start && mirror.batches.get(base) != Some(batch);
            if *since < epoch && gone {
                return Err(format!("epoch {epoch} begins without {batch:?} at {base}, {what} in {since}"));
            }
        }
    }
    Ok(())
}

/// What a leader commits agrees with what was committed.
///
/// # Errors
/// It does not.
pub fn check_commit(ghost: &mut Ghost, mirror: &Mirror, status: &Status) -> Result<(), String> {
    let Some(commit) = status.commit else { return Ok(()) };
    let known = ghost.commits.insert(status.epoch, commit).unwrap_or(0);
    ghost.commits.entry(status.epoch).and_modify(|now| *now = (*now).max(known));
    if commit <= known {
        return Ok(());
    }
    for (base, batch) in mirror.batches.range(..commit).rev().take_while(|(_, batch)| batch.last >= known) {
        if batch.last >= commit {
            continue;
        }
        let before = ghost.committed.entry(*base).or_insert((*batch, status.epoch));
        if before.0 != *batch {
            return Err(format!("at {base} {:?} is committed in {}, and {batch:?}", before.0, before.1));
        }
    }
    Ok(())
}
