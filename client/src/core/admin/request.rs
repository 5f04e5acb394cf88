//! The requests of the administrative client.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::{RequestKind, TopicName};

use crate::admin::{ConfigChange, NewTopic, Resource};
use crate::model::{OffsetAndMetadata, TopicPartition};
use crate::wire::text;

/// Kafka's numbers of configuration resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// What the application asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AdminRequest<'a> {
    CreateTopics(&'a [NewTopic], bool),
    DeleteTopics(&'a [&'a str]),
    /// All topics when there are none.
    Metadata(Option<&'a [&'a str]>),
    CreatePartitions(&'a [(&'a str, i32)], bool),
    DescribeConfigs(&'a [Resource]),
    AlterConfigs(&'a [(Resource, Vec<ConfigChange>)], bool),
    ListGroups,
    DescribeGroup(&'a str),
    DeleteGroup(&'a str),
    GroupOffsets(&'a str),
    AlterGroupOffsets(&'a str, &'a BTreeMap<TopicPartition, OffsetAndMetadata>),
    DeleteGroupOffsets(&'a str, &'a [TopicPartition]),
}

/// The request on the wire; a broker may take `timeout` for it.
pub(crate) fn build(request: AdminRequest<'_>, timeout: Duration) -> RequestKind {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    match request {
        AdminRequest::CreateTopics(topics, validate_only) => RequestKind::CreateTopics(
            m::CreateTopicsRequest::default()
                .with_topics(topics.iter().map(creatable).collect())
                .with_timeout_ms(timeout_ms)
                .with_validate_only(validate_only),
        ),
        AdminRequest::DeleteTopics(topics) => {
            let state =
                |topic: &&str| m::delete_topics_request::DeleteTopicState::default().with_name(Some(name(topic)));
            let request = m::DeleteTopicsRequest::default().with_timeout_ms(timeout_ms);
            RequestKind::DeleteTopics(request.with_topics(topics.iter().map(state).collect()))
        }
        AdminRequest::Metadata(topics) => {
            let topic =
                |topic: &&str| m::metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)));
            let topics = topics.map(|topics| topics.iter().map(topic).collect());
            let request = m::MetadataRequest::default().with_topics(topics);
            RequestKind::Metadata(request.with_allow_auto_topic_creation(false))
        }
        AdminRequest::CreatePartitions(topics, validate_only) => {
            let row = |(topic, count): &(&str, i32)| {
                m::create_partitions_request::CreatePartitionsTopic::default()
                    .with_name(name(topic))
                    .with_count(*count)
                    .with_assignments(None)
            };
            RequestKind::CreatePartitions(
                m::CreatePartitionsRequest::default()
                    .with_topics(topics.iter().map(row).collect())
                    .with_timeout_ms(timeout_ms)
                    .with_validate_only(validate_only),
            )
        }
        AdminRequest::DescribeConfigs(resources) => {
            let row = |resource: &Resource| {
                let (kind, name) = resource_key(resource);
                m::describe_configs_request::DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(&name))
                    .with_configuration_keys(None)
            };
            let request = m::DescribeConfigsRequest::default();
            RequestKind::DescribeConfigs(request.with_resources(resources.iter().map(row).collect()))
        }
        AdminRequest::AlterConfigs(changes, validate_only) => {
            let request = m::IncrementalAlterConfigsRequest::default().with_validate_only(validate_only);
            RequestKind::IncrementalAlterConfigs(request.with_resources(changes.iter().map(altered).collect()))
        }
        group => build_group(group),
    }
}

/// The requests about groups.
fn build_group(request: AdminRequest<'_>) -> RequestKind {
    match request {
        AdminRequest::DescribeGroup(group) => {
            RequestKind::DescribeGroups(m::DescribeGroupsRequest::default().with_groups(vec![text(group).into()]))
        }
        AdminRequest::DeleteGroup(group) => {
            RequestKind::DeleteGroups(m::DeleteGroupsRequest::default().with_groups_names(vec![text(group).into()]))
        }
        AdminRequest::GroupOffsets(group) => RequestKind::OffsetFetch(offset_fetch(group, None)),
        AdminRequest::AlterGroupOffsets(group, offsets) => {
            let request = m::OffsetCommitRequest::default().with_group_id(text(group).into());
            RequestKind::OffsetCommit(request.with_topics(commit_topics(offsets)))
        }
        AdminRequest::DeleteGroupOffsets(group, partitions) => {
            use m::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
            let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
            for partition in partitions {
                let row = OffsetDeleteRequestPartition::default().with_partition_index(partition.partition);
                topics.entry(&partition.topic).or_default().push(row);
            }
            let topics = topics
                .into_iter()
                .map(|(topic, rows)| OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(rows));
            let request = m::OffsetDeleteRequest::default().with_group_id(text(group).into());
            RequestKind::OffsetDelete(request.with_topics(topics.collect()))
        }
        _ => RequestKind::ListGroups(m::ListGroupsRequest::default()),
    }
}

/// A request for the committed offsets of `partitions`, or of all.
pub(crate) fn offset_fetch(group: &str, partitions: Option<&[TopicPartition]>) -> m::OffsetFetchRequest {
    use m::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topics = partitions.map(|partitions| {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().push(partition.partition);
        }
        let row = |(topic, numbers): (&str, Vec<i32>)| {
            OffsetFetchRequestTopics::default().with_name(name(topic)).with_partition_indexes(numbers)
        };
        topics.into_iter().map(row).collect()
    });
    let group = OffsetFetchRequestGroup::default().with_group_id(text(group).into()).with_topics(topics);
    m::OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true)
}

/// The topics of an OffsetCommit.
pub(crate) fn commit_topics(
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Vec<m::offset_commit_request::OffsetCommitRequestTopic> {
    use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, committed) in offsets {
        let row = OffsetCommitRequestPartition::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_committed_metadata(Some(text(&committed.metadata)));
        topics.entry(&partition.topic).or_default().push(row);
    }
    let row = |(topic, rows)| OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(rows);
    topics.into_iter().map(row).collect()
}

fn creatable(topic: &NewTopic) -> m::create_topics_request::CreatableTopic {
    use m::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let config = |(key, value): (&String, &String)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let replicas = |(partition, brokers): (usize, &Vec<i32>)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX))
            .with_broker_ids(brokers.iter().map(|broker| (*broker).into()).collect())
    };
    // Kafka refuses numbers beside an assignment.
    let manual = !topic.assignment.is_empty();
    CreatableTopic::default()
        .with_name(name(&topic.name))
        .with_num_partitions(if manual { -1 } else { topic.partitions })
        .with_replication_factor(if manual { -1 } else { topic.replication_factor })
        .with_assignments(topic.assignment.iter().enumerate().map(replicas).collect())
        .with_configs(topic.configs.iter().map(config).collect())
}

fn altered(
    (resource, changes): &(Resource, Vec<ConfigChange>),
) -> m::incremental_alter_configs_request::AlterConfigsResource {
    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let row = |change: &ConfigChange| {
        let (operation, key, value) = match change {
            ConfigChange::Set(key, value) => (0, key, Some(value)),
            ConfigChange::Delete(key) => (1, key, None),
            ConfigChange::Append(key, value) => (2, key, Some(value)),
            ConfigChange::Subtract(key, value) => (3, key, Some(value)),
        };
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(operation)
            .with_value(value.map(|value| text(value)))
    };
    let (kind, name) = resource_key(resource);
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(&name))
        .with_configs(changes.iter().map(row).collect())
}

/// Kafka's type and name of a resource.
pub(super) fn resource_key(resource: &Resource) -> (i8, String) {
    match resource {
        Resource::Topic(topic) => (TOPIC, topic.clone()),
        Resource::Broker(broker) => (BROKER, broker.map(|id| id.to_string()).unwrap_or_default()),
        Resource::Group(group) => (GROUP, group.clone()),
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}
