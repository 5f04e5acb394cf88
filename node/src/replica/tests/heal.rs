//! Rot in sealed segments of a replica that runs: found by the scrub, or when a follower is served, and repaired in place
//! while the replica goes on.

use std::path::Path;

use bytes::Bytes;
use millrace_storage::{CrashKind, Disk, LogConfig, SimDisk, Upkeep, UpkeepSnapshot};
use millrace_types::{ErrorCode, Instant, Offset};

use super::damage::{bases, compare, dir, is_healed, log_file, small_segments, write, written_with};
use crate::call::{Acks, PartitionAnswer, PartitionOp};
use crate::replica::mutation::{Mutation, assert_noticed};
use crate::testing::{Cluster, batch};

/// A scrub that looks at a segment every 10 ms.
fn scrubbed() -> (LogConfig, Upkeep) {
    let upkeep = Upkeep::new(100 << 20);
    (LogConfig { upkeep: upkeep.clone(), ..small_segments() }, upkeep)
}

fn file(disk: &SimDisk, dir: &Path, base: Offset) -> Bytes {
    let file = disk.open(&log_file(dir, base), 0).expect("there");
    file.read(0, usize::try_from(file.len()).expect("small")).expect("read")
}

/// What becomes of the segment with this base offset.
type Harm = fn(&SimDisk, &Path, Offset);

const HARMS: [(&str, Harm); 6] = [
    ("a bit of a record", |disk, dir, base| disk.flip_bit(&log_file(dir, base), 100, 3).expect("there")),
    ("a bit of a base offset", |disk, dir, base| disk.flip_bit(&log_file(dir, base), 5, 3).expect("there")),
    ("a bit of an epoch", |disk, dir, base| disk.flip_bit(&log_file(dir, base), 15, 1).expect("there")),
    ("a length", |disk, dir, base| disk.flip_bit(&log_file(dir, base), 8, 6).expect("there")),
    ("zeros", |disk, dir, base| {
        let file = disk.open(&log_file(dir, base), 0).expect("there");
        file.zero(0..file.len()).expect("zeroed");
    }),
    ("an end that is missing", |disk, dir, base| {
        let file = disk.open(&log_file(dir, base), 0).expect("there");
        file.truncate(file.len() / 3).expect("cut");
    }),
];

fn repaired(snapshot: &UpkeepSnapshot) -> u64 {
    snapshot.repaired.iter().map(|(ranges, _)| ranges).sum()
}

fn found(snapshot: &UpkeepSnapshot) -> u64 {
    snapshot.found.iter().map(|(ranges, _)| ranges).sum()
}

fn is_repaired(upkeep: &Upkeep) -> bool {
    let snapshot = upkeep.snapshot();
    found(&snapshot) > 0 && repaired(&snapshot) == found(&snapshot)
}

#[test]
fn the_scrub_finds_rot_and_a_peer_repairs_it() {
    for (name, harm) in HARMS {
        for of_leader in [false, true] {
            let (config, upkeep) = scrubbed();
            let mut cluster = written_with(21, 14, config);
            let leader = cluster.leader().expect("a leader");
            let at = if of_leader { leader } else { (leader + 1) % 3 };
            let (dir, disk) = (dir(&cluster), cluster.nodes[at].storage.disk.clone());
            let base = bases(&disk, &dir)[2];
            let good = file(&disk, &dir, base);
            harm(&disk, &dir, base);
            assert_eq!(write(&mut cluster, 14), 14, "{name}");
            cluster.run_until(name, |_| is_repaired(&upkeep));
            cluster.run_until(name, is_healed);
            assert_eq!(file(&disk, &dir, base), good, "{name}: the same file again");
            assert!(upkeep.snapshot().found[1].1 > 0, "{name}: its bytes are counted");
            assert!(!of_leader || cluster.leader() != Some(leader), "{name}: another one leads");
            assert_eq!(write(&mut cluster, 15), 15);
            cluster.run_until(name, is_healed);
            compare(&cluster, 16);
        }
    }
}

/// A follower has been away. What it lacks has rotted at the leader, and nobody scrubs.
fn rot_in_the_way_of_a_follower() {
    let mut cluster = written_with(22, 10, small_segments());
    let leader = cluster.leader().expect("a leader");
    let late = (leader + 1) % 3;
    cluster.crash(late, CrashKind::Process);
    for n in 10..24 {
        assert_eq!(write(&mut cluster, n), n as Offset);
    }
    let (dir, disk) = (dir(&cluster), cluster.nodes[leader].storage.disk.clone());
    let base = *bases(&disk, &dir).iter().find(|base| **base >= 14).expect("a segment");
    let good = file(&disk, &dir, base);
    disk.flip_bit(&log_file(&dir, base), 400, 1).expect("there");
    cluster.start(late);
    cluster.run_until("the follower holds everything", |cluster| is_healed(cluster) && cluster.agree());
    compare(&cluster, 24);
    cluster.run_until("the segment is repaired", |_| file(&disk, &dir, base) == good);
    assert_ne!(cluster.leader(), Some(leader), "another one led meanwhile");
}

#[test]
fn rot_of_a_leader_is_no_obstacle_for_a_follower() {
    rot_in_the_way_of_a_follower();
}

/// Nobody can lend what the leader lacks: it does not lead for that long.
fn a_leader_that_cannot_be_repaired() {
    let (config, upkeep) = scrubbed();
    let mut cluster = written_with(23, 14, config);
    let leader = cluster.leader().expect("a leader");
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    cluster.lost = others.map(|other| (leader, other, "Repair")).to_vec();
    let (dir, disk) = (dir(&cluster), cluster.nodes[leader].storage.disk.clone());
    let base = bases(&disk, &dir)[2];
    disk.flip_bit(&log_file(&dir, base), 100, 3).expect("there");
    cluster.run_until("the rot is found", |_| found(&upkeep.snapshot()) > 0);
    cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|at| at != leader));
    // The new leader ends: the damaged replica leaves it to the third one.
    let second = cluster.leader().expect("a leader");
    cluster.crash(second, CrashKind::Process);
    for _ in 0..40 {
        cluster.run(50);
        assert_ne!(cluster.leader(), Some(leader), "a damaged replica leads");
    }
    assert!(cluster.leader().is_some());
    assert_eq!(write(&mut cluster, 14), 14, "it still counts");
    cluster.start(second);
    cluster.lost.clear();
    cluster.run_until("repaired", |_| is_repaired(&upkeep));
    cluster.run_until("healed", is_healed);
    compare(&cluster, 15);
}

#[test]
fn a_damaged_replica_leaves_leading_to_others() {
    a_leader_that_cannot_be_repaired();
}

/// The leader alone holds records, and one of them has rotted: the others cannot pass it, so nothing would ever be committed.
fn rot_of_what_is_not_committed() {
    let (config, upkeep) = scrubbed();
    let mut cluster = written_with(28, 8, config);
    let leader = cluster.leader().expect("a leader");
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    cluster.lost = others.map(|other| (leader, other, "FetchResponse")).to_vec();
    let pending: Vec<u64> =
        (8..14).map(|n| cluster.produce(leader, batch(&[&format!("{n:0200}")]), Acks::All, Instant::NEVER)).collect();
    let (dir, disk) = (dir(&cluster), cluster.nodes[leader].storage.disk.clone());
    cluster.run(150);
    let base = *bases(&disk, &dir).iter().rev().nth(1).expect("a sealed segment");
    assert!(base >= 8 && cluster.view(leader).log.high_watermark() == 8, "{base} is not committed");
    disk.flip_bit(&log_file(&dir, base), 100, 3).expect("there");
    cluster.run_until("the rot is found", |_| found(&upkeep.snapshot()) > 0);
    assert_eq!(cluster.leader(), Some(leader));
    cluster.lost.clear();
    cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|at| at != leader));
    cluster.run_until("healed", is_healed);
    let committed = cluster.view(leader).log.log_end();
    assert!((8..=base + 2).contains(&committed), "what could be had in front of the damage, at most: {committed}");
    assert_eq!(write(&mut cluster, 20), committed);
    let acked = |token: &u64| matches!(cluster.answers.get(token), Some(PartitionAnswer::Produced { .. }));
    assert!(
        pending.iter().filter(|token| acked(token)).count() as Offset <= committed - 8,
        "others are not acknowledged"
    );
    cluster.run_until("healed", is_healed);
    compare(&cluster, usize::try_from(committed).expect("small") + 1);
}

#[test]
fn a_leader_whose_damage_is_in_the_way_resigns() {
    rot_of_what_is_not_committed();
}

/// Deletes all records below an offset, as an operator does.
fn delete_below(cluster: &mut Cluster, before: Offset) {
    let leader = cluster.leader().expect("a leader");
    let token = cluster.call(leader, PartitionOp::DeleteRecords { before, deadline: Instant::NEVER });
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    let answer = cluster.answers.remove(&token);
    assert!(
        matches!(answer, Some(PartitionAnswer::Deleted { low_watermark }) if low_watermark == before),
        "{answer:?}"
    );
}

/// The same records have rotted on every replica: what is left is served and goes on, until the operator gives them up.
fn the_same_rot_everywhere() {
    let (config, upkeep) = scrubbed();
    let mut cluster = written_with(29, 14, config);
    let dir = dir(&cluster);
    let base = bases(&cluster.nodes[0].storage.disk, &dir)[2];
    for at in 0..3 {
        cluster.nodes[at].storage.disk.flip_bit(&log_file(&dir, base), 100, 3).expect("there");
    }
    cluster.run_until("found everywhere", |_| found(&upkeep.snapshot()) == 3);
    cluster.run(2_000);
    cluster.run_until("somebody leads", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
    assert_eq!(write(&mut cluster, 14), 14);
    let leader = cluster.leader().expect("a leader");
    cluster.run(8_000);
    assert_eq!(cluster.leader(), Some(leader), "nobody who could not do better takes over");
    let refused = cluster.view(leader).log.read(base, 15, 1 << 20, true).expect_err("damaged");
    assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    // The leader ends: the others know of no replica that is whole, and one of them leads all the same.
    cluster.crash(leader, CrashKind::Process);
    let led = |cluster: &Cluster| cluster.leader().is_some_and(|at| at != leader && cluster.view(at).tells_latest());
    cluster.run_until("another leader", led);
    assert_eq!(write(&mut cluster, 15), 15);
    cluster.start(leader);
    cluster.run_until("found again", |_| found(&upkeep.snapshot()) == 4);
    cluster.run(1_000);
    let end = cluster.view(leader).log.damaged()[0].end;
    delete_below(&mut cluster, end);
    cluster.run_until("nothing is damaged any more", is_healed);
    let given_up: u64 = upkeep.snapshot().given_up.iter().sum();
    assert_eq!((repaired(&upkeep.snapshot()), given_up), (0, 3), "each says so");
    compare(&cluster, 16);
}

#[test]
fn a_range_that_nobody_can_lend_costs_itself_alone() {
    the_same_rot_everywhere();
}

#[test]
fn a_segment_that_the_log_start_lies_in_is_repaired_whole() {
    let (config, upkeep) = scrubbed();
    let mut cluster = written_with(31, 14, config);
    let dir = dir(&cluster);
    let follower = (cluster.leader().expect("a leader") + 1) % 3;
    let disk = cluster.nodes[follower].storage.disk.clone();
    let base = bases(&disk, &dir)[2];
    delete_below(&mut cluster, base + 1);
    cluster.run_until("deleted", |cluster| cluster.view(follower).log.log_start() == base + 1);
    let good = file(&disk, &dir, base);
    let (_, zeros) = HARMS[4];
    zeros(&disk, &dir, base);
    cluster.run_until("the rot is found", |_| found(&upkeep.snapshot()) > 0);
    cluster.run_until("repaired, also what is deleted and not removed yet", |_| is_repaired(&upkeep));
    assert_eq!(file(&disk, &dir, base), good);
}

/// A follower is damaged at both ends of a segment that it has to cut in between.
fn rot_below_a_cut() {
    let (config, upkeep) = scrubbed();
    let mut cluster = written_with(30, 7, config);
    let leader = cluster.leader().expect("a leader");
    cluster.isolate(leader, false);
    // What nobody else hears of fills the segment that begins with what all have.
    for n in 7..11 {
        cluster.produce(leader, batch(&[&format!("{n:0200}")]), Acks::All, Instant::NEVER);
    }
    cluster.run(100);
    let (dir, disk) = (dir(&cluster), cluster.nodes[leader].storage.disk.clone());
    let base = 6;
    assert!(bases(&disk, &dir).contains(&base) && bases(&disk, &dir).contains(&8), "{:?}", bases(&disk, &dir));
    // Nobody lends anything until the cut is over.
    cluster.lost = (0..3).map(|other| (leader, other, "Repair")).collect();
    disk.flip_bit(&log_file(&dir, base), 100, 3).expect("there");
    cluster.run_until("the rot is found", |_| found(&upkeep.snapshot()) > 0);
    cluster.run(3_000);
    assert_eq!(write(&mut cluster, 20), 7, "the others go on");
    cluster.isolate(leader, true);
    cluster.run_until("cut and fetched", |cluster| cluster.view(leader).log.high_watermark() == 8);
    cluster.run(500);
    let view = cluster.view(leader);
    let refused = view.log.read(base, 8, 1 << 20, true).expect_err("damaged");
    assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    cluster.lost.clear();
    cluster.run_until("healed", is_healed);
    compare(&cluster, 8);
    assert_eq!((found(&upkeep.snapshot()), repaired(&upkeep.snapshot())), (1, 1), "it is counted once");
}

#[test]
fn what_is_damaged_below_a_cut_is_repaired_too() {
    rot_below_a_cut();
}

/// Two replicas have lost other segments, and the third was behind: together the two have everything.
#[test]
fn two_replicas_with_other_damage_help_each_other() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        let mut cluster = written_with(31, 8, small_segments());
        let leader = cluster.leader().expect("a leader");
        let (second, behind) = ((leader + 1) % 3, (leader + 2) % 3);
        cluster.crash(behind, CrashKind::Process);
        for n in 8..16 {
            assert_eq!(write(&mut cluster, n), n as Offset);
        }
        cluster.run(200);
        let dir = dir(&cluster);
        for (at, segment) in [(leader, 8), (second, 12)] {
            cluster.crash_after(at, kind, |disk| {
                let file = disk.open(&log_file(&dir, segment), 0).expect("sealed");
                file.truncate(100).expect("cut");
                file.flush().expect("durable");
            });
        }
        (0..3).for_each(|at| cluster.start(at));
        cluster.run_until("healed", is_healed);
        compare(&cluster, 16);
    }
}

#[test]
fn consumers_are_told_of_the_damage_and_never_of_an_end() {
    let (config, upkeep) = scrubbed();
    let mut cluster = written_with(24, 14, config);
    let leader = cluster.leader().expect("a leader");
    // Nobody hears what it asks.
    cluster.lost = (0..3).map(|other| (leader, other, "Repair")).collect();
    let (dir, disk) = (dir(&cluster), cluster.nodes[leader].storage.disk.clone());
    let base = bases(&disk, &dir)[2];
    disk.flip_bit(&log_file(&dir, base), 100, 3).expect("there");
    cluster.run_until("the rot is found", |_| found(&upkeep.snapshot()) > 0);
    let view = cluster.view(leader);
    let refused = view.log.read(base, 14, 1 << 20, true).expect_err("damaged");
    assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    assert_eq!(view.log.read(base - 1, 14, 1 << 20, true).map(|slice| slice.next).expect("below"), base);
    assert_eq!(view.log.high_watermark(), 14);
}

#[test]
fn a_single_voter_serves_what_is_left() {
    let (config, upkeep) = scrubbed();
    let mut cluster = Cluster::led(27, 1, config, 1);
    for n in 0..14 {
        write(&mut cluster, n);
    }
    cluster.crash(0, CrashKind::Process);
    cluster.start(0);
    let (dir, disk) = (dir(&cluster), cluster.nodes[0].storage.disk.clone());
    let bases = bases(&disk, &dir);
    disk.flip_bit(&log_file(&dir, bases[2]), 100, 3).expect("there");
    cluster.run_until("the rot is found", |_| found(&upkeep.snapshot()) > 0);
    assert_eq!(cluster.leader(), Some(0), "nobody else could");
    let read = |cluster: &Cluster, from| cluster.view(0).log.read(from, 14, 1 << 20, true);
    assert_eq!(read(&cluster, bases[1]).expect("below").next, bases[2]);
    let refused = read(&cluster, bases[2]).expect_err("damaged");
    assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    assert!(read(&cluster, bases[3]).is_ok(), "what lies behind is served");
    let token = cluster.produce(0, batch(&["x"]), Acks::All, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    assert!(matches!(cluster.answers.remove(&token), Some(PartitionAnswer::Produced { base_offset: 14, .. })));
    cluster.run(20_000);
    assert_eq!((found(&upkeep.snapshot()), repaired(&upkeep.snapshot())), (1, 0), "it is said once");
}

#[test]
fn a_repair_may_be_interrupted_anywhere() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        for (name, harm) in [HARMS[0], HARMS[4]] {
            for done in 0..8 {
                let (config, upkeep) = scrubbed();
                let mut cluster = written_with(25, 14, config);
                let at = (cluster.leader().expect("a leader") + 1) % 3;
                let (dir, disk) = (dir(&cluster), cluster.nodes[at].storage.disk.clone());
                let base = bases(&disk, &dir)[2];
                let good = file(&disk, &dir, base);
                harm(&disk, &dir, base);
                disk.open(&log_file(&dir, base), 0).expect("there").flush().expect("durable");
                cluster.run_until(name, |_| found(&upkeep.snapshot()) > 0);
                for _ in 0..done {
                    cluster.run(1);
                }
                cluster.crash(at, kind);
                cluster.start(at);
                cluster.run_until(name, is_healed);
                cluster.run(6_000);
                cluster.run_until(name, is_healed);
                compare(&cluster, 14);
                if let Ok(left) = cluster.nodes[at].storage.disk.open(&log_file(&dir, base), 0) {
                    let bytes = left.read(0, usize::try_from(left.len()).expect("small")).expect("read");
                    let same = bytes.len().min(good.len());
                    assert_eq!(bytes[..same], good[..same], "{name} after {done} ms");
                }
            }
        }
    }
}

#[test]
fn a_second_fault_during_a_repair_is_survived() {
    // The first that is asked has lost the same records; so has the leader, after a while.
    for second_fault in 0..4 {
        let (config, upkeep) = scrubbed();
        let mut cluster = written_with(26, 14, config);
        let leader = cluster.leader().expect("a leader");
        let (at, third) = ((leader + 1) % 3, (leader + 2) % 3);
        let (dir, disk) = (dir(&cluster), cluster.nodes[at].storage.disk.clone());
        let base = bases(&disk, &dir)[2];
        disk.flip_bit(&log_file(&dir, base), 100, 3).expect("there");
        match second_fault {
            0 => {
                let disk = cluster.nodes[leader].storage.disk.clone();
                disk.flip_bit(&log_file(&dir, base), 90, 1).expect("there");
            }
            1 => disk.flip_bit(&log_file(&dir, base), 300, 3).expect("there"),
            2 => {
                cluster.run_until("found", |_| found(&upkeep.snapshot()) > 0);
                cluster.crash(leader, CrashKind::Power);
                cluster.run(3_000);
                cluster.start(leader);
            }
            _ => {
                cluster.damage = Some((at, 1));
                cluster.isolate(third, false);
                cluster.run(3_000);
                cluster.isolate(third, true);
            }
        }
        cluster.run_until("repaired", |_| is_repaired(&upkeep));
        cluster.run(1_000);
        cluster.run_until("healed", is_healed);
        compare(&cluster, 14);
    }
}

#[test]
fn a_broken_rule_of_upkeep_is_noticed() {
    assert_noticed(
        "a_broken_rule_of_upkeep_is_noticed",
        &[
            (Mutation::LeadUncommittable, rot_of_what_is_not_committed),
            (Mutation::NeverLeadDamaged, the_same_rot_everywhere),
            (Mutation::ForgetDamageAtCut, rot_below_a_cut),
            (Mutation::ServeUnchecked, rot_in_the_way_of_a_follower),
            (Mutation::LeadDamaged, a_leader_that_cannot_be_repaired),
        ],
    );
}
