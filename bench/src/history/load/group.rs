//! A member of a consumer group: reads, and commits what it has read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::TopicPartition;
use millrace_client::{Assignor, Consumer, ConsumerConfig, OffsetAndMetadata, OffsetReset, RebalanceListener};

use super::super::event::{Key, Op, Phase};
use super::{GROUP, Load, TOPIC, key, places};
use crate::error::BenchError;

/// How long a poll waits for records.
const POLL: Duration = Duration::from_millis(200);

/// The future of a listener's call.
type Told<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

struct Listener {
    process: u32,
    load: Arc<Load>,
}

impl Listener {
    fn note(&self, partitions: &[TopicPartition]) {
        let keys = partitions.iter().map(|it| key(&it.topic, it.partition)).collect();
        self.load.recorder.note(self.process, Phase::Ok, Op::Rebalance { keys });
    }
}

impl RebalanceListener for Listener {
    fn assigned<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> Told<'a> {
        self.note(partitions);
        Box::pin(std::future::ready(()))
    }

    // What follows a revocation is an assignment.
    fn revoked<'a>(&'a self, _: &'a Consumer, _: &'a [TopicPartition]) -> Told<'a> {
        Box::pin(std::future::ready(()))
    }

    fn lost<'a>(&'a self, _: &'a Consumer, _: &'a [TopicPartition]) -> Told<'a> {
        self.note(&[]);
        Box::pin(std::future::ready(()))
    }
}

/// Runs a member until its task is ended.
///
/// # Errors
/// Settings that the client library refuses, or a member that is of no use any more.
pub(crate) async fn member(process: u32, load: Arc<Load>) -> Result<(), BenchError> {
    let mut config = ConsumerConfig { group_id: Some(GROUP.to_owned()), ..load.consumer(OffsetReset::Earliest) };
    // Of the two kinds of rebalances the eager one gives every member its partitions anew each time: none goes unseen.
    config.assignors = vec![Assignor::Range];
    config.session_timeout = Duration::from_secs(30);
    config.heartbeat_interval = Duration::from_secs(1);
    let consumer = Consumer::connect(config).await?;
    let listener = Listener { process, load: Arc::clone(&load) };
    let recorder = &load.recorder;
    consumer.subscribe_with(&[TOPIC], Arc::new(listener))?;
    recorder.note(process, Phase::Ok, Op::Subscribe { group: GROUP.to_owned() });
    loop {
        match consumer.poll(POLL).await {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                let polls = places(&records);
                let next: BTreeMap<TopicPartition, i64> = records
                    .iter()
                    .map(|record| (TopicPartition::new(Arc::clone(&record.topic), record.partition), record.offset + 1))
                    .collect();
                recorder.note(process, Phase::Ok, Op::Poll { polls });
                commit(process, &load, &consumer, next).await;
            }
            Err(error) => {
                recorder.explain(process, Phase::Fail, Op::Poll { polls: BTreeMap::new() }, &error);
                if error.is_fatal() {
                    return Err(error.into());
                }
            }
        }
    }
}

async fn commit(process: u32, load: &Load, consumer: &Consumer, next: BTreeMap<TopicPartition, i64>) {
    let offsets: BTreeMap<Key, i64> = next.iter().map(|(it, offset)| (key(&it.topic, it.partition), *offset)).collect();
    let op = || Op::Commit { group: GROUP.to_owned(), offsets: offsets.clone() };
    load.recorder.note(process, Phase::Invoke, op());
    let next = next.into_iter().map(|(partition, offset)| (partition, OffsetAndMetadata::from(offset))).collect();
    match consumer.commit_offsets(&next).await {
        Ok(()) => load.recorder.note(process, Phase::Ok, op()),
        // Whether the coordinator has it is not known; the next commit says the same or more.
        Err(error) => load.recorder.explain(process, Phase::Info, op(), &error),
    }
}
