//! The faults, each coming back after a drawn time while the safety phase lasts.

use millrace_storage::{Disk, Fault, Operation};

use super::{HEAL, Phase, World};
use crate::broker::Happening;

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
        ];
        means.get(kind).copied().unwrap_or(0)
    }

    /// The safety phase begins: the clients come, and the faults.
    pub(super) fn begin_safety(&mut self) {
        self.phase = Phase::Safety;
        self.seat_workers();
        for kind in 0..7 {
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
        match kind {
            0 if self.process.is_some() => self.crash(false),
            1 => self.lose_power(),
            2 => self.stop(),
            3 => self.fail_a_flush(),
            4 => self.fill_the_disk(),
            5 => self.reset_a_link(),
            6 => {
                let jump = i64::try_from(self.fault_dice.below(2 * JUMP)).unwrap_or(0);
                self.wall_offset += jump - i64::try_from(JUMP).unwrap_or(0);
            }
            _ => {}
        }
        self.plan_fault(kind);
    }

    /// The broker is asked to end; one that has not come up ends at once.
    fn stop(&mut self) {
        let Some(process) = &self.process else { return };
        if !process.is_ready() {
            return self.crash(false);
        }
        if let Some(closed) = self.with_process(crate::broker::Process::stop) {
            self.deliver(closed);
        }
    }

    /// The power goes off after so many more changing calls on the disk.
    pub(super) fn arm_power(&mut self, changes: u64) {
        self.power_armed = true;
        self.disk.set_power_off_after(Some(changes));
    }

    fn lose_power(&mut self) {
        let Some(process) = &self.process else { return };
        let number = process.number();
        let changes = self.fault_dice.below(30);
        self.arm_power(changes);
        let within = self.fault_dice.pick(&[1, 1_000, 50_000]);
        let within = self.fault_dice.below(within);
        self.after(within, Happening::Crash { process: number, power: true });
    }

    fn fail_a_flush(&mut self) {
        let operation =
            self.fault_dice.pick(&[Operation::Flush, Operation::Flush, Operation::SyncAll, Operation::SyncDir]);
        let nth = self.fault_dice.between(1, 5);
        let path = self.fault_dice.pick(&["topics", "topics", "qstate", "metadata", ""]);
        self.disk.inject(Fault::new(operation, nth).on(path));
        self.tainted = true;
    }

    fn fill_the_disk(&mut self) {
        let Ok(space) = self.disk.space() else { return };
        if space.total < 1 << 40 {
            return;
        }
        let room = self.fault_dice.pick(&[0, 4_096, 65_536]);
        self.disk.set_capacity(Some(space.total - space.free + room));
        let pause = self.fault_dice.between(10_000, 1_000_000);
        self.after(pause, Happening::DiskFreed);
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
        self.disk.set_capacity(None);
        let restart = self.fault_dice.chance(30);
        if self.power_armed {
            self.crash(true);
        } else if self.process.is_some() && (self.tainted || self.haunted || restart) {
            self.crash(false);
        }
        for seat in 0..self.seats.len() {
            self.with_client(seat, |_| {});
        }
    }
}
