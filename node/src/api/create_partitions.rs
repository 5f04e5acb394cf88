//! `CreatePartitions` (key 37): more partitions for topics that exist; one result per topic.

use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{ApiKey, CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Command, CommandResult, CreatePartitions, ItemError, NewPartitions, Outcome};
use millrace_types::BrokerId;

use super::metadata_call::{self, error_of};
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `CreatePartitions`.
pub(super) const API: Api = Api { key: ApiKey::CreatePartitions, min: 0, advertised_min: 0, max: 3, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: CreatePartitionsRequest = wire::decode(body, cx.version)?;
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    let command = Command::CreatePartitions(CreatePartitions {
        topics: request.topics.iter().map(new_partitions).collect(),
        validate_only: request.validate_only,
    });
    let finish = move |cx: &Context<'_>, result| {
        let outcomes = match result {
            CommandResult::CreatedPartitions(outcomes) => outcomes,
            other => {
                let error = error_of(other);
                names.into_iter().map(|name| (name, Err(error.clone()))).collect()
            }
        };
        let results = outcomes.into_iter().map(|(name, outcome)| result_of(name, outcome)).collect();
        wire::encode_body(&CreatePartitionsResponse::default().with_results(results), cx.version)
    };
    Ok(metadata_call::send(cx, command, request.timeout_ms, Box::new(finish)))
}

fn new_partitions(topic: &CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|one| one.broker_ids.iter().map(|id| BrokerId(id.0)).collect()).collect()
    });
    NewPartitions { name: topic.name.to_string(), count: topic.count, assignments }
}

fn result_of(name: String, outcome: Outcome<()>) -> CreatePartitionsTopicResult {
    let result = CreatePartitionsTopicResult::default().with_name(TopicName(StrBytes::from_string(name)));
    match outcome {
        Ok(()) => result.with_error_message(None),
        Err(ItemError { code, message }) => {
            result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}

#[cfg(test)]
mod tests;
