//! Starts and ends of a broker's process, and what must have survived.

use millrace_storage::CrashKind;

use super::network::home;
use super::setup::config;
use super::{Phase, World};
use crate::broker::{self, Happening, Net, Notice};
use crate::invariant::watermark::{self, Watermarks};

impl World {
    /// The process ends, with the machine or alone; a new one starts later.
    pub(super) fn crash(&mut self, at: usize, power: bool) {
        let machine = &mut self.brokers[at];
        let number = machine.number();
        machine.notices.clear();
        machine.process = None;
        machine.paused = None;
        machine.channels.clear();
        machine.disk = machine.disk.crash(if power { CrashKind::Power } else { CrashKind::Process });
        machine.haunted = (machine.haunted || machine.tainted) && !power;
        machine.tainted = false;
        machine.power_armed = false;
        machine.off = power;
        machine.boot += u64::from(power);
        // After a failed flush the next start cuts what was acknowledged from the page cache, and the checkers take the
        // loss in when it does: an acknowledgement that is still under way then would come too late for them.
        let silent = power || !machine.unflushable.is_empty();
        self.trace.line(self.micros(), format_args!("crash of {number} power={power}"));
        self.cut_off(at, number, power);
        let links: Vec<u64> = self.links.keys().copied().filter(|link| home(*link) == at).collect();
        for link in links {
            if silent {
                // What the machine had sent is lost with it; the clients find out in their own time.
                let late = self.net_dice.pick(&[0, 5_000, 400_000]);
                let late = self.net_dice.below(late + 1);
                if let Some(known) = self.links.remove(&link) {
                    let lost = self.new_link(at);
                    self.links.insert(lost, known);
                    self.after(late, Happening::Net(Net::Lost(lost)));
                }
            } else {
                self.send_down(link, Net::Lost(link));
            }
        }
        self.rot(at);
        let pause = self.fault_dice.pick(&[1_000, 50_000, 200_000]);
        let pause = self.fault_dice.between(1, pause);
        self.after(pause, Happening::Start(at));
    }

    /// Starts the broker.
    pub(super) fn start(&mut self, at: usize) {
        if self.brokers[at].process.is_some() {
            return;
        }
        self.starts += 1;
        self.copy_disk(at);
        let percent = self.options.faults.start_power_percent;
        if self.phase == Phase::Safety && self.fault_dice.chance(percent) && self.brokers[at].may_fall() {
            let changes = self.fault_dice.below(80);
            self.arm_power(at, changes);
            let within = self.fault_dice.between(1, 60_000);
            self.after(within, Happening::Crash { process: self.starts, power: true });
        }
        let dice = self.dice.split();
        let config = config(&self.options, self.brokers[at].broker);
        let machine = &mut self.brokers[at];
        machine.off = false;
        for other in self.cluster.brokers.iter().filter(|other| **other != machine.broker) {
            *machine.unheard.entry(*other).or_default() += 1;
        }
        let started = broker::start(broker::Start {
            number: self.starts,
            cluster: &self.cluster,
            broker: machine.broker,
            disk: &machine.disk,
            boot_id: format!("boot-{}", machine.boot),
            config: &config,
            journal_room: self.options.journal_room,
            segment_divisor: self.options.segment_divisor,
            sync_all_above: self.options.sync_all_above,
            dice,
        });
        let off = machine.power_went_off();
        match started {
            Ok(process) if !off => {
                let (number, incarnation) = (self.starts, process.incarnation());
                machine.watermarks = Watermarks::default();
                machine.key = Some(process.key());
                machine.process = Some(Box::new(process));
                let broker = machine.broker;
                self.trace.line(self.micros(), format_args!("start {number} incarnation {incarnation}"));
                let result = self.epochs.started(broker, incarnation);
                self.history.check(result);
                self.with_process(at, |process, port| process.begin(port));
            }
            Ok(_) => self.crash(at, true),
            Err(error) => {
                let excused = off || machine.disk_is_limited() || machine.is_disk_at_fault();
                self.trace.line(self.micros(), format_args!("start {} failed: {error}", self.starts));
                if !excused {
                    self.history.violated("start", format!("the broker does not start: {error}"));
                }
                self.crash(at, off);
            }
        }
    }

    /// Takes in what the process reports.
    pub(super) fn notice(&mut self, at: usize, notice: &Notice) {
        match notice {
            Notice::Opened { partition, end, suffix_lost, damaged } => {
                let machine = &mut self.brokers[at];
                let boot = machine.boot;
                let before = machine.opened_in.insert(*partition, boot);
                let unflushable = machine.unflushable.remove(partition);
                let may_lose = unflushable || before != Some(boot);
                machine.reopened.insert(*partition, may_lose);
                let Some(part) = self.part(at, *partition) else { return };
                self.names.insert(*partition, part.clone());
                let rotten = self.brokers[at].rotten.contains(partition);
                if *damaged && !rotten && self.history.parts.get(&part).is_some_and(|part| !part.damaged) {
                    self.history.violated("rot", format!("{part} is said to be damaged, and nobody damaged it"));
                }
                // What one of several replicas has lost is not lost yet.
                if before.is_some() && self.options.is_alone(&part.topic) {
                    self.history.came_back(&part, *end, may_lose, *suffix_lost);
                }
            }
            Notice::Heard { peer, by } => {
                if let Some(other) = self.brokers.iter_mut().find(|machine| machine.broker == *peer) {
                    other.unheard.insert(*by, 0);
                }
            }
            Notice::Stray { what } => self.history.violated("fence", what.clone()),
            Notice::Offline { partition } => {
                let machine = &mut self.brokers[at];
                if !machine.is_disk_at_fault() && !machine.disk_is_limited() {
                    self.history.violated("start", format!("the log of {partition} cannot be opened"));
                }
                machine.tainted = true;
                machine.unflushable.insert(*partition);
            }
            Notice::Stopped { partition, status } => {
                let machine = &mut self.brokers[at];
                if let (Some(key), Some(mirror)) = (machine.key, machine.mirrors.get_mut(partition)) {
                    self.ghosts.entry(*partition).or_default().heard(key, mirror, status);
                }
            }
            Notice::Removed { partition, retired } => self.removed(at, *partition, *retired),
            Notice::FlushFailed { partition } => {
                self.brokers[at].unflushable.insert(*partition);
            }
            // Of several replicas the leader alone may acknowledge, to who asks for no more.
            Notice::Acknowledged { .. } if self.options.copies() > 1 => {}
            Notice::Acknowledged { partition, offset, high_watermark } => {
                self.history.check(watermark::covers(*partition, *offset, *high_watermark));
            }
            Notice::StoppedCleanly => self.crash(at, false),
        }
    }
}
