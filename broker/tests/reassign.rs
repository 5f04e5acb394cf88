//! Partitions move between brokers while a producer runs: nothing is lost, and what a broker had and shall not have any more is
//! gone from its disk.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::sync::Arc;

use common::cluster::{Cluster, Shared};
use common::numbers::{PARTITIONS, Progress, TOPIC, check, consume, finish, produce};
use common::{text, until};
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ListPartitionReassignmentsRequest, TopicName,
};

/// Asks broker `by` to have every partition moved to these brokers, or not to be moved.
fn reassign(cluster: &Cluster, by: usize, replicas: Option<&[i32]>) {
    let wanted = |partition: i32| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        ReassignablePartition::default().with_partition_index(partition).with_replicas(replicas)
    };
    let topic = ReassignableTopic::default().with_name(TopicName(text(TOPIC)));
    let topics = vec![topic.with_partitions((0..PARTITIONS).map(wanted).collect())];
    let request = AlterPartitionReassignmentsRequest::default().with_timeout_ms(30_000).with_topics(topics);
    let response = cluster.broker(by).connect().call(&request, 1);
    assert_eq!(response.error_code, 0, "{response:?}");
    assert!(response.responses[0].partitions.iter().all(|one| one.error_code == 0), "{response:?}");
}

/// The partitions that broker `by` says are being moved.
fn under_way(cluster: &Cluster, by: usize) -> usize {
    let request = ListPartitionReassignmentsRequest::default().with_timeout_ms(30_000).with_topics(None);
    let response = cluster.broker(by).connect().call(&request, 0);
    response.topics.iter().map(|topic| topic.partitions.len()).sum()
}

fn await_done(cluster: &Cluster, by: usize) {
    until("nothing is under way", || (under_way(cluster, by) == 0).then_some(()));
}

/// Replicas of all partitions, as broker `by` tells them.
fn replicas(cluster: &Cluster, by: usize) -> Vec<Vec<i64>> {
    let ids = |partition: &serde_json::Value| {
        partition["replicas"].as_array().expect("a list").iter().filter_map(serde_json::Value::as_i64).collect()
    };
    cluster.partitions(by, TOPIC).iter().map(ids).collect()
}

/// How many partitions a broker has data of.
fn directories(cluster: &Cluster, id: usize) -> usize {
    std::fs::read_dir(cluster.directory(id).join("topics")).map_or(0, Iterator::count)
}

#[test]
fn replicas_move_under_a_producer_and_leave_nothing_behind() {
    let partitions = usize::try_from(PARTITIONS).expect("small");
    let configs = [("min.insync.replicas", "2"), ("segment.bytes", "1048576")];
    let mut cluster = Cluster::start(4, &[], &[]);
    cluster.create(1, &Shared { name: TOPIC, partitions, configs: &configs }, 3);
    let progress = Arc::new(Progress::default());
    let producer = produce(&cluster.bootstrap(), &progress);
    let mut acknowledged = progress.await_acknowledged(1_000);
    let held: usize = (1..=4).map(|id| directories(&cluster, id)).sum();
    assert_eq!(held, 3 * partitions, "each replica has a directory");
    assert!(directories(&cluster, 1) > 0, "broker 1 has something to lose");

    reassign(&cluster, 1, Some(&[2, 3, 4]));
    await_done(&cluster, 4);
    until("nothing is left on broker 1", || (directories(&cluster, 1) == 0).then_some(()));
    assert_eq!(replicas(&cluster, 1), vec![vec![2, 3, 4]; partitions]);
    assert_eq!(cluster.metric(1, "millrace_replicas"), 0.0);
    acknowledged = progress.await_acknowledged(acknowledged + 500);

    // A broker that may lead dies in the middle, and comes back.
    reassign(&cluster, 3, Some(&[4, 1, 2]));
    let dies = cluster.leader(TOPIC, 0, None);
    let other = 1 + dies % 4;
    cluster.kill(dies);
    acknowledged = progress.await_acknowledged(acknowledged + 500);
    cluster.restart(dies);
    await_done(&cluster, other);
    until("nothing is left on broker 3", || (directories(&cluster, 3) == 0).then_some(()));
    assert_eq!(replicas(&cluster, 2), vec![vec![4, 1, 2]; partitions]);

    // It is called off at once, or on the way.
    reassign(&cluster, 1, Some(&[1, 2, 3]));
    reassign(&cluster, 2, None);
    await_done(&cluster, 3);
    until("nothing is left on broker 3", || (directories(&cluster, 3) == 0).then_some(()));
    assert_eq!(replicas(&cluster, 3), vec![vec![4, 1, 2]; partitions]);

    // Who has gone from a partition and comes back after a restart holds everything again.
    cluster.stop(3);
    cluster.restart(3);
    reassign(&cluster, 3, Some(&[3, 4, 1]));
    await_done(&cluster, 1);
    cluster.await_in_sync(3, TOPIC, 3);
    cluster.kill(4);
    progress.await_acknowledged(acknowledged + 500);
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&cluster.bootstrap()), &acknowledged, sent);
}
