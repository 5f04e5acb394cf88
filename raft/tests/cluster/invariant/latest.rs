//! I6: once a leader tells the latest offset, it is at least what the leaders before it have told.

use millrace_raft::Status;

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World, at: usize, status: &Status) -> Checked {
    let Some(latest) = world.hosts[at].raft.as_ref().and_then(millrace_raft::Raft::latest) else { return Ok(()) };
    let before = world.ghost.high_watermarks.range(..status.epoch).map(|(_, told)| *told).max().unwrap_or(0);
    if latest >= before {
        return Ok(());
    }
    Err(format!("{} tells {latest} in epoch {}, {before} was told before", world.hosts[at].key, status.epoch))
}
