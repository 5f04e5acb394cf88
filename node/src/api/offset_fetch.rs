//! `OffsetFetch` (key 9): a group's committed offsets, from version 8 on of several groups.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use millrace_coordinator::{FetchOffsets, FetchedOffset, FetchedTopic, GroupRequest, GroupResponse, TopicPartitions};
use millrace_types::ErrorCode;

use super::groups::{self, Answered, string};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `OffsetFetch`.
pub(super) const API: Api = Api { key: ApiKey::OffsetFetch, min: 1, advertised_min: 1, max: 9, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: OffsetFetchRequest = wire::decode(body, cx.version)?;
    if cx.version >= 8 { fetch_groups(cx, request) } else { fetch_one(cx, request) }
}

fn fetch_one(cx: &mut Context<'_>, request: OffsetFetchRequest) -> Result<Step, WireError> {
    let of_topic = |topic: OffsetFetchRequestTopic| (topic.name, topic.partition_indexes);
    let topics = request.topics.map(|topics| wanted(topics.into_iter().map(of_topic)));
    let asked = topics.clone();
    let fetch = FetchOffsets { group: groups::text(&request.group_id), topics, require_stable: request.require_stable };
    groups::ask(cx, &fetch.group.clone(), GroupRequest::Fetch(fetch), move |version, answer| {
        finish_one(version, answer, asked.unwrap_or_default())
    })
}

fn finish_one(version: i16, answer: Answered, asked: Vec<TopicPartitions>) -> Result<Frame, WireError> {
    let response = match fetched(answer) {
        Ok(topics) => {
            OffsetFetchResponse::default().with_topics(topics.iter().map(|topic| old_topic(version, topic)).collect())
        }
        Err(error) if version >= 2 => OffsetFetchResponse::default().with_error_code(error.code()),
        // Version 1 has no place for an error but the partitions.
        Err(error) => {
            let refused = asked.into_iter().map(|topic| {
                let none =
                    |partition| FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: "".into(), error };
                FetchedTopic { name: topic.name, partitions: topic.partitions.into_iter().map(none).collect() }
            });
            OffsetFetchResponse::default().with_topics(refused.map(|topic| old_topic(version, &topic)).collect())
        }
    };
    wire::encode_body(&response, version)
}

fn fetch_groups(cx: &mut Context<'_>, request: OffsetFetchRequest) -> Result<Step, WireError> {
    let image = cx.directory.image();
    let require_stable = request.require_stable;
    let mut responses = Vec::with_capacity(request.groups.len());
    let mut calls = Vec::new();
    let mut positions = Vec::new();
    let mut seen = BTreeSet::new();
    for OffsetFetchRequestGroup { group_id, topics, .. } in request.groups {
        if !seen.insert(group_id.clone()) {
            continue;
        }
        let mut response = OffsetFetchResponseGroup::default().with_group_id(group_id.clone());
        match groups::partition_of(&image, &group_id) {
            Ok(partition) => {
                let of_topic = |topic: OffsetFetchRequestTopics| (topic.name, topic.partition_indexes);
                let topics = topics.map(|topics| wanted(topics.into_iter().map(of_topic)));
                let fetch = FetchOffsets { group: groups::text(&group_id), topics, require_stable };
                calls.push((partition, GroupRequest::Fetch(fetch)));
                positions.push(responses.len());
            }
            Err(error) => response.error_code = error.code(),
        }
        responses.push(response);
    }
    groups::gather(cx, calls, move |version, answers| {
        for (at, answer) in positions.into_iter().zip(answers) {
            let Some(response) = responses.get_mut(at) else { continue };
            match fetched(answer) {
                Ok(topics) => response.topics = topics.iter().map(new_topic).collect(),
                Err(error) => response.error_code = error.code(),
            }
        }
        wire::encode_body(&OffsetFetchResponse::default().with_groups(responses), version)
    })
}

/// The partitions to fetch, each once: an offset can have a text of kilobytes, its number in the request has four bytes.
fn wanted(topics: impl Iterator<Item = (TopicName, Vec<i32>)>) -> Vec<TopicPartitions> {
    let mut seen = BTreeMap::<TopicName, BTreeSet<i32>>::new();
    let fresh = |(name, partitions): (TopicName, Vec<i32>)| {
        let seen = seen.entry(name.clone()).or_default();
        let partitions = partitions.into_iter().filter(|partition| seen.insert(*partition)).collect();
        TopicPartitions { name: groups::text(&name), partitions }
    };
    topics.map(fresh).collect()
}

fn fetched(answer: Answered) -> Result<Vec<FetchedTopic>, ErrorCode> {
    match answer {
        Ok(GroupResponse::Fetch(fetched)) => Ok(fetched.topics),
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(error) => Err(error),
    }
}

fn old_topic(version: i16, topic: &FetchedTopic) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.iter().map(|offset| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(offset.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(if version >= 5 { offset.leader_epoch } else { -1 })
            .with_metadata(Some(string(&offset.metadata)))
            .with_error_code(offset.error.code())
    });
    OffsetFetchResponseTopic::default().with_name(TopicName(string(&topic.name))).with_partitions(partitions.collect())
}

fn new_topic(topic: &FetchedTopic) -> OffsetFetchResponseTopics {
    let partitions = topic.partitions.iter().map(|offset| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(offset.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch)
            .with_metadata(Some(string(&offset.metadata)))
            .with_error_code(offset.error.code())
    });
    OffsetFetchResponseTopics::default().with_name(TopicName(string(&topic.name))).with_partitions(partitions.collect())
}
