//! The consumer in virtual time: positions and fetching, and membership in groups.

mod failover;
mod membership;
mod reading;

use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::{ApiKey, ResponseKind, TopicName};
use millrace_types::ErrorCode;

use super::*;
use crate::config::{ConsumerConfig, OffsetReset};
use crate::core::testing::{Net, Sent};
use crate::core::{Machine, Random};
use crate::error::ClientError;
use crate::record::{BatchBuilder, Codec, ProducerStamp, RecordFields};
use crate::wire::text;

const MILLI: Duration = Duration::from_millis(1);

fn config() -> ConsumerConfig {
    let mut config = ConsumerConfig::new("x:7001");
    config.offset_reset = OffsetReset::Earliest;
    config
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

/// A batch of these values whose first offset is `base`.
fn batch(base: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::with_capacity(0);
    for value in values {
        builder.append(5, &RecordFields { value: Some(value.as_bytes()), ..RecordFields::default() });
    }
    let mut bytes = builder.seal(Codec::None).expect("seal").stamp(ProducerStamp::NONE).to_vec();
    // Base offset and leader epoch are not covered by the checksum: the broker fills them in.
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&1i32.to_be_bytes());
    bytes
}

fn fetched(topic_id: u128, number: i32, code: ErrorCode, records: Vec<u8>) -> ResponseKind {
    let row = m::fetch_response::PartitionData::default()
        .with_partition_index(number)
        .with_error_code(code.code())
        .with_high_watermark(100)
        .with_records(Some(records.into()));
    let topic = m::fetch_response::FetchableTopicResponse::default()
        .with_topic_id(uuid::Uuid::from_u128(topic_id))
        .with_partitions(vec![row]);
    ResponseKind::Fetch(m::FetchResponse::default().with_responses(vec![topic]))
}

/// Answers every lookup that waits with `offset`.
fn answer_lookups(core: &mut ConsumerCore, net: &mut Net, offset: i64) {
    while let Some(sent) = net.next_of(ApiKey::ListOffsets) {
        let kafka_protocol::messages::RequestKind::ListOffsets(request) = &sent.request else { panic!("{sent:?}") };
        let topic = |topic: &m::list_offsets_request::ListOffsetsTopic| {
            let row = |asked: &m::list_offsets_request::ListOffsetsPartition| {
                m::list_offsets_response::ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_offset(offset)
                    .with_timestamp(-1)
            };
            m::list_offsets_response::ListOffsetsTopicResponse::default()
                .with_name(TopicName(text("t")))
                .with_partitions(topic.partitions.iter().map(row).collect())
        };
        let topics = request.topics.iter().map(topic).collect();
        let response = ResponseKind::ListOffsets(m::ListOffsetsResponse::default().with_topics(topics));
        net.answer(core, &sent, response);
        net.run(core);
    }
}

/// What a fetch asks for: (partition, offset).
fn wanted(sent: &Sent) -> Vec<(i32, i64)> {
    let kafka_protocol::messages::RequestKind::Fetch(request) = &sent.request else { panic!("{sent:?}") };
    let rows = request.topics.iter().flat_map(|topic| &topic.partitions);
    rows.map(|row| (row.partition, row.fetch_offset)).collect()
}

fn poll(core: &mut ConsumerCore, net: &mut Net) -> Result<Polled> {
    core.poll_begun(net.now);
    net.run(core);
    let polled = core.poll(100);
    net.run(core);
    polled
}

fn values(polled: Polled) -> Vec<(i64, String)> {
    let Polled::Records(records) = polled else { panic!("{polled:?}") };
    let value = |record: &ConsumerRecord| String::from_utf8(record.value.clone().expect("value").to_vec());
    records.iter().map(|record| (record.offset, value(record).expect("text"))).collect()
}
