//! Prints a topic from its beginning, until nothing came for two seconds:
//! `cargo run --example consume -- 127.0.0.1:9092 topic`.

use std::time::Duration;

use millrace_client::{Admin, ClientConfig, Consumer, ConsumerConfig, OffsetReset, Result, TopicPartition};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = args.next().unwrap_or_else(|| "example".to_owned());
    let admin = Admin::connect(ClientConfig::new(&bootstrap)).await?;
    let described = admin.wait_for_topic(&topic, Duration::from_secs(5)).await?;
    let mut config = ConsumerConfig::new(&bootstrap);
    config.offset_reset = OffsetReset::Earliest;
    let consumer = Consumer::connect(config).await?;
    let partitions = described.partitions.iter().map(|p| TopicPartition::new(topic.as_str(), p.partition));
    consumer.assign(&partitions.collect::<Vec<_>>())?;
    loop {
        let records = consumer.poll(Duration::from_secs(2)).await?;
        if records.is_empty() {
            return consumer.close().await;
        }
        for record in records {
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            println!("{}-{} @{}: {value}", record.topic, record.partition, record.offset);
        }
    }
}
