//! A run: one broker, its disk, its clients and the network between them, from the first event to the verdict.

mod clients;
mod crash;
mod faults;
mod network;
mod rot;
mod verdict;

use std::collections::BTreeMap;

use millrace_metadata::config::BrokerConfig;
use millrace_storage::{FaultPlan, SimDisk};
use millrace_types::{Instant, Now, TopicPartition};

use crate::broker::{Event, Happening, Notice, Port, Process, Who};
use crate::dice::Dice;
use crate::history::{History, Part, Violation};
use crate::invariant::epochs::Epochs;
use crate::invariant::watermark::Watermarks;
use crate::options::Options;
use crate::queue::{Micros, Queue};
use crate::trace::Trace;

use clients::Seat;
use network::Link;

/// Wall clock at the start of a run.
const WALL: i64 = 1_700_000_000_000;
/// Moment of the first event.
const BEGIN: Micros = 1_000_000;
/// Virtual time in which everything must heal once the faults are over.
const HEAL: Micros = 180_000_000;
/// The most events of a run: a run that does not come to its end is a violation.
const MAX_EVENTS: u64 = 2_000_000;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Events that happened.
    pub events: u64,
    /// Acknowledged sends and commits.
    pub acks: u64,
    /// Records that consumers were given.
    pub reads: u64,
    /// Times the broker was started.
    pub starts: u64,
    /// Power losses.
    pub power_losses: u64,
    /// Virtual microseconds.
    pub time: Micros,
    /// Hash of the trace.
    pub trace: u64,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The topics are made, without faults.
    Founding,
    /// Work, with faults.
    Safety,
    /// The faults are over: everything under way comes to its end.
    Healing,
    /// Fresh clients look at the outcome.
    Asking,
    /// The verdict is given.
    Done,
}

/// A run.
struct World {
    options: Options,
    config: BrokerConfig,
    now: Now,
    wall_offset: i64,
    queue: Queue<Happening>,
    trace: Trace,
    dice: Dice,
    port_dice: Dice,
    fault_dice: Dice,
    net_dice: Dice,
    channels: BTreeMap<(Who, Who), Micros>,
    notices: Vec<Notice>,
    disk: SimDisk,
    /// The disk of this process has or had a fault waiting for it.
    tainted: bool,
    /// The power goes off in one of the next changing calls.
    power_armed: bool,
    process: Option<Process>,
    starts: u64,
    boot: u64,
    /// The machine's run in which a partition's log was last opened.
    opened_in: BTreeMap<TopicPartition, u64>,
    /// The names of partitions, for when no process runs.
    names: BTreeMap<TopicPartition, Part>,
    seats: Vec<Seat>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    history: History,
    watermarks: Watermarks,
    epochs: Epochs,
    phase: Phase,
    deadline: Micros,
    events: u64,
}

/// Runs `seed` to its verdict; with `print` its trace goes to the standard output.
#[must_use]
pub fn run(seed: u64, print: bool) -> Report {
    let mut world = World::new(seed, print);
    world.prepare();
    while world.phase != Phase::Done && world.history.violation().is_none() {
        let Some((at, happening)) = world.queue.pop() else {
            world.history.violated("liveness", "nothing is left to happen".to_owned());
            break;
        };
        world.events += 1;
        if world.events > MAX_EVENTS {
            world.history.violated("liveness", format!("{MAX_EVENTS} events and no end"));
        }
        world.advance_to(at);
        world.happen(happening);
    }
    Report {
        seed,
        events: world.events,
        acks: world.history.acks,
        reads: world.history.reads,
        starts: world.starts,
        power_losses: world.boot - 1,
        time: world.now.instant.as_micros() - BEGIN,
        trace: world.trace.hash(),
        violation: world.history.violation().cloned(),
    }
}

impl World {
    fn new(seed: u64, print: bool) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options::draw(&mut dice.split());
        let mut trace = Trace::new(print);
        trace.line(0, format_args!("seed {seed} {options}"));
        let plan = FaultPlan { write_back_percent: options.write_back_percent, ..FaultPlan::default() };
        Self {
            config: config(&options),
            now: Now { instant: Instant::from_micros(BEGIN), wall: WALL },
            wall_offset: 0,
            queue: Queue::new(dice.split()),
            trace,
            port_dice: dice.split(),
            fault_dice: dice.split(),
            net_dice: dice.split(),
            channels: BTreeMap::new(),
            notices: Vec::new(),
            disk: SimDisk::new(dice.number(), plan),
            tainted: false,
            power_armed: false,
            process: None,
            starts: 0,
            boot: 1,
            opened_in: BTreeMap::new(),
            names: BTreeMap::new(),
            seats: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            history: History::default(),
            watermarks: Watermarks::default(),
            epochs: Epochs::default(),
            phase: Phase::Founding,
            deadline: BEGIN + HEAL,
            events: 0,
            options,
            dice,
        }
    }

    fn prepare(&mut self) {
        for topic in self.options.topics.clone() {
            for partition in 0..topic.partitions {
                let known = self.history.parts.entry(Part::new(topic.name, partition)).or_default();
                known.durable = topic.is_durable();
            }
        }
        self.seat_admin();
        self.after(0, Happening::Start);
        self.after(0, Happening::Look);
    }

    fn advance_to(&mut self, at: Micros) {
        let millis = i64::try_from((at - BEGIN) / 1_000).unwrap_or(0);
        self.now = Now { instant: Instant::from_micros(at), wall: WALL + self.wall_offset + millis };
    }

    fn micros(&self) -> Micros {
        self.now.instant.as_micros()
    }

    fn after(&mut self, delay: Micros, happening: Happening) {
        self.queue.push(self.micros() + delay, happening);
    }

    fn happen(&mut self, happening: Happening) {
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
    fn with_process<T>(&mut self, act: impl FnOnce(&mut Process, &mut Port<'_>) -> T) -> Option<T> {
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
        self.watch();
        Some(result)
    }

    fn broker(&mut self, event: Event) {
        if let Some(sent) = self.with_process(|process, port| process.handle(port, event)) {
            self.deliver(sent);
        }
    }

    /// White-box checks after each step of the broker.
    fn watch(&mut self) {
        for notice in std::mem::take(&mut self.notices) {
            self.notice(&notice);
        }
        let Some(process) = &self.process else { return };
        for view in process.views() {
            let result = self.watermarks.check(view.partition, view.log.high_watermark());
            self.history.check(result);
            if let Some(epoch) = view.leader_epoch() {
                let result = self.epochs.check(view.partition, epoch, process.number());
                self.history.check(result);
            }
        }
    }

    /// The partition as clients name it, if it is one of those that live through the run.
    fn part(&self, partition: TopicPartition) -> Option<Part> {
        let image = self.process.as_ref()?.image();
        let topic = image.topic_by_id(partition.topic)?;
        let part = Part::new(&topic.name, partition.partition);
        self.history.parts.contains_key(&part).then_some(part)
    }
}

/// The broker's configuration.
fn config(options: &Options) -> BrokerConfig {
    let values = [
        ("node.id", "1".to_owned()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("group.initial.rebalance.delay.ms", "20".to_owned()),
        ("group.min.session.timeout.ms", "100".to_owned()),
        ("offsets.topic.num.partitions", options.offsets_partitions.to_string()),
        ("log.segment.initial.bytes", options.initial_segment_bytes.to_string()),
        ("log.retention.check.interval.ms", options.check_interval_ms.to_string()),
        ("connection.max.in.flight.requests", options.max_in_flight.to_string()),
        ("max.incremental.fetch.session.cache.slots", options.fetch_sessions.to_string()),
    ];
    let known = values.iter().map(|(key, value)| (*key, value.as_str()));
    BrokerConfig::new(known).unwrap_or_else(|error| panic!("the simulator's own configuration is wrong: {error:?}"))
}
