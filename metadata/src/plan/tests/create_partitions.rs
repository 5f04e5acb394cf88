//! `CreatePartitions`.

use super::*;
use crate::command::{CreatePartitions, NewPartitions};
use crate::name::CONSUMER_OFFSETS;

fn grow(cluster: &mut Cluster, topics: Vec<NewPartitions>) -> Vec<Result<(), (ErrorCode, String)>> {
    match cluster.run(Command::CreatePartitions(CreatePartitions { topics, validate_only: false })) {
        CommandResult::CreatedPartitions(results) => {
            results.into_iter().map(|(_, outcome)| outcome.map_err(|error| (error.code, error.message))).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn to(name: &str, count: i32) -> NewPartitions {
    NewPartitions { name: name.to_owned(), count, assignments: None }
}

#[test]
fn partitions_are_added_behind_the_others() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.create_one(topic("a", 2, 2)).unwrap();
    let before = cluster.image.topic("a").unwrap().partitions.clone();
    assert_eq!(grow(&mut cluster, vec![to("a", 5)]), [Ok(())]);
    let after = &cluster.image.topic("a").unwrap().partitions;
    assert_eq!(after.len(), 5);
    assert_eq!(after[..2], before);
    assert!(after.iter().all(|assignment| assignment.replicas.len() == 2));
}

#[test]
fn only_more_is_an_increase() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.create_one(topic("a", 2, 1)).unwrap();
    let error = |cluster: &mut Cluster, count| grow(cluster, vec![to("a", count)]).remove(0).unwrap_err();
    assert_eq!(error(&mut cluster, 2), (ErrorCode::InvalidPartitions, "Topic already has 2 partition(s).".to_owned()));
    assert_eq!(
        error(&mut cluster, 1),
        (
            ErrorCode::InvalidPartitions,
            "The topic a currently has 2 partition(s); 1 would not be an increase.".to_owned()
        )
    );
    assert_eq!(error(&mut cluster, i32::MIN).0, ErrorCode::InvalidPartitions);
    assert_eq!(error(&mut cluster, i32::MAX).0, ErrorCode::PolicyViolation);
    assert_eq!(grow(&mut cluster, vec![to("b", 2)]).remove(0).unwrap_err().0, ErrorCode::UnknownTopicOrPartition);
    let twice = grow(&mut cluster, vec![to("a", 3), to("a", 4)]);
    assert_eq!(twice.len(), 1);
    assert_eq!(twice[0].as_ref().unwrap_err().0, ErrorCode::InvalidRequest);
}

#[test]
fn the_client_chooses_the_replicas() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.create_one(topic("a", 1, 2)).unwrap();
    let mut chosen = |count, assignments: &[&[i32]]| {
        let assignments = Some(assignments.iter().map(|replicas| ids(replicas)).collect());
        grow(&mut cluster, vec![NewPartitions { assignments, ..to("a", count) }]).remove(0)
    };
    let invalid = ErrorCode::InvalidReplicaAssignment;
    assert_eq!(chosen(3, &[&[1, 2]]).unwrap_err().0, invalid, "one is missing");
    assert_eq!(chosen(2, &[&[1]]).unwrap_err().0, invalid, "another replication factor");
    assert_eq!(chosen(2, &[&[1, 9]]).unwrap_err().0, invalid, "an unknown broker");
    assert_eq!(chosen(3, &[&[3, 1], &[2, 1]]), Ok(()));
    let partitions = &cluster.image.topic("a").unwrap().partitions;
    assert_eq!(partitions[1].replicas, ids(&[3, 1]));
    assert_eq!(partitions[2].replicas, ids(&[2, 1]));
}

#[test]
fn the_offsets_topic_keeps_its_number() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.run(Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() });
    let error = grow(&mut cluster, vec![to(CONSUMER_OFFSETS, 99)]).remove(0).unwrap_err();
    assert_eq!(error.0, ErrorCode::InvalidTopicException);
}

#[test]
fn validate_only_changes_nothing() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.create_one(topic("a", 1, 1)).unwrap();
    let command = CreatePartitions { topics: vec![to("a", 4)], validate_only: true };
    let result = cluster.run(Command::CreatePartitions(command));
    assert_eq!(result, CommandResult::CreatedPartitions(vec![("a".to_owned(), Ok(()))]));
    assert_eq!(cluster.image.topic("a").unwrap().partition_count(), 1);
}
