//! The beginning of a run: everything drawn from its seed, and the first things to happen.

use std::collections::{BTreeMap, BTreeSet};

use millrace_metadata::config::BrokerConfig;
use millrace_storage::{FaultPlan, SimDisk};
use millrace_types::{Instant, Now};

use super::{BEGIN, HEAL, Phase, WALL, World};
use crate::broker::Happening;
use crate::dice::Dice;
use crate::history::{History, Part};
use crate::invariant::epochs::Epochs;
use crate::invariant::watermark::Watermarks;
use crate::options::Options;
use crate::queue::Queue;
use crate::trace::Trace;

impl World {
    pub(super) fn new(seed: u64, print: bool) -> Self {
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
            haunted: false,
            power_armed: false,
            process: None,
            starts: 0,
            boot: 1,
            opened_in: BTreeMap::new(),
            unflushable: BTreeSet::new(),
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

    pub(super) fn prepare(&mut self) {
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
