//! OffsetCommit version 1, which clients of Kafka 0.8.2 to 0.10 send and the codec does not know.
//!
//! ```text
//! request   group: string, generation: i32, member: string,
//!           [topic: string, [partition: i32, offset: i64, timestamp: i64, metadata: string?]]
//! response  [topic: string, [partition: i32, error: i16]]
//! ```
//!
//! Version 2 has the response in common, and instead of a timestamp per partition one retention for all.

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{ApiKey, GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_types::Timestamp;

use crate::wire::{self, Frame, Reader, WireError};

/// The version served here.
pub(super) const VERSION: i16 = 1;
/// The lowest version that the codec knows.
const CODEC_FROM: i16 = 2;

/// Reads a request: what later versions have in common with it, and the timestamps of its partitions in their order,
/// `-1` for the time of the commit.
pub(super) fn decode(body: &Bytes) -> Result<(OffsetCommitRequest, Vec<Timestamp>), WireError> {
    let mut reader = Reader::new(body, ApiKey::OffsetCommit, VERSION);
    let text = |value: &str| StrBytes::from_string(value.to_owned());
    let group_id = GroupId(text(reader.string("group")?));
    let generation = reader.int32("generation")?;
    let member_id = text(reader.string("member")?);
    let mut topics = Vec::new();
    let mut timestamps = Vec::new();
    for _ in 0..reader.count("topics")? {
        let name = TopicName(text(reader.string("topic")?));
        let mut partitions = Vec::new();
        for _ in 0..reader.count("partitions")? {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(reader.int32("partition")?)
                .with_committed_offset(reader.int64("offset")?);
            timestamps.push(reader.int64("timestamp")?);
            partitions.push(partition.with_committed_metadata(reader.nullable_string("metadata")?.map(text)));
        }
        topics.push(OffsetCommitRequestTopic::default().with_name(name).with_partitions(partitions));
    }
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id)
        .with_member_id(member_id)
        .with_generation_id_or_member_epoch(generation)
        .with_topics(topics);
    Ok((request, timestamps))
}

/// Writes a response of any version that is served.
pub(super) fn encode(response: &OffsetCommitResponse, version: i16) -> Result<Frame, WireError> {
    wire::encode_body(response, version.max(CODEC_FROM))
}
