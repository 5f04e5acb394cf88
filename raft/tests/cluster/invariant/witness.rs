//! I12: the witness is not ahead of a full in-sync replica: whoever of them is left gets its vote.

use millrace_raft::RoleKind;

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World) -> Checked {
    let Some(leader) = world.leaders().pop() else { return Ok(()) };
    let leads = world.hosts[leader].raft.as_ref().expect("it leads");
    let status = leads.status();
    let Some(witness) = world.hosts.iter().filter(|host| host.witness).find_map(|host| host.raft.as_ref()) else {
        return Ok(());
    };
    let told = witness.status();
    if told.epoch != status.epoch || told.role != RoleKind::Follower {
        return Ok(());
    }
    for key in leads.in_sync_full() {
        let Some(host) = world.hosts[world.index(key)].raft.as_ref().filter(|raft| raft.me().key == key) else {
            continue;
        };
        let held = host.status();
        if key == leads.me().key && held.acknowledged.epoch < status.epoch {
            // A new leader has not counted itself yet.
            continue;
        }
        let durable = world.hosts[world.index(key)].disk.durable.end() >= held.position.offset;
        let known = (held.acknowledged.epoch, held.acknowledged.offset);
        // A start reports what recovery has flushed one step later.
        let holds = if durable { (held.position.epoch, held.position.offset) } else { known };
        let behind = holds < (told.position.epoch, told.position.offset);
        if behind && held.epoch == status.epoch && !held.recovering {
            return Err(format!("{key} holds {} and is in sync, the witness {}", held.acknowledged, told.position));
        }
    }
    Ok(())
}
