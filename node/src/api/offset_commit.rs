//! `OffsetCommit` (key 8): a group's offsets are committed.

mod oldest;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{ApiKey, OffsetCommitRequest, OffsetCommitResponse};
use millrace_coordinator::{CommitOffset, CommitOffsets, CommitTopic, GroupRequest, GroupResponse};
use millrace_metadata::Image;
use millrace_types::{ErrorCode, Timestamp};

use super::groups::{self, Answered};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `OffsetCommit`. Version 1, which Apache Kafka 4 has removed, is not in the codec.
pub(super) const API: Api =
    Api { key: ApiKey::OffsetCommit, min: oldest::VERSION, advertised_min: oldest::VERSION, max: 9, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let (request, timestamps) = match cx.version {
        oldest::VERSION => oldest::decode(&body)?,
        version => (wire::decode::<OffsetCommitRequest>(body, version)?, Vec::new()),
    };
    let mut timestamps = timestamps.into_iter();
    let image = cx.directory.image();
    let mut pending = Pending { response: OffsetCommitResponse::default(), slots: Vec::new() };
    let mut topics = Vec::new();
    for topic in request.topics {
        topics.extend(pending.add(&image, topic, &mut timestamps));
    }
    if topics.is_empty() {
        return Ok(Step::Reply(oldest::encode(&pending.response, cx.version)?));
    }
    let commit = CommitOffsets {
        group: groups::text(&request.group_id),
        member_id: groups::text(&request.member_id),
        instance_id: groups::optional(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        retention: u64::try_from(request.retention_time_ms).ok().map(Duration::from_millis),
        knows_missing_group: cx.version >= 9,
        topics,
    };
    groups::ask(cx, &commit.group.clone(), GroupRequest::Commit(commit), move |version, answer| {
        pending.finish(version, answer)
    })
}

/// The response in the making.
struct Pending {
    response: OffsetCommitResponse,
    /// For each topic that the coordinator is asked about, its place in the response and those of its partitions.
    slots: Vec<(usize, Vec<usize>)>,
}

impl Pending {
    /// Takes a topic of the request; what is returned is for the coordinator. Partitions that do not exist are answered
    /// here. `timestamps` yields the commit timestamp of each partition, or nothing where the version has none.
    fn add(
        &mut self,
        image: &Image,
        topic: OffsetCommitRequestTopic,
        timestamps: &mut impl Iterator<Item = Timestamp>,
    ) -> Option<CommitTopic> {
        let known = image.topic(&topic.name);
        let mut results = Vec::with_capacity(topic.partitions.len());
        let mut positions = Vec::new();
        let mut partitions = Vec::new();
        for (at, offset) in topic.partitions.into_iter().enumerate() {
            let partition = offset.partition_index;
            let commit_timestamp = timestamps.next().filter(|at| *at >= 0);
            let exists = known.is_some_and(|known| known.assignment(partition).is_some());
            let error = if exists { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition };
            results.push(
                OffsetCommitResponsePartition::default().with_partition_index(partition).with_error_code(error.code()),
            );
            if exists {
                positions.push(at);
                partitions.push(CommitOffset {
                    partition,
                    offset: offset.committed_offset,
                    leader_epoch: offset.committed_leader_epoch,
                    metadata: groups::optional(offset.committed_metadata.as_ref()).unwrap_or_default(),
                    commit_timestamp,
                });
            }
        }
        let name = groups::text(&topic.name);
        if !partitions.is_empty() {
            self.slots.push((self.response.topics.len(), positions));
        }
        self.response.topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(results));
        (!partitions.is_empty()).then_some(CommitTopic { name, partitions })
    }

    fn finish(mut self, version: i16, answer: Answered) -> Result<Frame, WireError> {
        let mut committed = match answer {
            Ok(GroupResponse::Commit(committed)) => Ok(committed.into_iter()),
            Ok(_) => Err(ErrorCode::UnknownServerError),
            Err(error) => Err(error),
        };
        for (topic, positions) in self.slots {
            let Some(slot) = self.response.topics.get_mut(topic) else { continue };
            let errors =
                committed.as_mut().map(|topics| topics.next().map(|topic| topic.partitions).unwrap_or_default());
            for (nth, at) in positions.into_iter().enumerate() {
                let error = match &errors {
                    Ok(errors) => errors.get(nth).map_or(ErrorCode::UnknownServerError, |(_, error)| *error),
                    Err(error) => **error,
                };
                if let Some(partition) = slot.partitions.get_mut(at) {
                    partition.error_code = error.code();
                }
            }
        }
        oldest::encode(&self.response, version)
    }
}
