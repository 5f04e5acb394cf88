//! `OffsetDelete` (key 47): forgets committed offsets of topics that nobody in the group consumes (KIP-496).

use bytes::Bytes;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{ApiKey, OffsetDeleteRequest, OffsetDeleteResponse};
use millrace_coordinator::{DeleteOffsets, GroupRequest, GroupResponse, TopicPartitions};
use millrace_types::ErrorCode;

use super::groups::{self, Answered};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `OffsetDelete`.
pub(super) const API: Api = Api { key: ApiKey::OffsetDelete, min: 0, advertised_min: 0, max: 0, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: OffsetDeleteRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let mut response = OffsetDeleteResponse::default();
    let mut topics = Vec::new();
    let mut positions = Vec::new();
    for (at, topic) in request.topics.into_iter().enumerate() {
        let partitions: Vec<_> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        let exists = image.topic(&topic.name).is_some();
        let error = if exists { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition };
        let results = partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default().with_partition_index(*partition).with_error_code(error.code())
        });
        let results = results.collect();
        if exists {
            topics.push(TopicPartitions { name: groups::text(&topic.name), partitions });
            positions.push(at);
        }
        response.topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(results));
    }
    let delete = DeleteOffsets { group: groups::text(&request.group_id), topics };
    groups::ask(cx, &delete.group.clone(), GroupRequest::DeleteOffsets(delete), move |version, answer| {
        finish(version, answer, response, &positions)
    })
}

fn finish(
    version: i16,
    answer: Answered,
    mut response: OffsetDeleteResponse,
    positions: &[usize],
) -> Result<Frame, WireError> {
    let deleted = match answer {
        Ok(GroupResponse::DeleteOffsets(deleted)) => deleted,
        Ok(_) => return failed(version, ErrorCode::UnknownServerError),
        Err(error) => return failed(version, error),
    };
    for (at, topic) in positions.iter().zip(deleted) {
        let Some(slot) = response.topics.get_mut(*at) else { continue };
        for (partition, (_, error)) in slot.partitions.iter_mut().zip(topic.partitions) {
            partition.error_code = error.code();
        }
    }
    wire::encode_body(&response, version)
}

fn failed(version: i16, error: ErrorCode) -> Result<Frame, WireError> {
    wire::encode_body(&OffsetDeleteResponse::default().with_error_code(error.code()), version)
}
