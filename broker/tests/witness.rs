//! Two brokers with replicas and one that is their witness, as processes: either of the two may end, and what the other one
//! has acknowledged alone is not led away from.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::cluster::{Cluster, Shared};
use common::numbers::{PARTITIONS, Progress, TOPIC, check, consume, finish, produce};
use common::until;

/// The broker that holds no records.
const WITNESS: usize = 3;

/// How long it is watched that nobody leads: many times what an election takes.
const WATCHED: Duration = Duration::from_secs(3);

fn topic(partitions: usize) -> Shared<'static> {
    Shared { name: TOPIC, partitions, configs: &[("min.insync.replicas", "1")] }
}

#[test]
fn either_broker_is_killed_and_writes_go_on() {
    let partitions = usize::try_from(PARTITIONS).expect("small");
    let mut cluster = Cluster::with_witness(&[topic(partitions)], &[]);
    for partition in cluster.partitions(WITNESS, TOPIC) {
        let mut replicas: Vec<i64> =
            partition["replicas"].as_array().expect("a list").iter().filter_map(serde_json::Value::as_i64).collect();
        replicas.sort_unstable();
        assert_eq!((replicas, &partition["witness"]), (vec![1, 2], &serde_json::json!(WITNESS)), "{partition}");
    }
    for (id, replicas, witnesses) in [(1, 4.0, 0.0), (2, 4.0, 0.0), (WITNESS, 0.0, 4.0)] {
        assert_eq!(cluster.metric(id, "millrace_replicas"), replicas, "of broker {id}");
        assert_eq!(cluster.metric(id, "millrace_witnesses"), witnesses, "of broker {id}");
    }
    let progress = Arc::new(Progress::default());
    let producer = produce(&cluster.bootstrap(), &progress);
    let mut acknowledged = progress.await_acknowledged(1_000);
    for (dies, other) in [(1, 2), (2, 1), (1, 2)] {
        // Who is out of sync is not to lead: the one that stays has everything.
        cluster.await_in_sync(WITNESS, TOPIC, 2);
        acknowledged = progress.await_acknowledged(acknowledged + 500);
        cluster.kill(dies);
        acknowledged = progress.await_acknowledged(acknowledged + 1_000);
        for partition in 0..partitions {
            until("the other leads", || (cluster.leader_by(other, TOPIC, partition) == Some(other)).then_some(()));
        }
        cluster.restart(dies);
    }
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&cluster.bootstrap()), &acknowledged, sent);
}

#[test]
fn who_lacks_what_was_acknowledged_does_not_lead() {
    let mut cluster = Cluster::with_witness(&[topic(1)], &[]);
    cluster.await_in_sync(WITNESS, TOPIC, 2);
    let write = |cluster: &Cluster, at: usize, value: &str| {
        let mut client = cluster.broker(at).connect();
        until("a leader that takes writes", || client.produce(TOPIC, 0, &[value]).ok());
    };
    let stays = cluster.leader(TOPIC, 0, None);
    let stale = 3 - stays;
    write(&cluster, stays, "both");
    assert_eq!(cluster.broker(WITNESS).connect().produce(TOPIC, 0, &["none"]), Err(6), "NOT_LEADER_OR_FOLLOWER");
    cluster.kill(stale);
    write(&cluster, stays, "alone");
    cluster.kill(stays);
    // The witness remembers, also when its process was another one.
    cluster.kill(WITNESS);
    cluster.restart(WITNESS);
    cluster.restart(stale);
    until("the two hear each other", || (cluster.hears(stale, WITNESS) && cluster.hears(WITNESS, stale)).then_some(()));
    let (watched, mut client) = (Instant::now(), cluster.broker(stale).connect());
    while watched.elapsed() < WATCHED {
        assert_eq!(client.produce(TOPIC, 0, &["lost"]), Err(6), "NOT_LEADER_OR_FOLLOWER");
    }
    assert_eq!(cluster.leader_by(stale, TOPIC, 0), None, "it lacks a record");
    cluster.restart(stays);
    assert_eq!(cluster.leader(TOPIC, 0, Some(stale)), stays);
    write(&cluster, stays, "again");
    cluster.await_in_sync(WITNESS, TOPIC, 2);
    let held = cluster.broker(stays).connect().fetch_all(TOPIC, 0);
    assert_eq!(held.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["both", "alone", "again"]);
    cluster.kill(stays);
    assert_eq!(cluster.leader(TOPIC, 0, Some(stays)), stale);
    write(&cluster, stale, "of the other");
    let held = cluster.broker(stale).connect().fetch_all(TOPIC, 0);
    assert_eq!(held.last().map(|(offset, value)| (*offset, value.as_str())), Some((3, "of the other")));
}
