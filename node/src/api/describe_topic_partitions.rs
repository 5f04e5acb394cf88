//! `DescribeTopicPartitions` (key 75): topics with their partitions, page by page (KIP-966).

mod page;

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::{ApiKey, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_types::ErrorCode;

use self::page::Page;
use super::{Api, Context, Step, authorized};
use crate::wire::{self, WireError};

/// The API `DescribeTopicPartitions`.
pub(super) const API: Api = Api { key: ApiKey::DescribeTopicPartitions, min: 0, advertised_min: 0, max: 0, handle };

/// The place at which the answer begins.
struct Start {
    topic: String,
    partition: i32,
}

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DescribeTopicPartitionsRequest = wire::decode(body, cx.version)?;
    let start = match &request.cursor {
        None => Start { topic: String::new(), partition: 0 },
        Some(cursor) => Start { topic: cursor.topic_name.to_string(), partition: cursor.partition_index },
    };
    // The topic a cursor points to must be among those that are asked for, if any are.
    let among = request.topics.is_empty() || request.topics.iter().any(|topic| topic.name.as_str() == start.topic);
    if request.cursor.is_some() && (!among || start.partition < 0) {
        return cx.reply(&refused(request));
    }
    let image = cx.directory.image();
    let wanted = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = wanted.min(cx.settings.max_request_partition_size_limit).max(1);
    let mut page = Page::new(cx, &image, limit);
    if request.topics.is_empty() {
        let from = image.topics().filter(|topic| *topic.name >= *start.topic);
        for topic in from {
            if !page.add(&topic.name, start.first_of(&topic.name)) {
                break;
            }
        }
    } else {
        let names: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
        for name in names.range(start.topic.as_str()..) {
            if !page.add(name, start.first_of(name)) {
                break;
            }
        }
    }
    cx.reply(&page.finish())
}

impl Start {
    /// The first partition of `topic` to answer.
    fn first_of(&self, topic: &str) -> i32 {
        if topic == self.topic { self.partition } else { 0 }
    }
}

/// The answer to a cursor that cannot be: the API has no error of its own, so every topic gets it.
fn refused(request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let names: BTreeSet<TopicName> = request.topics.into_iter().map(|topic| topic.name).collect();
    let topics = names.into_iter().map(|name| failed(name, ErrorCode::InvalidRequest)).collect();
    DescribeTopicPartitionsResponse::default().with_topics(topics)
}

fn failed(name: TopicName, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(name))
        .with_error_code(error.code())
        .with_topic_authorized_operations(authorized::UNKNOWN)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests;
