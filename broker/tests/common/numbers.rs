//! One idempotent producer that sends numbers, and the check that each is in the log once and in its order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_client::{Consumer, ConsumerConfig, Delivery, OffsetReset, OffsetSpec, Producer, ProducerConfig};
use millrace_client::{ProducerRecord, TopicPartition};

use super::DEADLINE;

/// The topic.
pub const TOPIC: &str = "numbers";
/// Its partitions.
pub const PARTITIONS: i32 = 4;

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// A small generator (xorshift): the same seed draws the same numbers.
pub struct Draw(u64);

impl Draw {
    /// A generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// What the producer knows.
#[derive(Default)]
struct Known {
    /// Number of every acknowledged record by its partition and offset.
    acknowledged: BTreeMap<(i32, i64), u64>,
    /// Why the producer has stopped before it was asked to.
    failed: Option<String>,
}

/// What the producer tells the one that kills its broker.
#[derive(Default)]
pub struct Progress {
    known: Mutex<Known>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Progress {
    /// Waits until `count` records are acknowledged.
    pub fn await_acknowledged(&self, count: usize) -> usize {
        let lacking = |known: &mut Known| known.acknowledged.len() < count && known.failed.is_none();
        let known = self.known.lock().expect("no panic");
        let (known, waited) = self.changed.wait_timeout_while(known, DEADLINE, lacking).expect("no panic");
        let found = known.acknowledged.len();
        assert!(known.failed.is_none(), "the producer failed: {:?}", known.failed);
        assert!(!waited.timed_out(), "{found} instead of {count} acknowledged after {DEADLINE:?}");
        found
    }

    fn update(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().expect("no panic"));
        self.changed.notify_all();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A producer on a thread of its own that sends as fast as it goes until it is told to stop, and then waits for the
/// acknowledgement of everything. Returns how many records it has sent.
pub fn produce(bootstrap: &str, progress: &Arc<Progress>) -> JoinHandle<u64> {
    let mut config = ProducerConfig::new(bootstrap);
    config.linger = Duration::from_millis(1);
    config.batch_size = 8 << 10;
    // What is not acknowledged is bounded, so that the rounds have to do with records of their own.
    config.buffer_memory = 256 << 10;
    config.delivery_timeout = DEADLINE * 2;
    config.client.reconnect_backoff = Duration::from_millis(10);
    config.client.reconnect_backoff_max = Duration::from_millis(50);
    // A broker that halts is given up by those that ask it before the test is.
    config.client.request_timeout = Duration::from_secs(2);
    config.client.retry_backoff = Duration::from_millis(10);
    config.client.retry_backoff_max = Duration::from_millis(50);
    let progress = Arc::clone(progress);
    std::thread::spawn(move || {
        let sent = runtime().block_on(async {
            let producer = Producer::connect(config).await.expect("a valid configuration");
            let (deliveries, outcomes) = tokio::sync::mpsc::channel(1 << 14);
            let (sent, ()) = tokio::join!(send(&producer, deliveries, &progress), collect(outcomes, &progress));
            sent
        });
        progress.update(|_| ());
        sent
    })
}

async fn send(producer: &Producer, to: tokio::sync::mpsc::Sender<(u64, Delivery)>, progress: &Progress) -> u64 {
    let padding = "x".repeat(400);
    for number in 0u64.. {
        if progress.stop.load(Ordering::Acquire) {
            producer.flush().await.expect("open");
            return number;
        }
        let partition = i32::try_from(number % PARTITIONS.unsigned_abs() as u64).expect("small");
        let length = usize::try_from(number * 37 % 400).expect("small");
        let value = format!("{number} {}", &padding[..length]);
        match producer.send(ProducerRecord::to(TOPIC).partition(partition).value(value)).await {
            Ok(delivery) => to.send((number, delivery)).await.expect("collected"),
            Err(error) => {
                progress.update(|known| known.failed = Some(format!("send of {number}: {error}")));
                return number;
            }
        }
    }
    unreachable!("numbers do not end")
}

async fn collect(mut outcomes: tokio::sync::mpsc::Receiver<(u64, Delivery)>, progress: &Progress) {
    while let Some((number, delivery)) = outcomes.recv().await {
        let outcome = delivery.await;
        progress.update(|known| match outcome {
            Ok(at) => {
                let earlier = known.acknowledged.insert((at.partition, at.offset), number);
                if let Some(earlier) = earlier {
                    known.failed = Some(format!("{earlier} and {number} both at {}-{}", at.partition, at.offset));
                }
            }
            Err(error) => known.failed = Some(format!("delivery of {number}: {error}")),
        });
    }
}

/// The numbers of every partition from the beginning to the end, read by a consumer.
pub fn consume(bootstrap: &str) -> BTreeMap<i32, Vec<(i64, u64)>> {
    let mut config = ConsumerConfig::new(bootstrap);
    config.offset_reset = OffsetReset::Earliest;
    runtime().block_on(async {
        let consumer = Consumer::connect(config).await.expect("a valid configuration");
        let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        let latest = partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Latest)).collect();
        let ends = consumer.offsets(&latest).await.expect("the end offsets");
        consumer.assign(&partitions).expect("not subscribed");
        let mut found: BTreeMap<i32, Vec<(i64, u64)>> = (0..PARTITIONS).map(|number| (number, Vec::new())).collect();
        let lacking = |found: &BTreeMap<i32, Vec<(i64, u64)>>| {
            let next = |partition: &TopicPartition| found[&partition.partition].last().map_or(0, |(at, _)| at + 1);
            ends.iter().any(|(partition, end)| next(partition) < end.offset)
        };
        let mut heard = Instant::now();
        while lacking(&found) {
            let records = consumer.poll(Duration::from_secs(1)).await.expect("fetched");
            let silent = heard.elapsed();
            assert!(silent < DEADLINE, "no record for {silent:?}, though the ends are {ends:?}");
            if !records.is_empty() {
                heard = Instant::now();
            }
            for record in records {
                let value = record.value.expect("a value");
                let text = std::str::from_utf8(&value).expect("text");
                let number = text.split(' ').next().expect("a number").parse().expect("a number");
                found.get_mut(&record.partition).expect("assigned").push((record.offset, number));
            }
        }
        found
    })
}

/// Lets the producer end, and waits until everything is acknowledged: number by partition and offset, and how many.
pub fn finish(progress: &Progress, producer: JoinHandle<u64>) -> (BTreeMap<(i32, i64), u64>, u64) {
    progress.stop.store(true, Ordering::Release);
    let begun = Instant::now();
    while !producer.is_finished() {
        assert!(begun.elapsed() < DEADLINE, "the producer still waits for acknowledgements after {DEADLINE:?}");
        let known = progress.known.lock().expect("no panic");
        drop(progress.changed.wait_timeout(known, Duration::from_millis(100)).expect("no panic"));
    }
    let sent = producer.join().expect("no panic");
    let known = std::mem::take(&mut *progress.known.lock().expect("no panic"));
    assert_eq!(known.failed, None);
    assert_eq!(known.acknowledged.len() as u64, sent, "everything that was sent is acknowledged in the end");
    (known.acknowledged, sent)
}

/// Sees that what was found is what was acknowledged, without a gap, once each and in order.
pub fn check(found: &BTreeMap<i32, Vec<(i64, u64)>>, acknowledged: &BTreeMap<(i32, i64), u64>, sent: u64) {
    let mut count = 0;
    for (partition, records) in found {
        for ((offset, number), expected) in records.iter().zip(0..) {
            assert_eq!(*offset, expected, "the offsets of partition {partition} have a gap before {number}");
            assert_eq!(
                acknowledged.get(&(*partition, *offset)),
                Some(number),
                "what was acknowledged at {partition}-{offset}, and what is there"
            );
        }
        for pair in records.windows(2) {
            assert!(pair[0].1 < pair[1].1, "out of order or doubled in partition {partition}: {pair:?}");
        }
        count += records.len() as u64;
    }
    assert_eq!(count, sent, "records in the log, and records sent");
}
