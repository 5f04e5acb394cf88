//! One run: brokers, load, faults, the end of all faults, and the judgement.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::admin::NewTopic;
use millrace_client::{Admin, PartitionDescription};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, POLL};
use super::faults::inject::{Injector, locked};
use super::faults::{Shape, plan};
use super::load::{Load, Recorder, TOPIC, client, committed, drain_all, member, observer};
use super::network::Network;
use super::options::Run;
use super::verdict::Verdict;
use crate::error::BenchError;

/// How long the cluster may take to come up, and into order when all faults are over.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the load goes on before and after the faults.
const UNDISTURBED: Duration = Duration::from_secs(2);
/// How long clients may take to end: as long as the last record may wait for its delivery, and some more.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// How long nothing may change in the group for its first join to be over.
const JOINED_AFTER: Duration = Duration::from_secs(4);

/// Numbers of processes: clients from 0.
const MEMBERS: u32 = 100;
const OBSERVER: u32 = 200;
const READERS: [u32; 2] = [300, 301];

/// Runs, judges and publishes.
///
/// # Errors
/// The run was not possible, was interrupted, or its verdict is not good.
pub(crate) fn run(options: &Run) -> Result<(), BenchError> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|_| BenchError::Worker)?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            verdict = Stage::run(options) => verdict,
            () = interrupted() => Err(BenchError::Options("interrupted".to_owned())),
        }
    });
    // Ends what still runs, and with the last holder of the cluster its processes, networks and files.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let is_good = outcome?;
    if is_good { Ok(()) } else { Err(BenchError::Anomalies) }
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
}

/// The parts of a run.
struct Stage<'a> {
    options: &'a Run,
    cluster: Arc<Mutex<Cluster>>,
    load: Arc<Load>,
    injector: Injector,
    admin: Admin,
    history: PathBuf,
}

type Clients = JoinSet<Result<(), BenchError>>;

impl<'a> Stage<'a> {
    /// Runs; whether the verdict is good.
    async fn run(options: &'a Run) -> Result<bool, BenchError> {
        let stage = Self::set(options).await?;
        let mut group = Clients::new();
        let joined = stage.begin(&mut group).await?;
        let clients = stage.disturb(&mut group).await?;
        let mut disorder = stage.settle().await;
        stage.end(clients, &mut disorder).await?;
        let later_rebalances = (stage.load.recorder.rebalances().len() - joined) as u64;
        // The members are let go without a word: their leaving is none of the rebalances.
        group.shutdown().await;
        if !drain_all(READERS, &stage.load).await? {
            disorder.push("the final reads did not reach every end".to_owned());
        }
        let is_told = committed(OBSERVER, &stage.load, &stage.admin).await;
        if !is_told {
            disorder.push("the group's offsets cannot be read".to_owned());
        }
        stage.judge(later_rebalances, disorder)
    }

    /// Starts the brokers and makes the topic.
    async fn set(options: &'a Run) -> Result<Self, BenchError> {
        let network = Network::make(options.network, options.brokers, options.seed).await?;
        eprintln!("{}", network.name());
        let temporary = || std::env::temp_dir().join(format!("millrace-history-{}", std::process::id()));
        let folder = options.folder.clone().unwrap_or_else(temporary);
        let cluster = Cluster::start(network, &options.millrace, &folder, options.keep, options.brokers)?;
        let history = options.history.clone().unwrap_or_else(|| folder.join("history.jsonl"));
        let written = |source| BenchError::Report { path: history.display().to_string(), source };
        let load = Load {
            bootstrap: cluster.bootstrap(),
            partitions: options.partitions,
            rate: options.rate,
            record_bytes: usize::try_from(options.record_size).unwrap_or(32),
            is_weak: options.weak,
            seed: options.seed,
            recorder: Recorder::create(&history).map_err(written)?,
            stop: AtomicBool::new(false),
        };
        let (cluster, load) = (Arc::new(Mutex::new(cluster)), Arc::new(load));
        let injector = Injector::new(Arc::clone(&cluster), Arc::clone(&load)).await?;
        let admin = Admin::connect(load.settings()).await?;
        let stage = Self { options, cluster, load, injector, admin, history };
        for broker in 1..=options.brokers {
            stage.injector.await_ready(broker).await?;
        }
        stage.create().await?;
        Ok(stage)
    }

    async fn create(&self) -> Result<(), BenchError> {
        let in_sync = (self.options.brokers / 2 + 1).to_string();
        let topic = NewTopic {
            replication_factor: i16::from(self.options.brokers),
            ..NewTopic::new(TOPIC, self.options.partitions)
        };
        let topic = topic.config("min.insync.replicas", in_sync);
        let topics = [topic.config("segment.bytes", self.options.segment_bytes.to_string())];
        let begun = Instant::now();
        loop {
            let created = self.admin.create_topics(&topics, false).await;
            let created = created.and_then(|topics| topics.into_iter().next().map_or(Ok(()), |(_, created)| created));
            match created {
                Ok(()) => break,
                Err(error) if error.code() == Some(millrace_types::ErrorCode::TopicAlreadyExists) => break,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                // Not all brokers are registered yet.
                Err(_) => sleep(POLL).await,
            }
        }
        self.in_order(&[TOPIC]).await.map_err(|what| BenchError::Timeout { what, seconds: PATIENCE.as_secs() })
    }

    /// Has the group's members join; how many outcomes of rebalances they were told.
    async fn begin(&self, group: &mut Clients) -> Result<usize, BenchError> {
        for number in 0..self.options.members {
            group.spawn(member(MEMBERS + number, Arc::clone(&self.load)));
        }
        let members = usize::try_from(self.options.members).unwrap_or(0);
        let (begun, mut known, mut changed) = (Instant::now(), 0, Instant::now());
        loop {
            let told = self.load.recorder.rebalances();
            if told.len() != known {
                (known, changed) = (told.len(), Instant::now());
            }
            if known >= members && changed.elapsed() > JOINED_AFTER {
                return Ok(known);
            }
            if begun.elapsed() > PATIENCE {
                let what = format!("{members} members of the group; told were {told:?}");
                return Err(BenchError::Timeout { what, seconds: PATIENCE.as_secs() });
            }
            failed(group)?;
            sleep(POLL).await;
        }
    }

    /// Puts the cluster under load and injects the faults.
    async fn disturb(&self, group: &mut Clients) -> Result<Clients, BenchError> {
        let mut clients = Clients::new();
        for process in 0..self.options.processes {
            clients.spawn(client(process, Arc::clone(&self.load)));
        }
        clients.spawn(observer(OBSERVER, Arc::clone(&self.load)));
        sleep(UNDISTURBED).await;
        let length = self.options.seconds;
        let shape = Shape { brokers: self.options.brokers, partitions: self.options.partitions, length };
        let begun = Instant::now();
        let mut lanes = Clients::new();
        for lane in plan(self.options.seed, &self.options.faults, shape) {
            lanes.spawn(self.injector.clone().lane(lane, begun, length));
        }
        while let Some(lane) = lanes.join_next().await {
            lane.map_err(|_| BenchError::Worker)??;
        }
        tokio::time::sleep_until(begun + length).await;
        failed(group)?;
        failed(&mut clients)?;
        Ok(clients)
    }

    /// Waits until all replicas are in sync again; what is not in order.
    async fn settle(&self) -> Vec<String> {
        locked(&self.cluster).network().ways.heal();
        let mut disorder: Vec<String> = self.in_order(&[TOPIC, "__consumer_offsets"]).await.err().into_iter().collect();
        for broker in 1..=self.options.brokers {
            disorder.extend(self.injector.is_running(broker).err().map(|error| error.to_string()));
        }
        sleep(UNDISTURBED).await;
        disorder
    }

    /// Ends the load.
    async fn end(&self, mut clients: Clients, disorder: &mut Vec<String>) -> Result<(), BenchError> {
        self.load.stop.store(true, Ordering::Release);
        let all = async {
            while let Some(client) = clients.join_next().await {
                client.map_err(|_| BenchError::Worker)??;
            }
            Ok(())
        };
        let ended = tokio::time::timeout(LAST_WORDS, all).await;
        ended.unwrap_or_else(|_| {
            disorder.push(format!("{} clients did not end", clients.len()));
            Ok(())
        })
    }

    /// Waits until every partition of the topics has a leader and all its replicas in sync, or says what is missing.
    async fn in_order(&self, topics: &[&str]) -> Result<(), String> {
        let begun = Instant::now();
        let brokers = usize::from(self.options.brokers);
        let is_in_order = |it: &PartitionDescription| it.leader >= 0 && it.in_sync.len() == brokers;
        loop {
            let described = self.admin.describe_topics(topics).await;
            let missing: Vec<String> = match described {
                Ok(topics) => {
                    let faulty = topics.into_iter().flat_map(|(name, topic)| match topic {
                        Ok(topic) => {
                            let faulty = topic.partitions.into_iter().filter(|it| !is_in_order(it));
                            faulty.map(|it| format!("{name}: {it:?}")).collect()
                        }
                        Err(error) => vec![format!("{name}: {error}")],
                    });
                    faulty.collect()
                }
                Err(error) => vec![error.to_string()],
            };
            if missing.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(missing.join("; "));
            }
            sleep(POLL).await;
        }
    }

    fn judge(&self, later_rebalances: u64, mut disorder: Vec<String>) -> Result<bool, BenchError> {
        let mut cluster = locked(&self.cluster);
        disorder.extend(cluster.stop_and_check()?);
        let network = cluster.network().name();
        let written = |source| BenchError::Report { path: self.history.display().to_string(), source };
        self.load.recorder.finish().map_err(written)?;
        let findings = super::checked(Path::new(&self.history), self.options.stale)?;
        let injected = self.injector.tally();
        let verdict = Verdict { options: self.options, network, injected, findings, later_rebalances, disorder };
        verdict.publish()?;
        if !verdict.is_good() {
            cluster.keep();
            println!("kept: {}, {}", cluster.folder().display(), self.history.display());
        }
        Ok(verdict.is_good())
    }
}

/// Reports a process that has ended with an error.
fn failed(clients: &mut Clients) -> Result<(), BenchError> {
    match clients.try_join_next() {
        Some(ended) => ended.map_err(|_| BenchError::Worker)?,
        None => Ok(()),
    }
}
