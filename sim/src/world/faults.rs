//! The faults, each coming back after a drawn time while the safety phase lasts.

use millrace_node::replica::ReplicaEvent;
use millrace_raft::ReplicaKey;
use millrace_storage::{Disk, Fault, Operation};

use super::{HEAL, Phase, World};
use crate::broker::{Event, Happening};

/// Number of kinds of faults.
const KINDS: usize = 14;

/// Longest distance of a wall-clock jump in milliseconds, either way.
const JUMP: u64 = 600_000;

impl World {
    fn mean(&self, kind: usize) -> u64 {
        let faults = &self.options.faults;
        let means = [
            faults.kill_ms,
            faults.power_ms,
            faults.stop_ms,
            faults.flush_ms,
            faults.full_ms,
            faults.reset_ms,
            faults.clock_ms,
            faults.wire_ms,
            faults.cut_ms,
            faults.pause_ms,
            faults.blackout_ms,
            faults.transfer_ms,
            faults.replace_ms,
            faults.hang_ms,
        ];
        means.get(kind).copied().unwrap_or(0)
    }

    /// A machine, drawn.
    pub(super) fn any_machine(&mut self) -> usize {
        let count = self.brokers.len() as u64;
        if count == 1 { 0 } else { usize::try_from(self.fault_dice.below(count)).unwrap_or(0) }
    }

    /// The safety phase begins: the clients come, and the faults.
    pub(super) fn begin_safety(&mut self) {
        self.phase = Phase::Safety;
        self.seat_workers();
        for kind in 0..KINDS {
            self.plan_fault(kind);
        }
        let length = self.options.safety_ms * 1_000;
        self.after(length, Happening::Calm);
    }

    fn plan_fault(&mut self, kind: usize) {
        let mean = self.mean(kind);
        if mean > 0 {
            let delay = self.fault_dice.between(1, 2 * mean * 1_000);
            self.after(delay, Happening::Fault(kind));
        }
    }

    pub(super) fn fault(&mut self, kind: usize) {
        if self.phase != Phase::Safety {
            return;
        }
        self.trace.line(self.micros(), format_args!("fault {kind}"));
        let at = self.any_machine();
        let falls = self.brokers[at].may_fall();
        match kind {
            0 if falls && self.brokers[at].process.is_some() => self.crash(at, false),
            1 if falls => self.lose_power(at),
            2 if falls => self.stop(at),
            3 => self.fail_a_flush(at),
            4 => self.fill_the_disk(at),
            5 => self.reset_a_link(),
            6 => self.jump_a_clock(at),
            7 => self.reset_a_wire(),
            8 => self.cut_ways(at),
            9 => {
                let length = self.fault_dice.pick(&[1_000, 20_000, 200_000, 600_000, 2_000_000, 30_000_000]);
                let length = self.fault_dice.between(1_000, length);
                self.pause(at, length);
            }
            10 => self.black_out(),
            11 => self.transfer(at),
            12 => self.replace_disk(at),
            13 => self.hang_the_disk(at),
            _ => {}
        }
        self.plan_fault(kind);
    }

    /// The broker is asked to end; one that has not come up ends at once.
    fn stop(&mut self, at: usize) {
        let machine = &self.brokers[at];
        if machine.process.is_none() || machine.paused.is_some() {
            return;
        }
        if !machine.is_ready() {
            return self.crash(at, false);
        }
        self.with_process(at, crate::broker::Process::stop);
    }

    /// The power goes off after so many more changing calls on the disk.
    pub(super) fn arm_power(&mut self, at: usize, changes: u64) {
        let machine = &mut self.brokers[at];
        machine.power_armed = true;
        machine.disk.set_power_off_after(Some(changes));
    }

    fn lose_power(&mut self, at: usize) {
        let number = self.brokers[at].number();
        if number == 0 {
            return;
        }
        let changes = self.fault_dice.below(30);
        self.arm_power(at, changes);
        let within = self.fault_dice.pick(&[1, 1_000, 50_000]);
        let within = self.fault_dice.below(within);
        self.after(within, Happening::Crash { process: number, power: true });
    }

    /// Some machines, or all, lose power within a moment.
    fn black_out(&mut self) {
        let all = self.fault_dice.chance(50);
        for at in 0..self.brokers.len() {
            if self.brokers[at].may_fall() && (all || self.fault_dice.chance(50)) {
                self.lose_power(at);
            }
        }
    }

    fn fail_a_flush(&mut self, at: usize) {
        let operation =
            self.fault_dice.pick(&[Operation::Flush, Operation::Flush, Operation::SyncAll, Operation::SyncDir]);
        let nth = self.fault_dice.between(1, 5);
        let path = self.fault_dice.pick(&["topics", "topics", "qstate", "metadata", ""]);
        let machine = &mut self.brokers[at];
        machine.disk.inject(Fault::new(operation, nth).on(path));
        machine.tainted = true;
    }

    /// What the disk of a machine is doing, or is asked to do, takes a while.
    fn hang_the_disk(&mut self, at: usize) {
        let length = self.fault_dice.between(1_000_000, 10_000_000);
        self.brokers[at].disk_hangs_until = self.micros() + length;
    }

    fn fill_the_disk(&mut self, at: usize) {
        let Ok(space) = self.brokers[at].disk.space() else { return };
        if space.total < 1 << 40 {
            return;
        }
        let room = self.fault_dice.pick(&[0, 4_096, 65_536]);
        self.brokers[at].disk.set_capacity(Some(space.total - space.free + room));
        let pause = self.fault_dice.between(10_000, 1_000_000);
        self.after(pause, Happening::DiskFreed(at));
    }

    /// The wall clock of a machine jumps; a single machine has that of its clients.
    fn jump_a_clock(&mut self, at: usize) {
        let jump = i64::try_from(self.fault_dice.below(2 * JUMP)).unwrap_or(0) - i64::try_from(JUMP).unwrap_or(0);
        self.brokers[at].clock.ahead += jump;
        if self.brokers.len() == 1 {
            self.ahead += jump;
        }
    }

    /// Whoever leads a partition on this machine is asked to hand over.
    fn transfer(&mut self, at: usize) {
        let Some(process) = &self.brokers[at].process else { return };
        let led: Vec<_> =
            process.views().filter(|view| view.leader_epoch().is_some()).map(|view| view.partition).collect();
        if led.is_empty() || self.brokers[at].paused.is_some() {
            return;
        }
        let chosen = usize::try_from(self.fault_dice.below(led.len() as u64)).unwrap_or(0);
        let Some(raft) = process.consensus(led[chosen]) else { return };
        let voters: Vec<ReplicaKey> = raft.configuration().voters.iter().map(|voter| voter.key).collect();
        let to = usize::try_from(self.fault_dice.below(voters.len() as u64)).unwrap_or(0);
        let Some(to) = voters.get(to).copied() else { return };
        let event = Event::Replica(led[chosen], ReplicaEvent::Transfer { to });
        self.trace
            .line(self.micros(), format_args!("{} is to hand {} over to {to}", self.brokers[at].broker, led[chosen]));
        self.broker(at, event);
    }

    fn reset_a_link(&mut self) {
        let at = usize::try_from(self.fault_dice.below(self.links.len() as u64)).unwrap_or(0);
        if let Some(link) = self.links.keys().nth(at).copied() {
            self.reset(link);
        }
    }

    /// The faults are over.
    pub(super) fn calm(&mut self) {
        self.trace.line(self.micros(), format_args!("calm"));
        self.phase = Phase::Healing;
        self.deadline = self.micros() + HEAL;
        for at in 0..self.brokers.len() {
            self.calm_machine(at);
        }
        self.mend_all();
        self.end_replacement();
        for seat in 0..self.seats.len() {
            self.with_client(seat, |_| {});
        }
    }

    fn calm_machine(&mut self, at: usize) {
        let machine = &mut self.brokers[at];
        machine.disk.set_capacity(None);
        machine.disk_hangs_until = 0;
        let (number, armed, faulty) = (machine.number(), machine.power_armed, machine.is_disk_at_fault());
        let restart = self.fault_dice.chance(30) && !self.options.faults.is_calm();
        self.resume(number);
        if armed {
            self.crash(at, true);
        } else if self.brokers[at].process.is_some() && (faulty || restart) {
            self.crash(at, false);
        }
    }
}
