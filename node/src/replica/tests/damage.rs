//! Damage that a start finds: a sealed segment is repaired in place, the active one cut to its damage and fetched again, and
//! nothing acknowledged is lost.

use std::path::{Path, PathBuf};

use millrace_storage::{CrashKind, Disk, LogConfig, SimDisk, Upkeep, partition_dir};
use millrace_types::Offset;

use crate::replica::mutation::{Mutation, with_broken};
use crate::testing::Cluster;

/// Segments of three records each.
pub(super) fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 700, initial_segment_bytes: 700, retention_ms: -1, ..LogConfig::default() }
}

/// Produces one record with acks=all and waits for the answer.
pub(super) fn write(cluster: &mut Cluster, n: usize) -> Offset {
    cluster.write(&format!("{n:0200}"))
}

/// Three replicas with the same records in several segments.
pub(super) fn written(seed: u64, records: usize) -> Cluster {
    written_with(seed, records, small_segments())
}

pub(super) fn written_with(seed: u64, records: usize, config: LogConfig) -> Cluster {
    let mut cluster = Cluster::led(seed, 3, config, 2);
    for n in 0..records {
        assert_eq!(write(&mut cluster, n), n as Offset);
    }
    // A start makes durable what the write-ahead store was told of flushes.
    for at in 0..3 {
        cluster.crash(at, CrashKind::Process);
        cluster.start(at);
        cluster.run_until("three in sync", is_healed);
    }
    cluster.run(100);
    cluster
}

/// Does harm to a disk while no process runs, for good.
pub(super) fn hurt(disk: &SimDisk, dir: &Path, harm: Harm) {
    harm(disk, dir, &bases(disk, dir));
    for base in bases(disk, dir) {
        disk.open(&log_file(dir, base), 0).expect("there").flush().expect("flushed");
    }
    disk.sync_dir(dir).expect("synced");
}

pub(super) fn dir(cluster: &Cluster) -> PathBuf {
    partition_dir(cluster.partition)
}

/// The base offsets of a replica's segments.
pub(super) fn bases(disk: &SimDisk, dir: &Path) -> Vec<Offset> {
    let entries = disk.list(dir).expect("listed");
    let base = |name: &str| name.strip_suffix(".log").map(|base| base.parse().expect("an offset"));
    entries.iter().filter_map(|entry| base(&entry.name)).collect()
}

pub(super) fn log_file(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// All batches of a replica's log, byte for byte.
pub(super) fn bytes(cluster: &Cluster, at: usize) -> Vec<u8> {
    let log = &cluster.view(at).log;
    let (mut from, mut all) = (log.log_start(), Vec::new());
    while from < log.log_end() {
        let slice = log.read(from, log.log_end(), 1 << 20, true).expect("readable");
        match slice.cold {
            Some(job) => job.run(),
            None => {
                assert!(slice.next > from, "offset {from} of {at} cannot be read");
                all.extend_from_slice(&slice.bytes);
                from = slice.next;
            }
        }
    }
    all
}

/// Every replica takes part, holds everything, the same bytes, is whole, and knows of no damage.
pub(super) fn is_healed(cluster: &Cluster) -> bool {
    let whole = |at: usize| {
        let status = cluster.replica(at).consensus().status();
        cluster.view(at).leader().is_some() && !status.recovering && cluster.view(at).log.damaged().is_empty()
    };
    cluster.leader().is_some_and(|leader| cluster.view(leader).in_sync() == 3) && cluster.agree() && (0..3).all(whole)
}

pub(super) fn compare(cluster: &Cluster, records: usize) {
    let first = bytes(cluster, 0);
    for at in 0..3 {
        assert_eq!(cluster.view(at).log.high_watermark(), records as Offset);
        assert!(bytes(cluster, at) == first, "the log of {at} has other bytes");
    }
}

/// What becomes of a file.
pub(super) type Harm = fn(&SimDisk, &Path, &[Offset]);

/// What a start makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The log is cut to it, and the replica recovers.
    Cut,
    /// The same after a power loss alone: what was flushed is trusted otherwise.
    CutByPower,
    /// The log is open over it.
    Kept,
}

const HARMS: [(&str, Found, Harm); 10] = [
    ("a bit of the active segment", Found::CutByPower, |disk, dir, bases| {
        disk.flip_bit(&log_file(dir, bases[bases.len() - 1]), 100, 3).expect("there");
    }),
    ("a header of the active segment", Found::Cut, |disk, dir, bases| {
        disk.flip_bit(&log_file(dir, bases[bases.len() - 1]), 16, 0).expect("there");
    }),
    ("a sealed segment cut short", Found::Kept, |disk, dir, bases| {
        let file = disk.open(&log_file(dir, bases[1]), 0).expect("there");
        file.truncate(file.len() / 2).expect("cut");
    }),
    ("a sealed segment without a byte", Found::Kept, |disk, dir, bases| {
        disk.open(&log_file(dir, bases[1]), 0).expect("there").truncate(0).expect("cut");
    }),
    ("a sealed segment of zeros", Found::Kept, |disk, dir, bases| {
        let file = disk.open(&log_file(dir, bases[1]), 0).expect("there");
        file.zero(0..file.len()).expect("zeroed");
    }),
    ("zeros at the start of a sealed segment", Found::Kept, |disk, dir, bases| {
        disk.open(&log_file(dir, bases[1]), 0).expect("there").zero(0..100).expect("zeroed");
    }),
    ("zeros at the end of a sealed segment", Found::Kept, |disk, dir, bases| {
        let file = disk.open(&log_file(dir, bases[1]), 0).expect("there");
        file.zero(file.len() - 270..file.len()).expect("zeroed");
    }),
    ("a segment that is missing", Found::Kept, |disk, dir, bases| {
        disk.remove_file(&log_file(dir, bases[1])).expect("there");
    }),
    ("a segment that is missing with its index", Found::Cut, |disk, dir, bases| {
        let file = log_file(dir, bases[1]);
        disk.remove_file(&file).expect("there");
        disk.remove_file(&file.with_extension("index")).expect("there");
    }),
    ("no segment at all", Found::Cut, |disk, dir, bases| {
        bases.iter().for_each(|base| disk.remove_file(&log_file(dir, *base)).expect("there"));
    }),
];

#[test]
fn damage_found_at_the_start_is_repaired_from_peers() {
    for (name, found, harm) in HARMS {
        for kind in [CrashKind::Process, CrashKind::Power] {
            for of_leader in [false, true] {
                let mut cluster = written(11, 14);
                let leader = cluster.leader().expect("a leader");
                let at = if of_leader { leader } else { (leader + 1) % 3 };
                let dir = dir(&cluster);
                cluster.crash_after(at, kind, |disk| hurt(disk, &dir, harm));
                cluster.start(at);
                let recovers = cluster.replica(at).consensus().status().recovering;
                let cuts = found == Found::Cut || (found == Found::CutByPower && kind == CrashKind::Power);
                assert_eq!(recovers, cuts, "{name} after {kind:?}");
                let knows = !cluster.view(at).log.damaged().is_empty();
                assert_eq!(knows, found == Found::Kept, "{name} goes unnoticed after {kind:?}");
                if !recovers && !knows {
                    continue;
                }
                assert!(recovers || cluster.view(at).log.log_end() == 14, "{name}: nothing is cut");
                cluster.run_until(name, is_healed);
                compare(&cluster, 14);
                assert_eq!(write(&mut cluster, 14), 14);
                // It stays whole.
                cluster.run(200);
                cluster.crash(at, CrashKind::Power);
                cluster.start(at);
                assert!(!cluster.replica(at).consensus().status().recovering, "{name}");
                cluster.run_until(name, is_healed);
                compare(&cluster, 15);
            }
        }
    }
}

#[test]
fn a_repair_at_the_start_may_be_interrupted_anywhere() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        for (name, found, harm) in HARMS.into_iter().skip(1) {
            for done in 0..10 {
                let mut cluster = written(12, 14);
                let at = (cluster.leader().expect("a leader") + 1) % 3;
                let dir = dir(&cluster);
                cluster.crash_after(at, kind, |disk| hurt(disk, &dir, harm));
                cluster.start(at);
                cluster.nodes[at].hold = true;
                for _ in 0..done {
                    cluster.work_once(at);
                    cluster.run(20);
                }
                cluster.crash(at, kind);
                cluster.start(at);
                let recovers = cluster.replica(at).consensus().status().recovering;
                let knows = found == Found::Kept && !cluster.view(at).log.damaged().is_empty();
                assert!(done > 5 || recovers || knows, "{name} is forgotten after {done}");
                cluster.run_until(name, is_healed);
                compare(&cluster, 14);
            }
        }
    }
}

/// Every replica has lost its last records: that they are gone is said, and counted.
#[test]
fn what_no_replica_has_any_more_is_said_to_be_gone() {
    let upkeep = Upkeep::new(0);
    let config = LogConfig { upkeep: upkeep.clone(), ..small_segments() };
    let mut cluster = written_with(14, 14, config);
    let dir = dir(&cluster);
    let mut left = 14;
    for at in 0..3 {
        left = left.min(*bases(&cluster.nodes[at].storage.disk, &dir).last().expect("an active segment"));
        cluster.crash_after(at, CrashKind::Power, |disk| hurt(disk, &dir, HARMS[1].2));
    }
    (0..3).for_each(|at| cluster.start(at));
    cluster.run_until("healed", is_healed);
    assert_eq!(write(&mut cluster, 20), left);
    let snapshot = upkeep.snapshot();
    assert_eq!((snapshot.found[0].0, snapshot.repaired[0].0 + snapshot.given_up[0]), (3, 3), "{snapshot:?}");
    assert!(snapshot.given_up[0] > 0, "{snapshot:?}");
}

/// A record is on two replicas of three. One of them is damaged, starts, and crashes again when its log is cut: with the
/// third, which never had the record, it must not elect a leader.
fn two_of_three_hold_it() {
    let mut cluster = written(13, 10);
    let leader = cluster.leader().expect("a leader");
    let (damaged, behind) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.isolate(behind, false);
    cluster.run(500);
    assert_eq!(write(&mut cluster, 10), 10, "held by two");
    cluster.run(100);
    let dir = dir(&cluster);
    cluster.crash_after(damaged, CrashKind::Power, |disk| hurt(disk, &dir, HARMS[8].2));
    cluster.crash(leader, CrashKind::Power);
    cluster.start(damaged);
    cluster.nodes[damaged].hold = true;
    cluster.work_once(damaged);
    cluster.crash(damaged, CrashKind::Power);
    cluster.isolate(behind, true);
    cluster.start(damaged);
    cluster.run(5_000);
    cluster.start(leader);
    cluster.run_until("healed", is_healed);
    compare(&cluster, 11);
}

#[test]
fn what_two_of_three_hold_survives_the_damage_of_one() {
    two_of_three_hold_it();
}

#[test]
fn a_replica_that_forgets_its_damage_is_noticed() {
    let noticed = with_broken(Some(Mutation::CutBeforeRecovering), || std::panic::catch_unwind(two_of_three_hold_it));
    assert!(noticed.is_err(), "a replica that was cut votes as if it had lost nothing");
    println!("noticed CutBeforeRecovering: a_replica_that_forgets_its_damage_is_noticed");
}
