//! `DeleteTopics`.

use millrace_types::TopicId;
use uuid::Uuid;

use super::*;
use crate::command::{DeleteTopics, TopicRef};
use crate::name::CONSUMER_OFFSETS;

fn name(name: &str) -> TopicRef {
    TopicRef::Name(name.to_owned())
}

fn delete(cluster: &mut Cluster, topics: Vec<TopicRef>) -> Vec<Result<String, (ErrorCode, String)>> {
    match cluster.run(Command::DeleteTopics(DeleteTopics { topics })) {
        CommandResult::DeletedTopics(results) => results
            .into_iter()
            .map(|(_, outcome)| outcome.map(|deleted| deleted.name).map_err(|error| (error.code, error.message)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn by_name_and_by_identity() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.create_one(topic("a", 1, 1)).unwrap();
    let id = cluster.create_one(topic("b", 1, 1)).unwrap().id;
    let results = delete(&mut cluster, vec![name("a"), TopicRef::Id(id), name("c")]);
    assert_eq!(results[0], Ok("a".to_owned()));
    assert_eq!(results[1], Ok("b".to_owned()));
    assert_eq!(results[2].as_ref().unwrap_err().0, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(cluster.image.topic_count(), 0);
    let unknown = delete(&mut cluster, vec![TopicRef::Id(TopicId(Uuid::from_u128(9)))]);
    assert_eq!(unknown[0].as_ref().unwrap_err().0, ErrorCode::UnknownTopicId);
}

#[test]
fn what_is_named_twice_is_refused() {
    let mut cluster = Cluster::new(1, &[]);
    let id = cluster.create_one(topic("a", 1, 1)).unwrap().id;
    let results = delete(&mut cluster, vec![name("a"), name("a")]);
    assert_eq!(results, [Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()))]);
    let results = delete(&mut cluster, vec![TopicRef::Id(id), TopicRef::Id(id)]);
    assert_eq!(results, [Err((ErrorCode::InvalidRequest, "Duplicate topic id.".to_owned()))]);
    assert!(cluster.image.topic("a").is_some());
    let results = delete(&mut cluster, vec![TopicRef::Id(id), name("a")]);
    assert!(results[0].is_ok());
    assert_eq!(results[1].as_ref().unwrap_err().0, ErrorCode::InvalidRequest);
}

#[test]
fn internal_topics_stay() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.run(Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() });
    let results = delete(&mut cluster, vec![name(CONSUMER_OFFSETS)]);
    assert_eq!(results[0].as_ref().unwrap_err().0, ErrorCode::InvalidTopicException);
    assert!(cluster.image.topic(CONSUMER_OFFSETS).is_some());
}

#[test]
fn deletion_can_be_disabled() {
    let mut cluster = Cluster::new(1, &[("delete.topic.enable", "false")]);
    cluster.create_one(topic("a", 1, 1)).unwrap();
    let result = cluster.run(Command::DeleteTopics(DeleteTopics { topics: vec![name("a")] }));
    assert!(matches!(result, CommandResult::Failed(error) if error.code == ErrorCode::TopicDeletionDisabled));
}

#[test]
fn a_topic_created_again_is_another_one() {
    let mut cluster = Cluster::new(1, &[]);
    let first = cluster.create_one(topic("a", 1, 1)).unwrap().id;
    delete(&mut cluster, vec![name("a")]);
    let second = cluster.create_one(topic("a", 1, 1)).unwrap().id;
    assert_ne!(first, second);
}
