//! Faults: what goes wrong next.

use std::time::Duration;

use super::network::{Connection, name};
use super::plan::Profile;
use super::world::{Action, FAULTS_END, World};
use crate::peer::PeerEvent;

/// The time of a run has no room for more.
const RESTARTS_MAX: u64 = 30;

impl World {
    pub(crate) fn fault(&mut self) {
        if self.now > FAULTS_END {
            return;
        }
        let (first, kinds) = match self.plan.profile {
            Profile::Calm | Profile::Doubles => (6, 2),
            Profile::Faults => (0, 9),
            Profile::Disks => (0, 12),
        };
        let side = self.pick(2);
        match first + self.dice.roll(kinds) {
            0 => self.cut(true),
            1 => self.cut(false),
            2 => self.silence(),
            3 => self.blocked[side] = self.now + self.dice.roll(600_000),
            4 => self.crash(side, true, false),
            5 => self.crash(side, false, false),
            6 => self.duplicate(),
            7 => self.nudge(side),
            8 => self.lag(side),
            9 => self.copy(side),
            10 => self.restore(side),
            _ => self.crash(side, true, true),
        }
        let pause = self.dice.roll(self.plan.pause * 2);
        self.after(pause, Action::Fault);
    }

    fn pick(&mut self, sides: usize) -> usize {
        usize::try_from(self.dice.roll(sides.max(1) as u64)).expect("small")
    }

    fn living(&self, side: usize) -> Vec<usize> {
        (0..self.processes.len()).filter(|at| self.processes[*at].alive && self.processes[*at].side == side).collect()
    }

    fn living_connection(&mut self) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.connections.len()).filter(|at| self.connections[*at].closed == [false; 2]).collect();
        let drawn = self.pick(open.len());
        open.get(drawn).copied()
    }

    /// A connection is reset; one end may not learn of it.
    fn cut(&mut self, both: bool) {
        let Some(connection) = self.living_connection() else { return };
        self.connections[connection].mute = [true; 2];
        let end = self.pick(2);
        self.reset(connection, end);
        if both {
            self.reset(connection, 1 - end);
        }
    }

    /// One direction of a connection falls silent.
    fn silence(&mut self) {
        let Some(connection) = self.living_connection() else { return };
        let end = self.pick(2);
        self.connections[connection].mute[end] = true;
    }

    /// A process ends; with its machine, nobody is told. Another starts, on the same disk or a new one.
    fn crash(&mut self, side: usize, told: bool, wiped: bool) {
        let living = self.living(side);
        if living.is_empty() || self.restarts >= RESTARTS_MAX {
            return;
        }
        self.restarts += 1;
        let process = living[self.pick(living.len())];
        let disk = self.kill(process, told);
        let disk = if wiped { self.format() } else { disk };
        let delay = self.dice.roll(500_000);
        self.after(delay, Action::Restart { side, disk });
    }

    fn kill(&mut self, process: usize, told: bool) -> usize {
        self.processes[process].alive = false;
        for connection in 0..self.connections.len() {
            for end in 0..2 {
                if self.connections[connection].ends[end] == Some(process) {
                    self.connections[connection].closed[end] = true;
                    if told && !self.connections[connection].mute[1 - end] {
                        let delay = 1 + self.dice.roll(self.plan.delay);
                        self.after(delay, Action::Reset { connection, end: 1 - end });
                    }
                }
            }
        }
        self.processes[process].disk
    }

    /// A hello comes twice, on a connection that leads nowhere.
    fn duplicate(&mut self) {
        let (Some(hello), Some(process)) = (self.hellos[1].clone(), self.living(1).first().copied()) else { return };
        self.connections.push(Connection::new(None, process, hello.shard));
        let connection = self.connections.len() - 1;
        self.connections[connection].greeted = true;
        self.step(process, PeerEvent::Accepted { connection: name(connection, 1), hello });
    }

    fn lag(&mut self, side: usize) {
        let Some(process) = self.living(side).first().copied() else { return };
        self.processes[process].ever_lagged = true;
        let lag = Duration::from_millis(self.dice.roll(300));
        self.step(process, PeerEvent::Lag(lag));
    }

    fn nudge(&mut self, side: usize) {
        let Some(process) = self.living(side).first().copied() else { return };
        self.step(process, PeerEvent::Nudge);
    }

    /// A process ends, its disk is copied, and both copies start.
    fn copy(&mut self, side: usize) {
        let living = self.living(side);
        if living.len() != 1 || self.restarts >= RESTARTS_MAX {
            return;
        }
        self.restarts += 1;
        let disk = self.kill(living[0], true);
        self.disks.push(self.disks[disk].clone());
        for disk in [disk, self.disks.len() - 1] {
            let delay = self.dice.roll(300_000);
            self.after(delay, Action::Restart { side, disk });
        }
    }

    /// A disk is set back to what it was at the last such fault.
    fn restore(&mut self, side: usize) {
        let living = self.living(side);
        let Some(process) = living.first().copied() else { return };
        let disk = self.processes[process].disk;
        let older = self.snapshots[side].replace(self.disks[disk].clone());
        let Some(older) = older.filter(|_| self.restarts < RESTARTS_MAX) else { return };
        self.restarts += 1;
        self.kill(process, true);
        self.disks.push(older);
        let (delay, disk) = (self.dice.roll(300_000), self.disks.len() - 1);
        self.after(delay, Action::Restart { side, disk });
    }
}
