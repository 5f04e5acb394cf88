//! Reads a topic as a member of a group and commits after each batch of records; start it twice to see a rebalance:
//! `cargo run --example group -- 127.0.0.1:9092 topic group [number of records]`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use millrace_client::{Assignor, Consumer, ConsumerConfig, OffsetReset, RebalanceListener, Result, TopicPartition};

struct Printer;

fn say<'a>(what: &'static str, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        println!("{what}: {}", names.join(" "));
    })
}

impl RebalanceListener for Printer {
    fn assigned<'a>(&'a self, _consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        say("assigned", partitions)
    }

    fn revoked<'a>(&'a self, _consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        say("revoked", partitions)
    }

    fn lost<'a>(&'a self, _consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        say("lost", partitions)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = args.next().unwrap_or_else(|| "example".to_owned());
    let group = args.next().unwrap_or_else(|| "example-group".to_owned());
    let mut left: usize = args.next().and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
    let mut config = ConsumerConfig::new(&bootstrap);
    config.group_id = Some(group);
    config.offset_reset = OffsetReset::Earliest;
    config.assignors = vec![Assignor::CooperativeSticky];
    config.auto_commit = false;
    let consumer = Consumer::connect(config).await?;
    consumer.subscribe_with(&[&topic], Arc::new(Printer))?;
    while left > 0 {
        let records = consumer.poll(Duration::from_secs(1)).await?;
        left = left.saturating_sub(records.len());
        for record in &records {
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            println!("{}-{} @{}: {value}", record.topic, record.partition, record.offset);
        }
        if !records.is_empty() {
            consumer.commit().await?;
        }
    }
    consumer.close().await
}
