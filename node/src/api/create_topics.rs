//! `CreateTopics` (key 19): names, placement and configuration are decided by the metadata store.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::config::describe_topic;
use millrace_metadata::{Command, CommandResult, CreateTopics, CreatedTopic, Image, ItemError, NewTopic, Outcome};
use millrace_types::BrokerId;

use super::metadata_call::{self, error_of};
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `CreateTopics`.
pub(super) const API: Api = Api { key: ApiKey::CreateTopics, min: 2, advertised_min: 2, max: 7, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: CreateTopicsRequest = wire::decode(body, cx.version)?;
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    let command = Command::CreateTopics(CreateTopics {
        topics: request.topics.iter().map(new_topic).collect(),
        validate_only: request.validate_only,
    });
    let finish = move |cx: &Context<'_>, result| {
        let outcomes = match result {
            CommandResult::CreatedTopics(outcomes) => outcomes,
            other => {
                let error = error_of(other);
                names.into_iter().map(|name| (name, Err(error.clone()))).collect()
            }
        };
        let image = cx.directory.image();
        let topics = outcomes.into_iter().map(|(name, outcome)| result_of(&image, cx.version, name, outcome)).collect();
        wire::encode_body(&CreateTopicsResponse::default().with_topics(topics), cx.version)
    };
    Ok(metadata_call::send(cx, command, request.timeout_ms, Box::new(finish)))
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let brokers = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| BrokerId(id.0)).collect();
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| (assignment.partition_index, brokers(&assignment.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)))
            .collect(),
    }
}

fn result_of(image: &Image, version: i16, name: String, outcome: Outcome<CreatedTopic>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(TopicName(StrBytes::from_string(name)));
    let created = match outcome {
        Ok(created) => created,
        Err(ItemError { code, message }) => {
            return result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)));
        }
    };
    // KIP-525 added the configuration, KIP-516 the identity.
    let configs = if version >= 5 { configs(image, &created) } else { Vec::new() };
    result
        .with_topic_id(created.id.0)
        .with_num_partitions(created.partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(configs))
}

fn configs(image: &Image, created: &CreatedTopic) -> Vec<CreatableTopicConfigs> {
    let rows = describe_topic(&created.overrides, &image.layers());
    let config = |row: millrace_metadata::config::Described| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(row.key.name))
            .with_value(row.value.map(StrBytes::from_string))
            .with_read_only(row.read_only)
            .with_config_source(row.source as i8)
            .with_is_sensitive(row.key.sensitive)
    };
    rows.into_iter().map(config).collect()
}

#[cfg(test)]
mod tests;
