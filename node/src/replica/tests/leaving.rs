//! What becomes of those who wait at a replica when the leader changes.

use millrace_storage::LogConfig;
use millrace_types::{ErrorCode, Instant};

use crate::call::{Acks, PartitionAnswer, PartitionOp};
use crate::testing::{Cluster, batch, sequenced};

fn led(seed: u64, min_in_sync: usize) -> (Cluster, usize) {
    let mut cluster = Cluster::led(seed, 3, LogConfig::default(), min_in_sync);
    cluster.run(300);
    let leader = cluster.leader().expect("led");
    (cluster, leader)
}

#[test]
fn fetches_that_wait_look_again_as_soon_as_the_leader_changes() {
    for seed in 0..10 {
        let (mut cluster, old) = led(seed, 2);
        let followers: Vec<usize> = (0..3).filter(|at| *at != old).collect();
        let watch = |cluster: &mut Cluster, at: usize| {
            let beyond = cluster.view(at).log.high_watermark();
            cluster.call(at, PartitionOp::Watch { beyond })
        };
        let watches: Vec<u64> = (0..3).map(|at| watch(&mut cluster, at)).collect();
        let changes: Vec<u64> = (0..3).map(|at| cluster.view(at).changes()).collect();
        cluster.run(200);
        assert!(watches.iter().all(|token| !cluster.answers.contains_key(token)), "nothing has changed");
        cluster.isolate(old, false);
        cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|at| at != old));
        for at in followers {
            let epoch_seen =
                |cluster: &Cluster| cluster.view(at).leader().is_some_and(|leader| leader.0.0 != old as i32);
            cluster.run_until("the follower knows", epoch_seen);
            let answer = cluster.answers.remove(&watches[at]);
            assert!(matches!(answer, Some(PartitionAnswer::Advanced)), "{answer:?} at {at}, seed {seed}");
            assert!(cluster.view(at).changes() > changes[at]);
        }
        cluster.run_until("the old leader resigns", |cluster| cluster.view(old).leader_epoch().is_none());
        assert!(cluster.answers.contains_key(&watches[old]), "seed {seed}");
    }
}

#[test]
fn a_produce_that_waits_is_sent_away_and_its_repetition_is_written_once() {
    for seed in 0..10 {
        // With one copy enough, the leader that is cut off takes writes until it resigns.
        let (mut cluster, old) = led(seed, 1);
        cluster.isolate(old, false);
        let lost = cluster.produce(old, sequenced(7, 0, 0, &["a"]), Acks::All, Instant::NEVER);
        cluster.run_until("it resigns", |cluster| cluster.answers.contains_key(&lost));
        let answer = cluster.answers.remove(&lost);
        assert!(
            matches!(answer, Some(PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower))),
            "{answer:?}: it may be written, and may be not"
        );
        cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|at| at != old));
        let new = cluster.leader().expect("led");
        let again = cluster.produce(new, sequenced(7, 0, 0, &["a"]), Acks::All, Instant::NEVER);
        cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&again));
        cluster.isolate(old, true);
        let twice = cluster.produce(new, sequenced(7, 0, 0, &["a"]), Acks::All, Instant::NEVER);
        cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&twice));
        let base = |answer: Option<PartitionAnswer>| match answer {
            Some(PartitionAnswer::Produced { base_offset, .. }) => base_offset,
            other => panic!("{other:?}"),
        };
        assert_eq!(base(cluster.answers.remove(&again)), base(cluster.answers.remove(&twice)));
        cluster.run_until("agreement", Cluster::agree);
        assert_eq!(cluster.view(old).log.log_end(), 1, "seed {seed}");
    }
}

#[test]
fn a_leader_tells_who_is_in_sync() {
    let (mut cluster, leader) = led(3, 1);
    let brokers = |cluster: &Cluster| {
        let mut brokers: Vec<i32> = cluster.view(leader).in_sync_brokers().iter().map(|id| id.0).collect();
        brokers.sort_unstable();
        brokers
    };
    cluster.run_until("all are in sync", |cluster| brokers(cluster) == [0, 1, 2]);
    let gone = (0..3).find(|at| *at != leader).expect("a follower");
    let changes = cluster.view(leader).changes();
    cluster.crash(gone, millrace_storage::CrashKind::Process);
    cluster.run_until("it has left", |cluster| !brokers(cluster).contains(&(gone as i32)));
    assert!(cluster.view(leader).changes() > changes, "the host is told to tell others");
    let token = cluster.produce(leader, batch(&["a"]), Acks::All, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
}
