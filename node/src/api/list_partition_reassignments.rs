//! `ListPartitionReassignments` (key 46): the partitions whose replicas are being moved (KIP-455).

use bytes::Bytes;
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::Topic;

use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `ListPartitionReassignments`.
pub(super) const API: Api = Api { key: ApiKey::ListPartitionReassignments, min: 0, advertised_min: 0, max: 0, handle };

/// Only what is under way is told: other partitions, and those that do not exist, are left out, as Kafka does.
fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ListPartitionReassignmentsRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let topics: Vec<_> = match request.topics {
        None => image.topics().filter_map(|topic| under_way(topic, |_| true)).collect(),
        Some(wanted) => {
            let found = |one: &kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics| {
                under_way(image.topic(&one.name)?, |number| one.partition_indexes.contains(&number))
            };
            wanted.iter().filter_map(found).collect()
        }
    };
    cx.reply(&ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics))
}

/// What is under way in a topic, of the partitions that are wanted; `None` for nothing.
fn under_way(topic: &Topic, is_wanted: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let ids = |brokers: &[millrace_types::BrokerId]| brokers.iter().map(|id| BrokerId(id.0)).collect();
    let moving = (0..).zip(&topic.partitions).filter(|(number, one)| one.reassignment.is_some() && is_wanted(*number));
    let partitions: Vec<_> = moving
        .map(|(number, assignment)| {
            OngoingPartitionReassignment::default()
                .with_partition_index(number)
                .with_replicas(ids(&assignment.present_replicas()))
                .with_adding_replicas(ids(&assignment.adding()))
                .with_removing_replicas(ids(&assignment.removing()))
        })
        .collect();
    let name = TopicName(StrBytes::from_string(topic.name.to_string()));
    (!partitions.is_empty()).then(|| OngoingTopicReassignment::default().with_name(name).with_partitions(partitions))
}

#[cfg(test)]
mod tests;
