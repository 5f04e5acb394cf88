//! `AlterReassignments` and `FinishReassignment`.

use super::*;
use crate::broker::{Broker, BrokerRole};
use crate::command::{AlterReassignments, CreatePartitions, FinishReassignment, NewPartitions, ReassignPartition};
use crate::image::tests::broker;
use crate::mutation::{Mutation, assert_noticed};
use crate::topic::Assignment;
use crate::{Local, Replay};
use millrace_types::DirectoryId;

fn to(replicas: Option<&[i32]>) -> ReassignPartition {
    ReassignPartition { topic: "a".to_owned(), partition: 0, replicas: replicas.map(ids) }
}

fn alter(cluster: &mut Cluster, wanted: Vec<ReassignPartition>, allow_factor_change: bool) -> Vec<Outcome<()>> {
    match cluster.run(Command::AlterReassignments(AlterReassignments { partitions: wanted, allow_factor_change })) {
        CommandResult::AlteredReassignments(results) => results,
        other => panic!("{other:?}"),
    }
}

fn one(cluster: &mut Cluster, replicas: Option<&[i32]>) -> Outcome<()> {
    alter(cluster, vec![to(replicas)], true).remove(0)
}

/// A cluster of `brokers` with the topic `a` on these.
fn scene(brokers: i32, replicas: &[i32], config: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::new(brokers, config);
    let chosen = NewTopic { assignments: vec![(0, ids(replicas))], ..NewTopic::with_defaults("a") };
    cluster.create_one(chosen).unwrap();
    cluster
}

fn assignment(cluster: &Cluster) -> Assignment {
    cluster.image.topic("a").unwrap().partitions[0].clone()
}

/// What the leader's broker says when everybody of the target votes.
fn reached(cluster: &Cluster) -> FinishReassignment {
    let known = assignment(cluster);
    let voter = |id: BrokerId| (id, cluster.image.broker(id).unwrap().directory);
    FinishReassignment {
        topic: cluster.image.topic("a").unwrap().id,
        partition: 0,
        epoch: known.reassignment.as_ref().map_or(0, |one| one.epoch),
        voters: known.target_hosts().map(voter).collect(),
    }
}

/// A snapshot holds what is under way as well.
fn assert_kept(cluster: &Cluster) {
    let mut replay = Replay::new(Local { broker: Some(BrokerId(1)), ..Local::default() });
    crate::snapshot_records(&cluster.image).unwrap().iter().for_each(|record| replay.feed(record).unwrap());
    assert_eq!(replay.finish().unwrap().topic("a").unwrap().partitions, [assignment(cluster)]);
}

#[test]
fn replicas_are_where_they_were_until_they_are_where_they_shall_be() {
    let mut cluster = scene(6, &[1, 2, 3], &[]);
    let first = assignment(&cluster);
    one(&mut cluster, Some(&[4, 2, 5])).unwrap();
    let moving = assignment(&cluster);
    assert_eq!((&moving.replicas, &moving.directories), (&first.replicas, &first.directories), "the first voters stay");
    assert_eq!(moving.present_replicas(), ids(&[4, 2, 5, 1, 3]), "as Kafka orders them");
    assert_eq!((moving.adding(), moving.removing()), (ids(&[4, 5]), ids(&[1, 3])));
    assert!((1..=6).all(|id| moving.has_replica(BrokerId(id)) == (id < 6)));
    assert_kept(&cluster);
    let epoch = cluster.image.epoch();
    one(&mut cluster, Some(&[4, 2, 5])).unwrap();
    assert_eq!(cluster.image.epoch(), epoch, "it is the target already");
    let finish = Command::FinishReassignment(reached(&cluster));
    assert_eq!(cluster.run(finish.clone()), CommandResult::FinishedReassignment);
    let done = assignment(&cluster);
    assert_eq!((done.present_replicas().into_owned(), &done.reassignment), (ids(&[4, 2, 5]), &None));
    let registered = |id: i32| cluster.image.broker(BrokerId(id)).unwrap().directory;
    assert_eq!(done.directories, [4, 2, 5].map(registered), "nobody begins as one of the voters there were first");
    assert!((1..=6).all(|id| done.has_replica(BrokerId(id)) == [2, 4, 5].contains(&id)));
    assert_kept(&cluster);
    assert!(matches!(cluster.run(finish), CommandResult::Failed(_)), "it is done");
}

#[test]
fn each_partition_is_refused_as_kafka_does() {
    let mut cluster = scene(3, &[1, 2], &[]);
    cluster.image = crate::image::tests::image(3, &[]);
    let mut witness = broker(9);
    witness.role = BrokerRole::Witness;
    cluster.run(Command::RegisterBroker(witness));
    cluster.create_one(NewTopic { assignments: vec![(0, ids(&[1, 2]))], ..NewTopic::with_defaults("a") }).unwrap();
    let code = |cluster: &mut Cluster, replicas: Option<&[i32]>| one(cluster, replicas).unwrap_err().code;
    for invalid in [&[][..], &[1, 1], &[-1], &[1, 7], &[9]] {
        assert_eq!(code(&mut cluster, Some(invalid)), ErrorCode::InvalidReplicaAssignment, "{invalid:?}");
    }
    assert_eq!(code(&mut cluster, None), ErrorCode::NoReassignmentInProgress);
    let elsewhere = |topic: &str, partition| ReassignPartition { topic: topic.to_owned(), partition, ..to(Some(&[3])) };
    let outcomes = alter(
        &mut cluster,
        vec![elsewhere("b", 0), elsewhere("a", 1), elsewhere("a", -1), elsewhere("a", 0), elsewhere("a", 0)],
        true,
    );
    let codes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.err().map(|error| error.code)).collect();
    let unknown = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(codes, [unknown, unknown, unknown, None, None]);
    // While it is on its way to one replica, that is the number that must not change.
    let refused = alter(&mut cluster, vec![to(Some(&[1, 2]))], false).remove(0).unwrap_err();
    assert_eq!(
        (refused.code, &*refused.message),
        (ErrorCode::InvalidReplicationFactor, "The replication factor is changed from 1 to 2")
    );
    alter(&mut cluster, vec![to(Some(&[2]))], false).remove(0).unwrap();
    let many = AlterReassignments { partitions: vec![to(Some(&[1])); 10_001], allow_factor_change: true };
    assert!(matches!(cluster.run(Command::AlterReassignments(many)), CommandResult::Failed(_)));
}

#[test]
fn who_may_have_something_of_an_earlier_target_stays_until_the_end() {
    let mut cluster = scene(6, &[1, 2, 3], &[]);
    one(&mut cluster, Some(&[4, 5, 6])).unwrap();
    let earlier = reached(&cluster);
    one(&mut cluster, Some(&[5, 1, 2])).unwrap();
    let moving = assignment(&cluster);
    assert_eq!(moving.present_replicas(), ids(&[5, 1, 2, 3, 4, 6]));
    assert_eq!((moving.adding(), moving.removing()), (ids(&[5]), ids(&[3, 4, 6])));
    assert!(matches!(cluster.run(Command::FinishReassignment(earlier)), CommandResult::Failed(_)));
    assert_eq!(assignment(&cluster), moving);
    one(&mut cluster, None).unwrap();
    let back = assignment(&cluster);
    assert_eq!(
        (back.present_replicas().into_owned(), back.adding()),
        (ids(&[1, 2, 3, 4, 5, 6]), ids(&[])),
        "it goes the other way"
    );
    one(&mut cluster, None).unwrap();
    assert_kept(&cluster);
    let finish = Command::FinishReassignment(reached(&cluster));
    assert_eq!(cluster.run(finish), CommandResult::FinishedReassignment);
    assert_eq!(assignment(&cluster).present_replicas(), ids(&[1, 2, 3]));
}

#[test]
fn a_late_word_of_an_earlier_target_changes_nothing() {
    // The same brokers, so that the epoch alone tells the one from the other.
    let story = || {
        let mut cluster = scene(4, &[1, 2, 3], &[]);
        one(&mut cluster, Some(&[2, 3, 4])).unwrap();
        let earlier = reached(&cluster);
        one(&mut cluster, None).unwrap();
        one(&mut cluster, Some(&[4, 3, 2])).unwrap();
        let moving = assignment(&cluster);
        assert!(matches!(cluster.run(Command::FinishReassignment(earlier)), CommandResult::Failed(_)));
        assert_eq!(assignment(&cluster), moving);
    };
    story();
    assert_noticed("a_late_word_of_an_earlier_target_changes_nothing", &[(Mutation::BelieveLateTarget, story)]);
}

#[test]
fn a_target_is_not_reached_by_a_disk_that_was_wiped_since() {
    let mut cluster = scene(4, &[1, 2, 3], &[]);
    one(&mut cluster, Some(&[2, 3, 4])).unwrap();
    let voters = reached(&cluster);
    let wiped = Broker { directory: DirectoryId::from_u128(0x99), ..broker(4) };
    cluster.run(Command::RegisterBroker(wiped));
    assert!(matches!(cluster.run(Command::FinishReassignment(voters)), CommandResult::Failed(_)));
    let more = FinishReassignment { voters: [(BrokerId(1), broker(1).directory)].into(), ..reached(&cluster) };
    assert!(matches!(cluster.run(Command::FinishReassignment(more)), CommandResult::Failed(_)));
    let finish = Command::FinishReassignment(reached(&cluster));
    assert_eq!(cluster.run(finish), CommandResult::FinishedReassignment);
    assert_eq!(assignment(&cluster).directories[2], DirectoryId::from_u128(0x99));
}

#[test]
fn another_order_needs_no_move() {
    let mut cluster = scene(3, &[1, 2, 3], &[]);
    one(&mut cluster, Some(&[3, 1, 2])).unwrap();
    let ordered = assignment(&cluster);
    assert_eq!((&ordered.replicas, &ordered.reassignment), (&ids(&[3, 1, 2]), &None));
    assert_eq!(ordered.directories, [3, 1, 2].map(|id| broker(id).directory));
}

#[test]
fn a_single_replica_is_named_by_its_directory_while_it_moves() {
    let mut cluster = scene(2, &[1], &[]);
    assert!(assignment(&cluster).directories.is_empty());
    one(&mut cluster, Some(&[2])).unwrap();
    assert_eq!(assignment(&cluster).directories, [broker(1).directory], "a wiped broker 1 is not the voter there was");
    cluster.run(Command::FinishReassignment(reached(&cluster)));
    assert_eq!(assignment(&cluster), Assignment::new(ids(&[2])));
}

#[test]
fn a_topic_that_is_being_moved_gets_no_partitions_and_goes_as_a_whole() {
    let mut cluster = scene(3, &[1, 2], &[]);
    one(&mut cluster, Some(&[2, 3])).unwrap();
    let topics = vec![NewPartitions { name: "a".to_owned(), count: 2, assignments: None }];
    let grown = cluster.run(Command::CreatePartitions(CreatePartitions { topics, validate_only: false }));
    let CommandResult::CreatedPartitions(outcomes) = grown else { panic!("{grown:?}") };
    let (code, text) = refused(outcomes[0].1.clone());
    assert_eq!(code, ErrorCode::ReassignmentInProgress);
    assert_eq!(text, "A partition reassignment is in progress for the topic 'a'.");
    let topics = vec![crate::TopicRef::Name("a".to_owned())];
    cluster.run(Command::DeleteTopics(crate::DeleteTopics { topics }));
    assert!(cluster.image.topic("a").is_none());
}

#[test]
fn an_even_number_of_replicas_keeps_or_gets_a_witness() {
    let mut cluster = scene(5, &[1, 2], &[("witness.placement", "any")]);
    let first = assignment(&cluster).witness.expect("a spare broker");
    let others: Vec<i32> = (3..=5).filter(|id| BrokerId(*id) != first).collect();
    one(&mut cluster, Some(&[1, others[0]])).unwrap();
    assert_eq!(assignment(&cluster).target_witness(), Some(first), "it stays where it may");
    // The witness gets a replica: another broker takes its place, none that may have records.
    one(&mut cluster, Some(&[1, first.0])).unwrap();
    let moving = assignment(&cluster);
    assert_eq!(moving.target_witness(), Some(BrokerId(others[1])), "{moving:?}");
    assert!(moving.has_replica(first) && !moving.has_witness(first), "it is a witness no more");
    // Three need none; the one that was on its way leaves.
    one(&mut cluster, Some(&[1, 2, first.0])).unwrap();
    let moving = assignment(&cluster);
    assert_eq!(moving.target_witness(), None);
    assert!(moving.has_witness(BrokerId(others[1])) && moving.has_replica(BrokerId(others[0])));
    // On the way back the first one may have records by now.
    one(&mut cluster, None).unwrap();
    let back = assignment(&cluster);
    assert_eq!((back.target_replicas(), back.target_witness()), (&ids(&[1, 2])[..], Some(BrokerId(others[1]))));
    assert_kept(&cluster);
    cluster.run(Command::FinishReassignment(reached(&cluster)));
    let done = assignment(&cluster);
    assert_eq!((done.witness, done.directories.len()), (Some(BrokerId(others[1])), 3));
}
