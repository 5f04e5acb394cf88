//! The clients on tokio against a broker in memory, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fake;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fake::Broker;
use futures_util::{FutureExt, StreamExt, pin_mut};
use millrace_client::{
    Admin, ClientConfig, ClientError, Codec, Consumer, ConsumerConfig, OffsetReset, Producer, ProducerConfig,
    ProducerRecord, TopicPartition,
};

/// A test that hangs fails instead.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("done in time")
}

fn partitions() -> Vec<TopicPartition> {
    (0..fake::PARTITIONS).map(|partition| TopicPartition::new("t", partition)).collect()
}

async fn send(producer: &Producer, values: impl IntoIterator<Item = String>) {
    let mut deliveries = Vec::new();
    for value in values {
        deliveries.push(producer.send(ProducerRecord::to("t").key(value.clone()).value(value)).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

fn from_the_start(broker: &Broker) -> ConsumerConfig {
    let mut config = ConsumerConfig::new(&broker.bootstrap());
    config.offset_reset = OffsetReset::Earliest;
    config
}

#[tokio::test]
async fn what_is_produced_is_consumed_with_every_codec() {
    within(async {
        let broker = Broker::start().await;
        let mut sent = BTreeSet::new();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut config = ProducerConfig::new(&broker.bootstrap());
            (config.codec, config.idempotence) = (codec, false);
            let producer = Producer::connect(config).await.unwrap();
            let values: Vec<String> = (0..200).map(|n| format!("{codec:?} {n}")).collect();
            send(&producer, values.clone()).await;
            sent.extend(values);
            producer.close().await.unwrap();
        }
        let consumer = Consumer::connect(from_the_start(&broker)).await.unwrap();
        consumer.assign(&partitions()).unwrap();
        let stream = consumer.stream();
        pin_mut!(stream);
        let mut received = BTreeSet::new();
        while received.len() < sent.len() {
            let record = stream.next().await.unwrap().unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            assert!(received.insert(value.clone()), "{value} came twice");
        }
        assert_eq!(received, sent);
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_doubles_nothing() {
    within(async {
        let broker = Broker::start().await;
        let producer = Producer::connect(ProducerConfig::new(&broker.bootstrap())).await.unwrap();
        for round in 0..5 {
            broker.lose_next_answer.store(true, Ordering::SeqCst);
            send(&producer, (0..20).map(|n| format!("{round}-{n}"))).await;
        }
        assert_eq!(broker.records("t"), 100);
    })
    .await;
}

#[tokio::test]
async fn a_full_buffer_holds_send_back_until_there_is_room() {
    within(async {
        let broker = Broker::start().await;
        broker.held.send_replace(true);
        let mut config = ProducerConfig::new(&broker.bootstrap());
        (config.buffer_memory, config.batch_size, config.max_request_size) = (8192, 2048, 4096);
        let producer = Producer::connect(config).await.unwrap();
        producer.partitions("t").await.unwrap();
        let record = ProducerRecord::to("t").partition(0).value(vec![1u8; 1000]);
        let mut accepted = 0;
        let refused = loop {
            match producer.try_send(&record) {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((refused, accepted), (ClientError::BufferFull, 7));
        let waiting = producer.send(record);
        pin_mut!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none(), "there is no room");
        broker.held.send_replace(false);
        waiting.await.unwrap().await.unwrap();
        producer.flush().await.unwrap();
        assert_eq!((broker.records("t"), producer.buffered_bytes()), (8, 0));
    })
    .await;
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed() {
    within(async {
        let broker = Broker::start().await;
        let producer = Producer::connect(ProducerConfig::new(&broker.bootstrap())).await.unwrap();
        send(&producer, (0..10).map(|n| format!("first {n}"))).await;
        for (round, expected) in [("first", 10), ("second", 5)] {
            let mut config = from_the_start(&broker);
            config.group_id = Some("g".to_owned());
            let consumer = Consumer::connect(config).await.unwrap();
            consumer.subscribe(&["t"]).unwrap();
            let mut received = 0;
            while received < expected {
                for record in consumer.poll(Duration::from_secs(5)).await.unwrap() {
                    assert!(record.value.unwrap().starts_with(round.as_bytes()));
                    received += 1;
                }
            }
            assert_eq!(consumer.assignment(), partitions());
            consumer.close().await.unwrap();
            send(&producer, (0..5).map(|n| format!("second {n}"))).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_cluster_is_named() {
    within(async {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = ClientConfig::new(&format!("127.0.0.1:{port}"));
        config.api_timeout = Duration::from_millis(300);
        config.request_timeout = Duration::from_millis(300);
        let error = Admin::connect(config).await.unwrap().list_topics().await.unwrap_err();
        assert!(error.is_retriable() && error.to_string().contains(&port.to_string()), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_closed_client_says_so() {
    within(async {
        let broker = Broker::start().await;
        let producer = Producer::connect(ProducerConfig::new(&broker.bootstrap())).await.unwrap();
        let clone = producer.clone();
        producer.close().await.unwrap();
        assert_eq!(clone.send(ProducerRecord::to("t")).await.unwrap_err(), ClientError::Closed);
        let consumer = Consumer::connect(from_the_start(&broker)).await.unwrap();
        let stream = consumer.stream();
        pin_mut!(stream);
        consumer.close().await.unwrap();
        assert!(stream.next().await.is_none(), "the stream ends");
    })
    .await;
}
