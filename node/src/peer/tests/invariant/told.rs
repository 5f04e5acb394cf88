//! Messages come in order and once; where one is missing, the replicas of both sides were told to ask again.

use crate::peer::PeerMessage;
use crate::peer::tests::process::{SLOTS, read};
use crate::peer::tests::world::World;

pub(crate) fn check(world: &mut World, process: usize, message: &PeerMessage) {
    let (slot, sender, serial) = read(message);
    let told = world.processes[sender].told[slot];
    let receiver = &mut world.processes[process];
    let excused = std::mem::take(&mut receiver.excused[slot]);
    let came = &mut receiver.came.entry(sender).or_insert([0; SLOTS])[slot];
    let last = std::mem::replace(came, serial);
    if serial <= last {
        world.violate("order", format!("slot {slot}: {serial} comes behind {last}"));
    } else if serial > last + 1 && !(excused && told >= serial - 1) {
        let text = format!("slot {slot}: {serial} follows {last}, told here {excused}, there up to {told}");
        world.violate("told", text);
    }
}
