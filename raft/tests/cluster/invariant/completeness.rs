//! I3: what is committed never changes, and every later leader holds it (Leader Completeness, State Machine Safety).

use millrace_raft::Status;
use millrace_types::LeaderEpoch;

use super::Checked;
use crate::store::Rec;
use crate::world::World;

/// A new leader holds what earlier epochs have committed.
pub(super) fn check_leader(world: &World, at: usize, epoch: LeaderEpoch) -> Checked {
    let log = &world.hosts[at].log;
    for (offset, (record, committed_in)) in world.ghost.committed.range(log.start..) {
        if *committed_in < epoch && log.get(*offset) != Some(*record) {
            return Err(format!(
                "{} leads epoch {epoch} without record {offset} of epoch {}, committed in {committed_in}",
                world.hosts[at].key, record.epoch
            ));
        }
    }
    Ok(())
}

/// What a leader commits agrees with what was committed, and with the logs of later leaders.
pub(super) fn check_commit(world: &mut World, at: usize, status: &Status) -> Checked {
    let Some(commit) = status.commit else { return Ok(()) };
    let known = world.ghost.commits.get(&status.epoch).copied().unwrap_or(0);
    if commit <= known {
        return Ok(());
    }
    world.ghost.commits.insert(status.epoch, commit);
    let new: Vec<(i64, Rec)> =
        (known..commit).filter_map(|offset| Some((offset, world.hosts[at].log.get(offset)?))).collect();
    let later: Vec<usize> = world.leaders();
    let is_later =
        |host: &usize| world.hosts[*host].raft.as_ref().is_some_and(|raft| raft.status().epoch > status.epoch);
    let later: Vec<usize> = later.into_iter().filter(is_later).collect();
    for (offset, record) in new {
        let entry = world.ghost.committed.entry(offset).or_insert((record, status.epoch));
        if entry.0 != record {
            return Err(format!("record {offset} is committed with epoch {} and {}", entry.0.epoch, record.epoch));
        }
        for later in &later {
            let log = &world.hosts[*later].log;
            if offset >= log.start && log.get(offset) != Some(record) {
                return Err(format!("record {offset} is committed behind the back of {}", world.hosts[*later].key));
            }
        }
    }
    Ok(())
}
