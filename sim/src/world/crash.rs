//! Starts and ends of the broker's process, and what must have survived.

use std::path::Path;

use millrace_storage::{CrashKind, Disk};

use super::{Phase, World};
use crate::broker::{self, Happening, Net, Notice};
use crate::invariant::watermark::{self, Watermarks};

impl World {
    /// Whether the power has gone off within a call on the disk.
    pub(super) fn power_went_off(&self) -> bool {
        self.power_armed && self.disk.list(Path::new("")).is_err()
    }

    /// The process ends, with the machine or alone; a new one starts later.
    pub(super) fn crash(&mut self, power: bool) {
        let number = self.process.as_ref().map_or(0, broker::Process::number);
        self.trace.line(self.micros(), format_args!("crash of {number} power={power}"));
        self.notices.clear();
        self.process = None;
        self.channels.clear();
        self.disk = self.disk.crash(if power { CrashKind::Power } else { CrashKind::Process });
        self.haunted = (self.haunted || self.tainted) && !power;
        self.tainted = false;
        self.power_armed = false;
        self.boot += u64::from(power);
        let links: Vec<u64> = self.links.keys().copied().collect();
        // After a failed flush the next start cuts what was acknowledged from the page cache, and the checkers take the
        // loss in when it does: an acknowledgement that is still under way then would come too late for them.
        let silent = power || !self.unflushable.is_empty();
        for link in links {
            if silent {
                // What the machine had sent is lost with it; the clients find out in their own time.
                let late = self.net_dice.pick(&[0, 5_000, 400_000]);
                let late = self.net_dice.below(late + 1);
                if let Some(known) = self.links.remove(&link) {
                    self.next_link += 1;
                    self.links.insert(self.next_link, known);
                    let lost = self.next_link;
                    self.after(late, Happening::Net(Net::Lost(lost)));
                }
            } else {
                self.send_down(link, Net::Lost(link));
            }
        }
        self.rot();
        let pause = self.fault_dice.pick(&[1_000, 50_000, 200_000]);
        let pause = self.fault_dice.between(1, pause);
        self.after(pause, Happening::Start);
    }

    /// Starts the broker.
    pub(super) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.starts += 1;
        let percent = self.options.faults.start_power_percent;
        if self.phase == Phase::Safety && self.fault_dice.chance(percent) {
            let changes = self.fault_dice.below(80);
            self.arm_power(changes);
            let within = self.fault_dice.between(1, 60_000);
            self.after(within, Happening::Crash { process: self.starts, power: true });
        }
        let dice = self.dice.split();
        let started = broker::start(broker::Start {
            number: self.starts,
            disk: &self.disk,
            boot_id: format!("boot-{}", self.boot),
            config: &self.config,
            journal_room: self.options.journal_room,
            segment_divisor: self.options.segment_divisor,
            sync_all_above: self.options.sync_all_above,
            dice,
        });
        let off = self.power_went_off();
        match started {
            Ok(process) if !off => {
                self.trace
                    .line(self.micros(), format_args!("start {} incarnation {}", self.starts, process.incarnation()));
                let result = self.epochs.started(process.incarnation());
                self.history.check(result);
                self.watermarks = Watermarks::default();
                self.process = Some(process);
                self.with_process(|process, port| process.begin(port));
            }
            Ok(_) => self.crash(true),
            Err(error) => {
                self.trace.line(self.micros(), format_args!("start {} failed: {error}", self.starts));
                let full = self.disk_is_limited();
                if !off && !full && !self.is_disk_at_fault() {
                    self.history.violated("start", format!("the broker does not start: {error}"));
                }
                self.crash(off);
            }
        }
    }

    const fn is_disk_at_fault(&self) -> bool {
        self.tainted || self.haunted
    }

    fn disk_is_limited(&self) -> bool {
        self.disk.space().is_ok_and(|space| space.total < 1 << 40)
    }

    /// Takes in what the process reports.
    pub(super) fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Opened { partition, end, suffix_lost, damaged } => {
                let before = self.opened_in.insert(*partition, self.boot);
                let unflushable = self.unflushable.remove(partition);
                let Some(part) = self.part(*partition) else { return };
                self.names.insert(*partition, part.clone());
                if *damaged && self.history.parts.get(&part).is_some_and(|part| !part.damaged) {
                    self.history.violated("rot", format!("{part} is said to be damaged, and nobody damaged it"));
                }
                if before.is_some() {
                    let may_lose = unflushable || before != Some(self.boot);
                    self.history.came_back(&part, *end, may_lose, *suffix_lost);
                }
            }
            Notice::Offline { partition } => {
                if !self.is_disk_at_fault() && !self.disk_is_limited() {
                    self.history.violated("start", format!("the log of {partition} cannot be opened"));
                }
                self.tainted = true;
                self.unflushable.insert(*partition);
            }
            Notice::FlushFailed { partition } => {
                self.unflushable.insert(*partition);
            }
            Notice::Acknowledged { partition, offset, high_watermark } => {
                self.history.check(watermark::covers(*partition, *offset, *high_watermark));
            }
            Notice::StoppedCleanly => self.crash(false),
        }
    }
}
