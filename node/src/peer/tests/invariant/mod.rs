//! What holds at every effect, after every step, now and then, and in the end. One file per invariant.

mod bounded;
mod durable;
mod fenced;
mod healed;
mod heard;
mod told;
mod urgent;

use super::world::World;
use crate::peer::PeerEffect;

/// Before an effect is carried out.
pub(crate) fn at_effect(world: &mut World, process: usize, effect: &PeerEffect) {
    match effect {
        PeerEffect::SessionUp(from) => {
            durable::check(world, process, *from);
            fenced::session(world, process, *from);
            heard::alternates(world, process, true);
        }
        PeerEffect::SessionDown { heard, .. } => {
            heard::alternates(world, process, false);
            heard::is_past(world, process, *heard);
        }
        PeerEffect::Deliver { from, messages } => {
            for message in messages {
                fenced::message(world, process, *from, message);
                told::check(world, process, message);
            }
        }
        PeerEffect::Write { connection, frame } => {
            urgent::check(world, *connection, frame);
            bounded::frame(world, process, *connection, frame);
        }
        _ => {}
    }
}

pub(crate) fn after_step(world: &mut World, process: usize) {
    bounded::queues(world, process);
}

/// Every so often.
pub(crate) fn at_rest(world: &mut World) {
    heard::silence(world);
}

/// When faults are over for long.
pub(crate) fn at_end(world: &mut World) {
    healed::check(world);
}
