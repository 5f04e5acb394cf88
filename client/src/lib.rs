//! A Kafka client in pure Rust: producer, consumer and administration, for Millrace and Apache Kafka 2.1 and later.
//!
//! ```no_run
//! use std::time::Duration;
//! use millrace_client::{Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord};
//!
//! # async fn run() -> millrace_client::Result<()> {
//! let producer = Producer::connect(ProducerConfig::new("127.0.0.1:9092")).await?;
//! let delivery = producer.send(ProducerRecord::to("greetings").key("en").value("hello")).await?;
//! println!("written at offset {}", delivery.await?.offset);
//!
//! let mut config = ConsumerConfig::new("127.0.0.1:9092");
//! config.group_id = Some("readers".to_owned());
//! let consumer = Consumer::connect(config).await?;
//! consumer.subscribe(&["greetings"])?;
//! for record in consumer.poll(Duration::from_secs(1)).await? {
//!     println!("{}: {:?}", record.offset, record.value);
//! }
//! consumer.close().await?;
//! producer.close().await
//! # }
//! ```
//!
//! [`Producer::send`] puts a record into a batch and returns a [`Delivery`] to await, or to drop; producers are
//! idempotent unless told otherwise. [`Consumer`] polls or streams, alone or in a group. [`Admin`] is for topics,
//! configuration, groups and offsets. A [`ClientError`] answers the three questions an application has:
//! [`is_retriable`](ClientError::is_retriable), [`is_fatal`](ClientError::is_fatal) and
//! [`possibly_written`](ClientError::possibly_written).
//!
//! The clients are state machines without I/O, clock or random source ([`core`]); the types above are their hosts on
//! tokio. Another runtime, or a simulator, can be the host instead.

#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
mod consumer;
pub mod core;
mod error;
mod model;
mod net;
mod producer;
pub mod record;
mod wire;

pub use admin::Admin;
pub use config::{Acks, Assignor, ClientConfig, ConsumerConfig, Isolation, OffsetReset, ProducerConfig};
pub use consumer::{Consumer, RebalanceListener};
pub use error::{ClientError, Result};
pub use model::{Broker, ConsumerRecord, FoundOffset, Header, OffsetAndMetadata, OffsetSpec, PartitionDescription};
pub use model::{ProducerRecord, RecordMetadata, TopicPartition};
pub use producer::{Delivery, Producer};
pub use record::Codec;
pub use wire::FrameReader;
