//! Three brokers as processes: what was acknowledged is in the log once and in order, whoever of them ends and however.
//!
//! `MILLRACE_KILL_ROUNDS` sets how often, `MILLRACE_KILL_SEED` when.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::sync::Arc;

use common::cluster::{Cluster, Shared};
use common::numbers::{Draw, PARTITIONS, Progress, TOPIC, check, consume, finish, produce, setting};
use common::until;

/// A topic of which two of three replicas must have a record.
fn three() -> Cluster {
    three_with(&[])
}

fn three_with(settings: &[&str]) -> Cluster {
    let partitions = usize::try_from(PARTITIONS).expect("small");
    let configs = [("min.insync.replicas", "2"), ("segment.bytes", "1048576")];
    Cluster::start(3, &[Shared { name: TOPIC, partitions, configs: &configs }], settings)
}

#[test]
fn a_record_acknowledged_by_all_is_read_from_whoever_leads() {
    let cluster = three();
    let mut leaders = Vec::new();
    for partition in 0..usize::try_from(PARTITIONS).expect("small") {
        let leader = cluster.leader(TOPIC, partition, None);
        leaders.push(leader);
        let number = i32::try_from(partition).expect("small");
        let mut client = cluster.broker(leader).connect();
        let base = until("a leader that takes writes", || client.produce(TOPIC, number, &["a", "b"]).ok());
        assert_eq!(base, 0);
        assert_eq!(client.fetch_all(TOPIC, number), [(0, "a".to_owned()), (1, "b".to_owned())]);
        for other in (1..=3).filter(|id| *id != leader) {
            let refused = cluster.broker(other).connect().produce(TOPIC, number, &["c"]);
            assert_eq!(refused, Err(6), "NOT_LEADER_OR_FOLLOWER");
            until("everybody knows the leader", || {
                (cluster.leader_by(other, TOPIC, partition) == Some(leader)).then_some(())
            });
        }
    }
    eprintln!("leaders {leaders:?}");
}

/// Runs a producer over rounds of `trouble` with the leader of a partition, and checks every record.
fn survives(trouble: impl Fn(&mut Cluster, usize, &mut Draw, &Progress, &mut usize)) {
    let (rounds, seed) = (setting("MILLRACE_KILL_ROUNDS", 3), setting("MILLRACE_KILL_SEED", 1));
    let mut draw = Draw::new(seed);
    let mut cluster = three();
    let progress = Arc::new(Progress::default());
    let producer = produce(&cluster.bootstrap(), &progress);
    let mut acknowledged = 0;
    for _ in 0..rounds {
        acknowledged =
            progress.await_acknowledged(acknowledged + usize::try_from(1 + draw.below(2_000)).expect("small"));
        let partition = usize::try_from(draw.below(PARTITIONS.unsigned_abs().into())).expect("small");
        let leader = cluster.leader(TOPIC, partition, None);
        trouble(&mut cluster, leader, &mut draw, &progress, &mut acknowledged);
    }
    progress.await_acknowledged(acknowledged + 1_000);
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&cluster.bootstrap()), &acknowledged, sent);
    eprintln!("seed {seed}: {rounds} rounds, {sent} records");
}

#[test]
fn a_leader_is_killed() {
    survives(|cluster, leader, draw, progress, acknowledged| {
        cluster.kill(leader);
        // The others go on without it, and it comes back to a log that has grown.
        let more = usize::try_from(200 + draw.below(2_000)).expect("small");
        *acknowledged = progress.await_acknowledged(*acknowledged + more);
        cluster.restart(leader);
    });
}

#[test]
fn a_leader_is_stopped_in_order() {
    survives(|cluster, leader, draw, progress, acknowledged| {
        cluster.stop(leader);
        let more = usize::try_from(200 + draw.below(2_000)).expect("small");
        *acknowledged = progress.await_acknowledged(*acknowledged + more);
        cluster.restart(leader);
    });
}

#[test]
fn a_leader_halts_and_goes_on() {
    survives(|cluster, leader, _draw, progress, acknowledged| {
        cluster.broker(leader).pause();
        *acknowledged = progress.await_acknowledged(*acknowledged + 500);
        cluster.broker(leader).resume();
        *acknowledged = progress.await_acknowledged(*acknowledged + 500);
    });
}

#[test]
fn a_broker_that_comes_back_leads_again_what_it_is_meant_to_lead() {
    let mut cluster = three_with(&["leader.imbalance.check.interval.seconds=1"]);
    let progress = Arc::new(Progress::default());
    let producer = produce(&cluster.bootstrap(), &progress);
    let replicas = &cluster.partitions(1, TOPIC)[0]["replicas"];
    let preferred = replicas[0].as_u64().and_then(|id| usize::try_from(id).ok()).expect("a broker's number");
    let leads = |cluster: &Cluster, by| (cluster.leader_by(by, TOPIC, 0) == Some(preferred)).then_some(());
    until("the preferred leader leads", || leads(&cluster, preferred));
    cluster.kill(preferred);
    let other = cluster.leader(TOPIC, 0, Some(preferred));
    let acknowledged = progress.await_acknowledged(500);
    cluster.restart(preferred);
    until("it leads again", || leads(&cluster, other));
    progress.await_acknowledged(acknowledged + 1_000);
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&cluster.bootstrap()), &acknowledged, sent);
}

#[test]
fn metrics_and_descriptions_say_how_partitions_stand() {
    let mut cluster = three();
    let all = f64::from(PARTITIONS);
    let sum = |cluster: &Cluster, name| (1..=3).map(|id| cluster.metric(id, name)).sum::<f64>();
    (1..=3).for_each(|id| cluster.await_in_sync(id, TOPIC, 3));
    until("a partition is led once", || {
        (sum(&cluster, "millrace_partitions_led") >= all && sum(&cluster, "millrace_elections_won_total") >= all)
            .then_some(())
    });
    assert!(cluster.metric(1, "millrace_partitions_leaderless") < 1.0);
    assert!(sum(&cluster, "millrace_partitions_under_replicated") < 1.0);
    cluster.kill(3);
    let both = |cluster: &Cluster, name| cluster.metric(1, name) + cluster.metric(2, name);
    until("the others lead it all, with a replica less", || {
        let at = ["millrace_partitions_under_replicated", "millrace_partitions_at_min_in_sync"];
        at.iter().all(|name| both(&cluster, name) >= all).then_some(())
    });
    assert!(both(&cluster, "millrace_partitions_under_min_in_sync") < 1.0);
    cluster.kill(2);
    let alone = |cluster: &Cluster| {
        until("nobody leads, and who is not heard is not in sync", || {
            let rows = cluster.partitions(1, TOPIC);
            let is_alone =
                |row: &serde_json::Value| row["leader"] == -1 && row["in_sync_replicas"] == serde_json::json!([1]);
            let leaderless = cluster.metric(1, "millrace_partitions_leaderless") >= all;
            (leaderless && rows.iter().all(is_alone)).then_some(())
        });
    };
    alone(&cluster);
    assert!(cluster.metric(1, "millrace_partitions_led") < 1.0);
    cluster.kill(1);
    cluster.restart(1);
    alone(&cluster);
}
