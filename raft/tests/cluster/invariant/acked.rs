//! I5, I8: what the high watermark has passed is acknowledged: it never changes, and no later leader lacks it.

use millrace_raft::Status;
use millrace_types::LeaderEpoch;

use super::Checked;
use crate::world::World;

/// A leader of `epoch` holds what was acknowledged before it.
pub(super) fn check_leader(world: &World, at: usize, epoch: LeaderEpoch) -> Checked {
    let log = &world.hosts[at].log;
    for (offset, (record, acked_in)) in world.ghost.acked.range(log.start..) {
        if *acked_in < epoch && log.get(*offset) != Some(*record) {
            return Err(format!("{} leads without record {offset}, acknowledged in {acked_in}", world.hosts[at].key));
        }
    }
    Ok(())
}

/// Notes what the high watermark has passed.
pub(super) fn check_passed(world: &mut World, at: usize, status: &Status) -> Checked {
    let known = world.ghost.high_watermarks.get(&status.epoch).copied();
    let from = known.unwrap_or(0).max(status.log_start);
    world.ghost.high_watermarks.insert(status.epoch, status.high_watermark.max(known.unwrap_or(0)));
    for offset in from..status.high_watermark {
        let Some(record) = world.hosts[at].log.get(offset) else { continue };
        let acked = world.ghost.acked.entry(offset).or_insert((record, status.epoch));
        if acked.0 != record {
            return Err(format!("record {offset} is acknowledged with epoch {} and {}", acked.0.epoch, record.epoch));
        }
    }
    Ok(())
}
