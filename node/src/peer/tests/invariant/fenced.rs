//! Whoever speaks comes from the last start that was spoken to: no earlier process, no copy, no restored disk.

use millrace_raft::Peer as RemotePeer;

use crate::peer::PeerMessage;
use crate::peer::tests::process::{broker, read};
use crate::peer::tests::world::World;

/// A session begins: some process has this start, and its disk knows the one spoken to before.
pub(crate) fn session(world: &mut World, process: usize, from: RemotePeer) {
    let (side, disk) = (world.processes[process].side, world.processes[process].disk);
    let accepted = world.disks[disk].accepted.get(&from.key.directory).copied();
    let fits = |start: &crate::peer::Start| accepted.is_none_or(|known| start.incarnation >= known.incarnation);
    let last = world.disks[disk].remembered.get(&from.key.directory).copied();
    let start = world.processes.iter().find(|other| {
        let is_it = other.directory == from.key.directory && other.start().incarnation == from.incarnation;
        is_it && last.is_none_or(|last| last == other.start())
    });
    let descends = |other: &super::super::process::Process| {
        accepted.is_none_or(|known| other.history.contains(&known)) && fits(&other.start())
    };
    let known = start.map(|other| (other.start(), descends(other)));
    match known {
        Some((start, true)) => drop(world.disks[disk].accepted.insert(from.key.directory, start)),
        Some((start, false)) => world.violate("fenced", format!("a session with {start:?} after {accepted:?}")),
        // With the rule of durability broken nothing is remembered yet: its own invariant says so.
        None => world.violate("fenced", format!("a session with {from:?}, who is nobody")),
    }
    if from.key.broker != broker(1 - side) {
        world.violate("fenced", format!("a session with {from:?}"));
    }
}

/// A message is of the process that the session is with.
pub(crate) fn message(world: &mut World, process: usize, from: RemotePeer, message: &PeerMessage) {
    let (_, sender, _) = read(message);
    let accepted = world.disks[world.processes[process].disk].accepted.get(&from.key.directory).copied();
    let speaker = &world.processes[sender];
    let same = speaker.directory == from.key.directory && speaker.start().incarnation == from.incarnation;
    if !same || accepted != Some(speaker.start()) || !world.processes[process].up {
        let text = format!("a message of {:?} as of {from:?}, the session is with {accepted:?}", speaker.start());
        world.violate("fenced", text);
    }
}
