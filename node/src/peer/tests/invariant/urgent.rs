//! No fetch response is handed to a socket while a vote, a fetch or an acknowledgement waits for it.

use crate::peer::tests::network::of_name;
use crate::peer::tests::process::{CLASSES, CONTROL, read};
use crate::peer::tests::world::World;
use crate::peer::{LENGTH_LEN, LinkId, PeerFrame, decode};
use crate::wire::Frame;

pub(crate) fn check(world: &mut World, process: usize, link: LinkId, frame: &Frame) {
    let Ok(PeerFrame::Messages(messages)) = decode(frame.to_bytes().slice(LENGTH_LEN..)) else { return };
    let shard = world.connections[of_name(link).0].shard;
    let mut responses = false;
    for message in &messages.messages {
        let (slot, _, serial) = read(message);
        responses |= slot % CLASSES != CONTROL;
        world.processes[process].urgent.remove(&(slot, serial));
    }
    let waiting = world.processes[process].urgent.iter().find(|(_, of)| **of == shard).map(|(message, _)| *message);
    if let Some((slot, serial)) = waiting.filter(|_| responses) {
        world.violate("urgent", format!("slot {slot} number {serial} waits behind a fetch response"));
    }
}
