//! `DeleteTopics` (key 20): by name, from version 6 also by identity (KIP-516).
//!
//! The metadata store deletes the topics; then the group coordinators forget the offsets committed for them, as in
//! Kafka. A coordinator that cannot do so (it is loading, or the broker stops) keeps them until they expire.

mod deleting;

use bytes::Bytes;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{ApiKey, DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{DeletedTopic, ItemError, Outcome, TopicRef};
use millrace_types::{ErrorCode, TopicId};

use self::deleting::Deleting;
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `DeleteTopics`.
pub(super) const API: Api = Api { key: ApiKey::DeleteTopics, min: 1, advertised_min: 1, max: 6, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DeleteTopicsRequest = wire::decode(body, cx.version)?;
    let (topics, results) = wanted(&request);
    if topics.is_empty() {
        return cx.reply(&DeleteTopicsResponse::default().with_responses(results));
    }
    Ok(Deleting::begin(cx, topics, results, request.timeout_ms))
}

/// The topics named in the request, and the results of those that are named wrongly.
fn wanted(request: &DeleteTopicsRequest) -> (Vec<TopicRef>, Vec<DeletableTopicResult>) {
    let mut topics: Vec<TopicRef> = request.topic_names.iter().map(|name| TopicRef::Name(name.to_string())).collect();
    let mut results = Vec::new();
    for topic in &request.topics {
        let text = match (&topic.name, topic.topic_id.is_nil()) {
            (Some(name), true) => {
                topics.push(TopicRef::Name(name.to_string()));
                continue;
            }
            (None, false) => {
                topics.push(TopicRef::Id(TopicId(topic.topic_id)));
                continue;
            }
            (Some(_), false) => "You may not specify both topic name and topic id.",
            (None, true) => "Neither topic name nor id were specified.",
        };
        results.push(
            DeletableTopicResult::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_error_code(ErrorCode::InvalidRequest.code())
                .with_error_message(Some(StrBytes::from_static_str(text))),
        );
    }
    (topics, results)
}

/// Before version 3 the code `TOPIC_DELETION_DISABLED` was not known to clients.
fn before_disabled(version: i16, error: ItemError) -> ItemError {
    if version < 3 && error.code == ErrorCode::TopicDeletionDisabled {
        return ItemError::new(ErrorCode::InvalidRequest, error.message);
    }
    error
}

fn result_of(topic: TopicRef, outcome: Outcome<DeletedTopic>) -> DeletableTopicResult {
    let name = |name: String| Some(TopicName(StrBytes::from_string(name)));
    match outcome {
        Ok(deleted) => DeletableTopicResult::default().with_name(name(deleted.name)).with_topic_id(deleted.id.0),
        Err(ItemError { code, message }) => {
            let result = match topic {
                TopicRef::Name(asked) => DeletableTopicResult::default().with_name(name(asked)),
                TopicRef::Id(id) => DeletableTopicResult::default().with_name(None).with_topic_id(id.0),
            };
            result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}

#[cfg(test)]
mod tests;
