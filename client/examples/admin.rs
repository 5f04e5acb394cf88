//! Describes a cluster, and creates and deletes a topic: `cargo run --example admin -- 127.0.0.1:9092`.

use std::time::Duration;

use millrace_client::admin::NewTopic;
use millrace_client::{Admin, ClientConfig, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let admin = Admin::connect(ClientConfig::new(&bootstrap)).await?;
    for broker in admin.describe_cluster().await?.brokers {
        println!("broker {} at {}:{}", broker.id, broker.host, broker.port);
    }
    let topic = NewTopic::new("example-admin", 3).config("retention.ms", "60000");
    for (name, outcome) in admin.create_topics(&[topic], false).await? {
        outcome?;
        println!("created {name}");
    }
    let described = admin.wait_for_topic("example-admin", Duration::from_secs(10)).await?;
    println!("{} has {} partitions", described.name, described.partitions.len());
    for (name, outcome) in admin.delete_topics(&["example-admin"]).await? {
        outcome?;
        println!("deleted {name}");
    }
    admin.close().await;
    Ok(())
}
