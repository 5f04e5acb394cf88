//! Who starts and ends the replicas and witnesses of this broker.
//!
//! The metadata store says which replicas there shall be; the supervisor opens their logs off the arbiters and hands
//! each to the arbiter that its name places it on. At the start of the process thousands are opened by threads of their
//! own, side by side; while the broker serves, a few at a time by the storage threads.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_node::replica::Promises;
use millrace_raft::Voter;
use millrace_storage::{Known, Log, LogConfig, LogError, StorageJob, partition_dir};
use millrace_types::TopicPartition;

use super::arbiter::Local;
use super::parcel::{Completion, OpenedLog, Order, Parcel};
use super::witness::NewWitness;
use crate::shared::Shared;

/// Logs opened by one job of a storage thread, which also reads cold ranges for fetches.
const LOGS_PER_JOB: usize = 32;

/// Above this many logs, threads are started to open them.
const MANY: usize = 128;

/// The most threads that open logs at the start.
const THREADS: usize = 8;

/// A replica to start.
#[derive(Debug, Clone)]
pub(crate) struct Create {
    /// The partition.
    pub(crate) partition: TopicPartition,
    /// The settings of its log.
    pub(crate) config: LogConfig,
    /// Who votes in it at first.
    pub(crate) voters: Vec<Voter>,
}

/// Starts and ends replicas.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// What the write-ahead store knew at the start of the process, and what it has kept of replicas that have retired since;
    /// taken out as the logs are opened.
    remembered: BTreeMap<TopicPartition, Remembered>,
}

/// What the write-ahead store knows of a replica.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    /// Of its log.
    pub(crate) known: Known,
    /// Of what it has promised.
    pub(crate) promises: Promises,
}

impl Default for Remembered {
    /// Of a replica that the store has never heard of: nothing of it was ever acknowledged.
    fn default() -> Self {
        Self { known: Known { clean: true, ..Known::default() }, promises: Promises::default() }
    }
}

/// A log to open, with what is known of it.
type Task = (Create, Remembered);

/// What opening logs came to.
type Opened = Vec<(TopicPartition, Result<Box<OpenedLog>, LogError>)>;

impl Supervisor {
    /// A supervisor that has started nothing; `remembered` is what the write-ahead store holds.
    pub(crate) fn new(remembered: BTreeMap<TopicPartition, Remembered>) -> Self {
        Self { remembered }
    }

    /// Opens the logs and has each replica started by its arbiter.
    pub(crate) fn create(&mut self, local: &Rc<Local>, replicas: Vec<Create>) {
        local.shared.starting.add(replicas.len());
        let tasks: Vec<Task> = replicas
            .into_iter()
            .map(|mut create| {
                create.config.open_segments = local.shared.open_segments.clone();
                create.config.upkeep = local.shared.upkeep.clone();
                let remembered = self.remembered.remove(&create.partition).unwrap_or_default();
                (create, remembered)
            })
            .collect();
        if tasks.len() > MANY {
            open_on_threads(&local.shared, local.number, tasks);
        } else {
            for tasks in tasks.chunks(LOGS_PER_JOB) {
                let (shared, tasks, arbiter) = (Arc::clone(&local.shared), tasks.to_vec(), local.number);
                local.storage.run(StorageJob::new("open logs", move || {
                    let opened = tasks.into_iter().map(|task| open(&shared, task)).collect();
                    shared.inbox(arbiter).complete(Completion::Opened(opened));
                }));
            }
        }
    }

    /// Has a witness started by its arbiter: there is nothing to open.
    pub(crate) fn witness(&mut self, local: &Local, partition: TopicPartition, voters: Vec<Voter>) {
        let Remembered { promises, .. } = self.remembered.remove(&partition).unwrap_or_default();
        order(local, partition, Order::StartWitness(Box::new(NewWitness { partition, promises, voters })));
    }

    /// Takes what stays of a replica or a witness that has retired: one that begins here again begins with it.
    pub(crate) fn retired(&mut self, partition: TopicPartition, promises: Promises) {
        self.remembered.insert(partition, Remembered { promises, ..Remembered::default() });
    }

    /// Has a replica or a witness stopped and its data removed.
    pub(crate) fn delete(&mut self, local: &Local, partition: TopicPartition) {
        self.remembered.remove(&partition);
        order(local, partition, Order::DeleteReplica(partition));
    }

    /// Gives a replica other settings.
    pub(crate) fn configure(&self, local: &Local, partition: TopicPartition, mut config: LogConfig) {
        config.open_segments = local.shared.open_segments.clone();
        config.upkeep = local.shared.upkeep.clone();
        order(local, partition, Order::ConfigureReplica(partition, Box::new(config)));
    }
}

/// Sends an order to the arbiter of `partition`.
pub(super) fn order(local: &Local, partition: TopicPartition, order: Order) {
    local.post(local.shared.placement.partition(&partition), Parcel::Order(order));
}

fn open(shared: &Shared, (create, remembered): Task) -> (TopicPartition, Result<Box<OpenedLog>, LogError>) {
    let Create { partition, config, voters } = create;
    let dir = partition_dir(partition);
    let Remembered { known, promises } = remembered;
    let opened = Log::open(&shared.disk, &dir, partition, config, &known, shared.clock.now());
    (partition, opened.map(|(log, recovery)| Box::new(OpenedLog { partition, log, recovery, promises, voters })))
}

/// Opens many logs by threads that end when it is done.
fn open_on_threads(shared: &Arc<Shared>, arbiter: usize, tasks: Vec<Task>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, THREADS);
    let next = Arc::new(AtomicUsize::new(0));
    let tasks = Arc::new(tasks);
    for _ in 0..threads {
        let (shared, next, tasks) = (Arc::clone(shared), Arc::clone(&next), Arc::clone(&tasks));
        let work = move || {
            loop {
                let from = next.fetch_add(LOGS_PER_JOB, Ordering::Relaxed);
                let Some(chunk) = tasks.get(from..tasks.len().min(from + LOGS_PER_JOB)) else { break };
                let opened: Opened = chunk.iter().map(|task| open(&shared, task.clone())).collect();
                shared.inbox(arbiter).complete(Completion::Opened(opened));
            }
        };
        let builder = std::thread::Builder::new().name("recovery".to_owned());
        if let Err(error) = builder.spawn(work.clone()) {
            // With no thread to spare the broker starts slowly instead of not at all.
            tracing::warn!(%error, "no thread to open logs with; this one does it");
            work();
        }
    }
}

/// What became of logs that were opened: each goes to its arbiter.
pub(super) fn opened(local: &Local, opened: Opened) {
    for (partition, result) in opened {
        match result {
            Ok(log) => order(local, partition, Order::StartReplica(log)),
            Err(error) => {
                local.shared.meters.replicas_failed.increment(1);
                local.shared.starting.sub();
                local.shared.set_unflushed();
                tracing::error!(%partition, %error, "the log cannot be opened: the partition is offline");
            }
        }
    }
}
