//! The Metadata response: brokers, topics, partitions.

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Assignment, Image, Topic, check_topic_name, is_internal};
use millrace_types::{ErrorCode, TopicId, TopicPartition};

use crate::api::{Context, authorized, lookup};
use crate::directory::Leader;

/// From this version on a listener that the leader does not have has a code of its own.
const LISTENER_NOT_FOUND: i16 = 6;
/// From this version on replicas are named whose broker is not heard (KIP-112).
const OFFLINE_FROM: i16 = 5;

/// What the client wants to know beside the topics (KIP-430).
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) topic_operations: bool,
    pub(super) cluster_operations: bool,
}

/// One topic of the answer.
#[derive(Debug)]
pub(super) enum Item {
    /// The topic of this name, or the error that there is none.
    Name(StrBytes),
    /// The topic of this identity, or the error that there is none.
    Id(TopicId),
    /// An error that is known already.
    Error { name: StrBytes, error: ErrorCode },
    /// A topic of a request that cannot be understood.
    Refused { name: Option<StrBytes>, id: TopicId },
}

/// The answer with every topic.
pub(super) fn all(cx: &Context<'_>, options: Options) -> MetadataResponse {
    let image = cx.directory.image();
    let topics = image.topics().map(|topic| found(cx, &image, topic, options)).collect();
    response(cx, &image, topics, options)
}

/// The answer with these topics.
pub(super) fn of(cx: &Context<'_>, items: Vec<Item>, options: Options) -> MetadataResponse {
    let image = cx.directory.image();
    let topic = |item: Item| match item {
        Item::Name(name) => match image.topic(&name) {
            Some(topic) => found(cx, &image, topic, options),
            None => {
                let valid = check_topic_name(&name).is_ok();
                let error = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
                missing(Some(name), error)
            }
        },
        Item::Id(id) => match image.topic_by_id(id) {
            Some(topic) => found(cx, &image, topic, options),
            None => missing(None, ErrorCode::UnknownTopicId).with_topic_id(id.0),
        },
        Item::Error { name, error } => missing(Some(name), error),
        Item::Refused { name, id } => missing(name, ErrorCode::InvalidRequest).with_topic_id(id.0),
    };
    let topics = items.into_iter().map(topic).collect();
    response(cx, &image, topics, options)
}

fn response(cx: &Context<'_>, image: &Image, topics: Vec<MetadataResponseTopic>, options: Options) -> MetadataResponse {
    let listener = &cx.session.origin.listener;
    let broker = |broker: &millrace_metadata::Broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.id.0))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.clone().map(StrBytes::from_string)),
        )
    };
    let operations = if options.cluster_operations { authorized::CLUSTER } else { authorized::UNKNOWN };
    // There is no controller; clients send admin requests to whom this field names, and any broker answers them.
    MetadataResponse::default()
        .with_brokers(image.brokers().values().filter_map(broker).collect())
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id().to_owned())))
        .with_controller_id(BrokerId(cx.settings.broker_id.0))
        .with_topics(topics)
        .with_cluster_authorized_operations(operations)
}

fn missing(name: Option<StrBytes>, error: ErrorCode) -> MetadataResponseTopic {
    let internal = name.as_deref().is_some_and(is_internal);
    MetadataResponseTopic::default()
        .with_name(name.map(TopicName))
        .with_is_internal(internal)
        .with_error_code(error.code())
}

fn found(cx: &Context<'_>, image: &Image, topic: &Topic, options: Options) -> MetadataResponseTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .map(|(number, assignment)| partition(cx, image, TopicPartition::new(topic.id, number), assignment))
        .collect();
    let operations = if options.topic_operations { authorized::TOPIC } else { authorized::UNKNOWN };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        .with_partitions(partitions)
        .with_topic_authorized_operations(operations)
}

fn partition(
    cx: &Context<'_>,
    image: &Image,
    at: TopicPartition,
    assignment: &Assignment,
) -> MetadataResponsePartition {
    let ids = |brokers: &[millrace_types::BrokerId]| brokers.iter().map(|id| BrokerId(id.0)).collect::<Vec<_>>();
    let leader = cx.directory.leader(&at);
    let replicas = assignment.present_replicas();
    let in_sync = lookup::in_sync(cx.directory, &at, leader.as_ref(), &replicas);
    let mut partition = MetadataResponsePartition::default()
        .with_partition_index(at.partition)
        .with_replica_nodes(ids(&replicas))
        .with_isr_nodes(ids(&in_sync));
    if cx.version >= OFFLINE_FROM {
        let offline: Vec<_> = replicas.iter().copied().filter(|id| !cx.directory.is_heard(*id)).collect();
        partition = partition.with_offline_replicas(ids(&offline));
    }
    let leaderless = |error: ErrorCode| {
        partition.clone().with_error_code(error.code()).with_leader_id(BrokerId(-1)).with_leader_epoch(-1)
    };
    let Some(Leader { broker: leader, epoch, .. }) = leader else {
        return leaderless(ErrorCode::LeaderNotAvailable);
    };
    let reachable = image.broker(leader).is_some_and(|broker| broker.endpoint(&cx.session.origin.listener).is_some());
    if !reachable {
        let own = cx.version >= LISTENER_NOT_FOUND;
        return leaderless(if own { ErrorCode::ListenerNotFound } else { ErrorCode::LeaderNotAvailable });
    }
    partition.with_leader_id(BrokerId(leader.0)).with_leader_epoch(epoch)
}
