//! The answers to the administrative client's requests, in the words of the public interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::ResponseKind;
use millrace_types::ErrorCode;

use super::request::resource_key;
use crate::admin::{
    ClusterDescription, ConfigEntry, GroupDescription, GroupListing, MemberDescription, Outcomes, Resource,
    TopicDescription,
};
use crate::core::assignor::protocol;
use crate::error::{ClientError, Result};
use crate::model::{Broker, OffsetAndMetadata, PartitionDescription, TopicPartition};

/// Ok for the code of no error.
fn check(api: &'static str, code: i16, message: Option<&str>) -> Result<()> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(ClientError::broker_with(api, code, message)),
    }
}

fn unexpected<T>(api: &'static str) -> Result<T> {
    Err(ClientError::protocol(api, "an answer to something else"))
}

/// The outcome per topic of CreateTopics, DeleteTopics and CreatePartitions.
pub(crate) fn topics(response: ResponseKind) -> Result<Outcomes<String, ()>> {
    Ok(match response {
        ResponseKind::CreateTopics(response) => {
            let row = |topic: m::create_topics_response::CreatableTopicResult| {
                let result = check("CreateTopics", topic.error_code, topic.error_message.as_deref());
                (topic.name.to_string(), result)
            };
            response.topics.into_iter().map(row).collect()
        }
        ResponseKind::DeleteTopics(response) => {
            let row = |topic: m::delete_topics_response::DeletableTopicResult| {
                let result = check("DeleteTopics", topic.error_code, topic.error_message.as_deref());
                (topic.name.map(|name| name.to_string()).unwrap_or_default(), result)
            };
            response.responses.into_iter().map(row).collect()
        }
        ResponseKind::CreatePartitions(response) => {
            let row = |topic: m::create_partitions_response::CreatePartitionsTopicResult| {
                let result = check("CreatePartitions", topic.error_code, topic.error_message.as_deref());
                (topic.name.to_string(), result)
            };
            response.results.into_iter().map(row).collect()
        }
        _ => return unexpected("topics"),
    })
}

/// The cluster and the topics of a Metadata answer, by name.
pub(crate) fn metadata(response: ResponseKind) -> Result<(ClusterDescription, Outcomes<String, TopicDescription>)> {
    let ResponseKind::Metadata(response) = response else { return unexpected("Metadata") };
    let mut brokers: Vec<Broker> = response
        .brokers
        .iter()
        .map(|broker| Broker {
            id: broker.node_id.0,
            host: broker.host.to_string(),
            port: u16::try_from(broker.port).unwrap_or(0),
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
        })
        .collect();
    brokers.sort_by_key(|broker| broker.id);
    let cluster = ClusterDescription {
        cluster_id: response.cluster_id.as_ref().map(|id| id.to_string()),
        controller: response.controller_id.0,
        brokers,
    };
    let mut topics: Outcomes<String, TopicDescription> = response.topics.into_iter().map(topic).collect();
    topics.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((cluster, topics))
}

fn topic(topic: m::metadata_response::MetadataResponseTopic) -> (String, Result<TopicDescription>) {
    let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
    let numbers = |ids: &[m::BrokerId]| ids.iter().map(|id| id.0).collect();
    let mut partitions: Vec<PartitionDescription> = topic
        .partitions
        .iter()
        .map(|partition| PartitionDescription {
            partition: partition.partition_index,
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: numbers(&partition.replica_nodes),
            in_sync: numbers(&partition.isr_nodes),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    let described = TopicDescription {
        name: name.clone(),
        id: (!topic.topic_id.is_nil()).then(|| topic.topic_id.to_string()),
        internal: topic.is_internal,
        partitions,
    };
    (name, check("Metadata", topic.error_code, None).map(|()| described))
}

/// The configuration per resource, in the order of `asked`.
pub(crate) fn configs(asked: &[Resource], response: ResponseKind) -> Result<Outcomes<Resource, Vec<ConfigEntry>>> {
    let ResponseKind::DescribeConfigs(response) = response else { return unexpected("DescribeConfigs") };
    let mut rows: BTreeMap<(i8, String), Result<Vec<ConfigEntry>>> = BTreeMap::new();
    for row in response.results {
        let entry = |config: m::describe_configs_response::DescribeConfigsResourceResult| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            // Sources 1, 2, 3 and 8 are set by somebody for a topic, broker, all brokers or a group.
            is_default: !matches!(config.config_source, 1 | 2 | 3 | 8),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
        };
        let checked = check("DescribeConfigs", row.error_code, row.error_message.as_deref());
        let configs = checked.map(|()| row.configs.into_iter().map(entry).collect());
        rows.insert((row.resource_type, row.resource_name.to_string()), configs);
    }
    Ok(in_order(asked, rows, "DescribeConfigs"))
}

/// The outcome per resource of IncrementalAlterConfigs, in the order of `asked`.
pub(crate) fn altered(asked: &[Resource], response: ResponseKind) -> Result<Outcomes<Resource, ()>> {
    let ResponseKind::IncrementalAlterConfigs(response) = response else { return unexpected("AlterConfigs") };
    let row = |row: m::incremental_alter_configs_response::AlterConfigsResourceResponse| {
        let result = check("IncrementalAlterConfigs", row.error_code, row.error_message.as_deref());
        ((row.resource_type, row.resource_name.to_string()), result)
    };
    Ok(in_order(asked, response.responses.into_iter().map(row).collect(), "IncrementalAlterConfigs"))
}

fn in_order<T>(
    asked: &[Resource],
    mut rows: BTreeMap<(i8, String), Result<T>>,
    api: &'static str,
) -> Outcomes<Resource, T> {
    let row = |resource: &Resource| {
        let missing = || Err(ClientError::protocol(api, "a resource is missing"));
        (resource.clone(), rows.remove(&resource_key(resource)).unwrap_or_else(missing))
    };
    asked.iter().map(row).collect()
}

/// The groups that one broker coordinates.
pub(crate) fn groups(response: ResponseKind) -> Result<Vec<GroupListing>> {
    let ResponseKind::ListGroups(response) = response else { return unexpected("ListGroups") };
    check("ListGroups", response.error_code, None)?;
    let row = |group: m::list_groups_response::ListedGroup| GroupListing {
        group: group.group_id.to_string(),
        protocol_type: group.protocol_type.to_string(),
        state: group.group_state.to_string(),
    };
    Ok(response.groups.into_iter().map(row).collect())
}

/// The description of one group.
pub(crate) fn group(response: ResponseKind, coordinator: i32) -> Result<GroupDescription> {
    let ResponseKind::DescribeGroups(response) = response else { return unexpected("DescribeGroups") };
    let missing = || ClientError::protocol("DescribeGroups", "the group is missing");
    let group = response.groups.into_iter().next().ok_or_else(missing)?;
    check("DescribeGroups", group.error_code, group.error_message.as_deref())?;
    let members = group.members.into_iter().map(|member| MemberDescription {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: assigned(member.member_assignment),
    });
    Ok(GroupDescription {
        group: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        assignor: group.protocol_data.to_string(),
        coordinator,
        members: members.collect(),
    })
}

/// The partitions of a consumer's assignment; other kinds of groups have none that this client can read.
fn assigned(bytes: Bytes) -> Vec<TopicPartition> {
    if bytes.is_empty() { Vec::new() } else { protocol::read_assignment(bytes).unwrap_or_default() }
}

/// Ok when the group was deleted.
pub(crate) fn deleted_group(response: ResponseKind) -> Result<()> {
    let ResponseKind::DeleteGroups(response) = response else { return unexpected("DeleteGroups") };
    response.results.first().map_or(Ok(()), |group| check("DeleteGroups", group.error_code, None))
}

/// The offsets that a group has committed.
pub(crate) fn committed(response: ResponseKind) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    let ResponseKind::OffsetFetch(response) = response else { return unexpected("OffsetFetch") };
    let mut offsets = BTreeMap::new();
    let mut add = |topic: &Arc<str>, partition: i32, code: i16, found: OffsetAndMetadata| -> Result<()> {
        check("OffsetFetch", code, None)?;
        if found.offset >= 0 {
            offsets.insert(TopicPartition::new(Arc::clone(topic), partition), found);
        }
        Ok(())
    };
    let found = |offset, leader_epoch, metadata: Option<kafka_protocol::protocol::StrBytes>| OffsetAndMetadata {
        offset,
        leader_epoch,
        metadata: metadata.map(|text| text.to_string()).unwrap_or_default(),
    };
    if let Some(group) = response.groups.into_iter().next() {
        check("OffsetFetch", group.error_code, None)?;
        for topic in group.topics {
            let name = Arc::from(topic.name.0.as_str());
            for row in topic.partitions {
                let offset = found(row.committed_offset, row.committed_leader_epoch, row.metadata);
                add(&name, row.partition_index, row.error_code, offset)?;
            }
        }
        return Ok(offsets);
    }
    check("OffsetFetch", response.error_code, None)?;
    for topic in response.topics {
        let name = Arc::from(topic.name.0.as_str());
        for row in topic.partitions {
            let offset = found(row.committed_offset, row.committed_leader_epoch, row.metadata);
            add(&name, row.partition_index, row.error_code, offset)?;
        }
    }
    Ok(offsets)
}

/// The outcome per partition of OffsetCommit and OffsetDelete.
pub(crate) fn partitions(response: ResponseKind) -> Result<Outcomes<TopicPartition, ()>> {
    let mut rows = Vec::new();
    match response {
        ResponseKind::OffsetCommit(response) => {
            for topic in response.topics {
                let name: Arc<str> = Arc::from(topic.name.0.as_str());
                for row in topic.partitions {
                    let partition = TopicPartition::new(Arc::clone(&name), row.partition_index);
                    rows.push((partition, check("OffsetCommit", row.error_code, None)));
                }
            }
        }
        ResponseKind::OffsetDelete(response) => {
            check("OffsetDelete", response.error_code, None)?;
            for topic in response.topics {
                let name: Arc<str> = Arc::from(topic.name.0.as_str());
                for row in topic.partitions {
                    let partition = TopicPartition::new(Arc::clone(&name), row.partition_index);
                    rows.push((partition, check("OffsetDelete", row.error_code, None)));
                }
            }
        }
        _ => return unexpected("offsets"),
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(rows)
}
