//! `CreateTopics`.

use super::*;
use crate::name::CONSUMER_OFFSETS;

#[test]
fn minus_one_takes_the_brokers_defaults() {
    let mut cluster = Cluster::new(3, &[("num.partitions", "5"), ("default.replication.factor", "2")]);
    let created = cluster.create_one(topic("a", -1, -1)).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (5, 2));
    let found = cluster.image.topic("a").unwrap();
    assert_eq!(found.id, created.id);
    assert_eq!(found.partition_count(), 5);
    assert_eq!(cluster.image.topic_by_id(created.id).unwrap().name.as_ref(), "a");
}

#[test]
fn names_are_checked() {
    let mut cluster = Cluster::new(1, &[]);
    let name = |cluster: &mut Cluster, name: &str| cluster.create_one(topic(name, 1, 1)).map(drop);
    assert_eq!(name(&mut cluster, "a.b"), Ok(()));
    assert_eq!(
        refused(name(&mut cluster, "a.b")),
        (ErrorCode::TopicAlreadyExists, "Topic 'a.b' already exists.".to_owned())
    );
    assert_eq!(
        refused(name(&mut cluster, "a_b")),
        (ErrorCode::InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b".to_owned())
    );
    assert_eq!(name(&mut cluster, "a-b"), Ok(()));
    for bad in ["", ".", "..", "a b", &"x".repeat(250)] {
        assert_eq!(refused(name(&mut cluster, bad)).0, ErrorCode::InvalidTopicException, "{bad}");
    }
}

#[test]
fn the_log_of_kafkas_controllers_is_no_topic_to_create() {
    let mut cluster = Cluster::new(1, &[]);
    let result = cluster.create_one(topic("__cluster_metadata", 1, 1)).map(drop);
    let text = "Creation of internal topic __cluster_metadata is prohibited.".to_owned();
    assert_eq!(refused(result), (ErrorCode::InvalidRequest, text));
    assert!(cluster.image.topic("__cluster_metadata").is_none());
}

#[test]
fn a_deleted_name_collides_no_more() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.create_one(topic("a.b", 1, 1)).unwrap();
    let topics = vec![crate::TopicRef::Name("a.b".to_owned())];
    cluster.run(Command::DeleteTopics(crate::DeleteTopics { topics }));
    cluster.create_one(topic("a_b", 1, 1)).unwrap();
}

#[test]
fn names_collide_within_one_request() {
    let mut cluster = Cluster::new(1, &[]);
    let results = cluster.create(vec![topic("x.y", 1, 1), topic("x_y", 1, 1), topic("z", 1, 1)]);
    assert!(results[0].1.is_ok());
    assert_eq!(refused(results[1].1.clone()).0, ErrorCode::InvalidTopicException);
    assert!(results[2].1.is_ok());
}

#[test]
fn a_name_given_twice_is_refused_once() {
    let mut cluster = Cluster::new(1, &[]);
    let results = cluster.create(vec![topic("a", 1, 1), topic("b", 1, 1), topic("a", 2, 1)]);
    assert_eq!(results.len(), 2);
    assert_eq!(results[0].0, "a");
    assert_eq!(refused(results[0].1.clone()), (ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()));
    assert!(results[1].1.is_ok());
    assert!(cluster.image.topic("a").is_none());
}

#[test]
fn numbers_are_checked() {
    let mut cluster = Cluster::new(2, &[]);
    let code =
        |cluster: &mut Cluster, partitions, factor| refused(cluster.create_one(topic("t", partitions, factor))).0;
    assert_eq!(code(&mut cluster, 0, 1), ErrorCode::InvalidPartitions);
    assert_eq!(code(&mut cluster, -2, 1), ErrorCode::InvalidPartitions);
    assert_eq!(code(&mut cluster, 1, 0), ErrorCode::InvalidReplicationFactor);
    assert_eq!(code(&mut cluster, 1, -3), ErrorCode::InvalidReplicationFactor);
    assert_eq!(code(&mut cluster, i32::MAX, 1), ErrorCode::PolicyViolation);
    assert_eq!(
        refused(cluster.create_one(topic("t", 1, 3))),
        (
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
             because only 2 broker(s) are registered."
                .to_owned()
        )
    );
    // A third that holds no data is registered, too.
    let mut witness = crate::image::tests::broker(3);
    witness.role = crate::broker::BrokerRole::Witness;
    cluster.run(Command::RegisterBroker(witness));
    let said = refused(cluster.create_one(topic("t", 1, 3))).1;
    assert!(said.ends_with("because only 2 broker(s) that hold data are registered."), "{said}");
}

#[test]
fn the_limit_of_partitions_is_the_requests() {
    let mut cluster = Cluster::new(1, &[]);
    let results = cluster.create(vec![topic("a", 9_999, 1), topic("b", 2, 1), topic("c", 1, 1)]);
    assert!(results[0].1.is_ok());
    assert_eq!(
        refused(results[1].1.clone()),
        (ErrorCode::PolicyViolation, "Excessively large number of partitions per request.".to_owned())
    );
    assert!(results[2].1.is_ok());
    assert_eq!(cluster.image.epoch(), 2, "one entry for the whole command");
}

#[test]
fn the_client_chooses_the_replicas() {
    let mut cluster = Cluster::new(3, &[]);
    let manual = |assignments: &[(i32, &[i32])], partitions, factor| NewTopic {
        assignments: assignments.iter().map(|(number, replicas)| (*number, ids(replicas))).collect(),
        ..topic("m", partitions, factor)
    };
    let mut code = |topic: NewTopic| refused(cluster.create_one(topic)).0;
    let invalid = ErrorCode::InvalidReplicaAssignment;
    assert_eq!(code(manual(&[(0, &[1])], 1, -1)), ErrorCode::InvalidRequest);
    assert_eq!(code(manual(&[(0, &[1])], -1, 1)), ErrorCode::InvalidRequest);
    assert_eq!(code(manual(&[(0, &[])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(0, &[1, 1])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(0, &[1, 4])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(0, &[1]), (0, &[2])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(0, &[1]), (2, &[2])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(1, &[1])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(-1, &[1]), (0, &[1])], -1, -1)), invalid);
    assert_eq!(code(manual(&[(0, &[1]), (1, &[2, 3])], -1, -1)), invalid);
    let created = cluster.create_one(manual(&[(1, &[3, 1]), (0, &[2, 3])], -1, -1)).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (2, 2));
    let found = cluster.image.topic("m").unwrap();
    assert_eq!(found.partitions[0].replicas, ids(&[2, 3]));
    assert_eq!(found.partitions[1].replicas, ids(&[3, 1]));
}

#[test]
fn validate_only_changes_nothing() {
    let mut cluster = Cluster::new(1, &[]);
    let command = Command::CreateTopics(CreateTopics { topics: vec![topic("a", 3, 1)], validate_only: true });
    let CommandResult::CreatedTopics(results) = cluster.run(command) else { panic!("wrong kind") };
    let created = results[0].1.clone().unwrap();
    assert_eq!(created.partitions, 3);
    assert!(created.id.0.is_nil());
    assert!(cluster.image.topic("a").is_none());
    assert_eq!(cluster.image.epoch(), 1);
}

#[test]
fn configuration_is_checked() {
    let mut cluster = Cluster::new(1, &[]);
    let with = |name: &str, key: &str, value: Option<&str>| NewTopic {
        configs: vec![(key.to_owned(), value.map(str::to_owned))],
        ..topic(name, 1, 1)
    };
    let created = cluster.create_one(with("a", "retention.ms", Some(" 77 "))).unwrap();
    assert_eq!(created.overrides.get("retention.ms").map(String::as_str), Some("77"));
    assert_eq!(cluster.image.topic("a").unwrap().settings.retention_ms, 77);
    let mut error = |topic: NewTopic| refused(cluster.create_one(topic));
    assert_eq!(
        error(with("b", "min.cleanable.dirty.ratio", Some("0.5"))),
        (ErrorCode::InvalidConfig, "Unknown topic config name: min.cleanable.dirty.ratio".to_owned())
    );
    assert_eq!(
        error(with("b", "retention.ms", None)),
        (ErrorCode::InvalidConfig, "Null value not supported for topic configs: retention.ms".to_owned())
    );
    assert_eq!(error(with("b", "segment.bytes", Some("1"))).0, ErrorCode::InvalidConfig);
    let (code, text) = error(with("b", "cleanup.policy", Some("compact")));
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert!(text.contains("compaction is supported for the cluster's internal topics only"), "{text}");
    assert_eq!(error(with("b", "cleanup.policy", Some("compact,delete"))).0, ErrorCode::InvalidConfig);
    assert_eq!(error(with("b", "cleanup.policy", Some(""))).0, ErrorCode::InvalidConfig);
}

#[test]
fn an_internal_topic_made_by_a_client_is_still_internal() {
    let mut cluster = Cluster::new(1, &[]);
    let created = cluster.create_one(topic(CONSUMER_OFFSETS, 3, 1)).unwrap();
    assert_eq!(created.overrides.get("cleanup.policy").map(String::as_str), Some("compact"));
    let found = cluster.image.topic(CONSUMER_OFFSETS).unwrap();
    assert!(found.internal && found.settings.compact && !found.settings.delete);
}
