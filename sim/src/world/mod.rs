//! A run: one broker, its disk, its clients and the network between them, from the first event to the verdict.

mod clients;
mod crash;
mod faults;
mod network;
mod report;
mod rot;
mod setup;
mod step;
mod verdict;

pub use report::Report;

use std::collections::{BTreeMap, BTreeSet};

use millrace_metadata::config::BrokerConfig;
use millrace_storage::SimDisk;
use millrace_types::{Now, TopicPartition};

use crate::broker::{Happening, Notice, Process, Who};
use crate::dice::Dice;
use crate::history::{History, Part};
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
    /// The disk of a process before had, in this run of the machine: what failed to be written back is told to whoever
    /// flushes the file next.
    haunted: bool,
    /// The power goes off in one of the next changing calls.
    power_armed: bool,
    process: Option<Process>,
    starts: u64,
    boot: u64,
    /// The machine's run in which a partition's log was last opened.
    opened_in: BTreeMap<TopicPartition, u64>,
    /// Partitions of which a flush has failed since their logs were last opened.
    unflushable: BTreeSet<TopicPartition>,
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
    world.report(seed)
}
