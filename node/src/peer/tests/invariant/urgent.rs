//! No vote, fetch or acknowledgement goes by a connection that carries records: it would wait behind them, here and in every
//! buffer on the way.

use crate::peer::tests::network::of_name;
use crate::peer::tests::process::{CLASSES, CONTROL, read};
use crate::peer::tests::world::World;
use crate::peer::{LENGTH_LEN, LinkId, PeerFrame, decode};
use crate::wire::Frame;

pub(crate) fn check(world: &mut World, link: LinkId, frame: &Frame) {
    let Ok(PeerFrame::Messages(messages)) = decode(frame.to_bytes().slice(LENGTH_LEN..)) else { return };
    let shard = world.connections[of_name(link).0].shard;
    for message in &messages.messages {
        let (slot, _, serial) = read(message);
        if (slot % CLASSES == CONTROL) != (shard == 0) {
            world.violate("urgent", format!("slot {slot} number {serial} goes by shard {shard}"));
        }
    }
}
