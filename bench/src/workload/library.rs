//! The same workloads by the project's own client library: what an application that uses it would see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_client::{Consumer, ConsumerConfig, Delivery, OffsetSpec, Producer, ProducerConfig};
use millrace_client::{ProducerRecord, TopicPartition};
use millrace_types::Offset;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::Field;
use crate::cli::{Acks, Load, Workload};
use crate::clock::now_ns;
use crate::error::BenchError;
use crate::raw::payload::Values;
use crate::tally::{Outcome, Tally};

/// Records whose outcome is awaited at most; the producer's own buffer bounds what waits to be sent.
const DELIVERIES_MAX: usize = 100_000;
const POLL: Duration = Duration::from_millis(100);
/// How long the consumer waits for the last records.
const DRAIN_NS: u64 = 30_000_000_000;
const STAMP_BYTES: usize = 16;

/// Runs a workload.
pub(crate) fn run(workload: &Workload, field: &Field, tally: &Arc<Tally>) -> Result<Outcome, BenchError> {
    let load = workload.load();
    match workload {
        Workload::Produce(it) => runtime()?.block_on(async {
            let producer = Producer::connect(producer_config(load, &field.bootstrap)).await?;
            produce(producer, load, it.rate, field, Arc::clone(tally), Arc::new(Account::default())).await
        }),
        Workload::Consume(_) => runtime()?.block_on(consume(field, tally)),
        Workload::EndToEnd(it) => runtime()?.block_on(end_to_end(load, it.rate, field, tally)),
    }
}

fn runtime() -> Result<Runtime, BenchError> {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|source| BenchError::Io { address: "this process".to_owned(), operation: "start tokio", source })
}

fn producer_config(load: &Load, bootstrap: &str) -> ProducerConfig {
    let batch_size = usize::try_from(load.batch_size).unwrap_or(usize::MAX);
    let mut config = ProducerConfig::new(bootstrap);
    config.acks = match load.acks {
        Acks::None => millrace_client::Acks::None,
        Acks::Leader => millrace_client::Acks::Leader,
        Acks::All => millrace_client::Acks::All,
    };
    config.idempotence = load.acks == Acks::All;
    config.codec = load.codec.into();
    config.linger = load.linger;
    config.batch_size = batch_size;
    config.max_in_flight = load.in_flight(false).min(if config.idempotence { 5 } else { 1_000 });
    config.max_request_size = config.max_request_size.max(batch_size.saturating_add(1 << 16));
    config.buffer_memory = config.buffer_memory.max(batch_size.saturating_mul(4));
    config
}

#[derive(Debug, Default)]
struct Account {
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

/// Sends until the end, at `rate` records per second when one is given.
async fn produce(
    producer: Producer,
    load: &Load,
    rate: Option<f64>,
    field: &Field,
    tally: Arc<Tally>,
    account: Arc<Account>,
) -> Result<Outcome, BenchError> {
    let size = usize::try_from(load.record_size).unwrap_or(STAMP_BYTES);
    let filler = Values::new(1).value(size);
    let topic = &field.topic;
    let (sent, deliveries) = mpsc::channel(DELIVERIES_MAX);
    let awaiting = tokio::spawn(acknowledge(deliveries, size as u64, Arc::clone(&tally), Arc::clone(&account)));
    let partitions: Vec<i32> = field.leaders.iter().flat_map(|led| &led.partitions).copied().collect();
    let (start, until) = (tally.window.start, tally.window.until);
    let mut number = 0u64;
    loop {
        let due = rate.map_or_else(now_ns, |rate| start + (number as f64 / rate * 1e9) as u64);
        if due >= until {
            break;
        }
        let now = now_ns();
        if due > now {
            tokio::time::sleep(Duration::from_nanos(due - now)).await;
        }
        let at = usize::try_from(number).unwrap_or(0) % partitions.len().max(1);
        let record = ProducerRecord::to(topic.as_str())
            .partition(partitions.get(at).copied().unwrap_or(0))
            .value(stamped(due, number, &filler));
        let delivery = producer.send(record).await?;
        if sent.send((due, delivery)).await.is_err() {
            break;
        }
        number += 1;
    }
    drop(sent);
    producer.flush().await?;
    let outcome = awaiting.await.map_err(|_| BenchError::Worker)?;
    producer.close().await?;
    account.is_over.store(true, Ordering::SeqCst);
    Ok(outcome)
}

/// A value that starts with the moment it was due and its number, when there is room for them.
fn stamped(due: u64, number: u64, filler: &[u8]) -> Bytes {
    let Some(rest) = filler.get(STAMP_BYTES..) else { return Bytes::copy_from_slice(filler) };
    let mut value = BytesMut::with_capacity(filler.len());
    value.put_u64(due);
    value.put_u64(number);
    value.put_slice(rest);
    value.freeze()
}

/// Awaits the outcomes in the order of sending.
async fn acknowledge(
    mut deliveries: mpsc::Receiver<(u64, Delivery)>,
    bytes: u64,
    tally: Arc<Tally>,
    account: Arc<Account>,
) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some((due, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(_) => {
                let now = now_ns();
                account.acknowledged.fetch_add(1, Ordering::SeqCst);
                tally.add(now, 1, bytes);
                if tally.window.contains(now) {
                    outcome.latency("ack", now.saturating_sub(due));
                }
            }
            Err(error) => outcome.fault(&error.to_string(), 1),
        }
    }
    outcome
}

/// Offsets of the topic's partitions.
type Offsets = BTreeMap<TopicPartition, Offset>;

/// A consumer of all partitions that starts where `start` says; returns the offsets of both ends as well.
async fn consumer(field: &Field, start: OffsetSpec) -> Result<(Consumer, Offsets, Offsets), BenchError> {
    let mut config = ConsumerConfig::new(&field.bootstrap);
    if start == OffsetSpec::Earliest {
        // A fetch at the end of a partition waits for records that do not come, and others wait behind it.
        config.fetch_max_wait = Duration::from_millis(1);
    }
    let consumer = Consumer::connect(config).await?;
    let numbers = field.leaders.iter().flat_map(|led| &led.partitions);
    let partitions: Vec<TopicPartition> =
        numbers.map(|partition| TopicPartition::new(field.topic.as_str(), *partition)).collect();
    // Looked up before the first fetch, behind whose wait the answer would queue.
    let starts = offsets(&consumer, &partitions, start).await?;
    let ends = offsets(&consumer, &partitions, OffsetSpec::Latest).await?;
    consumer.assign(&partitions)?;
    for (partition, offset) in &starts {
        consumer.seek(partition, *offset)?;
    }
    Ok((consumer, starts, ends))
}

async fn offsets(consumer: &Consumer, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Offsets, BenchError> {
    let specs = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let found = consumer.offsets(&specs).await?;
    Ok(found.into_iter().map(|(partition, found)| (partition, found.offset)).collect())
}

/// Reads the topic round and round.
async fn consume(field: &Field, tally: &Tally) -> Result<Outcome, BenchError> {
    let (consumer, starts, ends) = consumer(field, OffsetSpec::Earliest).await?;
    let mut outcome = Outcome::default();
    while now_ns() < tally.window.until {
        let asked = now_ns();
        let records = consumer.poll(POLL).await?;
        let now = now_ns();
        let bytes = records.iter().map(|record| record.value.as_ref().map_or(0, |value| value.len() as u64)).sum();
        tally.add(now, records.len() as u64, bytes);
        if tally.window.contains(now) {
            outcome.latency("poll", now - asked);
        }
        for record in records {
            let partition = TopicPartition::new(record.topic, record.partition);
            if ends.get(&partition).is_some_and(|end| record.offset + 1 >= *end) {
                consumer.seek(&partition, starts.get(&partition).copied().unwrap_or(0))?;
            }
        }
    }
    consumer.close().await?;
    Ok(outcome)
}

/// Produces at a rate and consumes.
async fn end_to_end(load: &Load, rate: f64, field: &Field, tally: &Arc<Tally>) -> Result<Outcome, BenchError> {
    let (consumer, ..) = consumer(field, OffsetSpec::Latest).await?;
    let account = Arc::new(Account::default());
    let producer = Producer::connect(producer_config(load, &field.bootstrap)).await?;
    // What is acknowledged is counted apart: the run's records are those that were read.
    let sent = Arc::new(Tally::new(tally.window));
    let producing = produce(producer, load, Some(rate), field, sent, Arc::clone(&account));
    let (produced, consumed) = tokio::join!(
        async {
            let produced = producing.await;
            account.is_over.store(true, Ordering::SeqCst);
            produced
        },
        read(consumer, tally, &account)
    );
    let mut outcome = produced?;
    outcome.merge(consumed?);
    Ok(outcome)
}

async fn read(consumer: Consumer, tally: &Tally, account: &Account) -> Result<Outcome, BenchError> {
    let mut outcome = Outcome::default();
    let mut received = 0u64;
    loop {
        let is_over = account.is_over.load(Ordering::SeqCst);
        let acknowledged = account.acknowledged.load(Ordering::SeqCst);
        if is_over && (received >= acknowledged || now_ns() >= tally.window.until + DRAIN_NS) {
            outcome.fault("acknowledged but not read", acknowledged.saturating_sub(received));
            consumer.close().await?;
            return Ok(outcome);
        }
        let records = consumer.poll(POLL).await?;
        let now = now_ns();
        for record in records {
            let mut value = record.value.unwrap_or_default();
            received += 1;
            tally.add(now, 1, value.len() as u64);
            if value.len() >= STAMP_BYTES {
                let due = value.get_u64();
                if tally.window.contains(due) {
                    outcome.latency("end to end", now.saturating_sub(due));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_size_with_and_without_a_stamp() {
        assert_eq!(stamped(1, 2, b"short"), Bytes::from_static(b"short"));
        let mut value = stamped(7, 8, b"0123456789abcdefrest");
        assert_eq!((value.len(), value.get_u64(), value.get_u64()), (20, 7, 8));
        assert_eq!(value, Bytes::from_static(b"rest"));
    }
}
