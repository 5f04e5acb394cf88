//! A run: brokers on their machines, their clients and the network between them, from the first event to the verdict.

mod clients;
mod crash;
mod faults;
mod machine;
mod members;
mod network;
mod replace;
mod report;
mod rot;
mod setup;
mod step;
mod verdict;
mod watch;
mod wire;

pub use report::{Counts, Report};

use std::collections::{BTreeMap, BTreeSet};

use millrace_raft::ReplicaKey;
use millrace_storage::FaultPlan;
use millrace_types::{Now, TopicPartition};

use crate::broker::{Cluster, Happening};
use crate::dice::Dice;
use crate::ghost::Ghosts;
use crate::history::{History, Part};
use crate::invariant::chain::Chains;
use crate::invariant::epochs::Epochs;
use crate::options::{Kinds, Options, Profile};
use crate::queue::{Micros, Queue};
use crate::trace::Trace;

use clients::Seat;
use machine::Machine;
use network::Link;
use replace::Replacement;
use wire::Wires;

/// Moment of the first event.
const BEGIN: Micros = 1_000_000;
/// Virtual time in which everything must heal once the faults are over.
const HEAL: Micros = 180_000_000;
/// The most events of a run: a run that does not come to its end is a violation.
const MAX_EVENTS: u64 = 2_000_000;

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
    now: Now,
    /// Milliseconds that the wall clock of the clients is ahead.
    ahead: i64,
    queue: Queue<Happening>,
    trace: Trace,
    dice: Dice,
    port_dice: Dice,
    fault_dice: Dice,
    net_dice: Dice,
    cluster: Cluster,
    brokers: Vec<Machine>,
    /// What the disks of machines are made with.
    plan: FaultPlan,
    replacement: Replacement,
    /// The replicas whose disks were replaced: what they had promised is gone.
    gone: BTreeSet<ReplicaKey>,
    /// The connections between brokers, and the ways that are cut.
    wires: Wires,
    starts: u64,
    /// The names of partitions, for when no process runs.
    names: BTreeMap<TopicPartition, Part>,
    seats: Vec<Seat>,
    links: BTreeMap<u64, Link>,
    /// The place of the broker whose frame a client is given.
    hears: Option<usize>,
    next_link: u64,
    history: History,
    epochs: Epochs,
    ghosts: Ghosts,
    chains: Chains,
    /// Replicas whose data is gone since they have moved away.
    retired: u64,
    /// Since when partitions are without a leader, after the faults.
    leaderless: BTreeMap<Part, Micros>,
    phase: Phase,
    deadline: Micros,
    events: u64,
}

/// Runs `seed` to its verdict; with `print` its trace goes to the standard output.
#[must_use]
pub fn run(seed: u64, profile: Profile, kinds: Kinds, print: bool) -> Report {
    let mut world = World::new(seed, (profile, kinds), print);
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
    world.report(seed)
}
