//! When faults are over, sessions are up, every shard is open, and what was sent has come.

use std::time::Duration;

use crate::peer::tests::plan::Profile;
use crate::peer::tests::process::{CATCH_UP, CLASSES, SLOTS, shard};
use crate::peer::tests::world::World;

pub(crate) fn check(world: &mut World) {
    if world.plan.profile == Profile::Disks {
        return;
    }
    let living: Vec<usize> = (0..world.processes.len()).filter(|at| world.processes[*at].alive).collect();
    let [one, other] = living[..] else {
        return world.violate("healed", format!("{} processes live", living.len()));
    };
    for (from, to) in [(one, other), (other, one)] {
        let (sender, receiver) = (&world.processes[from], &world.processes[to]);
        let status = sender.core.status();
        if status.session.is_none() || status.open != sender.core.links.len() {
            return world.violate("healed", format!("process {from}: {status:?}"));
        }
        let came = receiver.came.get(&from).copied().unwrap_or([0; SLOTS]);
        // What waits for the catch-up shard's rate has not come yet, or is under way; a queue that overflows is lost, and
        // that is told.
        let paid = sender.core.quota.ready().after(Duration::from_millis(200)) < world.instant();
        let late = |slot: usize| {
            let link = &sender.core.links[usize::from(shard(slot, sender.core.shards()))];
            let told = sender.told[slot] == sender.sent[slot] && receiver.excused[slot];
            let waits = slot % CLASSES == CATCH_UP && !(link.queue.is_empty() && paid);
            came[slot] != sender.sent[slot] && !told && !waits
        };
        if let Some(slot) = (0..SLOTS).find(|slot| late(*slot)) {
            let text = format!("slot {slot}: {} of {} came from process {from}", came[slot], sender.sent[slot]);
            return world.violate("healed", text);
        }
        // A queue that overflows ends a connection without any fault.
        let overflows = status.overflows + receiver.core.status().overflows;
        let calm = world.plan.profile != Profile::Faults && overflows == 0;
        if calm && (sender.sessions, status.resets) != (1, 0) {
            return world.violate("calm", format!("{status:?}"));
        }
    }
}
