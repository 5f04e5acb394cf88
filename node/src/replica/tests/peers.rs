//! Replicas of one partition on several brokers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use millrace_storage::{CrashKind, LogConfig};
use millrace_types::{BrokerId, ErrorCode, Instant, Offset};

use crate::call::{Acks, PartitionAnswer, PartitionOp};
use crate::replica::ReplicaEvent;
use crate::testing::{Cluster, batch, records, sequenced};

fn durable() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, retention_ms: -1, ..LogConfig::default() }
}

fn from_page_cache() -> LogConfig {
    LogConfig { flush_messages: 1_000_000, ..durable() }
}

fn all(cluster: &Cluster, at: usize) -> BTreeMap<Offset, String> {
    let view = cluster.view(at);
    records(&view, view.log.log_end())
}

fn failed(cluster: &mut Cluster, token: u64) -> ErrorCode {
    match cluster.answers.remove(&token) {
        Some(PartitionAnswer::Failed(error)) => error,
        other => panic!("no failure: {other:?}"),
    }
}

#[test]
fn followers_hold_what_the_leader_acknowledges() {
    let mut cluster = Cluster::led(1, 3, durable(), 2);
    for n in 0..50 {
        assert_eq!(cluster.write(&n.to_string()), n);
    }
    cluster.run_until("agreement", Cluster::agree);
    let leader = cluster.leader().expect("a leader");
    let epoch = cluster.view(leader).leader_epoch().expect("leads");
    for at in 0..3 {
        assert_eq!(cluster.values(at), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
        let view = cluster.view(at);
        assert_eq!(view.leader().map(|(leader, epoch)| (leader.0, epoch)), Some((leader as i32, epoch)));
        assert_eq!(view.leader_epoch().is_some(), at == leader);
        assert_eq!(view.log.epochs(), cluster.view(leader).log.epochs());
        if at != leader {
            let token = cluster.produce(at, batch(&["x"]), Acks::Leader, Instant::NEVER);
            assert_eq!(failed(&mut cluster, token), ErrorCode::NotLeaderOrFollower);
        }
    }
    assert_eq!(cluster.view(leader).in_sync(), 3);
}

#[test]
fn idle_replicas_ask_for_no_timer_but_retention() {
    let mut cluster = Cluster::led(1, 3, durable(), 2);
    cluster.write("a");
    cluster.run(5_000);
    for at in 0..3 {
        assert_eq!(cluster.replica(at).consensus().deadline(), Instant::NEVER);
    }
}

#[test]
fn another_replica_leads_when_the_leader_is_gone() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        let mut cluster = Cluster::led(2, 3, durable(), 2);
        let (mut expected, mut epoch) = (Vec::new(), 0);
        for round in 0..4 {
            for n in 0..5 {
                let value = format!("{round}:{n}");
                cluster.write(&value);
                expected.push(value);
            }
            let old = cluster.leader().expect("a leader");
            cluster.crash(old, kind);
            let took = cluster
                .run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
            assert!(took < 200, "{took} ms");
            let leader = cluster.leader().expect("a leader");
            let next = cluster.view(leader).leader_epoch().expect("leads");
            assert!(leader != old && next > epoch);
            epoch = next;
            cluster.start(old);
            cluster.run_until("agreement", |cluster| cluster.view(old).leader().is_some() && cluster.agree());
            assert!(cluster.view(old).leader_epoch().is_none());
        }
        for at in 0..3 {
            assert_eq!(cluster.values(at), expected);
        }
    }
}

/// A leader that is alone has appended what no other replica has, while the others went on.
fn diverged(seed: u64) -> (Cluster, usize) {
    let mut cluster = Cluster::led(seed, 3, durable(), 2);
    cluster.write("common");
    let old = cluster.leader().expect("a leader");
    cluster.run_until("agreement", Cluster::agree);
    cluster.isolate(old, false);
    for n in 0..3 {
        let token = cluster.produce(old, batch(&[&format!("lost {n}")]), Acks::Leader, Instant::NEVER);
        cluster.run_until("its own flush", |cluster| cluster.answers.contains_key(&token));
        assert_eq!(cluster.acknowledged(token), 1 + n);
    }
    let waits = cluster.produce(old, batch(&["never"]), Acks::All, Instant::NEVER);
    cluster.run_until("another leader", |cluster| {
        cluster.leader().is_some_and(|at| at != old && cluster.view(at).tells_latest())
    });
    cluster.write("new");
    cluster.run_until("the old leader resigns", |cluster| cluster.view(old).leader_epoch().is_none());
    assert_eq!(failed(&mut cluster, waits), ErrorCode::NotEnoughReplicasAfterAppend);
    assert_eq!(cluster.values(old), ["common", "lost 0", "lost 1", "lost 2", "never"]);
    (cluster, old)
}

#[test]
fn what_was_never_committed_is_cut() {
    let (mut cluster, old) = diverged(3);
    cluster.heal();
    cluster.run_until("agreement", Cluster::agree);
    assert_eq!(cluster.values(old), ["common", "new"]);
    cluster.write("more");
    cluster.run_until("agreement", Cluster::agree);
    // What was cut does not come back, also where records lie in front of it that fit.
    cluster.crash(old, CrashKind::Power);
    cluster.start(old);
    cluster.run_until("agreement", |cluster| cluster.view(old).leader().is_some() && cluster.agree());
    assert_eq!(cluster.values(old), ["common", "new", "more"]);
    assert!(cluster.nodes[old].storage.qstate.partitions().all(|(_, state)| state.cutting.is_none()));
}

#[test]
fn a_cut_may_be_interrupted_anywhere() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        for done in 0..12 {
            let (mut cluster, old) = diverged(4);
            cluster.nodes[old].hold = true;
            cluster.isolate(old, true);
            for _ in 0..done {
                cluster.run(20);
                cluster.work_once(old);
            }
            cluster.crash(old, kind);
            cluster.start(old);
            cluster.run_until("agreement", |cluster| cluster.view(old).leader().is_some() && cluster.agree());
            assert_eq!(cluster.values(old), ["common", "new"]);
            let leader = cluster.leader().expect("a leader");
            assert_eq!(cluster.view(old).log.epochs(), cluster.view(leader).log.epochs());
        }
    }
}

#[test]
fn a_follower_begins_anew_where_its_records_are_deleted() {
    for (deleted, kind) in [(30, None), (29, None), (30, Some(CrashKind::Process)), (29, Some(CrashKind::Power))] {
        let mut cluster = Cluster::led(5, 3, durable(), 2);
        cluster.write("old");
        cluster.run_until("agreement", Cluster::agree);
        let leader = cluster.leader().expect("a leader");
        let late = (leader + 1) % 3;
        cluster.crash(late, CrashKind::Process);
        // Batches of several records: the start may lie inside of one.
        for n in 0..20 {
            let values = [format!("{n}a"), format!("{n}b"), format!("{n}c")];
            let values = values.each_ref().map(String::as_str);
            let token = cluster.produce(leader, batch(&values), Acks::All, Instant::NEVER);
            cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
            cluster.acknowledged(token);
        }
        let token = cluster.call(leader, PartitionOp::DeleteRecords { before: deleted, deadline: Instant::NEVER });
        cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
        cluster.start(late);
        if let Some(kind) = kind {
            cluster.nodes[late].hold = true;
            for _ in 0..4 {
                cluster.run(20);
                cluster.work_once(late);
            }
            cluster.crash(late, kind);
            cluster.start(late);
        }
        cluster.run_until("agreement", |cluster| cluster.view(late).leader().is_some() && cluster.agree());
        assert_eq!(cluster.view(late).log.log_start(), deleted);
        assert_eq!(all(&cluster, late), all(&cluster, leader));
        cluster.crash(leader, CrashKind::Power);
        cluster.crash(late, CrashKind::Power);
        cluster.start(late);
        cluster.start(leader);
        cluster.run_until("agreement", |cluster| cluster.leader().is_some() && cluster.agree());
        assert_eq!(all(&cluster, late).len(), 61 - usize::try_from(deleted).expect("small"));
    }
}

#[test]
fn followers_delete_what_their_leader_deletes() {
    let mut cluster = Cluster::led(6, 3, durable(), 2);
    for n in 0..10 {
        cluster.write(&n.to_string());
    }
    let leader = cluster.leader().expect("a leader");
    let token = cluster.call(leader, PartitionOp::DeleteRecords { before: 4, deadline: Instant::NEVER });
    cluster.run_until("the same start", |cluster| (0..3).all(|at| cluster.view(at).log.log_start() == 4));
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    assert!(matches!(cluster.answers.remove(&token), Some(PartitionAnswer::Deleted { low_watermark: 4 })));
    let follower = (leader + 1) % 3;
    cluster.run(50);
    cluster.crash(follower, CrashKind::Power);
    cluster.start(follower);
    assert_eq!(cluster.view(follower).log.log_start(), 4);
}

#[test]
fn a_duplicate_is_acknowledged_when_the_first_is_committed() {
    let mut cluster = Cluster::led(7, 3, durable(), 2);
    cluster.write("before");
    let leader = cluster.leader().expect("a leader");
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    // Nobody's acknowledgement reaches the leader.
    for other in &others {
        cluster.lost.push((*other, leader, "Fetch("));
        cluster.lost.push((*other, leader, "Ack("));
    }
    let first = cluster.produce(leader, sequenced(9, 0, 0, &["once"]), Acks::All, Instant::NEVER);
    cluster.run(100);
    let again = cluster.produce(leader, sequenced(9, 0, 0, &["once"]), Acks::All, Instant::NEVER);
    cluster.run(100);
    assert!(!cluster.answers.contains_key(&first) && !cluster.answers.contains_key(&again));
    assert_eq!(cluster.view(leader).log.log_end(), 2, "it is in the log once");
    cluster.lost.clear();
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&again));
    assert_eq!((cluster.acknowledged(first), cluster.acknowledged(again)), (1, 1));
    // The next leader knows the producer from the records.
    cluster.run_until("agreement", Cluster::agree);
    cluster.crash(leader, CrashKind::Process);
    cluster.run_until("another leader", |cluster| cluster.leader().is_some());
    let leader = cluster.leader().expect("a leader");
    let late = cluster.produce(leader, sequenced(9, 0, 0, &["once"]), Acks::All, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&late));
    assert_eq!(cluster.acknowledged(late), 1);
}

#[test]
fn acks_of_all_need_enough_replicas() {
    let mut cluster = Cluster::led(8, 3, durable(), 2);
    cluster.write("a");
    let leader = cluster.leader().expect("a leader");
    let [b, c] = [(leader + 1) % 3, (leader + 2) % 3];
    // The last follower still answers, so that the leader leads on, and leaves the in-sync set.
    cluster.crash(b, CrashKind::Process);
    cluster.run_until("one has left", |cluster| cluster.view(leader).in_sync() == 2);
    cluster.link(leader, c, false);
    let waits = cluster.produce(leader, batch(&["waits"]), Acks::All, Instant::NEVER);
    cluster.run_until("the other has left", |cluster| cluster.view(leader).in_sync() == 1);
    assert_eq!(failed(&mut cluster, waits), ErrorCode::NotEnoughReplicasAfterAppend);
    let refused = cluster.produce(leader, batch(&["refused"]), Acks::All, Instant::NEVER);
    assert_eq!(failed(&mut cluster, refused), ErrorCode::NotEnoughReplicas);
    let own = cluster.produce(leader, batch(&["own"]), Acks::Leader, Instant::NEVER);
    cluster.run_until("its own flush", |cluster| cluster.answers.contains_key(&own));
    assert_eq!(cluster.acknowledged(own), 2);
    assert_eq!(cluster.view(leader).log.high_watermark(), 1);
}

#[test]
fn a_time_out_bounds_the_wait_for_other_replicas() {
    let mut cluster = Cluster::led(9, 3, durable(), 1);
    let leader = cluster.leader().expect("a leader");
    for other in (0..3).filter(|at| *at != leader) {
        cluster.lost.push((other, leader, "Fetch("));
        cluster.lost.push((other, leader, "Ack("));
    }
    let deadline = cluster.now.instant.after(std::time::Duration::from_millis(150));
    let token = cluster.produce(leader, batch(&["a"]), Acks::All, deadline);
    cluster.run(149);
    assert!(!cluster.answers.contains_key(&token));
    cluster.run(2);
    assert_eq!(failed(&mut cluster, token), ErrorCode::RequestTimedOut);
}

#[test]
fn a_new_leader_tells_no_latest_offset_before_its_epoch_is_committed() {
    let mut cluster = Cluster::led(10, 3, durable(), 2);
    cluster.write("a");
    cluster.run_until("agreement", Cluster::agree);
    // The others hold the second record, and do not know that it is committed.
    cluster.write("b");
    let old = cluster.leader().expect("a leader");
    for from in 0..3 {
        for to in (0..3).filter(|to| *to != from) {
            cluster.lost.push((from, to, "Fetch("));
            cluster.lost.push((from, to, "Ack("));
        }
    }
    cluster.crash(old, CrashKind::Process);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some());
    let leader = cluster.leader().expect("a leader");
    assert!(!cluster.view(leader).tells_latest());
    let token = cluster.call(leader, PartitionOp::DeleteRecords { before: 1, deadline: Instant::NEVER });
    assert_eq!(failed(&mut cluster, token), ErrorCode::NotLeaderOrFollower);
    cluster.lost.clear();
    cluster.run_until("its epoch is committed", |cluster| cluster.view(leader).tells_latest());
    assert_eq!(cluster.view(leader).log.high_watermark(), 2);
}

#[test]
fn from_the_page_cache_a_power_loss_is_recovered_from_the_others() {
    let mut cluster = Cluster::led(11, 3, from_page_cache(), 2);
    for n in 0..20 {
        cluster.write(&n.to_string());
    }
    cluster.run_until("agreement", Cluster::agree);
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for at in 0..3 {
        assert!(cluster.nodes[at].storage.qstate.partitions().all(|(_, state)| state.volatile));
        cluster.crash(at, CrashKind::Power);
        cluster.start(at);
        assert!(cluster.replica(at).consensus().status().recovering, "it may have lost what it had acknowledged");
        cluster.run_until("it is whole", |cluster| {
            cluster.leader().is_some() && cluster.agree() && !cluster.replica(at).consensus().status().recovering
        });
        assert_eq!(cluster.values(at), expected, "broker {at}");
        cluster.run(50);
        assert!(cluster.nodes[at].storage.qstate.partitions().all(|(_, state)| !state.recovering));
    }
}

#[test]
fn that_a_replica_recovers_outlasts_a_clean_restart() {
    let mut cluster = Cluster::led(12, 3, from_page_cache(), 2);
    for n in 0..5 {
        cluster.write(&n.to_string());
    }
    let lossy = (cluster.leader().expect("a leader") + 1) % 3;
    cluster.crash(lossy, CrashKind::Power);
    cluster.isolate(lossy, false);
    cluster.start(lossy);
    cluster.run(50);
    cluster.crash(lossy, CrashKind::Process);
    cluster.start(lossy);
    assert!(cluster.replica(lossy).consensus().status().recovering);
    cluster.heal();
    cluster.run_until("it is whole", |cluster| !cluster.replica(lossy).consensus().status().recovering);
    cluster.run_until("agreement", Cluster::agree);
}

#[test]
fn after_the_power_of_all_is_lost_the_longest_log_leads() {
    let mut cluster = Cluster::led(13, 3, from_page_cache(), 2);
    for n in 0..10 {
        cluster.write(&n.to_string());
    }
    (0..3).for_each(|at| cluster.crash(at, CrashKind::Power));
    cluster.start(0);
    cluster.start(1);
    cluster.run(3_000);
    assert_eq!(cluster.leader(), None, "two that may have lost something do not know what the third holds");
    cluster.start(2);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some() && cluster.agree());
    cluster.run_until("all are whole", |cluster| (0..3).all(|at| !cluster.replica(at).consensus().status().recovering));
    cluster.write("on");
}

#[test]
fn a_stop_hands_leadership_over() {
    let mut cluster = Cluster::led(14, 3, durable(), 2);
    cluster.write("a");
    cluster.run_until("agreement", Cluster::agree);
    let old = cluster.leader().expect("a leader");
    cluster.step(old, ReplicaEvent::Stop);
    let took = cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|at| at != old));
    assert!(took <= 50, "{took} ms");
    cluster.run_until("it has stopped", |cluster| cluster.nodes[old].stopped);
    assert!(cluster.replica(old).is_flushed());
    cluster.write("b");
}

#[test]
fn a_leader_whose_disk_fails_makes_way() {
    let mut cluster = Cluster::led(15, 3, durable(), 2);
    cluster.write("a");
    let old = cluster.leader().expect("a leader");
    let fault = millrace_storage::Fault::new(millrace_storage::Operation::Flush, 1).on(".log");
    cluster.nodes[old].storage.disk.inject(fault);
    let token = cluster.produce(old, batch(&["b"]), Acks::All, Instant::NEVER);
    cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|at| at != old));
    assert_eq!(failed(&mut cluster, token), ErrorCode::KafkaStorageError);
    assert!(cluster.view(old).leader_epoch().is_none());
    cluster.write("c");
    cluster.crash(old, CrashKind::Process);
    cluster.start(old);
    cluster.run_until("agreement", |cluster| cluster.view(old).leader().is_some() && cluster.agree());
}

#[test]
fn batches_that_came_damaged_are_fetched_again() {
    let mut cluster = Cluster::led(16, 3, durable(), 2);
    let leader = cluster.leader().expect("a leader");
    let follower = (leader + 1) % 3;
    cluster.damage = Some((follower, 3));
    for n in 0..5 {
        cluster.write(&n.to_string());
    }
    cluster.run_until("agreement", Cluster::agree);
    assert_eq!(cluster.damage, Some((follower, 0)), "three answers were damaged");
    assert_eq!(cluster.values(follower).len(), 5);
}

#[test]
fn what_is_deleted_does_not_come_back_with_another_leader() {
    let mut cluster = Cluster::led(3, 3, durable(), 2);
    for n in 0..6 {
        cluster.write(&n.to_string());
    }
    cluster.run_until("agreement", Cluster::agree);
    let leader = cluster.leader().expect("a leader");
    let (slow, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let delete =
        |cluster: &mut Cluster, before, deadline| cluster.call(leader, PartitionOp::DeleteRecords { before, deadline });
    let token = delete(&mut cluster, 2, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    for at in 0..3 {
        assert_eq!(cluster.view(at).log.log_start(), 2, "the answer tells of all in-sync replicas");
    }
    // One that hears nothing is in sync until it is known to be silent.
    cluster.link(leader, slow, false);
    let deadline = cluster.now.instant.after(std::time::Duration::from_millis(100));
    let token = delete(&mut cluster, 3, deadline);
    cluster.run(150);
    assert_eq!(failed(&mut cluster, token), ErrorCode::RequestTimedOut);
    assert_eq!([leader, slow, other].map(|at| cluster.view(at).log.log_start()), [3, 2, 3]);
    let token = delete(&mut cluster, 4, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    let answer = cluster.answers.remove(&token);
    assert!(matches!(answer, Some(PartitionAnswer::Deleted { low_watermark: 4 })), "{answer:?}");
    assert!(!cluster.replica(leader).consensus().in_sync().iter().any(|key| key.broker.0 == slow as i32));
}

#[test]
fn a_follower_far_behind_is_served_when_its_records_are_read_in() {
    for keeps in [true, false] {
        let mut cluster = Cluster::led(1, 3, durable(), 2);
        let leader = cluster.leader().expect("a leader");
        let late = (0..3).find(|at| *at != leader).expect("a follower");
        cluster.crash(late, CrashKind::Process);
        // What an active segment holds counts as in memory: some have to be full.
        let value = "x".repeat(700_000);
        for _ in 0..3 {
            cluster.write(&value);
        }
        let memory = cluster.memory(leader);
        memory.keeps.store(keeps, Ordering::Relaxed);
        memory.cold.store(true, Ordering::Relaxed);
        cluster.start(late);
        cluster.run_until("the follower asks", |_| memory.warmed.load(Ordering::Relaxed) > 0);
        if !keeps {
            // Pages that are lost again at once hold up this follower and nobody else.
            assert!(cluster.values(late).is_empty());
            cluster.write("meanwhile");
            memory.cold.store(false, Ordering::Relaxed);
        }
        cluster.run_until("agreement", Cluster::agree);
        assert_eq!(cluster.values(late), cluster.values(leader));
    }
}

#[test]
fn a_follower_far_behind_waits_for_room_and_others_do_not() {
    let mut cluster = Cluster::led(1, 3, durable(), 2);
    let leader = cluster.leader().expect("a leader");
    let late = (0..3).find(|at| *at != leader).expect("a follower");
    cluster.crash(late, CrashKind::Process);
    for n in 0..20 {
        cluster.write(&n.to_string());
    }
    cluster.run_until("it is not in sync", |cluster| cluster.view(leader).in_sync() == 2);
    let room = cluster.room(leader);
    for at in 0..3 {
        room.set_queued(BrokerId(at), 1 << 20);
    }
    cluster.start(late);
    for n in 20..30 {
        cluster.write(&n.to_string());
    }
    assert!(cluster.values(late).is_empty(), "it waits, and nobody else does");
    room.set_queued(BrokerId(i32::try_from(late).expect("small")), 0);
    cluster.run_until("agreement", Cluster::agree);
    assert_eq!(cluster.values(late).len(), 30);
}
