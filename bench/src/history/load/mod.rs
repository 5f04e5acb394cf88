//! What asks the cluster while faults are injected, and writes down what it was told.

mod client;
mod drain;
mod group;
mod observer;
mod recorder;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_client::{ClientConfig, ConsumerConfig, ConsumerRecord, OffsetReset, TopicPartition};

use super::event::Key;
pub(crate) use client::client;
pub(crate) use drain::drain_all;
pub(crate) use group::member;
pub(crate) use observer::{committed, observer};
pub(crate) use recorder::Recorder;

/// The topic.
pub(crate) const TOPIC: &str = "history";
/// The consumer group.
pub(crate) const GROUP: &str = "history";

/// The number of the process that injects faults.
pub(crate) const INJECTOR: u32 = 1_000;

/// What all processes of a run share.
#[derive(Debug)]
pub(crate) struct Load {
    /// Where the cluster is found.
    pub(crate) bootstrap: String,
    /// Number of partitions.
    pub(crate) partitions: i32,
    /// Records per second of each client.
    pub(crate) rate: u64,
    /// Bytes of a record's value.
    pub(crate) record_bytes: usize,
    /// Whether producers ask for less than that nothing is lost or doubled.
    pub(crate) is_weak: bool,
    /// The run's seed.
    pub(crate) seed: u64,
    /// Where operations are written down.
    pub(crate) recorder: Recorder,
    /// Whether clients are to end.
    pub(crate) stop: AtomicBool,
}

impl Load {
    /// Whether clients are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// All partitions.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let topic: Arc<str> = Arc::from(TOPIC);
        (0..self.partitions).map(|partition| TopicPartition::new(Arc::clone(&topic), partition)).collect()
    }

    /// What every client is set to: it gives a silent broker up sooner than the defaults do, and tries again sooner.
    pub(crate) fn settings(&self) -> ClientConfig {
        let mut config = ClientConfig::new(&self.bootstrap);
        config.request_timeout = Duration::from_secs(2);
        config.api_timeout = Duration::from_secs(5);
        config.connect_timeout = Duration::from_secs(1);
        config.retry_backoff = Duration::from_millis(10);
        config.retry_backoff_max = Duration::from_millis(100);
        config.reconnect_backoff = Duration::from_millis(10);
        config.reconnect_backoff_max = Duration::from_millis(200);
        config
    }

    fn consumer(&self, reset: OffsetReset) -> ConsumerConfig {
        let mut config = ConsumerConfig::new(&self.bootstrap);
        config.client = self.settings();
        config.offset_reset = reset;
        config.auto_commit = false;
        config.fetch_max_wait = Duration::from_millis(100);
        config
    }

    /// A record's value: its number, and filling.
    fn value(&self, number: u64) -> Vec<u8> {
        let mut text = format!("{number} ");
        while text.len() < self.record_bytes {
            text.push(char::from(b'a' + (text.len() % 26) as u8));
        }
        text.into_bytes()
    }
}

/// Offsets and numbers of records by partition, in their order. A value that is no number is one that nobody sent.
fn places(records: &[ConsumerRecord]) -> BTreeMap<Key, Vec<(i64, u64)>> {
    let mut places: BTreeMap<Key, Vec<(i64, u64)>> = BTreeMap::new();
    for record in records {
        let text = record.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        let number = text.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(u64::MAX);
        places.entry(key(&record.topic, record.partition)).or_default().push((record.offset, number));
    }
    places
}

fn key(topic: &str, partition: i32) -> Key {
    format!("{topic}-{partition}")
}
