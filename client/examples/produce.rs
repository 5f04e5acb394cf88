//! Sends ten records and prints where they went: `cargo run --example produce -- 127.0.0.1:9092 topic`.

use millrace_client::{Producer, ProducerConfig, ProducerRecord, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = args.next().unwrap_or_else(|| "example".to_owned());
    let producer = Producer::connect(ProducerConfig::new(&bootstrap)).await?;
    let mut deliveries = Vec::new();
    for n in 0..10 {
        let record = ProducerRecord::to(topic.as_str()).key(format!("key-{}", n % 3)).value(format!("value {n}"));
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        let at = delivery.await?;
        println!("{}-{} offset {}", at.topic, at.partition, at.offset);
    }
    producer.close().await
}
