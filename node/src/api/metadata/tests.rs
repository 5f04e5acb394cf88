//! Metadata over the wire, at every version.

use kafka_protocol::messages::MetadataResponse;
use millrace_metadata::CONSUMER_OFFSETS;
use millrace_types::ErrorCode;
use uuid::Uuid;

use super::*;
use crate::api::authorized;
use crate::api::metadata_call::testing::{Admin, Store, topic};

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic(name)))
}

fn identified(id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(None).with_topic_id(id)
}

fn request(names: &[&str]) -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(names.iter().map(|name| named(name)).collect()))
}

/// Names and error codes of the topics.
fn shown(response: &MetadataResponse) -> Vec<(Option<&str>, i16)> {
    response.topics.iter().map(|topic| (topic.name.as_ref().map(|name| name.0.as_str()), topic.error_code)).collect()
}

#[test]
fn every_version_tells_what_it_has() {
    let mut admin = Admin::new(&[]);
    let id = admin.world.topic("a", 2, &[]);
    for version in API.min..=API.max {
        let mut wanted = request(&["a"]);
        if version >= 8 {
            wanted = wanted.with_include_topic_authorized_operations(true);
        }
        let response = admin.request(version, &wanted);
        let broker = &response.brokers[0];
        assert_eq!((broker.node_id.0, broker.host.as_str(), broker.port), (1, "broker.test", 9092));
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 2));
        for partition in &topic.partitions {
            assert_eq!((partition.error_code, partition.leader_id.0), (0, 1));
            assert_eq!(partition.replica_nodes.iter().map(|id| id.0).collect::<Vec<_>>(), [1]);
            assert_eq!(partition.isr_nodes, partition.replica_nodes);
            assert!(version < 7 || partition.leader_epoch >= 1, "{partition:?}");
        }
        assert!(version < 1 || response.controller_id.0 == 1, "the broker names itself");
        assert!(version < 10 || topic.topic_id == id.0);
        let operations = if version >= 8 { authorized::TOPIC } else { i32::MIN };
        assert_eq!(topic.topic_authorized_operations, operations);
    }
    assert_eq!(authorized::TOPIC, 3576, "the figure Kafka answers without ACLs");
}

#[test]
fn no_topics_and_all_topics() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("b", 1, &[]);
    admin.world.topic("a", 1, &[]);
    let all = [(Some("a"), 0), (Some("b"), 0)];
    let none = MetadataRequest::default().with_topics(Some(Vec::new()));
    assert_eq!(shown(&admin.request(0, &none)), all, "an empty list means every topic in version 0");
    for version in 1..=API.max {
        assert!(admin.request(version, &none).topics.is_empty());
        assert_eq!(shown(&admin.request(version, &MetadataRequest::default().with_topics(None))), all);
    }
}

#[test]
fn cluster_operations_are_told_when_asked_for() {
    let mut admin = Admin::new(&[]);
    for version in 8..=10 {
        let asked = request(&[]).with_include_cluster_authorized_operations(true);
        assert_eq!(admin.request(version, &asked).cluster_authorized_operations, authorized::CLUSTER);
        assert_eq!(admin.request(version, &request(&[])).cluster_authorized_operations, i32::MIN);
    }
}

#[test]
fn a_topic_is_found_by_its_identity() {
    let mut admin = Admin::new(&[]);
    let id = admin.world.topic("a", 1, &[]).0;
    let stranger = Uuid::from_u128(5);
    let by_id =
        MetadataRequest::default().with_topics(Some(vec![identified(stranger), identified(id), identified(id)]));
    let response = admin.request(12, &by_id);
    assert_eq!(shown(&response), [(None, ErrorCode::UnknownTopicId.code()), (Some("a"), 0)]);
    assert_eq!(response.topics[0].topic_id, stranger);
    assert_eq!(admin.commands, 0, "an identity creates nothing");
    for version in 10..=11 {
        let one = MetadataRequest::default().with_topics(Some(vec![named("a").with_topic_id(id)]));
        let response = admin.request(version, &one);
        assert_eq!(shown(&response), [(Some("a"), ErrorCode::InvalidRequest.code())], "not before version 12");
    }
}

#[test]
fn a_topic_without_name_and_identity_is_refused_with_all_others() {
    let mut admin = Admin::new(&[]);
    let id = admin.world.topic("a", 1, &[]).0;
    let invalid = ErrorCode::InvalidRequest.code();
    let nameless = || identified(Uuid::nil());
    for version in 10..=11 {
        let response =
            admin.request(version, &MetadataRequest::default().with_topics(Some(vec![nameless(), named("a")])));
        assert_eq!(shown(&response), [(Some(""), invalid), (Some("a"), invalid)], "version {version}");
    }
    let response = admin.request(12, &MetadataRequest::default().with_topics(Some(vec![nameless(), named("n")])));
    assert_eq!(shown(&response), [(None, invalid), (Some("n"), invalid)]);
    let response = admin.request(12, &MetadataRequest::default().with_topics(Some(vec![nameless(), identified(id)])));
    assert_eq!(shown(&response), [(None, invalid), (None, invalid)]);
    assert_eq!(response.topics[1].topic_id, id);
    assert_eq!(admin.commands, 0, "nothing is created by a request that is refused");
}

#[test]
fn the_log_of_kafkas_controllers_is_not_created_by_asking_for_it() {
    let mut admin = Admin::new(&[]);
    let response = admin.request(12, &request(&["__cluster_metadata"]));
    assert_eq!(shown(&response), [(Some("__cluster_metadata"), ErrorCode::UnknownTopicOrPartition.code())]);
    assert_eq!(admin.commands, 0);
}

#[test]
fn an_unknown_topic_is_created_if_it_may() {
    let mut admin = Admin::new(&[("num.partitions", "3")]);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let forbidden = request(&["n"]).with_allow_auto_topic_creation(false);
    assert_eq!(shown(&admin.request(4, &forbidden)), [(Some("n"), unknown)]);
    assert!(admin.image().topic("n").is_none());
    let response = admin.request(4, &request(&["n", "bad name", "n"]));
    assert_eq!(shown(&response), [(Some("n"), 0), (Some("bad name"), ErrorCode::InvalidTopicException.code())]);
    assert_eq!(response.topics[0].partitions.len(), 3);
    let no_leader = ErrorCode::LeaderNotAvailable.code();
    assert!(response.topics[0].partitions.iter().all(|one| one.error_code == no_leader && one.leader_id.0 == -1));
    assert_eq!(admin.commands, 1);
    admin.request(4, &request(&["n"]));
    assert_eq!(admin.commands, 1, "what exists is not asked for again");
    let old = admin.request(0, &request(&["old"]));
    assert_eq!(shown(&old), [(Some("old"), 0)], "old versions cannot forbid it");
    let mut closed = Admin::new(&[("auto.create.topics.enable", "false")]);
    assert_eq!(shown(&closed.request(12, &request(&["n"]))), [(Some("n"), unknown)]);
}

#[test]
fn creation_that_fails_says_so() {
    let mut admin = Admin::new(&[("default.replication.factor", "3")]);
    assert_eq!(shown(&admin.request(12, &request(&["n"]))), [(Some("n"), ErrorCode::InvalidReplicationFactor.code())]);
    let mut admin = Admin::new(&[]);
    admin.world.topic("there.is", 1, &[]);
    assert_eq!(
        shown(&admin.request(12, &request(&["there_is"]))),
        [(Some("there_is"), ErrorCode::InvalidTopicException.code())]
    );
    let later = ErrorCode::LeaderNotAvailable.code();
    for store in [Store::Silent, Store::Gone(ErrorCode::KafkaStorageError)] {
        admin.store = store;
        let response = admin.request(12, &request(&["n", "there.is", CONSUMER_OFFSETS]));
        let expected = [(Some("n"), later), (Some("there.is"), 0), (Some(CONSUMER_OFFSETS), later)];
        assert_eq!(shown(&response), expected, "{store:?}");
    }
}

#[test]
fn an_internal_topic_is_created_as_one() {
    let mut admin = Admin::new(&[("offsets.topic.num.partitions", "4")]);
    let response = admin.request(12, &request(&[CONSUMER_OFFSETS, "n"]));
    assert_eq!(shown(&response), [(Some(CONSUMER_OFFSETS), 0), (Some("n"), 0)]);
    assert!(response.topics[0].is_internal && !response.topics[1].is_internal);
    assert_eq!(response.topics[0].partitions.len(), 4);
    assert!(admin.image().topic(CONSUMER_OFFSETS).unwrap().settings.compact);
}

#[test]
fn a_listener_the_leader_lacks_is_an_error() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 1, &[]);
    admin.listener = "OTHER";
    let mut code = |version| {
        let response = admin.request(version, &request(&["a"]));
        assert!(response.brokers.is_empty());
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(code(5), ErrorCode::LeaderNotAvailable.code());
    assert_eq!(code(6), ErrorCode::ListenerNotFound.code());
}
