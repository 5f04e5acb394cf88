//! A disk that hangs, and one without room: others lead meanwhile.

use std::collections::BTreeSet;

use millrace_raft::RoleKind;
use millrace_storage::CrashKind;
use millrace_types::{ErrorCode, Instant};

use super::damage::{small_segments, write};
use crate::call::{Acks, PartitionAnswer};
use crate::replica::ReplicaEvent;
use crate::replica::mutation::{Mutation, assert_noticed};
use crate::testing::{Cluster, batch};

fn other_leads(cluster: &Cluster, old: usize) -> bool {
    cluster.leader().is_some_and(|at| at != old && cluster.view(at).tells_latest())
}

/// The disk of a leader takes a flush and does not end it.
fn a_hung_flush() {
    let mut cluster = Cluster::led(41, 3, small_segments(), 2);
    write(&mut cluster, 0);
    cluster.run_until("agreement", Cluster::agree);
    let old = cluster.leader().expect("a leader");
    cluster.nodes[old].hold = true;
    let waits = cluster.produce(old, batch(&["waits"]), Acks::All, Instant::NEVER);
    cluster.run(2_900);
    assert!(!cluster.view(old).is_hung() && cluster.leader() == Some(old), "a flush may take its time");
    let took = cluster.run_until("another leader", |cluster| other_leads(cluster, old));
    assert!(took < 1_000, "{took} ms");
    assert!(cluster.view(old).is_hung());
    let answer = cluster.answers.remove(&waits);
    assert!(matches!(answer, Some(PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower))), "{answer:?}");
    let written = write(&mut cluster, 1);
    cluster.nodes[old].hold = false;
    cluster.work(old);
    cluster.run_until("agreement", |cluster| cluster.view(old).leader().is_some() && cluster.agree());
    assert!(!cluster.view(old).is_hung());
    let leader = cluster.leader().expect("a leader");
    cluster.run_until("three in sync", |cluster| cluster.view(leader).in_sync() == 3);
    assert_eq!(write(&mut cluster, 2), written + 1);
}

#[test]
fn a_leader_whose_flush_hangs_resigns() {
    a_hung_flush();
}

#[test]
fn a_replica_whose_disk_hangs_asks_for_no_votes() {
    let mut cluster = Cluster::led(42, 3, small_segments(), 2);
    write(&mut cluster, 0);
    let leader = cluster.leader().expect("a leader");
    let hung = (leader + 1) % 3;
    cluster.nodes[hung].hold = true;
    cluster.produce(leader, batch(&["x"]), Acks::Leader, Instant::NEVER);
    cluster.run_until("it hangs", |cluster| cluster.view(hung).is_hung());
    cluster.crash(leader, CrashKind::Process);
    for _ in 0..100 {
        cluster.run(20);
        let role = cluster.replica(hung).consensus().role();
        assert!(matches!(role, RoleKind::Unattached | RoleKind::Follower), "{role:?}");
    }
    cluster.nodes[hung].hold = false;
    cluster.work(hung);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
}

#[test]
fn the_only_replica_leads_on_whatever_its_disk_does() {
    let mut cluster = Cluster::led(43, 1, small_segments(), 1);
    cluster.nodes[0].hold = true;
    let token = cluster.produce(0, batch(&["x"]), Acks::All, Instant::NEVER);
    cluster.run(10_000);
    assert!(cluster.view(0).is_hung() && cluster.leader() == Some(0));
    cluster.nodes[0].hold = false;
    cluster.work(0);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    assert_eq!(cluster.acknowledged(token), 0);
    assert!(!cluster.view(0).is_hung());
}

#[test]
fn a_replica_of_a_process_that_hangs_leaves_leading_to_others() {
    let mut cluster = Cluster::led(44, 3, small_segments(), 2);
    write(&mut cluster, 0);
    cluster.run_until("agreement", Cluster::agree);
    let old = cluster.leader().expect("a leader");
    cluster.step(old, ReplicaEvent::Unwell(true));
    cluster.run_until("another leader", |cluster| other_leads(cluster, old));
    let second = cluster.leader().expect("a leader");
    cluster.run(200);
    cluster.crash(second, CrashKind::Process);
    cluster.run_until("the third leads", |cluster| other_leads(cluster, old));
    cluster.step(old, ReplicaEvent::Unwell(false));
    let third = cluster.leader().expect("a leader");
    cluster.crash(third, CrashKind::Process);
    cluster.start(second);
    cluster
        .run_until("one of the others", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
}

/// Writes every 100 ms for so many milliseconds, each time to whoever leads; returns how many were refused, and who has led.
fn write_for(cluster: &mut Cluster, ms: u64) -> (usize, BTreeSet<usize>) {
    let (mut tokens, mut led) = (Vec::new(), BTreeSet::new());
    for n in 0..ms / 100 {
        if let Some(at) = cluster.leader() {
            led.insert(at);
            tokens.push(cluster.produce(at, batch(&[&format!("{n:0400}")]), Acks::Leader, Instant::NEVER));
        }
        cluster.run(100);
    }
    let refused = tokens.iter().filter(|token| match cluster.answers.remove(token) {
        Some(PartitionAnswer::Refused { error, .. }) => {
            assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
            true
        }
        _ => false,
    });
    (refused.count(), led)
}

/// The leader's disk is full, those of the others are not.
fn a_full_leader() {
    let mut cluster = Cluster::led(45, 3, small_segments(), 2);
    write(&mut cluster, 0);
    cluster.run_until("agreement", Cluster::agree);
    let old = cluster.leader().expect("a leader");
    cluster.nodes[old].storage.disk.set_capacity(Some(0));
    let (refused, led) = write_for(&mut cluster, 4_000);
    assert!((15..=25).contains(&refused), "{refused} were refused");
    assert!(led.len() == 2 && cluster.view(old).is_full(), "{led:?}");
    let (refused, led) = write_for(&mut cluster, 10_000);
    assert!(refused == 0 && led.len() == 1 && !led.contains(&old), "{refused} were refused, {led:?} led");
    // It is not asked to lead again, and when all others are gone it leads and refuses.
    let leader = cluster.leader().expect("a leader");
    let to = cluster.replica(old).consensus().me().key;
    cluster.step(leader, ReplicaEvent::Transfer { to });
    cluster.run(500);
    assert_eq!(cluster.leader(), Some(leader));
    cluster.nodes[old].storage.disk.set_capacity(None);
    cluster.run_until("agreement", Cluster::agree);
    write(&mut cluster, 1);
    cluster.run_until("there is room", |cluster| !cluster.view(old).is_full());
    cluster.run_until("three in sync", |cluster| cluster.view(leader).in_sync() == 3);
    cluster.step(leader, ReplicaEvent::Transfer { to });
    cluster.run_until("it leads again", |cluster| cluster.leader() == Some(old));
}

#[test]
fn a_leader_without_room_hands_over_to_one_that_has_some() {
    a_full_leader();
}

#[test]
fn where_nobody_has_room_one_leads_and_refuses() {
    let mut cluster = Cluster::led(46, 3, small_segments(), 2);
    write(&mut cluster, 0);
    cluster.run_until("agreement", Cluster::agree);
    (0..3).for_each(|at| cluster.nodes[at].storage.disk.set_capacity(Some(0)));
    let (_, led) = write_for(&mut cluster, 15_000);
    assert_eq!(led.len(), 3, "each is tried");
    let (refused, led) = write_for(&mut cluster, 15_000);
    assert!(refused == 150 && led.len() == 1, "{refused} were refused, {led:?} led");
    (0..3).for_each(|at| cluster.nodes[at].storage.disk.set_capacity(None));
    cluster.run_until("agreement", Cluster::agree);
    write(&mut cluster, 1);
    cluster.run_until("agreement", Cluster::agree);
}

/// A follower without room asks for the same records again and again, less and less often.
fn a_full_follower() {
    let mut cluster = Cluster::led(47, 3, small_segments(), 2);
    write(&mut cluster, 0);
    cluster.run_until("agreement", Cluster::agree);
    let leader = cluster.leader().expect("a leader");
    let full = (leader + 1) % 3;
    cluster.nodes[full].storage.disk.set_capacity(Some(0));
    let mut asked = BTreeSet::new();
    for n in 0..200 {
        cluster.produce(leader, batch(&[&format!("{n:0400}")]), Acks::Leader, Instant::NEVER);
        cluster.run(100);
        let at = cluster.replica(full).refetch_at;
        asked.extend((at != Instant::NEVER).then_some(at));
    }
    assert!((5..=10).contains(&asked.len()), "asked {} times in 20 s", asked.len());
    cluster.nodes[full].storage.disk.set_capacity(None);
    cluster.run_until("agreement", Cluster::agree);
}

#[test]
fn a_follower_without_room_asks_less_and_less_often() {
    a_full_follower();
}

#[test]
fn a_broken_rule_of_full_and_hung_disks_is_noticed() {
    assert_noticed(
        "a_broken_rule_of_full_and_hung_disks_is_noticed",
        &[
            (Mutation::NeverStalled, a_hung_flush),
            (Mutation::LeadFull, a_full_leader),
            (Mutation::NoPause, a_full_follower),
        ],
    );
}
