//! `Metadata` (key 3): the brokers, and the topics with their partitions and leaders.

mod auto_create;
mod response;

use bytes::Bytes;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use millrace_types::TopicId;

use self::auto_create::Creating;
use self::response::{Item, Options};
use super::groups::distinct;
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `Metadata`.
pub(super) const API: Api = Api { key: ApiKey::Metadata, min: 0, advertised_min: 0, max: 12, handle };

/// From this version on a topic can be asked for by its identity (KIP-516).
const BY_ID: i16 = 12;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: MetadataRequest = wire::decode(body, cx.version)?;
    let options = Options {
        topic_operations: request.include_topic_authorized_operations,
        cluster_operations: request.include_cluster_authorized_operations,
    };
    // In version 0 no topic means every topic; later null does, and no topic means none.
    let topics = request.topics.filter(|topics| cx.version > 0 || !topics.is_empty());
    let Some(topics) = topics else {
        return cx.reply(&response::all(cx, options));
    };
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_nil());
    let early = cx.version < BY_ID;
    let nameless = |topic: &MetadataRequestTopic| topic.name.is_none() && (early || topic.topic_id.is_nil());
    if (early && by_id) || topics.iter().any(nameless) {
        // As in Kafka the whole request is refused, since it is not known which topics it means.
        let refused = topics.into_iter().map(|topic| refuse(cx.version, topic)).collect();
        return cx.reply(&response::of(cx, refused, options));
    }
    if by_id {
        let items = distinct(topics.iter().map(|topic| topic.topic_id));
        let items = items.into_iter().map(|id| Item::Id(TopicId(id))).collect();
        return cx.reply(&response::of(cx, items, options));
    }
    let names = distinct(topics.into_iter().filter_map(|topic| topic.name.map(|name| name.0)));
    let may_create = cx.settings.auto_create_topics && request.allow_auto_topic_creation;
    match Creating::begin(cx, &names, may_create, options) {
        Some(creating) => Ok(Step::Wait(Box::new(creating))),
        None => cx.reply(&response::of(cx, names.into_iter().map(Item::Name).collect(), options)),
    }
}

/// The answer for a topic of a request that the version does not allow, or that names a topic in no way.
fn refuse(version: i16, topic: MetadataRequestTopic) -> Item {
    // Before version 12 the answer has no null.
    let unnamed = (version < BY_ID).then(StrBytes::default);
    let name = topic.name.map(|name| name.0).or(unnamed);
    Item::Refused { name, id: TopicId(topic.topic_id) }
}

#[cfg(test)]
mod tests;
