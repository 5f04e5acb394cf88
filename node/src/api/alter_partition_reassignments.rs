//! `AlterPartitionReassignments` (key 45): moves replicas to other brokers, or stops moving them (KIP-455, KIP-860); one result
//! per partition.

use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{AlterReassignments, Command, CommandResult, Outcome, ReassignPartition};
use millrace_types::BrokerId;

use super::metadata_call::{self, error_of};
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `AlterPartitionReassignments`.
pub(super) const API: Api = Api { key: ApiKey::AlterPartitionReassignments, min: 0, advertised_min: 0, max: 1, handle };

/// From this version on a client says whether the number of replicas may change; before, it may.
const FACTOR_FROM: i16 = 1;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: AlterPartitionReassignmentsRequest = wire::decode(body, cx.version)?;
    let allow_factor_change = cx.version < FACTOR_FROM || request.allow_replication_factor_change;
    let wanted = |name: &TopicName, partition: i32, replicas: Option<&Vec<kafka_protocol::messages::BrokerId>>| {
        let replicas = replicas.map(|replicas| replicas.iter().map(|id| BrokerId(id.0)).collect());
        ReassignPartition { topic: name.to_string(), partition, replicas }
    };
    let each = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|one| wanted(&topic.name, one.partition_index, one.replicas.as_ref()))
    });
    let command = Command::AlterReassignments(AlterReassignments { partitions: each.collect(), allow_factor_change });
    let asked: Vec<(TopicName, Vec<i32>)> = request
        .topics
        .into_iter()
        .map(|topic| (topic.name, topic.partitions.iter().map(|one| one.partition_index).collect()))
        .collect();
    let finish = move |cx: &Context<'_>, result| {
        let response =
            AlterPartitionReassignmentsResponse::default().with_allow_replication_factor_change(allow_factor_change);
        let response = match result {
            CommandResult::AlteredReassignments(outcomes) => {
                response.with_error_message(None).with_responses(responses(asked, outcomes))
            }
            other => {
                let error = error_of(other);
                let code = error.code.code();
                response.with_error_code(code).with_error_message(Some(StrBytes::from_string(error.message)))
            }
        };
        wire::encode_body(&response, cx.version)
    };
    Ok(metadata_call::send(cx, command, request.timeout_ms, Box::new(finish)))
}

/// The outcomes, which are in the order of the request, under the names of their topics.
fn responses(asked: Vec<(TopicName, Vec<i32>)>, outcomes: Vec<Outcome<()>>) -> Vec<ReassignableTopicResponse> {
    let mut outcomes = outcomes.into_iter();
    let mut partition = |number: i32| {
        let error = outcomes.next().and_then(Result::err);
        ReassignablePartitionResponse::default()
            .with_partition_index(number)
            .with_error_code(error.as_ref().map_or(0, |error| error.code.code()))
            .with_error_message(error.map(|error| StrBytes::from_string(error.message)))
    };
    let topic = |(name, numbers): (TopicName, Vec<i32>)| {
        let partitions = numbers.into_iter().map(&mut partition).collect();
        ReassignableTopicResponse::default().with_name(name).with_partitions(partitions)
    };
    asked.into_iter().map(topic).collect()
}

#[cfg(test)]
mod tests;
