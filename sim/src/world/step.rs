//! One thing happens: the broker, a client or the network takes its turn, and what came of it is looked at.

use millrace_types::{Instant, Now, TopicPartition};

use super::{BEGIN, WALL, World};
use crate::broker::{Event, Happening, Port, Process, Who};
use crate::history::Part;
use crate::queue::Micros;

impl World {
    pub(super) fn advance_to(&mut self, at: Micros) {
        let millis = i64::try_from((at - BEGIN) / 1_000).unwrap_or(0);
        self.now = Now { instant: Instant::from_micros(at), wall: WALL + self.wall_offset + millis };
    }

    pub(super) fn micros(&self) -> Micros {
        self.now.instant.as_micros()
    }

    pub(super) fn after(&mut self, delay: Micros, happening: Happening) {
        self.queue.push(self.micros() + delay, happening);
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Broker(process, event) => {
                if self.process.as_ref().is_some_and(|running| running.number() == process) {
                    self.broker(event);
                }
            }
            Happening::Net(net) => self.net(net),
            Happening::Client(seat) => self.client_wakes(seat),
            Happening::Fault(kind) => self.fault(kind),
            Happening::Crash { process, power } => {
                if self.process.as_ref().is_some_and(|running| running.number() == process) {
                    self.crash(power);
                }
            }
            Happening::Start => self.start(),
            Happening::DiskFreed => self.disk.set_capacity(None),
            Happening::Calm => self.calm(),
            Happening::Look => self.look(),
        }
    }

    /// Lets `act` work on the running process, then its storage threads, and looks at what came of it.
    pub(super) fn with_process<T>(&mut self, act: impl FnOnce(&mut Process, &mut Port<'_>) -> T) -> Option<T> {
        let mut process = self.process.take()?;
        let mut port = Port {
            now: self.now,
            process: process.number(),
            queue: &mut self.queue,
            dice: &mut self.port_dice,
            trace: &mut self.trace,
            channels: &mut self.channels,
            notices: &mut self.notices,
            mail_delay: self.options.mail_delay,
            flush_delay: self.options.flush_delay,
        };
        let result = act(&mut process, &mut port);
        process.work(&mut port);
        self.process = Some(process);
        if self.power_went_off() {
            // Nothing that followed from a call that failed for want of power has left the machine.
            self.crash(true);
            return None;
        }
        for notice in std::mem::take(&mut self.notices) {
            self.notice(&notice);
        }
        Some(result)
    }

    fn broker(&mut self, event: Event) {
        let changed = match &event {
            Event::Replica(partition, _) | Event::Timer(Who::Replica(partition), _) => Some(*partition),
            _ => None,
        };
        if let Some(sent) = self.with_process(|process, port| process.handle(port, event)) {
            self.deliver(sent);
        }
        if let Some(partition) = changed {
            self.watch(partition);
        }
    }

    /// White-box checks after a step of the replica of `partition`.
    fn watch(&mut self, partition: TopicPartition) {
        let Some(process) = &self.process else { return };
        let Some(view) = process.view(partition) else { return };
        let result = self.watermarks.check(partition, view.log.high_watermark());
        self.history.check(result);
        let (intact, epoch) = (view.readable_end() == i64::MAX, view.leader_epoch());
        let part = self.names.get(&partition).and_then(|part| self.history.parts.get_mut(part));
        let damaged = part.is_some_and(|part| {
            part.limited |= !intact;
            part.damaged
        });
        // A damaged log is read in the epoch of the start before: it has no leader.
        if let Some(epoch) = epoch.filter(|_| !damaged) {
            let result = self.epochs.check(partition, epoch, process.number());
            self.history.check(result);
        }
    }

    /// The partition as clients name it, if it is one of those that live through the run.
    pub(super) fn part(&self, partition: TopicPartition) -> Option<Part> {
        let image = self.process.as_ref()?.image();
        let topic = image.topic_by_id(partition.topic)?;
        let part = Part::new(&topic.name, partition.partition);
        self.history.parts.contains_key(&part).then_some(part)
    }
}
