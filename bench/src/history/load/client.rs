//! A client process: one idempotent producer with acks=all and one consumer of chosen partitions, one operation after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Acks, Consumer, OffsetReset, OffsetSpec, Producer, ProducerConfig, ProducerRecord, TopicPartition,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::draw::Draw;
use super::super::event::{Op, Phase, Sent};
use super::{Load, TOPIC, key, places};
use crate::error::BenchError;

/// Operations per second, as long as none has to wait.
const OPERATIONS: u64 = 50;
/// How long a poll waits for records.
const POLL: Duration = Duration::from_millis(20);
/// How long a producer tries to deliver a record: every other one longer than most faults last, the others not.
const DELIVERY_TIMEOUTS: [Duration; 2] = [Duration::from_secs(10), Duration::from_millis(1_500)];

struct Client {
    process: u32,
    load: Arc<Load>,
    draw: Draw,
    next: u64,
    producer: Producer,
    consumer: Consumer,
}

/// Runs a process until the load is over.
///
/// # Errors
/// Settings that the client library refuses.
pub(crate) async fn client(process: u32, load: Arc<Load>) -> Result<(), BenchError> {
    let draw = Draw::new(load.seed, 1 << 20 | u64::from(process));
    let (producer, consumer) = clients(process, &load).await?;
    // The numbers of processes' records do not meet.
    let next = u64::from(process) << 40;
    let mut client = Client { process, load, draw, next, producer, consumer };
    client.assign_all()?;
    let mut tick = interval(Duration::from_millis(1_000 / OPERATIONS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !client.load.is_over() {
        tick.tick().await;
        match client.draw.below(1_000) {
            0..600 => client.send().await?,
            600..990 => client.poll().await?,
            990..998 => client.assign_some()?,
            _ => client.replace().await?,
        }
    }
    // What a rare send of the last moment waits for is bounded by its time for delivery.
    let begun = Instant::now();
    while begun.elapsed() < POLL * 5 {
        client.poll().await?;
    }
    Ok(())
}

async fn clients(process: u32, load: &Load) -> Result<(Producer, Consumer), BenchError> {
    let mut config = ProducerConfig::new(&load.bootstrap);
    config.client = load.settings();
    config.linger = Duration::ZERO;
    let timeout = DELIVERY_TIMEOUTS[usize::from(process % 2 == 1)];
    config.client.request_timeout = timeout.min(config.client.request_timeout);
    config.delivery_timeout = timeout;
    config.max_block = timeout;
    if load.is_weak {
        (config.acks, config.idempotence) = (Acks::Leader, false);
    }
    let consumer = Consumer::connect(load.consumer(OffsetReset::Latest)).await?;
    Ok((Producer::connect(config).await?, consumer))
}

impl Client {
    fn note(&self, phase: Phase, op: Op) {
        self.load.recorder.note(self.process, phase, op);
    }

    /// Sends some records at once, and waits for what becomes of each.
    async fn send(&mut self) -> Result<(), BenchError> {
        // Six of ten operations send; half of the mean is the least, so that sizes differ.
        let mean = (self.load.rate * 10).div_ceil(OPERATIONS * 6).max(1);
        let count = self.draw.between(mean.div_ceil(2), mean + mean / 2 + 1);
        let partitions = u64::from(self.load.partitions.unsigned_abs());
        let mut sends = Vec::new();
        for _ in 0..count {
            let partition = self.draw.below(partitions) as i32;
            sends.push((partition, Sent { key: key(TOPIC, partition), value: self.next, offset: None }));
            self.next += 1;
        }
        self.note(Phase::Invoke, Op::Send { sends: sends.iter().map(|(_, sent)| sent.clone()).collect() });
        let mut outcomes = JoinSet::new();
        let mut is_over = false;
        for (partition, sent) in sends {
            let record = ProducerRecord::to(TOPIC).partition(partition).value(self.load.value(sent.value));
            match self.producer.send(record).await {
                Ok(delivery) => {
                    outcomes.spawn(async move { (sent, delivery.await) });
                }
                // It was never handed over.
                Err(error) => {
                    is_over |= error.is_fatal();
                    let op = Op::Send { sends: vec![sent] };
                    self.load.recorder.explain(self.process, Phase::Fail, op, &error);
                }
            }
        }
        while let Some(outcome) = outcomes.join_next().await {
            let (sent, outcome) = outcome.map_err(|_| BenchError::Worker)?;
            let sends = |offset| Op::Send { sends: vec![Sent { offset, ..sent.clone() }] };
            match outcome {
                Ok(written) => self.note(Phase::Ok, sends(Some(written.offset))),
                Err(error) => {
                    is_over |= error.is_fatal();
                    let phase = if error.possibly_written() { Phase::Info } else { Phase::Fail };
                    self.load.recorder.explain(self.process, phase, sends(None), &error);
                }
            }
        }
        if is_over { self.replace().await } else { Ok(()) }
    }

    async fn poll(&mut self) -> Result<(), BenchError> {
        let polled = self.consumer.poll(POLL).await;
        match polled {
            Ok(records) if records.is_empty() => {}
            Ok(records) => self.note(Phase::Ok, Op::Poll { polls: places(&records) }),
            Err(error) => {
                let op = Op::Poll { polls: BTreeMap::new() };
                self.load.recorder.explain(self.process, Phase::Fail, op, &error);
                if error.is_fatal() {
                    self.replace().await?;
                }
            }
        }
        Ok(())
    }

    fn assign_all(&mut self) -> Result<(), BenchError> {
        let partitions = self.load.partitions();
        self.assign(partitions, false)
    }

    /// Reads other partitions than before, one time in five from their beginning.
    fn assign_some(&mut self) -> Result<(), BenchError> {
        let mut partitions = self.load.partitions();
        self.draw.shuffle(&mut partitions);
        partitions.truncate(1 + self.draw.below(partitions.len() as u64) as usize);
        let from_start = self.draw.one_in(5);
        self.assign(partitions, from_start)
    }

    fn assign(&mut self, partitions: Vec<TopicPartition>, from_start: bool) -> Result<(), BenchError> {
        let keys = partitions.iter().map(|it| key(&it.topic, it.partition)).collect();
        self.consumer.assign(&partitions)?;
        if from_start {
            for partition in &partitions {
                self.consumer.seek_to(partition, OffsetSpec::Earliest)?;
            }
        }
        self.note(Phase::Ok, Op::Assign { keys, from_start });
        Ok(())
    }

    /// Lets the clients go without a word and makes others.
    async fn replace(&mut self) -> Result<(), BenchError> {
        (self.producer, self.consumer) = clients(self.process, &self.load).await?;
        self.note(Phase::Ok, Op::Crash);
        self.assign_all()
    }
}
