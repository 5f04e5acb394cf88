//! Requests and batches as tests want them.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_storage::{BatchBuilder, Codec};
use millrace_types::{Offset, ProducerId};

use super::START_WALL;

/// A batch of records with these values.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    let builder = BatchBuilder::new(START_WALL, Codec::None);
    values.iter().fold(builder, |builder, value| builder.push(None, Some(value.as_bytes()))).build().expect("a batch")
}

/// A batch of an idempotent producer.
pub(crate) fn sequenced(producer: ProducerId, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let builder = BatchBuilder::new(START_WALL, Codec::None).producer(producer, epoch, sequence);
    values.iter().fold(builder, |builder, value| builder.push(None, Some(value.as_bytes()))).build().expect("a batch")
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    StrBytes::from_string(name.to_owned()).into()
}

/// A produce request to partitions of one topic, with a time-out of 1,000 ms.
pub(crate) fn produce(acks: i16, topic: &str, records: &[(i32, Bytes)]) -> ProduceRequest {
    let data = records.iter().map(|(partition, records)| {
        PartitionProduceData::default().with_index(*partition).with_records(Some(records.clone()))
    });
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(data.collect());
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1_000).with_topic_data(vec![topic])
}

/// A fetch outside a session from partitions of one topic, which waits 500 ms for one byte.
pub(crate) fn fetch(topic: &str, partitions: &[(i32, Offset)]) -> FetchRequest {
    let wanted = partitions.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(wanted.collect());
    FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1 << 24)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}
