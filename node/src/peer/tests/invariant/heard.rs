//! Up and down alternate, and no connection of a session stays silent.

use millrace_types::Instant;

use crate::peer::tests::world::World;

pub(crate) fn alternates(world: &mut World, process: usize, up: bool) {
    if world.processes[process].up == up {
        world.violate("alternates", format!("the session is up twice, or down twice: {up}"));
    }
}

pub(crate) fn is_past(world: &mut World, process: usize, heard: Instant) {
    if heard > world.instant() || heard == Instant::ZERO {
        world.violate("heard", format!("process {process} has heard the broker at {heard:?}"));
    }
}

/// A connection that has brought a hello and more is open, and is given up when nothing more comes.
pub(crate) fn silence(world: &mut World) {
    let mut found = None;
    for (number, connection) in world.connections.iter().enumerate() {
        for end in 0..2 {
            let Some(process) = connection.ends[end].map(|process| &world.processes[process]) else { continue };
            let scale = if process.ever_lagged { 4 } else { 1 };
            let bound = process.settings.session_timeout * scale + std::time::Duration::from_millis(2);
            let (frames, last) = connection.frames[end];
            if process.alive && !connection.closed[end] && frames > 1 && world.instant().since(last) > bound {
                found = Some(format!("connection {number}, end {end}: nothing since {last:?}"));
            }
        }
    }
    if let Some(text) = found {
        world.violate("silence", text);
    }
}
