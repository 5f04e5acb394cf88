//! All partitions of a broker at once: how long until the last of them takes records again.

use std::time::Duration;

use millrace_client::{Producer, ProducerConfig, ProducerRecord};
use tokio::runtime::Runtime;

use super::brokers::Brokers;
use super::load::producer_config;
use super::result::{Summary, Trial};
use super::{Failover, PATIENCE, Watched, pause};
use crate::clock;
use crate::error::BenchError;

/// Records a wave at a time: one to each partition, all awaited.
struct Waves<'a> {
    runtime: Runtime,
    producer: Producer,
    record: ProducerRecord,
    partitions: i32,
    options: &'a Failover,
}

impl<'a> Waves<'a> {
    fn start(options: &'a Failover, partitions: i32, config: ProducerConfig) -> Result<Self, BenchError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|_| BenchError::Worker)?;
        let producer = runtime.block_on(Producer::connect(config))?;
        let record = ProducerRecord::to(options.topic.as_str()).value(options.value());
        Ok(Self { runtime, producer, record, partitions, options })
    }

    /// Sends the records; how many were given up, and when the last was acknowledged.
    fn send(&self) -> Result<(u64, u64), BenchError> {
        self.runtime.block_on(async {
            let mut deliveries = Vec::new();
            for partition in 0..self.partitions {
                deliveries.push(self.producer.send(self.record.clone().partition(partition)).await?);
            }
            let mut failed = 0;
            for delivery in deliveries {
                failed += u64::from(delivery.await.is_err());
            }
            Ok((failed, clock::now_ns()))
        })
    }

    /// One trial: the broker that leads all partitions ends.
    fn trial(&self, broker: i32, brokers: &mut Brokers, failed: &mut u64) -> Result<Trial, BenchError> {
        let steady = clock::now_ns();
        let (given_up, done) = self.send()?;
        let steady_ms = millis(steady, done);
        *failed += given_up;
        let begun = clock::now_ns();
        brokers.end(broker, self.options.action)?;
        let (given_up, done) = self.send()?;
        *failed += given_up;
        brokers.bring_back(broker, self.options.action)?;
        let took_ms = millis(begun, done);
        Ok(Trial { leader: broker, steady_ms, longest_ms: took_ms, took_ms })
    }
}

/// Runs the trials and writes what came of them.
pub(super) fn run(options: &Failover, partitions: i32, brokers: &mut Brokers) -> Result<(), BenchError> {
    let ids: Vec<i32> = options.brokers()?.into_iter().map(|(id, _)| id).take(options.replicas()).collect();
    let Some(victim) = ids.first().copied() else { return Err(BenchError::Options("no broker".to_owned())) };
    let cluster = Watched { bootstrap: &options.bootstrap, topic: &options.topic, partition: 0 };
    cluster.when("a broker that answers", |cluster| {
        if !cluster.has_topic(&options.topic)? {
            cluster.create_assigned(&options.topic, partitions, &ids, &options.topic_config)?;
        }
        Ok(Some(()))
    })?;
    let waves = Waves::start(options, partitions, producer_config(options)?)?;
    let (mut trials, mut failed) = (Vec::new(), 0);
    for number in 1..=options.trials {
        lead_all(options, &cluster, partitions, victim, ids.len())?;
        pause(options.settle);
        let trial = waves.trial(victim, brokers, &mut failed)?;
        if !options.quiet {
            eprintln!("trial {number}: {partitions} partitions, {:.1} ms", trial.took_ms);
        }
        trials.push(trial);
    }
    Summary::new(options, trials, failed).publish(options.json.as_deref())
}

/// Has a broker lead all partitions, with every replica in sync.
fn lead_all(
    options: &Failover,
    cluster: &Watched<'_>,
    partitions: i32,
    broker: i32,
    replicas: usize,
) -> Result<(), BenchError> {
    let all = usize::try_from(partitions).unwrap_or(usize::MAX);
    let deadline = clock::now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
    loop {
        let led = cluster.when("a broker that answers", |cluster| {
            let led = cluster.led_by(&options.topic, broker, replicas)?;
            if led < all {
                cluster.elect_preferred(&options.topic, partitions)?;
            }
            Ok(Some(led))
        })?;
        if led >= all {
            return Ok(());
        }
        if clock::now_ns() > deadline {
            let what = format!("broker {broker} to lead {partitions} partitions; it leads {led}");
            return Err(BenchError::Timeout { what, seconds: PATIENCE.as_secs() });
        }
        pause(Duration::from_millis(200));
    }
}

fn millis(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}
