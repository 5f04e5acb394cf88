//! Queues, frames and the catch-up shard's rate keep their bounds.

use crate::peer::tests::network::of_name;
use crate::peer::tests::world::World;
use crate::peer::{LENGTH_LEN, LinkId, PeerFrame, decode};
use crate::wire::Frame;

/// The longest single message of the test, with its frame.
const LONGEST: usize = 3_300;
/// Memory of a message beside its bytes.
const ENTRY: usize = 256;
/// What a frame has beside its messages, rounded up.
const OVERHEAD: usize = 64;

pub(crate) fn queues(world: &mut World, process: usize) {
    let process = &world.processes[process];
    let (status, settings) = (process.core.status(), &process.settings);
    let links = process.core.links.len();
    let memory = status.queued_bytes + status.queued_messages * ENTRY;
    let held = memory <= links * settings.queue_bytes.max(LONGEST + ENTRY);
    let unwritten = process
        .core
        .links
        .iter()
        .all(|link| link.unwritten <= settings.window + OVERHEAD + settings.frame_bytes.max(LONGEST));
    if !(held && unwritten) {
        world.violate("bounded", format!("{status:?}"));
    }
}

pub(crate) fn frame(world: &mut World, process: usize, link: LinkId, frame: &Frame) {
    let Ok(PeerFrame::Messages(messages)) = decode(frame.to_bytes().slice(LENGTH_LEN..)) else { return };
    let shard = world.connections[of_name(link).0].shard;
    let now = world.now;
    let speaker = &mut world.processes[process];
    let settings = &speaker.settings;
    let count = messages.messages.len();
    let fits = count == 1 || (count <= settings.frame_messages && frame.len() <= settings.frame_bytes + OVERHEAD);
    if shard == speaker.core.catch_up_shard() {
        speaker.caught_up += frame.len();
    }
    let micros = u64::try_from(LONGEST.max(settings.frame_bytes)).expect("small") * 1_000_000 / settings.catch_up_rate;
    let paid = u64::try_from(speaker.caught_up).expect("small") * 1_000_000 / settings.catch_up_rate;
    if !fits || paid > now - speaker.born + 100_000 + micros {
        let text = format!("a frame of {count} messages, {} bytes; {paid} us of the rate", frame.len());
        world.violate("bounded", text);
    }
}
