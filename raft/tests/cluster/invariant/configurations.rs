//! I19: any two configurations that can still elect a leader have majorities that meet.
//!
//! A configuration can elect as long as a majority of its voters knows no newer one.

use millrace_raft::Configuration;

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World) -> Checked {
    let held: Vec<&Configuration> =
        world.hosts.iter().filter_map(|host| Some(host.raft.as_ref()?.configuration())).collect();
    let elects = |configuration: &&&Configuration| {
        let willing = configuration.voters.iter().filter(|voter| {
            let host = &world.hosts[world.index(voter.key)];
            host.key == voter.key && host.store.configuration.id <= configuration.id
        });
        willing.count() >= configuration.majority()
    };
    let active: Vec<&&Configuration> = held.iter().filter(elects).collect();
    for (a, b) in active.iter().flat_map(|a| active.iter().map(move |b| (a, b))) {
        let common = a.voters.iter().filter(|voter| b.voter(voter.key).is_some()).count();
        let apart = a.voters.len() + b.voters.len() - common;
        // Majorities meet in every case exactly when their sizes add up to more than all voters of both.
        if a.id.generation == b.id.generation && a.majority() + b.majority() <= apart {
            return Err(format!("{:?} and {:?} can both elect", a.id, b.id));
        }
    }
    Ok(())
}
