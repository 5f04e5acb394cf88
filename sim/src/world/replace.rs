//! Disks that are replaced: wiped, or set back to what they were. The broker comes back under its old id.
//!
//! One with a new directory is another replica: no voter, no acceptor, nobody that was promised anything (rule R20, hole 18). One that
//! was set back has forgotten promises, so nobody hears it (hole 8), until its operator wipes it. A rollback to a moment since which
//! no start of the process was heard is not told from a crash by anybody, and no fault for the simulator to make.

use millrace_storage::{CrashKind, SimDisk};
use millrace_types::BrokerId;

use super::{Phase, World};
use crate::ghost::Mirror;

/// How far the replacement of the one disk has come that a run may replace.
#[derive(Debug, Default)]
pub(super) enum Replacement {
    /// Nothing has happened.
    #[default]
    None,
    /// The disk was copied when this broker was about to start.
    Copied(BrokerId, SimDisk),
    /// The broker runs on the copy, and is refused.
    SetBack(BrokerId),
    /// The broker runs on a disk that was empty.
    Wiped,
}

impl World {
    /// The disk of the machine at `at` is copied before a start, perhaps; the copy knows nothing of that start.
    pub(super) fn copy_disk(&mut self, at: usize) {
        let wanted = self.options.cluster.replaced.is_some_and(|replaced| replaced.set_back);
        if wanted && self.phase == Phase::Safety && matches!(self.replacement, Replacement::None) {
            let machine = &self.brokers[at];
            self.replacement = Replacement::Copied(machine.broker, machine.disk.crash(CrashKind::Process));
        }
    }

    /// The disk of a machine is replaced, or the next step of that is taken.
    pub(super) fn replace_disk(&mut self, at: usize) {
        let Some(replaced) = self.options.cluster.replaced else { return };
        let replacement = std::mem::take(&mut self.replacement);
        self.replacement = match replacement {
            Replacement::None if !replaced.set_back && self.brokers[at].may_fall() => self.wipe(at),
            Replacement::Copied(broker, disk) => match self.place_of(broker) {
                Some(at) if self.is_heard_by_all(at) => self.set_back(at, disk),
                _ => Replacement::Copied(broker, disk),
            },
            Replacement::SetBack(broker) => match self.place_of(broker) {
                Some(at) => self.wipe(at),
                None => Replacement::Wiped,
            },
            other => other,
        };
    }

    /// A disk that was set back is wiped at last.
    pub(super) fn end_replacement(&mut self) {
        if matches!(self.replacement, Replacement::SetBack(_)) {
            self.replace_disk(0);
        }
    }

    /// Whether every other broker has heard the process that runs there.
    fn is_heard_by_all(&self, at: usize) -> bool {
        self.brokers[at].process.is_some() && self.brokers[at].unheard.values().all(|starts| *starts == 0)
    }

    fn wipe(&mut self, at: usize) -> Replacement {
        let seed = self.fault_dice.number();
        self.swap(at, SimDisk::new(seed, self.plan.clone()));
        Replacement::Wiped
    }

    fn set_back(&mut self, at: usize, disk: SimDisk) -> Replacement {
        self.swap(at, disk);
        Replacement::SetBack(self.brokers[at].broker)
    }

    /// The machine loses power, and comes back with another disk.
    fn swap(&mut self, at: usize, disk: SimDisk) {
        let broker = self.brokers[at].broker;
        self.trace.line(self.micros(), format_args!("the disk of {broker} is replaced"));
        // Where no process runs one is about to start.
        if self.brokers[at].process.is_some() {
            self.crash(at, true);
        }
        self.epochs.forget(broker);
        let machine = &mut self.brokers[at];
        machine.disk = disk;
        if let Some(key) = machine.key.take() {
            self.gone.insert(key);
            self.ghosts.values_mut().for_each(|ghost| drop(ghost.held.remove(&key)));
        }
        machine.mirrors.values_mut().for_each(|mirror| *mirror = Mirror::default());
        machine.reopened.clear();
        machine.opened_in.clear();
        machine.unflushable.clear();
        machine.unheard.clear();
        (machine.tainted, machine.haunted) = (false, false);
    }
}
