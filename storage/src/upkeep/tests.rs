//! Rot in a sealed segment: every flipped bit is found, and a repair gives the bytes back, wherever it is interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millrace_types::{Instant, Now, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::builder::BatchBuilder;
use crate::compress::Codec;
use crate::disk::{CrashKind, Disk, Fault, FaultPlan, Operation, SimDisk};
use crate::log::{Log, LogConfig, Look};
use crate::mutation::{Mutation, assert_noticed};
use crate::recovery::Known;
use crate::view::ReadError;

const DIR: &str = "topics/t-0";
const WALL: i64 = 1_700_000_000_000;

fn now() -> Now {
    Now { instant: Instant::from_micros(1), wall: WALL }
}

fn tp() -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(1)), 0)
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1_000,
        initial_segment_bytes: 1_000,
        index_interval_bytes: 400,
        retention_ms: -1,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

/// A log of 20 batches of two records in several segments, all durable; batches from the tenth on are of epoch 2.
fn written() -> (SimDisk, Log) {
    let disk = SimDisk::new(3, FaultPlan::default());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = Log::open(&shared, Path::new(DIR), tp(), config(), &Known::default(), now()).unwrap();
    for n in 0..20_u8 {
        log.append_replicated(&batch(i64::from(n) * 2, n), now()).unwrap();
        while let Some(job) = log.prepare() {
            log.prepared(job.run());
        }
    }
    let work = log.take_flush().unwrap();
    work.run().unwrap();
    log.flushed(work.upto);
    let view = log.view();
    view.set_high_watermark(40);
    disk.sync_all().unwrap();
    (disk, log)
}

fn batch(offset: Offset, n: u8) -> Bytes {
    let built = BatchBuilder::new(WALL, Codec::None).push(None, Some(&[n; 60])).push(None, Some(&[n; 50])).build();
    let mut bytes = BytesMut::from(built.unwrap().as_ref());
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    let epoch: i32 = if n < 10 { 1 } else { 2 };
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes.freeze()
}

fn path(base: Offset) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.log"))
}

fn contents(disk: &SimDisk, base: Offset) -> Bytes {
    let file = disk.open(&path(base), 0).unwrap();
    file.read(0, usize::try_from(file.len()).unwrap()).unwrap()
}

/// The second of the sealed segments, its bytes, and what it holds.
fn second(disk: &SimDisk, log: &Log) -> (Offset, Bytes, std::ops::Range<Offset>) {
    let bases: Vec<Offset> = disk
        .list(Path::new(DIR))
        .unwrap()
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(".log")?.parse().ok())
        .collect();
    assert!(bases.len() > 3, "{bases:?}");
    assert!(log.is_settled_at(bases[1]));
    (bases[1], contents(disk, bases[1]), bases[1]..bases[2])
}

/// A whole round of the scrub; the first damage.
fn scrub(log: &mut Log) -> Option<Damage> {
    for _ in 0..10 {
        let job = log.scrub()?;
        let Upkept::Checked { next, damage, .. } = job.run() else { panic!("a look") };
        log.scrubbed(&next);
        if damage.is_some() {
            return damage;
        }
    }
    None
}

/// What another replica would send for the damage, in two pieces where there are two batches.
fn lent(good: &Bytes, damage: &Damage) -> Vec<Bytes> {
    let start = usize::try_from(damage.position).unwrap();
    let range = good.slice(start..start + usize::try_from(damage.len).unwrap());
    let first = crate::record_batch::BatchHeader::parse(&range).unwrap().size();
    [range.slice(..first), range.slice(first..)].into_iter().filter(|piece| !piece.is_empty()).collect()
}

fn repair(log: &Log, damage: &Damage, pieces: Vec<Bytes>) -> Upkept {
    let mend = log.mend(damage).expect("in the log");
    let mut at = (damage.position, damage.from);
    for piece in pieces {
        match UpkeepJob::fill(&mend, at, piece).run() {
            Upkept::Filled { next } => at = next,
            other => return other,
        }
    }
    panic!("more is due at {at:?}")
}

#[test]
fn a_whole_log_is_found_whole_round_after_round() {
    let (_, mut log) = written();
    assert_eq!(scrub(&mut log), None);
    assert!(log.upkeep().snapshot().scrubbed_bytes > 2_000);
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_found_and_repaired() {
    let (disk, mut log) = written();
    let (base, good, offsets) = second(&disk, &log);
    for at in 0..good.len() {
        disk.flip_bit(&path(base), at as u64, 2).unwrap();
        let damage = scrub(&mut log).unwrap_or_else(|| panic!("byte {at} goes unnoticed"));
        let span = damage.position..damage.position + damage.len;
        assert!(span.contains(&(at as u64)), "byte {at}: {damage:?}");
        assert!(damage.segment == base && offsets.start <= damage.from && damage.to <= offsets.end);
        assert!(damage.len < good.len() as u64, "the index says where it ends");
        assert!(matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended), "byte {at}");
        assert_eq!(contents(&disk, base), good, "byte {at}");
        assert_eq!(scrub(&mut log), None);
    }
}

#[test]
fn a_segment_cut_short_zeroed_or_missing_is_found_and_repaired() {
    type Harm = fn(&SimDisk, &Path);
    let harms: [(&str, Harm); 4] = [
        ("short", |disk, path| disk.open(path, 0).unwrap().truncate(500).unwrap()),
        ("empty", |disk, path| disk.open(path, 0).unwrap().truncate(0).unwrap()),
        ("zeroed", |disk, path| {
            let file = disk.open(path, 0).unwrap();
            file.zero(0..file.len()).unwrap();
        }),
        ("zeroed behind", |disk, path| disk.open(path, 0).unwrap().zero(300..700).unwrap()),
    ];
    for (name, harm) in harms {
        let (disk, mut log) = written();
        let (base, good, _) = second(&disk, &log);
        harm(&disk, &path(base));
        let mut rounds = 0;
        while let Some(damage) = scrub(&mut log) {
            assert!(matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended), "{name}");
            rounds += 1;
            assert!(rounds < 20, "{name}");
        }
        assert!(rounds > 0, "{name} goes unnoticed");
        assert_eq!(contents(&disk, base), good, "{name}");
    }
}

#[test]
fn a_segment_of_zeros_is_one_damage() {
    let (disk, mut log) = written();
    let (base, good, offsets) = second(&disk, &log);
    let file = disk.open(&path(base), 0).unwrap();
    file.zero(0..file.len()).unwrap();
    let damage = scrub(&mut log).unwrap();
    assert_eq!((damage.from..damage.to, damage.len), (offsets, good.len() as u64));
}

#[test]
fn damage_in_the_active_segment_is_found_and_repaired_when_it_is_sealed() {
    let (disk, mut log) = written();
    log.append_replicated(&batch(40, 20), now()).unwrap();
    let work = log.take_flush().unwrap();
    work.run().unwrap();
    log.flushed(work.upto);
    log.append_replicated(&batch(42, 21), now()).unwrap();
    let active = log.view().segments().last().unwrap().clone();
    let base = active.base();
    let good = contents(&disk, base).slice(..usize::try_from(active.used()).unwrap());
    disk.flip_bit(&path(base), 100, 1).unwrap();
    let damage = scrub(&mut log).expect("what is flushed is looked at");
    assert!(log.is_active(&damage) && log.mend(&damage).is_none());
    assert!(matches!(log.look_around(damage.from, None, now()), Look::Later), "what came last is not flushed");
    assert!(!log.is_active(&damage));
    let work = log.take_flush().unwrap();
    work.run().unwrap();
    log.flushed(work.upto);
    let Look::Ready(job) = log.look_around(damage.from, None, now()) else { panic!("sealed and flushed") };
    let Upkept::Checked { damage: Some(damage), .. } = job.run() else { panic!("still damaged") };
    assert!(matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended));
    assert_eq!(contents(&disk, base)[..good.len()], good);
    assert_eq!(scrub(&mut log), None);
    log.append_replicated(&batch(44, 22), now()).unwrap();
    assert_eq!(log.view().read(base, 46, 1 << 20, true).unwrap().next, 44, "the log goes on in another segment");
}

/// A start finds a sealed segment damaged: the log is open over it, ends where it did, and is repaired in place.
fn opened_over_damage() {
    type Harm = fn(&SimDisk, &Path);
    let harms: [(&str, Harm); 4] = [
        ("short", |disk, path| disk.open(path, 0).unwrap().truncate(500).unwrap()),
        ("missing", |disk, path| disk.remove_file(path).unwrap()),
        ("a first page of zeros", |disk, path| disk.open(path, 0).unwrap().zero(0..300).unwrap()),
        ("a last page of zeros", |disk, path| {
            let file = disk.open(path, 0).unwrap();
            file.zero(file.len() - 300..file.len()).unwrap();
        }),
    ];
    for (name, harm) in harms {
        for clean in [true, false] {
            let (disk, log) = written();
            let (base, good, offsets) = second(&disk, &log);
            let epochs = log.epoch_cache();
            drop(log);
            harm(&disk, &path(base));
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let known = Known { flushed: Some(40), clean, ..Known::default() };
            let (mut log, recovery) = Log::open(&shared, Path::new(DIR), tp(), config(), &known, now()).unwrap();
            assert_eq!((log.log_end(), log.epoch_cache()), (40, epochs), "{name}");
            assert!(recovery.damaged.is_none() && recovery.records.is_empty(), "{name}: {recovery:?}");
            assert_eq!(recovery.holes.len(), 1, "{name}");
            let hole = recovery.holes[0].offset..recovery.holes[0].flushed;
            assert_eq!((hole.clone(), log.view().damaged()), (offsets.clone(), vec![offsets.clone()]), "{name}");
            log.view().set_high_watermark(40);
            let refused = log.view().read(base, 40, 1 << 20, true);
            assert!(matches!(refused, Err(ReadError::Hole { .. })), "{name}: nobody has looked at it yet");
            let mut next = None;
            for _ in 0..10 {
                let Look::Ready(job) = log.look_around(base, next.as_ref(), now()) else { panic!("{name}") };
                let Upkept::Checked { next: came, damage, .. } = job.run() else { panic!("a look") };
                if let Some(damage) = damage {
                    assert!(matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended), "{name}");
                }
                if came.is_at_end() {
                    break;
                }
                next = Some(came);
            }
            log.show(hole);
            assert_eq!(contents(&disk, base), good, "{name}");
            assert_eq!((scrub(&mut log), log.view().damaged()), (None, Vec::new()), "{name}");
        }
    }
}

#[test]
fn a_start_keeps_what_lies_behind_a_damaged_segment() {
    opened_over_damage();
}

#[test]
fn a_segment_whose_producers_are_not_known_otherwise_is_cut_to() {
    let (disk, log) = written();
    let (base, _, offsets) = second(&disk, &log);
    drop(log);
    disk.remove_file(&path(offsets.end).with_extension("snapshot")).unwrap();
    disk.open(&path(base), 0).unwrap().truncate(500).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let known = Known { flushed: Some(40), clean: true, ..Known::default() };
    let (log, recovery) = Log::open(&shared, Path::new(DIR), tp(), config(), &known, now()).unwrap();
    assert!(recovery.damaged.is_some() && recovery.holes.is_empty());
    assert!(log.log_end() < offsets.end);
}

#[test]
fn what_is_damaged_below_a_cut_stays_refused() {
    let (disk, mut log) = written();
    let (base, _, offsets) = second(&disk, &log);
    disk.flip_bit(&path(base), 100, 1).unwrap();
    let damage = scrub(&mut log).unwrap();
    let mend = log.mend(&damage).unwrap();
    let truncation = log.truncate_to(offsets.end - 2).unwrap();
    log.apply_truncation(truncation).unwrap();
    assert!(mend.is_late() && log.is_active(&damage));
    assert_eq!(log.rest_of(&damage), Some(damage.from..damage.to));
    let refused = log.view().read(damage.from, damage.to, 1 << 20, true);
    assert!(matches!(refused, Err(ReadError::Hole { .. })));
    assert!(log.is_settled_at(damage.to), "what the cut has left is not taken for fresh");
    log.show(damage.from..damage.to);
    assert_eq!(log.view().damaged(), []);
}

#[test]
fn damage_without_a_sidecar_is_repaired_too() {
    let (disk, mut log) = written();
    let (base, good, _) = second(&disk, &log);
    for segment in log.view().segments() {
        segment.content().write().drop_index();
    }
    disk.remove_file(&path(base).with_extension("index")).unwrap();
    disk.flip_bit(&path(base), 500, 1).unwrap();
    while let Some(damage) = scrub(&mut log) {
        assert!(matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended));
    }
    assert_eq!(contents(&disk, base), good);
}

#[test]
fn readers_are_refused_what_is_damaged_and_nothing_else() {
    let (disk, mut log) = written();
    let (base, good, _) = second(&disk, &log);
    let view = log.view();
    let held = view.read(base, 40, 1, true).unwrap().bytes;
    disk.flip_bit(&path(base), 450, 1).unwrap();
    let damage = scrub(&mut log).unwrap();
    let mend = log.mend(&damage).unwrap();
    assert!(damage.from > base);
    assert_eq!(view.read(base, 40, 1 << 20, true).unwrap().next, damage.from, "up to the damage");
    for offset in damage.from..damage.to {
        let refused = view.read(offset, 40, 1 << 20, true);
        assert!(matches!(refused, Err(ReadError::Hole { from, to }) if (from, to) == (damage.from, damage.to)));
    }
    assert_eq!(view.read(damage.to, 40, 1 << 20, true).unwrap().first, damage.to, "behind it");
    let mut at = (damage.position, damage.from);
    for piece in lent(&good, &damage) {
        if let Upkept::Filled { next } = UpkeepJob::fill(&mend, at, piece).run() {
            at = next;
        }
    }
    assert_eq!(view.read(damage.from, 40, 1, true).unwrap().first, damage.from);
    assert_eq!(held, view.read(base, 40, 1, true).unwrap().bytes, "who held bytes of the old file still does");
}

/// Records that do not belong there: none is written.
fn wrong_records() {
    let (disk, mut log) = written();
    let (base, good, _) = second(&disk, &log);
    disk.flip_bit(&path(base), 450, 1).unwrap();
    let damage = scrub(&mut log).unwrap();
    let rotten = contents(&disk, base);
    let pieces = lent(&good, &damage);
    let changed = |at: usize, by: u8| {
        let mut bytes = BytesMut::from(pieces[0].as_ref());
        bytes[at] ^= by;
        bytes.freeze()
    };
    let both = Bytes::from([good.as_ref(), good.as_ref()].concat());
    let wrong = [
        ("another offset", changed(7, 1)),
        ("another epoch", changed(15, 3)),
        ("a flipped bit", changed(80, 1)),
        ("cut short", pieces[0].slice(..pieces[0].len() - 1)),
        ("nothing", Bytes::new()),
        ("beyond the damage", both.slice(usize::try_from(damage.position).unwrap()..)),
    ];
    for (name, records) in wrong {
        let refused = repair(&log, &damage, vec![records]);
        assert!(matches!(refused, Upkept::Refused { .. }), "{name}: {refused:?}");
        assert_eq!(contents(&disk, base), rotten, "{name}");
    }
    assert!(matches!(repair(&log, &damage, pieces), Upkept::Mended));
}

#[test]
fn records_that_do_not_belong_there_are_refused() {
    wrong_records();
}

/// A crash after any change of the disk leaves the old file or the repaired one, and a start finds the same log.
fn interrupted() {
    for kind in [CrashKind::Power, CrashKind::Process] {
        for changes in 0.. {
            let (disk, mut log) = written();
            let (base, good, _) = second(&disk, &log);
            disk.flip_bit(&path(base), 450, 1).unwrap();
            let rotten = contents(&disk, base);
            let damage = scrub(&mut log).unwrap();
            disk.set_power_off_after(Some(changes));
            let done = matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended);
            let after = disk.crash(kind);
            let found = contents(&after, base);
            assert!(found == good || found == rotten, "after {changes} changes there is a third file");
            assert!(found == good || !done, "a repair that is done stays done");
            let shared: Arc<dyn Disk> = Arc::new(after.clone());
            let known = Known { flushed: Some(40), clean: kind == CrashKind::Process, ..Known::default() };
            let (log, _) = Log::open(&shared, Path::new(DIR), tp(), config(), &known, now()).unwrap();
            assert!(found == rotten || log.log_end() == 40);
            let left = after.list(Path::new(DIR)).unwrap();
            assert!(left.iter().all(|entry| !entry.name.ends_with(".tmp")), "{left:?}");
            if done {
                break;
            }
            assert!(changes < 50, "a repair takes few changes");
        }
    }
}

#[test]
fn a_repair_may_be_interrupted_anywhere() {
    interrupted();
}

#[test]
fn a_repair_that_the_disk_refuses_leaves_the_old_file() {
    for operation in [Operation::Create, Operation::Write, Operation::Flush, Operation::Rename] {
        let (disk, mut log) = written();
        let (base, good, _) = second(&disk, &log);
        disk.flip_bit(&path(base), 450, 1).unwrap();
        let (rotten, damage) = (contents(&disk, base), scrub(&mut log).unwrap());
        disk.inject(Fault::new(operation, 1).on(".tmp"));
        let failed = repair(&log, &damage, lent(&good, &damage));
        assert!(matches!(failed, Upkept::Failed { fatal: false, .. }), "{operation:?}: {failed:?}");
        assert_eq!(contents(&disk, base), rotten);
        assert!(matches!(repair(&log, &damage, lent(&good, &damage)), Upkept::Mended), "tried again: {operation:?}");
        assert_eq!(contents(&disk, base), good);
    }
    let (disk, mut log) = written();
    let (base, good, _) = second(&disk, &log);
    disk.flip_bit(&path(base), 450, 1).unwrap();
    let damage = scrub(&mut log).unwrap();
    disk.inject(Fault::new(Operation::SyncDir, 1));
    let failed = repair(&log, &damage, lent(&good, &damage));
    assert!(matches!(failed, Upkept::Failed { fatal: true, .. }), "what else the directory was to keep is in doubt");
}

/// The segment is deleted, or cut, while its repair is under way.
fn too_late(deletes: bool) {
    let (disk, mut log) = written();
    let (base, good, offsets) = second(&disk, &log);
    disk.flip_bit(&path(base), 200, 1).unwrap();
    let damage = scrub(&mut log).unwrap();
    let mend = log.mend(&damage).unwrap();
    let [first, second] = <[Bytes; 2]>::try_from(lent(&good, &damage)).expect("two batches");
    let first = UpkeepJob::fill(&mend, (damage.position, damage.from), first).run();
    let Upkept::Filled { next } = first else { panic!("{first:?}") };
    if deletes {
        log.raise_start(offsets.end, now().instant);
        for job in log.maintain(now(), 40).jobs {
            job.run();
        }
        assert!(disk.open(&path(base), 0).is_err(), "deleted");
    } else {
        let truncation = log.truncate_to(base + 2).unwrap();
        log.apply_truncation(truncation).unwrap();
    }
    let last = UpkeepJob::fill(&mend, next, second).run();
    if deletes {
        assert!(disk.open(&path(base), 0).is_err(), "the segment is back");
    } else {
        let used = contents(&disk, base);
        assert!(used[batch(0, 0).len()..].iter().all(|byte| *byte == 0), "what was cut is back");
    }
    assert!(matches!(last, Upkept::Late), "{last:?}");
}

#[test]
fn a_repair_brings_back_nothing_that_was_cut_or_deleted() {
    too_late(true);
    too_late(false);
}

#[test]
fn a_cut_behind_damage_that_hides_its_place_is_refused() {
    let (disk, mut log) = written();
    let (base, _, offsets) = second(&disk, &log);
    // The length of the first batch.
    disk.flip_bit(&path(base), 9, 6).unwrap();
    let refused = log.truncate_to(offsets.end - 2).and_then(|truncation| log.apply_truncation(truncation));
    assert!(refused.is_err() && log.is_poisoned(), "{refused:?}");
    assert!(contents(&disk, base)[200..].iter().any(|byte| *byte != 0), "nothing in front of the cut is zeroed");
    // The next start knows of the cut, and that the log was damaged in front of it.
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let to = offsets.end - 2;
    let known = Known { flushed: Some(to), cutting: Some((to, 2)), clean: true, ..Known::default() };
    let (log, recovery) = Log::open(&shared, Path::new(DIR), tp(), config(), &known, now()).unwrap();
    assert_eq!((log.log_end(), recovery.damaged.map(|rot| rot.offset)), (base, Some(base)));
}

#[test]
fn a_cut_where_a_damaged_segment_begins_needs_nothing_of_it() {
    let (disk, mut log) = written();
    let (base, _, offsets) = second(&disk, &log);
    disk.open(&path(base), 0).unwrap().truncate(10).unwrap();
    let truncation = log.truncate_to(offsets.end).unwrap();
    log.apply_truncation(truncation).unwrap();
    let truncation = log.truncate_to(base).unwrap();
    log.apply_truncation(truncation).unwrap();
    assert_eq!(log.log_end(), base);
    log.append_replicated(&batch(base, 1), now()).unwrap();
    assert_eq!(log.view().read(base, base + 2, 1 << 20, true).unwrap().next, base + 2);
}

#[test]
fn a_broken_rule_of_repair_is_noticed() {
    assert_noticed(
        "a_broken_rule_of_repair_is_noticed",
        &[
            (Mutation::CutToSealedDamage, opened_over_damage),
            (Mutation::TakeAnyRepair, wrong_records),
            (Mutation::RepairNotFlushed, interrupted),
            (Mutation::RepairTooLate, || too_late(true)),
            (Mutation::RepairTooLate, || too_late(false)),
        ],
    );
}
