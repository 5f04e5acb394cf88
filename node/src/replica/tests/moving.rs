//! A partition moves to other brokers: one replica after the other, nothing acknowledged is lost, and what is left behind goes
//! when it counts no more.

use std::panic::catch_unwind;

use millrace_raft::RoleKind;
use millrace_storage::{CrashKind, LogConfig};
use millrace_types::{ErrorCode, Instant};

use crate::call::{Acks, PartitionAnswer};
use crate::replica::ReplicaEvent;
use crate::replica::mutation::{Mutation, assert_noticed};
use crate::testing::{Cluster, batch};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, retention_ms: -1, ..LogConfig::default() }
}

/// Three brokers with a leader, and as many that have nothing.
fn scene(seed: u64, spares: usize) -> Cluster {
    let mut cluster = Cluster::with_spares(seed, (3, spares), None, config(), 2);
    lead(&mut cluster);
    cluster
}

fn lead(cluster: &mut Cluster) {
    cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
}

/// What is written with acks=all while the cluster goes on; what it refuses is written again.
#[derive(Default)]
struct Writer {
    sent: usize,
    waiting: Option<(u64, String)>,
    acknowledged: Vec<String>,
}

impl Writer {
    fn go_on(&mut self, cluster: &mut Cluster) {
        if let Some((token, value)) = self.waiting.take() {
            match cluster.answers.remove(&token) {
                Some(PartitionAnswer::Produced { .. }) => self.acknowledged.push(value),
                Some(PartitionAnswer::Failed(code)) => assert!(
                    matches!(
                        code,
                        ErrorCode::NotLeaderOrFollower
                            | ErrorCode::NotEnoughReplicas
                            | ErrorCode::NotEnoughReplicasAfterAppend
                            | ErrorCode::RequestTimedOut
                    ),
                    "{code:?}"
                ),
                Some(other) => panic!("{other:?}"),
                // Whoever it was sent to may have died.
                None if self.sent % 8 == 7 => {}
                None => self.waiting = Some((token, value)),
            }
        }
        if self.waiting.is_none()
            && let Some(at) = cluster.leader()
        {
            self.sent += 1;
            let value = format!("record {}", self.sent);
            let token = cluster.produce(at, batch(&[&value]), Acks::All, Instant::NEVER);
            self.waiting = Some((token, value));
        }
    }

    /// Writes until it holds, which it must within 20 s.
    fn until(&mut self, cluster: &mut Cluster, what: &str, reached: impl Fn(&Cluster) -> bool) {
        for _ in 0..2_000 {
            self.go_on(cluster);
            cluster.run(10);
            if reached(cluster) {
                return;
            }
        }
        let members: Vec<_> = (cluster.nodes.iter())
            .map(|node| node.replica.as_ref().map(|replica| replica.consensus().configuration().clone()))
            .collect();
        panic!("never comes: {what}: {members:?}");
    }

    /// The first move comes to its end: the three that were spare hold everything, and nothing is left of the others.
    fn ends_on_the_spares(&mut self, cluster: &mut Cluster) {
        self.until(cluster, "the target", |cluster| cluster.reached.last() == Some(&1));
        cluster.finish_move();
        self.until(cluster, "the others are gone", |cluster| are_gone(cluster, &[0, 1, 2]));
        cluster.run_until("agreement", Cluster::agree);
        (3..6).for_each(|at| self.check(cluster, at));
    }

    /// A replica holds all that was acknowledged, in its order.
    fn check(&self, cluster: &Cluster, at: usize) {
        let held = cluster.values(at);
        let mut rest = held.iter();
        for value in &self.acknowledged {
            assert!(rest.any(|one| one == value), "{value} is lost or out of its order at {at}");
        }
    }
}

fn are_gone(cluster: &Cluster, brokers: &[usize]) -> bool {
    brokers.iter().all(|at| cluster.nodes[*at].retired && !cluster.nodes[*at].storage.has_data(cluster.partition))
}

#[test]
fn all_replicas_move_while_records_are_written() {
    for seed in 1..=5 {
        let mut cluster = scene(seed, 3);
        let mut writer = Writer::default();
        writer.until(&mut cluster, "records", |cluster| cluster.values(0).len() > 20);
        cluster.move_to(&[3, 4, 5], 7);
        writer.until(&mut cluster, "the target", |cluster| cluster.reached == [7]);
        assert!((0..3).all(|at| cluster.runs(at) && cluster.nodes[at].storage.has_data(cluster.partition)));
        assert!(cluster.leader().is_some_and(|at| at >= 3), "who has gone leads no more");
        cluster.finish_move();
        writer.until(&mut cluster, "the others are gone", |cluster| are_gone(cluster, &[0, 1, 2]));
        let written = writer.acknowledged.len();
        cluster.run(2_000);
        assert_eq!(cluster.reached, [7], "it is said once the metadata know");
        writer.until(&mut cluster, "agreement", |cluster| cluster.are_members(&[3, 4, 5]));
        cluster.run_until("agreement", Cluster::agree);
        (3..6).for_each(|at| writer.check(&cluster, at));
        // What is left knows by itself who it is: nobody begins as the first voters did.
        (3..6).for_each(|at| cluster.crash(at, CrashKind::Power));
        (3..6).for_each(|at| cluster.start(at));
        lead(&mut cluster);
        assert!(cluster.are_members(&[3, 4, 5]));
        (3..6).for_each(|at| writer.check(&cluster, at));
        assert!(written > 20, "{written}");
    }
}

#[test]
fn a_leader_that_dies_in_the_middle_costs_nothing() {
    for seed in 1..=8 {
        let mut cluster = scene(seed, 3);
        let mut writer = Writer::default();
        writer.until(&mut cluster, "records", |cluster| cluster.values(0).len() > 10);
        cluster.move_to(&[3, 4, 5], 1);
        for _ in 0..3 {
            let pause = cluster.dice.roll(60);
            (0..pause / 10 + 1).for_each(|_| {
                writer.go_on(&mut cluster);
                cluster.run(10);
            });
            let Some(dies) = cluster.leader() else { continue };
            cluster.crash(dies, if seed % 2 == 0 { CrashKind::Power } else { CrashKind::Process });
            writer.until(&mut cluster, "another leader", |cluster| {
                cluster.leader().is_some_and(|at| at != dies && cluster.view(at).tells_latest())
            });
            cluster.start(dies);
        }
        writer.ends_on_the_spares(&mut cluster);
    }
}

#[test]
fn a_move_that_is_called_off_goes_the_other_way() {
    for seed in 1..=4 {
        let mut cluster = scene(seed, 3);
        let mut writer = Writer::default();
        writer.until(&mut cluster, "records", |cluster| cluster.values(0).len() > 10);
        cluster.move_to(&[3, 4, 5], 1);
        // One has its vote, and another one may have lost its own.
        writer.until(&mut cluster, "a step", |cluster| cluster.votes(3));
        cluster.run(seed * 7);
        cluster.move_to(&[0, 1, 2], 2);
        writer.until(&mut cluster, "the way back", |cluster| cluster.reached.last() == Some(&2));
        cluster.finish_move();
        let begun: Vec<usize> = (3..6).filter(|at| cluster.runs(*at)).collect();
        writer.until(&mut cluster, "the others are gone", |cluster| {
            begun.iter().all(|at| !cluster.runs(*at)) && cluster.are_members(&[0, 1, 2])
        });
        cluster.run_until("agreement", Cluster::agree);
        (0..3).for_each(|at| writer.check(&cluster, at));
    }
}

#[test]
fn a_target_that_is_dead_holds_up_nobody_else() {
    let mut cluster = scene(3, 3);
    let mut writer = Writer::default();
    cluster.move_to(&[3, 4, 5], 1);
    cluster.crash(4, CrashKind::Power);
    writer.until(&mut cluster, "the others vote", |cluster| cluster.votes(3) && cluster.votes(5));
    (0..100).for_each(|_| {
        writer.go_on(&mut cluster);
        cluster.run(20);
    });
    assert!(cluster.reached.is_empty(), "one is missing");
    assert_eq!((0..3).filter(|at| cluster.votes(*at)).count(), 1, "in its place one stays of those there were");
    cluster.start(4);
    writer.ends_on_the_spares(&mut cluster);
}

#[test]
fn a_dead_voter_is_replaced_without_another_vote_in_between() {
    let mut cluster = scene(4, 1);
    cluster.write("before");
    let dead = (cluster.leader().expect("a leader") + 1) % 3;
    cluster.crash(dead, CrashKind::Power);
    lead(&mut cluster);
    let stay: Vec<usize> = (0..3).filter(|at| *at != dead).chain([3]).collect();
    cluster.move_to(&stay, 1);
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&1));
    cluster.finish_move();
    cluster.write("after");
    cluster.run_until("agreement", Cluster::agree);
    assert_eq!(cluster.values(3), ["before", "after"]);
    // It comes back when all is over, and is told that it has gone.
    cluster.start(dead);
    cluster.run_until("it goes", |cluster| are_gone(cluster, &[dead]));
}

#[test]
fn who_comes_back_when_everybody_it_knew_has_gone_is_told_by_who_leads() {
    let mut cluster = scene(5, 3);
    cluster.write("before");
    let leader = cluster.leader().expect("a leader");
    let away = (leader + 1) % 3;
    cluster.crash(away, CrashKind::Process);
    cluster.move_to(&[3, 4, 5], 1);
    cluster.crash(away, CrashKind::Process);
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&1));
    cluster.finish_move();
    let others: Vec<usize> = (0..3).filter(|at| *at != away).collect();
    cluster.run_until("the others are gone", |cluster| are_gone(cluster, &others));
    cluster.start(away);
    cluster.run_until("it goes, too", |cluster| are_gone(cluster, &[away]));
    assert!(cluster.are_members(&[3, 4, 5]));
}

#[test]
fn who_is_none_of_the_first_voters_neither_leads_nor_has_a_vote() {
    let mut cluster = scene(6, 3);
    cluster.write("a");
    // Nobody who votes is heard by those who are to, and they do not know each other.
    for (old, new) in (0..3).flat_map(|old| (3..6).map(move |new| (old, new))) {
        cluster.link(old, new, false);
    }
    cluster.move_to(&[3, 4, 5], 1);
    let is_quiet = |cluster: &Cluster| {
        (3..6).all(|at| {
            let raft = cluster.replica(at).consensus();
            raft.role() == RoleKind::Unattached && raft.epoch() == 0 && raft.configuration().voters.is_empty()
        })
    };
    cluster.run(5_000);
    assert!(is_quiet(&cluster));
    (3..6).for_each(|at| cluster.crash(at, CrashKind::Power));
    (3..6).for_each(|at| cluster.start(at));
    (0..3).for_each(|at| cluster.crash(at, CrashKind::Power));
    cluster.run(5_000);
    assert!(is_quiet(&cluster), "nor after a restart, with nobody else there");
    (0..3).for_each(|at| cluster.start(at));
    lead(&mut cluster);
    cluster.heal();
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&1));
    assert!(cluster.values(4) == ["a"]);
}

/// A replica is told to go while it is a member, by metadata that are older than the members.
fn a_member_is_told_to_go() {
    let mut cluster = scene(7, 0);
    cluster.write("a");
    let follower = (cluster.leader().expect("a leader") + 1) % 3;
    cluster.step(follower, ReplicaEvent::Retire(true));
    cluster.run(3_000);
    assert!(cluster.runs(follower), "its acknowledgements count");
    cluster.step(follower, ReplicaEvent::Retire(false));
    cluster.write("b");
    cluster.run_until("agreement", Cluster::agree);
    assert_eq!(cluster.values(follower), ["a", "b"]);
}

#[test]
fn a_member_does_not_go_before_it_is_none() {
    a_member_is_told_to_go();
}

/// Where the leader is to go, another one of those who stay has to lead.
fn the_leader_moves() {
    let mut cluster = scene(8, 1);
    cluster.write("a");
    let leader = cluster.leader().expect("a leader");
    let stay: Vec<usize> = (0..4).filter(|at| *at != leader).collect();
    cluster.move_to(&stay, 1);
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&1));
    assert_ne!(cluster.leader(), Some(leader));
}

#[test]
fn a_leader_that_goes_hands_over_first() {
    the_leader_moves();
}

/// A replica that has been a member, and has thrown away what it held since, becomes a learner of the same leader again, by the
/// same process: what it acknowledged before counts no more. `lost`: it cannot catch up.
fn a_replica_comes_back(lost: bool) {
    let mut cluster = scene(9, 1);
    cluster.write("a");
    let leader = cluster.leader().expect("a leader");
    let (stays, back) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.move_to(&[leader, stays, 3], 1);
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&1));
    cluster.finish_move();
    cluster.run_until("it is gone", |cluster| are_gone(cluster, &[back]));
    if lost {
        cluster.lost.push((leader, back, "FetchResponse"));
    }
    cluster.move_to(&[leader, stays, back], 2);
    if lost {
        cluster.run(5_000);
        assert!(!cluster.votes(back), "it holds nothing");
        cluster.lost.clear();
    }
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&2));
    assert_eq!(cluster.leader(), Some(leader));
    cluster.finish_move();
    cluster.write("b");
    cluster.run_until("the third is gone", |cluster| are_gone(cluster, &[3]));
    cluster.run_until("agreement", Cluster::agree);
    assert_eq!(cluster.values(back), ["a", "b"]);
}

#[test]
fn what_a_replica_held_before_it_went_does_not_count_when_it_comes_back() {
    a_replica_comes_back(false);
    a_replica_comes_back(true);
}

#[test]
fn a_replica_that_was_gone_keeps_its_word() {
    let mut cluster = scene(10, 3);
    cluster.move_to(&[3, 4, 5], 1);
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&1));
    cluster.finish_move();
    cluster.run_until("the others are gone", |cluster| are_gone(cluster, &[0, 1, 2]));
    let epoch = cluster.view(cluster.leader().expect("a leader")).epoch();
    // With nobody there who could tell them anything, those who were the first voters begin again.
    (3..6).for_each(|at| cluster.crash(at, CrashKind::Power));
    cluster.move_to(&[0, 1, 2], 2);
    cluster.run(5_000);
    for at in 0..3 {
        let raft = cluster.replica(at).consensus();
        assert_eq!(raft.role(), RoleKind::Unattached);
        assert!(raft.is_outside() && raft.configuration().id.version > 1, "{:?}", raft.configuration());
        assert!(raft.epoch() > 0 && raft.epoch() <= epoch, "epoch {} of {epoch}", raft.epoch());
    }
    (3..6).for_each(|at| cluster.start(at));
    cluster.run_until("the target", |cluster| cluster.reached.last() == Some(&2));
}

#[test]
fn broken_rules_of_moves_are_noticed() {
    type Raft = millrace_raft::mutation::Mutation;
    assert_noticed("a_member_does_not_go_before_it_is_none", &[(Mutation::RetireInside, a_member_is_told_to_go)]);
    assert_noticed("a_leader_that_goes_hands_over_first", &[(Mutation::LeaveWithoutHandingOver, the_leader_moves)]);
    let name = "what_a_replica_held_before_it_went_does_not_count_when_it_comes_back";
    for mutation in [Raft::CountBeforeJoining, Raft::PromoteBehind] {
        let story = || a_replica_comes_back(true);
        let noticed = millrace_raft::mutation::with_broken(Some(mutation), || catch_unwind(story));
        assert!(noticed.is_err(), "{mutation:?} goes unnoticed");
        println!("noticed {mutation:?}: {name}");
    }
}
