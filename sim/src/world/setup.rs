//! The beginning of a run: everything drawn from its seed, and the first things to happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_metadata::config::{BrokerConfig, RACK_AWARE_SELECTOR};
use millrace_storage::{FaultPlan, SimDisk};
use millrace_types::BrokerId;

use super::machine::Machine;
use super::replace::Replacement;
use super::wire::Wires;
use super::{BEGIN, HEAL, Phase, World};
use crate::broker::{Clock, Cluster, Happening};
use crate::dice::Dice;
use crate::history::{History, Part};
use crate::invariant::chain::Chains;
use crate::invariant::epochs::Epochs;
use crate::options::{ClusterOptions, Kinds, Options, Profile, rack_name};
use crate::queue::Queue;
use crate::trace::Trace;

/// How long a preferred leader waits by itself (`leader.imbalance.check.interval.seconds`).
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    pub(super) fn new(seed: u64, (profile, kinds): (Profile, Kinds), print: bool) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options::draw(&mut dice.split(), profile, kinds);
        let mut trace = Trace::new(print);
        trace.line(0, format_args!("seed {seed} {options}"));
        let plan = FaultPlan { write_back_percent: options.write_back_percent, ..FaultPlan::default() };
        let queue = Queue::new(dice.split());
        let (port_dice, fault_dice, net_dice) = (dice.split(), dice.split(), dice.split());
        let ids = 1..=i32::try_from(options.cluster.brokers).unwrap_or(1);
        let mut brokers: Vec<Machine> =
            ids.map(|id| Machine::new(BrokerId(id), SimDisk::new(dice.number(), plan.clone()))).collect();
        for machine in &mut brokers {
            machine.clock.drift = options.cluster.drift.draw(&mut dice);
        }
        let members = brokers.iter().filter(|_| options.is_cluster()).map(|machine| machine.broker).collect();
        let witnesses = options.cluster.witnesses.iter().map(|at| brokers[*at].broker).collect();
        let ClusterOptions { sessions, room, timing, patience, .. } = options.cluster.clone();
        let patience = patience.unwrap_or(PATIENCE);
        let cluster = Cluster { brokers: members, witnesses, sessions, room, timing, patience };
        Self {
            now: Clock::default().now(BEGIN),
            ahead: 0,
            queue,
            trace,
            port_dice,
            fault_dice,
            net_dice,
            cluster,
            brokers,
            plan,
            replacement: Replacement::default(),
            gone: BTreeSet::new(),
            wires: Wires::default(),
            starts: 0,
            names: BTreeMap::new(),
            seats: Vec::new(),
            links: BTreeMap::new(),
            hears: None,
            next_link: 0,
            history: History::default(),
            epochs: Epochs::default(),
            ghosts: BTreeMap::new(),
            chains: Chains::default(),
            retired: 0,
            leaderless: BTreeMap::new(),
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
        for at in 0..self.brokers.len() {
            self.after(0, Happening::Start(at));
        }
        self.after(0, Happening::Look);
    }
}

/// A broker's configuration.
pub(super) fn config(options: &Options, broker: BrokerId) -> BrokerConfig {
    let values = [
        ("node.id", broker.to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("group.initial.rebalance.delay.ms", "20".to_owned()),
        ("group.min.session.timeout.ms", "100".to_owned()),
        ("offsets.topic.num.partitions", options.offsets_partitions.to_string()),
        ("log.segment.initial.bytes", options.initial_segment_bytes.to_string()),
        ("log.retention.check.interval.ms", options.check_interval_ms.to_string()),
        ("connection.max.in.flight.requests", options.max_in_flight.to_string()),
        ("max.incremental.fetch.session.cache.slots", options.fetch_sessions.to_string()),
    ];
    let cluster = [
        ("offsets.topic.replication.factor", options.cluster.offsets_replicas.to_string()),
        ("log.scrub.bytes.per.second", options.cluster.scrub.to_string()),
        ("witness.placement", if options.cluster.witness_any { "any" } else { "dedicated" }.to_owned()),
        ("peer.session.timeout.ms", options.cluster.sessions.session_timeout.as_millis().to_string()),
    ];
    let values = values.into_iter().chain(cluster.into_iter().filter(|_| options.is_cluster()));
    let mut values: Vec<(&str, String)> = values.collect();
    if let Some(rack) = u64::from(broker.0.cast_unsigned()).checked_rem(options.cluster.racks) {
        values.push(("broker.rack", rack_name(rack)));
        values.push(("replica.selector.class", RACK_AWARE_SELECTOR.to_owned()));
    }
    let known = values.iter().map(|(key, value)| (*key, value.as_str()));
    BrokerConfig::new(known).unwrap_or_else(|error| panic!("the simulator's own configuration is wrong: {error:?}"))
}
