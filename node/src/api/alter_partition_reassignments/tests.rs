//! AlterPartitionReassignments, and what the other APIs tell of a partition that is being moved.

use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    MetadataRequest,
};
use millrace_types::ErrorCode;

use super::*;
use crate::api::metadata_call::testing::{Admin, Store, topic};

fn numbers(ids: &[kafka_protocol::messages::BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

fn to(partition: i32, replicas: Option<&[i32]>) -> ReassignablePartition {
    let replicas = replicas.map(|ids| ids.iter().map(|id| kafka_protocol::messages::BrokerId(*id)).collect());
    ReassignablePartition::default().with_partition_index(partition).with_replicas(replicas)
}

fn request(name: &str, partitions: Vec<ReassignablePartition>) -> AlterPartitionReassignmentsRequest {
    let topics = vec![ReassignableTopic::default().with_name(topic(name)).with_partitions(partitions)];
    AlterPartitionReassignmentsRequest::default().with_timeout_ms(1_000).with_topics(topics)
}

fn codes(response: &AlterPartitionReassignmentsResponse) -> Vec<(i32, i16)> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|one| (one.partition_index, one.error_code)).collect()
}

fn list(
    admin: &mut Admin,
    topics: Option<Vec<ListPartitionReassignmentsTopics>>,
) -> ListPartitionReassignmentsResponse {
    admin.request(0, &ListPartitionReassignmentsRequest::default().with_topics(topics))
}

fn scene() -> Admin {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 2, &[]);
    (2..=4).for_each(|id| admin.broker(id));
    admin
}

#[test]
fn every_version_answers_per_partition() {
    for version in API.min..=API.max {
        let mut admin = scene();
        let partitions = vec![to(1, Some(&[3, 2])), to(0, Some(&[7])), to(0, None), to(5, Some(&[1]))];
        let response = admin.request(version, &request("a", partitions));
        let code = |code: ErrorCode| code.code();
        assert_eq!(
            codes(&response),
            [
                (1, 0),
                (0, code(ErrorCode::InvalidReplicaAssignment)),
                (0, code(ErrorCode::NoReassignmentInProgress)),
                (5, code(ErrorCode::UnknownTopicOrPartition)),
            ]
        );
        assert_eq!((response.error_code, response.allow_replication_factor_change), (0, true));
        assert!(response.responses[0].partitions[0].error_message.is_none());
        let refused = request("a", vec![to(0, Some(&[3, 2]))]).with_allow_replication_factor_change(false);
        if version >= FACTOR_FROM {
            let response = admin.request(version, &refused);
            assert_eq!(codes(&response), [(0, code(ErrorCode::InvalidReplicationFactor))]);
            assert!(!response.allow_replication_factor_change);
        }
    }
}

#[test]
fn a_store_that_does_not_answer_fails_the_request() {
    for store in [Store::Gone(ErrorCode::RequestTimedOut), Store::Silent] {
        let mut admin = scene();
        admin.store = store;
        let response = admin.request(1, &request("a", vec![to(0, Some(&[2]))]));
        assert_eq!(response.error_code, ErrorCode::RequestTimedOut.code());
        assert!(response.error_message.is_some() && response.responses.is_empty());
    }
}

#[test]
fn what_is_under_way_is_told_as_kafka_tells_it() {
    let mut admin = scene();
    assert!(list(&mut admin, None).topics.is_empty());
    admin.request(0, &request("a", vec![to(1, Some(&[4, 3]))]));
    let one = |name: &str, partition_indexes: Vec<i32>| {
        Some(vec![
            ListPartitionReassignmentsTopics::default()
                .with_name(topic(name))
                .with_partition_indexes(partition_indexes),
        ])
    };
    for wanted in [None, one("a", vec![0, 1])] {
        let response = list(&mut admin, wanted);
        let [told] = &response.topics[..] else { panic!("{response:?}") };
        let [moving] = &told.partitions[..] else { panic!("{told:?}") };
        assert_eq!((told.name.as_str(), moving.partition_index), ("a", 1));
        assert_eq!(numbers(&moving.replicas), [4, 3, 1]);
        assert_eq!((numbers(&moving.adding_replicas), numbers(&moving.removing_replicas)), (vec![3, 4], vec![1]));
    }
    for none in [one("a", vec![0]), one("b", vec![1])] {
        assert!(list(&mut admin, none).topics.is_empty());
    }
    let named = vec![MetadataRequestTopic::default().with_name(Some(topic("a")))];
    let metadata = admin.request(12, &MetadataRequest::default().with_topics(Some(named)));
    let replicas: Vec<_> = metadata.topics[0].partitions.iter().map(|one| numbers(&one.replica_nodes)).collect();
    assert_eq!(replicas, [vec![1], vec![4, 3, 1]]);
    let described = DescribeTopicPartitionsRequest::default().with_response_partition_limit(9).with_cursor(None);
    let described = admin.request(0, &described);
    let replicas: Vec<_> = described.topics[0].partitions.iter().map(|one| numbers(&one.replica_nodes)).collect();
    assert_eq!(replicas, [vec![1], vec![4, 3, 1]]);
}
