//! Two replicas and a witness: either may die, and what the other has acknowledged alone stays.

use millrace_storage::{CrashKind, DiskError, LogConfig};

use crate::call::{PartitionAnswer, PartitionOp};
use crate::core::Core;
use crate::replica::mutation::{Mutation, assert_noticed};
use crate::replica::{ReplicaEffect, ReplicaEvent};
use crate::testing::Cluster;

const WITNESS: usize = 2;

fn cluster(seed: u64) -> Cluster {
    let config = LogConfig { segment_bytes: 1 << 20, retention_ms: -1, ..LogConfig::default() };
    let mut cluster = Cluster::with_witness(seed, 3, Some(WITNESS), config, 1);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
    cluster
}

fn in_sync(cluster: &Cluster) -> usize {
    cluster.leader().map_or(0, |leader| cluster.view(leader).in_sync())
}

#[test]
fn either_replica_may_die_and_writes_go_on() {
    for dies_leader in [true, false] {
        let mut cluster = cluster(1);
        cluster.run_until("both in sync", |cluster| in_sync(cluster) == 2);
        cluster.write("both");
        let leader = cluster.leader().expect("a leader");
        let dies = if dies_leader { leader } else { 1 - leader };
        cluster.crash(dies, CrashKind::Power);
        cluster.run_until("the other leads", |cluster| {
            cluster.leader() == Some(1 - dies) && cluster.view(1 - dies).tells_latest()
        });
        cluster.write("one");
        assert_eq!(cluster.values(1 - dies), ["both", "one"]);
        cluster.start(dies);
        cluster.run_until("both in sync", |cluster| in_sync(cluster) == 2 && cluster.agree());
        assert_eq!(cluster.values(dies), ["both", "one"]);
    }
}

#[test]
fn a_replica_that_lacks_what_was_acknowledged_is_not_elected() {
    for (seed, witness_too) in [(2, false), (3, true)] {
        let mut cluster = cluster(seed);
        cluster.run_until("both in sync", |cluster| in_sync(cluster) == 2);
        cluster.write("both");
        let leader = cluster.leader().expect("a leader");
        let stale = 1 - leader;
        cluster.crash(stale, CrashKind::Process);
        cluster.run_until("it is out", |cluster| in_sync(cluster) == 1);
        cluster.write("alone");
        cluster.crash(leader, CrashKind::Power);
        if witness_too {
            cluster.crash(WITNESS, CrashKind::Power);
            cluster.start(WITNESS);
        }
        cluster.start(stale);
        cluster.run(5_000);
        assert_eq!(cluster.leader(), None, "the witness knows of what it lacks");
        cluster.start(leader);
        cluster.run_until("a leader", |cluster| cluster.leader().is_some() && cluster.agree());
        assert_eq!(cluster.leader(), Some(leader));
        assert_eq!(cluster.values(stale), ["both", "alone"]);
    }
}

#[test]
fn a_witness_is_not_needed_while_both_live() {
    let mut cluster = cluster(4);
    cluster.run_until("both in sync", |cluster| in_sync(cluster) == 2);
    cluster.crash(WITNESS, CrashKind::Power);
    cluster.write("a");
    cluster.start(WITNESS);
    cluster.run(1_000);
    let leader = cluster.leader().expect("a leader");
    cluster.crash(leader, CrashKind::Power);
    cluster.run_until("the other leads", |cluster| cluster.leader() == Some(1 - leader));
    assert_eq!(cluster.values(1 - leader), ["a"]);
}

#[test]
fn clients_are_sent_elsewhere_and_a_stop_waits_for_what_is_put() {
    let mut cluster = cluster(5);
    let token = cluster.call(WITNESS, PartitionOp::Watch { beyond: 0 });
    let answer = cluster.answers.remove(&token);
    assert!(matches!(answer, Some(PartitionAnswer::Failed(_))), "{answer:?}");
    cluster.nodes[WITNESS].hold = true;
    let leader = cluster.leader().expect("a leader");
    cluster.crash(leader, CrashKind::Process);
    cluster.run(800);
    cluster.step(WITNESS, ReplicaEvent::Stop);
    assert!(!cluster.nodes[WITNESS].stopped, "its vote is not durable");
    cluster.nodes[WITNESS].hold = false;
    cluster.work(WITNESS);
    assert!(cluster.nodes[WITNESS].stopped);
}

#[test]
fn a_witness_that_cannot_store_its_vote_says_nothing_more() {
    let mut cluster = cluster(6);
    cluster.nodes[WITNESS].hold = true;
    let leader = cluster.leader().expect("a leader");
    cluster.crash(leader, CrashKind::Process);
    cluster.run(800);
    let now = cluster.now;
    let witness = cluster.nodes[WITNESS].witness.as_mut().expect("it runs");
    let (mut out, error) = (Vec::new(), DiskError::Exists { path: "qstate".into() });
    for token in 1..100 {
        witness.step(now, ReplicaEvent::PutDone { token, result: Err(error.clone()) }, &mut out);
    }
    assert!(!out.iter().any(|effect| matches!(effect, ReplicaEffect::Send { .. })), "{out:?}");
    cluster.run(2_000);
    assert_eq!(cluster.leader(), None);
}

#[test]
fn what_all_replicas_have_lost_is_not_waited_for() {
    for seed in 10..20 {
        let config =
            LogConfig { segment_bytes: 1 << 20, retention_ms: -1, flush_messages: 1_000_000, ..LogConfig::default() };
        let mut cluster = Cluster::with_witness(seed, 3, Some(WITNESS), config, 1);
        cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
        cluster.run_until("both in sync", |cluster| in_sync(cluster) == 2);
        for n in 0..5 {
            cluster.write(&n.to_string());
        }
        cluster.run(300);
        for at in [0, 1] {
            cluster.crash(at, CrashKind::Power);
        }
        for at in [0, 1] {
            cluster.start(at);
        }
        cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
        cluster.write("more");
        cluster.run_until("agreement", Cluster::agree);
        assert_eq!(cluster.values(0).last().map(String::as_str), Some("more"));
    }
}

#[test]
fn a_broken_rule_of_witnesses_is_noticed() {
    assert_noticed(
        "a_broken_rule_of_witnesses_is_noticed",
        &[
            (Mutation::ForgetWitnessEnd, a_replica_that_lacks_what_was_acknowledged_is_not_elected),
            (Mutation::WitnessBeforeDurable, a_witness_that_cannot_store_its_vote_says_nothing_more),
            (Mutation::WitnessTrustsFailedPut, a_witness_that_cannot_store_its_vote_says_nothing_more),
            (Mutation::WitnessStopsAtOnce, clients_are_sent_elsewhere_and_a_stop_waits_for_what_is_put),
        ],
    );
}
