//! No session counts before the start of the other broker is remembered durably.

use millrace_raft::Peer as RemotePeer;

use crate::peer::tests::world::World;

pub(crate) fn check(world: &mut World, process: usize, from: RemotePeer) {
    let disk = &world.disks[world.processes[process].disk];
    let durable = disk.remembered.get(&from.key.directory).map(|start| start.incarnation);
    if durable != Some(from.incarnation) {
        world.violate("durable", format!("a session with {from:?}, and remembered is {durable:?}"));
    }
}
