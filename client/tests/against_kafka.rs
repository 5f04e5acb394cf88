//! The clients against a running cluster, Apache Kafka or Millrace, named by `MILLRACE_KAFKA_BOOTSTRAP`.
//!
//! Without the variable each test prints that it skips.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_client::admin::{ConfigChange, NewTopic, Resource};
use millrace_client::{
    Acks, Admin, Assignor, ClientConfig, Codec, Consumer, ConsumerConfig, OffsetReset, OffsetSpec, Producer,
    ProducerConfig, ProducerRecord, TopicPartition,
};

/// The cluster, and a topic name that was not used before; `None` when there is no cluster to test against.
fn cluster(test: &str) -> Option<(String, String)> {
    let Ok(bootstrap) = std::env::var("MILLRACE_KAFKA_BOOTSTRAP") else {
        println!("skipped: MILLRACE_KAFKA_BOOTSTRAP names no cluster");
        return None;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    Some((bootstrap, format!("{test}-{now}")))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), future).await.expect("done in time")
}

async fn create(bootstrap: &str, topic: &str, partitions: i32) -> Admin {
    let admin = Admin::connect(ClientConfig::new(bootstrap)).await.unwrap();
    for (_, outcome) in admin.create_topics(&[NewTopic::new(topic, partitions)], false).await.unwrap() {
        outcome.unwrap();
    }
    admin.wait_for_topic(topic, Duration::from_secs(20)).await.unwrap();
    admin
}

async fn send(producer: &Producer, topic: &str, values: impl IntoIterator<Item = String>) {
    let mut deliveries = Vec::new();
    for value in values {
        let record = ProducerRecord::to(topic).key(value.clone()).value(value).header("h", "1");
        deliveries.push(producer.send(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

async fn receive(consumer: &Consumer, count: usize) -> BTreeSet<String> {
    let mut received = BTreeSet::new();
    while received.len() < count {
        for record in consumer.poll(Duration::from_secs(5)).await.unwrap() {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            assert!(received.insert(value.clone()), "{value} came twice");
        }
    }
    received
}

#[tokio::test]
async fn every_codec_and_every_kind_of_acks() {
    let Some((bootstrap, topic)) = cluster("codecs") else { return };
    within(async {
        create(&bootstrap, &topic, 3).await;
        let mut sent = BTreeSet::new();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            for acks in [Acks::All, Acks::Leader, Acks::None] {
                let mut config = ProducerConfig::new(&bootstrap);
                (config.codec, config.acks, config.idempotence) = (codec, acks, acks == Acks::All);
                let producer = Producer::connect(config).await.unwrap();
                let values: Vec<String> = (0..500).map(|n| format!("{codec:?} {acks:?} {n}")).collect();
                send(&producer, &topic, values.clone()).await;
                sent.extend(values);
                // Without acks, closing at once could lose what is still on its way to the socket.
                if acks != Acks::None {
                    producer.close().await.unwrap();
                } else {
                    producer.partitions(&topic).await.unwrap();
                    std::mem::forget(producer);
                }
            }
        }
        let mut config = ConsumerConfig::new(&bootstrap);
        config.offset_reset = OffsetReset::Earliest;
        let consumer = Consumer::connect(config).await.unwrap();
        consumer.assign(&(0..3).map(|p| TopicPartition::new(topic.as_str(), p)).collect::<Vec<_>>()).unwrap();
        assert_eq!(receive(&consumer, sent.len()).await, sent);
    })
    .await;
}

#[tokio::test]
async fn two_members_share_a_topic_by_each_assignor() {
    let Some((bootstrap, topic)) = cluster("groups") else { return };
    within(async {
        create(&bootstrap, &topic, 4).await;
        let producer = Producer::connect(ProducerConfig::new(&bootstrap)).await.unwrap();
        send(&producer, &topic, (0..100).map(|n| n.to_string())).await;
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
            let mut config = ConsumerConfig::new(&bootstrap);
            config.group_id = Some(format!("{topic}-{assignor:?}"));
            config.offset_reset = OffsetReset::Earliest;
            config.assignors = vec![assignor];
            config.heartbeat_interval = Duration::from_millis(200);
            let first = Consumer::connect(config.clone()).await.unwrap();
            first.subscribe(&[&topic]).unwrap();
            assert_eq!(receive(&first, 100).await.len(), 100);
            assert_eq!(first.assignment().len(), 4);
            first.commit().await.unwrap();
            let second = Consumer::connect(config).await.unwrap();
            second.subscribe(&[&topic]).unwrap();
            while first.assignment().len() != 2 || second.assignment().len() != 2 {
                let (a, b) =
                    tokio::join!(first.poll(Duration::from_millis(100)), second.poll(Duration::from_millis(100)));
                assert!(a.unwrap().is_empty() && b.unwrap().is_empty(), "everything was committed");
            }
            first.close().await.unwrap();
            while second.assignment().len() != 4 {
                second.poll(Duration::from_millis(100)).await.unwrap();
            }
            second.close().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn topics_are_administered() {
    let Some((bootstrap, topic)) = cluster("admin") else { return };
    within(async {
        let admin = create(&bootstrap, &topic, 2).await;
        let again = admin.create_topics(&[NewTopic::new(topic.as_str(), 2)], false).await.unwrap();
        assert!(again[0].1.is_err(), "it exists");
        for (_, outcome) in admin.create_partitions(&[(&topic, 3)], false).await.unwrap() {
            outcome.unwrap();
        }
        let resource = Resource::Topic(topic.clone());
        let change = ConfigChange::Set("retention.ms".to_owned(), "12345678".to_owned());
        for (_, outcome) in admin.alter_configs(&[(resource.clone(), vec![change])], false).await.unwrap() {
            outcome.unwrap();
        }
        let configs = admin.describe_configs(&[resource]).await.unwrap().remove(0).1.unwrap();
        let retention = configs.iter().find(|config| config.name == "retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), retention.is_default), (Some("12345678"), false));
        assert!(admin.list_topics().await.unwrap().iter().any(|listed| listed.name == topic));
        for (_, outcome) in admin.delete_topics(&[&topic]).await.unwrap() {
            outcome.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn offsets_are_found_deleted_committed_and_forgotten() {
    let Some((bootstrap, topic)) = cluster("offsets") else { return };
    within(async {
        let admin = create(&bootstrap, &topic, 1).await;
        let producer = Producer::connect(ProducerConfig::new(&bootstrap)).await.unwrap();
        for n in 0..10 {
            let record = ProducerRecord::to(topic.as_str()).timestamp(1_700_000_000_000 + n * 1000).value("v");
            producer.send(record).await.unwrap();
        }
        producer.close().await.unwrap();
        let partition = TopicPartition::new(topic.as_str(), 0);
        for (spec, expected) in [
            (OffsetSpec::Earliest, 0),
            (OffsetSpec::Latest, 10),
            (OffsetSpec::Timestamp(1_700_000_003_500), 4),
            (OffsetSpec::Timestamp(1_800_000_000_000), -1),
        ] {
            let found = admin.offsets(&BTreeMap::from([(partition.clone(), spec)])).await.unwrap().remove(0).1.unwrap();
            assert_eq!(found.offset, expected, "{spec:?}");
        }
        let deleted = admin.delete_records(&BTreeMap::from([(partition.clone(), 3)])).await.unwrap();
        assert_eq!(deleted[0].1, Ok(3));
        let group = format!("{topic}-group");
        let offsets = BTreeMap::from([(partition.clone(), 5.into())]);
        for (_, outcome) in admin.alter_group_offsets(&group, &offsets).await.unwrap() {
            outcome.unwrap();
        }
        assert_eq!(admin.group_offsets(&group).await.unwrap()[&partition].offset, 5);
        assert!(admin.list_groups().await.unwrap().iter().any(|listed| listed.group == group));
        assert_eq!(admin.describe_groups(&[&group]).await.unwrap()[0].1.as_ref().unwrap().state, "Empty");
        for (_, outcome) in admin.delete_group_offsets(&group, std::slice::from_ref(&partition)).await.unwrap() {
            outcome.unwrap();
        }
        assert!(!admin.group_offsets(&group).await.unwrap().contains_key(&partition));
    })
    .await;
}
