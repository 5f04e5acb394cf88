//! Partitions that move: what begins, what goes, and when.

use millrace_metadata::{AlterReassignments, ReassignPartition};

use super::*;
use crate::metadata_store::{Part, target};
use crate::replica::Promises;
use crate::replica::mutation::{Mutation, assert_noticed};

/// The topic `t` with one partition on these brokers.
fn scene(replicas: &[i32], witness: Option<i32>) -> (Cluster, TopicPartition) {
    let mut cluster = Cluster::founded_with(witness);
    let assignments = vec![(0, replicas.iter().map(|id| BrokerId(*id)).collect())];
    cluster.create(1, NewTopic { assignments, ..NewTopic::with_defaults("t") });
    cluster.pass(100);
    cluster.lead();
    let id = cluster.nodes[&1].store.image().topic("t").expect("created").id;
    (cluster, TopicPartition::new(id, 0))
}

fn move_to(cluster: &mut Cluster, replicas: Option<&[i32]>) {
    let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
    let wanted = ReassignPartition { topic: "t".to_owned(), partition: 0, replicas };
    let altered = AlterReassignments { partitions: vec![wanted], allow_factor_change: true };
    let token = cluster.send(1, Command::AlterReassignments(altered));
    cluster.pass(1_200);
    assert_eq!(cluster.answer(1, token), Some(&CommandResult::AlteredReassignments(vec![Ok(())])));
}

/// What the leader on broker `id` says when the members are the target.
fn reached(cluster: &Cluster, id: i32, partition: TopicPartition) -> MetadataEvent {
    let image = cluster.nodes[&id].store.image();
    let shall = target(image.topic_by_id(partition.topic).expect("there"), 0, image);
    let voters = shall.voters.iter().map(|voter| (voter.key.broker, voter.key.directory)).collect();
    MetadataEvent::TargetReached { partition, epoch: shall.epoch.unwrap_or(0), voters }
}

fn finish(cluster: &mut Cluster, id: i32, partition: TopicPartition) {
    // It is said again until it is known.
    for _ in 0..2 {
        let event = reached(cluster, id, partition);
        cluster.step(id, event);
    }
    cluster.pass(1_200);
}

fn is_gone(cluster: &mut Cluster, id: i32, partition: TopicPartition) {
    let node = cluster.nodes.get_mut(&id).expect("a broker");
    assert!(node.replicas.remove(&partition).or_else(|| node.witnesses.remove(&partition)).is_some());
    cluster.step(id, MetadataEvent::ReplicaRetired { partition, promises: Box::new(Promises::default()) });
}

fn hosts(cluster: &Cluster) -> (Vec<i32>, Vec<i32>) {
    let with =
        |has: &dyn Fn(&Node) -> bool| cluster.nodes.iter().filter(|(_, node)| has(node)).map(|(id, _)| *id).collect();
    (with(&|node| !node.replicas.is_empty()), with(&|node| !node.witnesses.is_empty()))
}

/// A replica that shall go is told so when the target is reached, not when it is set.
fn a_replica_moves() {
    let (mut cluster, partition) = scene(&[1, 2], None);
    move_to(&mut cluster, Some(&[2, 3]));
    assert_eq!(cluster.nodes[&3].replicas.get(&partition), Some(&Vec::new()), "nobody has told it who votes");
    assert!(cluster.nodes.values().all(|node| node.retiring.is_empty()));
    assert_eq!(
        (&cluster.nodes[&1].retargeted[..], &cluster.nodes[&2].retargeted[..]),
        (&[partition][..], &[partition][..])
    );
    finish(&mut cluster, 2, partition);
    let image = Arc::clone(cluster.nodes[&3].store.image());
    let known = &image.topic("t").expect("there").partitions[0];
    assert_eq!((&known.replicas[..], known.reassignment.is_none()), (&[BrokerId(2), BrokerId(3)][..], true));
    assert_eq!(cluster.nodes[&1].retiring, [(partition, true)]);
    assert!(cluster.nodes[&2].retiring.is_empty() && cluster.nodes[&3].retiring.is_empty());
    assert_eq!(cluster.nodes[&2].retargeted.len(), 2, "who leads need not say it again");
}

#[test]
fn a_replica_goes_when_the_target_is_reached() {
    a_replica_moves();
    assert_noticed("a_replica_goes_when_the_target_is_reached", &[(Mutation::RetireBeforeDone, a_replica_moves)]);
}

/// What is to go is told so until it is gone: who leads may not be known when it is told first.
fn what_goes_is_told_again() {
    let (mut cluster, partition) = scene(&[1, 2], None);
    move_to(&mut cluster, Some(&[2, 3]));
    finish(&mut cluster, 2, partition);
    let told = |cluster: &Cluster| cluster.nodes[&1].reminded;
    let before = told(&cluster);
    cluster.pass(5_000);
    assert_eq!(told(&cluster), before + 5, "once a second");
    move_to(&mut cluster, Some(&[1, 2]));
    let before = told(&cluster);
    cluster.pass(5_000);
    assert_eq!(told(&cluster), before, "it is to stay");
    finish(&mut cluster, 2, partition);
    move_to(&mut cluster, Some(&[2, 3]));
    finish(&mut cluster, 2, partition);
    assert_eq!(cluster.nodes[&1].retiring.last(), Some(&(partition, true)));
    is_gone(&mut cluster, 1, partition);
    let before = told(&cluster);
    cluster.pass(5_000);
    assert_eq!(told(&cluster), before, "it is gone");
}

#[test]
fn what_retires_hears_of_it_until_it_has() {
    what_goes_is_told_again();
    assert_noticed("what_retires_hears_of_it_until_it_has", &[(Mutation::RetireOnce, what_goes_is_told_again)]);
}

#[test]
fn what_begins_again_waits_for_what_goes() {
    let (mut cluster, partition) = scene(&[1, 2], None);
    move_to(&mut cluster, Some(&[2, 3]));
    finish(&mut cluster, 2, partition);
    // It is to come back before it has gone: it stays.
    move_to(&mut cluster, Some(&[1, 2, 3]));
    assert_eq!(cluster.nodes[&1].retiring, [(partition, true), (partition, false)]);
    // It had gone already, and comes back.
    is_gone(&mut cluster, 1, partition);
    assert!(cluster.nodes[&1].replicas.contains_key(&partition));
    let led = MetadataEvent::ReplicaLed { partition };
    cluster.step(1, led);
    finish(&mut cluster, 2, partition);
    assert_eq!(cluster.nodes[&1].retiring.len(), 2);
    // It goes again, and with its topic.
    move_to(&mut cluster, Some(&[2, 3]));
    finish(&mut cluster, 2, partition);
    assert_eq!(cluster.nodes[&1].retiring.last(), Some(&(partition, true)));
    let topics = vec![TopicRef::Name("t".to_owned())];
    cluster.send(1, Command::DeleteTopics(DeleteTopics { topics }));
    cluster.pass(1_200);
    assert_eq!(hosts(&cluster), (vec![], vec![]));
}

#[test]
fn a_witness_that_gets_a_replica_goes_first() {
    let mut cluster = Cluster::founded();
    let operation = ConfigOperation::Replace(vec![("witness.placement".to_owned(), Some("any".to_owned()))]);
    let resources = vec![ResourceChange { resource: ConfigResource::Broker(None), operation }];
    cluster.send(1, Command::SetConfigs(SetConfigs { resources, validate_only: false }));
    cluster.pass(1_200);
    let assignments = vec![(0, vec![BrokerId(1), BrokerId(2)])];
    cluster.create(1, NewTopic { assignments, ..NewTopic::with_defaults("t") });
    cluster.pass(100);
    cluster.lead();
    let partition = TopicPartition::new(cluster.nodes[&1].store.image().topic("t").expect("created").id, 0);
    assert_eq!(hosts(&cluster), (vec![1, 2], vec![3]));
    move_to(&mut cluster, Some(&[1, 3]));
    assert_eq!(cluster.nodes[&3].retiring, [(partition, true)]);
    assert_eq!(hosts(&cluster), (vec![1, 2], vec![3]), "the replica waits");
    // A restart in between finds the witness, which may still count.
    let journal = cluster.nodes[&3].journal.clone();
    cluster.left = vec![(partition, Part::Witness)];
    cluster.start(3, 2, journal);
    cluster.pass(1_200);
    assert_eq!(hosts(&cluster), (vec![1, 2], vec![3]));
    assert_eq!(cluster.nodes[&3].retiring, [(partition, true)]);
    is_gone(&mut cluster, 3, partition);
    assert_eq!(hosts(&cluster), (vec![1, 2, 3], vec![]));
    assert_eq!(cluster.nodes[&3].replicas[&partition].len(), 3, "as it was first known");
}

#[test]
fn what_is_left_behind_runs_until_it_may_go() {
    let (mut cluster, partition) = scene(&[1, 2], None);
    move_to(&mut cluster, Some(&[2, 3]));
    finish(&mut cluster, 2, partition);
    let journal = cluster.nodes[&1].journal.clone();
    let gone = TopicPartition::new(millrace_types::TopicId(uuid::Uuid::from_u128(1)), 0);
    cluster.left = vec![(partition, Part::Replica), (gone, Part::Replica)];
    cluster.start(1, 2, journal);
    cluster.pass(1_200);
    assert_eq!(cluster.nodes[&1].replicas.keys().collect::<Vec<_>>(), [&partition]);
    assert_eq!(cluster.nodes[&1].retiring, [(partition, true)]);
    is_gone(&mut cluster, 1, partition);
    assert!(cluster.nodes[&1].replicas.is_empty());
}
