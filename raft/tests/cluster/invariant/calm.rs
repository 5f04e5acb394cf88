//! I13: without faults the first leader stays, but for transfers.

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World) -> Checked {
    let epochs = world.ghost.leaders.len();
    if epochs > 1 { Err(format!("{epochs} leaders without a fault")) } else { Ok(()) }
}
