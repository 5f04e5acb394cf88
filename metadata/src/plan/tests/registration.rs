//! `RegisterBroker` and `EnsureInternalTopic`.

use super::*;
use crate::image::tests::broker;
use crate::name::CONSUMER_OFFSETS;

#[test]
fn a_broker_that_is_known_costs_no_entry() {
    let mut cluster = Cluster::new(1, &[]);
    assert_eq!(cluster.run(Command::RegisterBroker(broker(1))), CommandResult::Registered);
    assert_eq!(cluster.image.epoch(), 1);
    let mut again = broker(1);
    again.incarnation = 2;
    assert_eq!(cluster.run(Command::RegisterBroker(again.clone())), CommandResult::Registered);
    assert_eq!(cluster.image.broker(BrokerId(1)), Some(&again));
    assert_eq!(cluster.image.epoch(), 2);
}

#[test]
fn the_offsets_topic_is_made_once() {
    let config = [("offsets.topic.num.partitions", "7"), ("offsets.topic.segment.bytes", "8192")];
    let mut cluster = Cluster::new(3, &config);
    let ensure = || Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() };
    let first = cluster.run(ensure());
    assert!(matches!(first, CommandResult::InternalTopic { partitions: 7, .. }), "{first:?}");
    assert_eq!(cluster.run(ensure()), first);
    assert_eq!(cluster.image.epoch(), 2);
    let found = cluster.image.topic(CONSUMER_OFFSETS).unwrap();
    assert_eq!(found.replication_factor(), 3);
    assert_eq!(found.settings.segment_bytes, 8192);
    assert!(found.internal && found.settings.compact && !found.settings.delete);
}

#[test]
fn the_offsets_topic_waits_for_as_many_brokers_as_it_has_replicas() {
    let ensure = || Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() };
    let mut two = Cluster::new(2, &[]);
    let CommandResult::Failed(error) = two.run(ensure()) else { panic!("two brokers for three replicas") };
    assert_eq!(error.code, ErrorCode::InvalidReplicationFactor);
    assert!(error.message.contains("only 2 broker(s) are registered"), "{}", error.message);
    assert!(two.image.topic(CONSUMER_OFFSETS).is_none());
    for (brokers, factor, replicas) in [(1, "3", 1), (2, "2", 2), (3, "1", 1)] {
        let mut cluster = Cluster::new(brokers, &[("offsets.topic.replication.factor", factor)]);
        assert!(matches!(cluster.run(ensure()), CommandResult::InternalTopic { .. }));
        let found = cluster.image.topic(CONSUMER_OFFSETS).unwrap();
        assert_eq!(found.replication_factor(), replicas, "{brokers} brokers, {factor} wanted");
    }
}

#[test]
fn no_other_topic_is_internal() {
    let mut cluster = Cluster::new(1, &[]);
    let result = cluster.run(Command::EnsureInternalTopic { name: "mine".to_owned() });
    assert!(matches!(result, CommandResult::Failed(error) if error.code == ErrorCode::InvalidTopicException));
    assert!(cluster.image.topic("mine").is_none());
}
