//! I7: a replica that recovers is in nobody's in-sync set, and does not lead.

use millrace_raft::Status;

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World, at: usize, status: &Status) -> Checked {
    if status.recovering {
        return Err(format!("{} leads and recovers", world.hosts[at].key));
    }
    Ok(())
}
