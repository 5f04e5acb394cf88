//! One thing happens: the broker, a client or the network takes its turn, and what came of it is looked at.

use millrace_node::peers::PeersEvent;
use millrace_node::replica::ReplicaEvent;
use millrace_types::TopicPartition;

use super::World;
use crate::broker::{Clock, Event, Happening, Net, Port, Process, Who, Wire};
use crate::history::Part;
use crate::queue::Micros;

/// Microseconds after which it is looked again whether a disk still hangs.
const HELD: u64 = 100_000;

impl World {
    pub(super) fn advance_to(&mut self, at: Micros) {
        self.now = Clock { drift: 0, ahead: self.ahead }.now(at);
    }

    pub(super) fn micros(&self) -> Micros {
        self.now.instant.as_micros()
    }

    pub(super) fn after(&mut self, delay: Micros, happening: Happening) {
        self.queue.push(self.micros() + delay, happening);
    }

    /// The machine on which the process of this number runs.
    pub(super) fn machine_of(&self, process: u64) -> Option<usize> {
        self.brokers.iter().position(|machine| machine.number() == process && process > 0)
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        let Some(happening) = self.hold_back(happening).and_then(|happening| self.hold_up(happening)) else { return };
        match happening {
            Happening::Broker(process, event) => {
                if let Some(at) = self.machine_of(process) {
                    self.broker(at, event);
                }
            }
            Happening::Net(net) => self.net(net),
            Happening::Wire(wire) => self.wire(wire),
            Happening::Client(seat) => self.client_wakes(seat),
            Happening::Fault(kind) => self.fault(kind),
            Happening::Crash { process, power } => {
                if let Some(at) = self.machine_of(process) {
                    self.crash(at, power);
                }
            }
            Happening::Start(at) => self.start(at),
            Happening::Resume(process) => self.resume(process),
            Happening::Mended(cut) => self.mend(cut),
            Happening::DiskFreed(at) => self.brokers[at].disk.set_capacity(None),
            Happening::Calm => self.calm(),
            Happening::Look => self.look(),
        }
    }

    /// Keeps what a paused process has to wait with; comes back with everything else.
    fn hold_back(&mut self, happening: Happening) -> Option<Happening> {
        let at = match &happening {
            Happening::Broker(process, _) | Happening::Wire(Wire::Dialed { process, .. }) => self.machine_of(*process),
            Happening::Wire(
                Wire::Frame { link, accepted, .. }
                | Wire::End { link, accepted }
                | Wire::Written { link, accepted, .. }
                | Wire::Progress { link, accepted }
                | Wire::Keepalive { link, accepted, .. },
            ) => self.wires.process(*link, *accepted).and_then(|process| self.machine_of(process)),
            Happening::Net(Net::Connect(link) | Net::Up(link, _) | Net::HungUp(link)) => {
                Some(super::network::home(*link))
            }
            _ => None,
        };
        let waits = at.and_then(|at| self.brokers.get_mut(at)).and_then(|machine| machine.paused.as_mut());
        match waits {
            Some(waits) => {
                waits.push(happening);
                None
            }
            None => Some(happening),
        }
    }

    /// Puts off what a disk that hangs would have done by now; comes back with everything else.
    fn hold_up(&mut self, happening: Happening) -> Option<Happening> {
        let Happening::Broker(process, Event::Flushed | Event::Committed | Event::JobDone | Event::Journaled) =
            &happening
        else {
            return Some(happening);
        };
        let until = self.machine_of(*process).map_or(0, |at| self.brokers[at].disk_hangs_until);
        if until <= self.micros() {
            return Some(happening);
        }
        // By steps of one length, which keep the order, since a hang may end early: with the faults.
        self.queue.push(self.micros() + HELD, happening);
        None
    }

    /// The process stands still for so long.
    pub(super) fn pause(&mut self, at: usize, length: u64) {
        let machine = &mut self.brokers[at];
        let process = machine.number();
        if process > 0 && machine.paused.is_none() {
            machine.paused = Some(Vec::new());
            self.after(length, Happening::Resume(process));
        }
    }

    /// The process goes on: what has come meanwhile is there, then the timers are due.
    pub(super) fn resume(&mut self, process: u64) {
        let Some(at) = self.machine_of(process) else { return };
        let Some(waiting) = self.brokers[at].paused.take() else { return };
        self.trace.line(self.now.instant.as_micros(), format_args!("process {process} goes on"));
        let is_timer = |happening: &Happening| matches!(happening, Happening::Broker(_, Event::Timer(..)));
        let (timers, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_timer);
        others.into_iter().for_each(|happening| self.happen(happening));
        if self.machine_of(process) == Some(at) {
            let lag = self.options.cluster.lag_told;
            self.broker(at, Event::Peers(vec![PeersEvent::Lag(lag)]));
        }
        timers.into_iter().for_each(|happening| self.happen(happening));
    }

    /// Lets `act` work on the running process, then its storage threads, and looks at what came of it.
    pub(super) fn with_process<T>(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Process, &mut Port<'_>) -> T,
    ) -> Option<T> {
        let moment = self.micros();
        let machine = &mut self.brokers[at];
        let mut process = machine.process.take()?;
        let mut port = Port {
            now: machine.clock.now(moment),
            moment,
            clock: machine.clock,
            label: self.options.is_cluster().then_some(machine.broker),
            process: process.number(),
            queue: &mut self.queue,
            dice: &mut self.port_dice,
            trace: &mut self.trace,
            channels: &mut machine.channels,
            notices: &mut machine.notices,
            mail_delay: self.options.mail_delay,
            flush_delay: self.options.flush_delay,
        };
        let result = act(&mut process, &mut port);
        process.work(&mut port);
        let (sent, number) = (process.take_sent(), process.number());
        machine.process = Some(process);
        if machine.power_went_off() {
            // Nothing that followed from a call that failed for want of power has left the machine.
            self.crash(at, true);
            return None;
        }
        for notice in std::mem::take(&mut self.brokers[at].notices) {
            self.notice(at, &notice);
        }
        self.deliver(at, number, sent);
        Some(result)
    }

    pub(super) fn broker(&mut self, at: usize, event: Event) {
        let changed = match &event {
            Event::Replica(partition, _) | Event::Timer(Who::Replica(partition), _) => Some(*partition),
            _ => None,
        };
        // Members are in force when they are durable, or found by a start.
        let members = matches!(&event, Event::Replica(_, ReplicaEvent::Start | ReplicaEvent::PutDone { .. }));
        self.with_process(at, |process, port| process.handle(port, event));
        if let Some(partition) = changed {
            if members {
                self.watch_members(at, partition);
            }
            self.watch(at, partition);
        }
    }

    /// The partition as clients name it, if it is one of those that live through the run.
    pub(super) fn part(&self, at: usize, partition: TopicPartition) -> Option<Part> {
        let image = self.brokers[at].process.as_deref()?.image();
        let topic = image.topic_by_id(partition.topic)?;
        let part = Part::new(&topic.name, partition.partition);
        self.history.parts.contains_key(&part).then_some(part)
    }
}
