//! I13: without faults the first leader that commits stays. Before it there may be split votes.

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World) -> Checked {
    let epochs = world.ghost.commits.len();
    if epochs > 1 { Err(format!("{epochs} epochs without a fault")) } else { Ok(()) }
}
