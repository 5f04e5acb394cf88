//! The log on the simulated disk: appends, rolls, space, flush, retention, damage.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{ErrorCode, Instant, Now, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::builder::BatchBuilder;
use crate::compress::Codec;
use crate::disk::Disk;
use crate::disk::{CrashKind, Fault, FaultPlan, Operation, SimDisk};
use crate::qstate::QRecord;
use crate::record_batch::{BatchLimits, TimestampType, ValidBatches};
use crate::recovery::{Known, Recovery};
use crate::view::ReadError;

const WALL: i64 = 1_700_000_000_000;
const DIR: &str = "topics/t-0";

fn now(seconds: u64) -> Now {
    Now {
        instant: Instant::from_micros(seconds * 1_000_000),
        wall: WALL + i64::try_from(seconds).expect("small") * 1000,
    }
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 10_000, initial_segment_bytes: 4096, retention_ms: -1, ..LogConfig::default() }
}

fn valid(value_len: usize, timestamp: i64) -> ValidBatches {
    let batch =
        BatchBuilder::new(timestamp, Codec::None).push(None, Some(&vec![1; value_len])).build().expect("builds");
    ValidBatches::check(batch, &BatchLimits::default(), WALL).expect("valid")
}

fn open_known(disk: &SimDisk, config: LogConfig, known: &Known) -> (Log, Recovery) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let partition = TopicPartition::new(TopicId(Uuid::from_u128(1)), 0);
    Log::open(&disk, Path::new(DIR), partition, config, known, now(0)).expect("opens")
}

fn open_log(disk: &SimDisk, config: LogConfig) -> Log {
    open_known(disk, config, &Known::default()).0
}

fn sim() -> SimDisk {
    SimDisk::new(1, FaultPlan::default())
}

fn flush(log: &mut Log) {
    let work = log.take_flush().expect("dirty");
    work.run().expect("flushes");
    log.flushed(work.upto);
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new(DIR)).unwrap_or_default().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn no_file_is_touched_before_the_first_append() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    assert!(matches!(log.begin_epoch(1), QRecord::Epoch { epoch: 1, start: 0, .. }));
    assert!(log.take_flush().is_none() && log.prepare().is_none());
    assert!(names(&disk).is_empty());
    assert_eq!(log.append(valid(10, WALL), 1, now(0)).expect("appends").base_offset, 0);
    assert_eq!(names(&disk), ["00000000000000000000.log"]);
}

#[test]
fn segments_roll_by_size_and_are_finished_by_a_job() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    for at in 0..8 {
        assert_eq!(log.append(valid(3000, WALL), 1, now(0)).expect("appends").base_offset, at);
    }
    assert_eq!(names(&disk).len(), 3, "three batches of 3 KB fit 10 kB");
    let job = log.prepare().expect("two segments to finish");
    assert!(log.prepare().is_none(), "one job at a time");
    log.prepared(job.run());
    assert!(names(&disk).contains(&"00000000000000000000.index".to_owned()));
    let first = disk.list(Path::new(DIR)).expect("lists").into_iter().find(|e| e.name.ends_with("00.log")).expect("is");
    assert_eq!(first.len, 3 * log.size_bytes() / 8, "a sealed file is cut to its used length");
}

#[test]
fn segments_roll_before_their_index_grows_too_large() {
    // Entries are 1000 bytes apart, so each batch of some 600 bytes gets an entry or not in turn.
    let rolled = |segment_index_bytes| {
        let disk = sim();
        let mut log = open_log(&disk, LogConfig { segment_index_bytes, index_interval_bytes: 1000, ..config() });
        for _ in 0..10 {
            log.append(valid(540, WALL), 1, now(0)).expect("appends");
        }
        names(&disk).iter().map(|name| name[..20].parse::<u32>().expect("a base offset")).collect::<Vec<_>>()
    };
    assert_eq!(rolled(10 << 20), [0]);
    assert_eq!(rolled(16), [0, 4, 8], "two entries stand for four batches");
    assert_eq!(rolled(23), [0, 4, 8], "a third one does not fit");
    assert_eq!(rolled(4), (0..10).collect::<Vec<_>>(), "not even the first fits: a segment for each batch");
}

#[test]
fn segments_roll_by_the_age_of_their_records() {
    let disk = sim();
    let mut log = open_log(&disk, LogConfig { segment_ms: 1000, ..config() });
    for age in [0, 1000, 1001, 1500] {
        log.append(valid(10, WALL - 10_000 + age), 1, now(0)).expect("appends");
    }
    assert_eq!(names(&disk), ["00000000000000000000.log", "00000000000000000002.log"]);
}

#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    let mut log = open_log(&sim(), config());
    let error = log.append(valid(12_000, WALL), 1, now(0)).expect_err("too large");
    assert_eq!(error.error_code(), ErrorCode::RecordListTooLarge);
}

#[test]
fn an_older_epoch_is_fenced() {
    let mut log = open_log(&sim(), config());
    log.begin_epoch(5);
    let error = log.append(valid(10, WALL), 4, now(0)).expect_err("fenced");
    assert_eq!(error.error_code(), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    log.append(valid(3000, WALL), 1, now(0)).expect("appends");
    disk.set_capacity(Some(4096));
    for _ in 0..3 {
        let error = log.append(valid(3000, WALL), 1, now(0)).expect_err("full");
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    }
    assert_eq!((log.log_end(), log.is_poisoned()), (1, false));
    assert_eq!(log.append(valid(500, WALL), 1, now(0)).expect("what is allocated is used").base_offset, 1);
    disk.set_capacity(None);
    assert_eq!(log.append(valid(3000, WALL), 1, now(0)).expect("space is back").base_offset, 2);
}

#[test]
fn a_full_disk_is_asked_for_room_ahead_once_until_an_append_has_found_some() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    log.append(valid(3000, WALL), 1, now(0)).expect("appends");
    disk.set_capacity(Some(4096));
    let refused = log.prepare().expect("more than half is used").run();
    log.prepared(refused);
    log.append(valid(500, WALL), 1, now(0)).expect("what is allocated is used");
    assert!(log.prepare().is_none(), "asked again");
    log.append(valid(3000, WALL), 1, now(0)).expect_err("full");
    assert!(log.prepare().is_none(), "asked again");
    disk.set_capacity(None);
    log.append(valid(3000, WALL), 1, now(0)).expect("space is back");
    assert!(log.prepare().is_some(), "not asked any more");
}

#[test]
fn a_failed_write_or_flush_closes_the_log() {
    for operation in [Operation::Write, Operation::Flush] {
        let disk = sim();
        let mut log = open_log(&disk, config());
        log.append(valid(10, WALL), 1, now(0)).expect("appends");
        disk.inject(Fault::new(operation, 1));
        if operation == Operation::Flush {
            let error = log.take_flush().expect("dirty").run().expect_err("fails");
            log.poison(&error);
        } else {
            let error = log.append(valid(10, WALL), 1, now(0)).expect_err("fails");
            assert!(matches!(error, AppendError::Storage(_)));
        }
        assert!(log.is_poisoned() && log.take_flush().is_none());
        let error = log.append(valid(10, WALL), 1, now(0)).expect_err("closed");
        assert!(matches!(error, AppendError::Poisoned(_)));
        assert_eq!(log.view().read(0, 1, 1000, true).expect("reads go on").next, 1);
    }
}

#[test]
fn flush_state_counts_records_and_time() {
    let mut log = open_log(&sim(), config());
    log.append(valid(10, WALL), 1, now(1)).expect("appends");
    log.append(valid(10, WALL), 1, now(2)).expect("appends");
    assert_eq!((log.unflushed_records(), log.unflushed_since()), (2, Some(now(1).instant)));
    let work = log.take_flush().expect("dirty");
    assert!(log.take_flush().is_none(), "all of it is under way");
    log.append(valid(10, WALL), 1, now(3)).expect("appends");
    work.run().expect("flushes");
    log.flushed(work.upto);
    assert_eq!((log.flushed_offset(), log.unflushed_since()), (2, Some(now(3).instant)));
    flush(&mut log);
    assert_eq!((log.unflushed_records(), log.unflushed_since()), (0, None));
}

#[test]
fn the_leaders_time_is_stamped_and_told() {
    let mut log = open_log(&sim(), config());
    let limits = BatchLimits { timestamp_type: TimestampType::LogAppendTime, ..BatchLimits::default() };
    let batch = BatchBuilder::new(5, Codec::None).push(None, None).build().expect("builds");
    let appended = log.append(ValidBatches::check(batch, &limits, WALL).expect("valid"), 1, now(7)).expect("appends");
    assert_eq!(appended.log_append_time, now(7).wall);
    let found = log.view().offset_for_timestamp(6, 1).expect("reads");
    assert!(matches!(found, crate::view::ByTime::Found(Some(found)) if found == (now(7).wall, 0, 1)), "{found:?}");
}

#[test]
fn a_duplicate_answers_with_the_first_offsets() {
    let mut log = open_log(&sim(), config());
    let batch = |sequence| -> Bytes {
        BatchBuilder::new(WALL, Codec::None).producer(9, 0, sequence).push(None, None).build().expect("builds")
    };
    let valid = |sequence| ValidBatches::check(batch(sequence), &BatchLimits::default(), WALL).expect("valid");
    let first = log.append(valid(0), 1, now(0)).expect("appends");
    log.append(valid(1), 1, now(0)).expect("appends");
    let again = log.append(valid(0), 1, now(0)).expect("known");
    assert_eq!(again, Appended { duplicate: true, ..first });
    assert_eq!(log.log_end(), 2);
    let error = log.append(valid(5), 1, now(0)).expect_err("gap");
    assert_eq!(error.error_code(), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn retention_by_size_and_time_deletes_whole_segments_below_the_high_watermark() {
    for by_time in [false, true] {
        let disk = sim();
        let retention_bytes = if by_time { -1 } else { 6000 };
        let mut log = open_log(&disk, LogConfig { retention_bytes, ..config() });
        for _ in 0..9 {
            log.append(valid(3000, WALL), 1, now(0)).expect("appends");
        }
        if by_time {
            log.set_config(LogConfig { retention_ms: 5000, ..config() });
        }
        assert!(log.maintain(now(6), 2).start.is_none(), "nothing is committed");
        let care = log.maintain(now(6), log.log_end());
        let start = if by_time { 9 } else { 6 };
        assert!(matches!(care.start, Some((to, QRecord::Start { offset, .. })) if to == start && offset == start));
        assert_eq!(log.log_start(), 0, "until that is durable");
        log.raise_start(start, now(6).instant);
        assert_eq!(log.log_start(), start);
        assert!(care.jobs.is_empty() && care.next.is_some(), "files go after the delay");
        let due = log.maintain(now(70), log.log_end());
        assert_eq!(due.jobs.len(), if by_time { 3 } else { 2 });
        due.jobs.into_iter().for_each(crate::flusher::StorageJob::run);
        assert_eq!(names(&disk).len(), usize::from(!by_time), "{:?}", names(&disk));
        assert_eq!(log.append(valid(10, WALL), 1, now(70)).expect("appends").base_offset, 9);
    }
}

#[test]
fn a_segment_that_took_appends_when_its_records_were_deleted_goes_by_age() {
    let disk = sim();
    let mut log = open_log(&disk, LogConfig { retention_ms: 5000, ..config() });
    log.append(valid(3000, WALL), 1, now(0)).expect("appends");
    log.view().set_high_watermark(1);
    assert_eq!(log.delete_records(-1).expect("moves").0, 1);
    log.raise_start(1, now(0).instant);
    assert_eq!(names(&disk), ["00000000000000000000.log"], "it goes on taking appends");
    assert!(log.maintain(now(6), 1).start.is_none(), "the start is there already");
    let due = log.maintain(now(70), 1);
    assert_eq!(due.jobs.len(), 1);
    due.jobs.into_iter().for_each(crate::flusher::StorageJob::run);
    assert!(names(&disk).is_empty(), "{:?}", names(&disk));
    assert_eq!(log.append(valid(10, WALL), 1, now(70)).expect("appends").base_offset, 1);
}

#[test]
fn a_sealed_segment_that_lost_its_index_is_finished_all_the_same() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    for _ in 0..4 {
        log.append(valid(3000, WALL), 1, now(0)).expect("appends");
    }
    for _ in 0..3 {
        let _ = log.maintain(now(1), 0);
    }
    let job = log.prepare().expect("a segment to finish");
    log.prepared(job.run());
    assert!(names(&disk).contains(&"00000000000000000000.index".to_owned()), "{:?}", names(&disk));
}

#[test]
fn rolled_segments_can_be_flushed_without_the_active_one() {
    let disk = sim();
    let pool = crate::segment::OpenSegments::new(2);
    let mut log = open_log(&disk, LogConfig { open_segments: pool.clone(), ..config() });
    assert!(log.take_rolled_flush().is_none());
    for at in 0..100 {
        log.append(valid(3000, WALL), 1, now(at)).expect("appends");
        if let Some(work) = log.take_rolled_flush() {
            assert_eq!(work.upto, i64::try_from(at).expect("small"), "up to the segment that was just made");
            work.run().expect("flushes");
            log.flushed(work.upto);
        }
        assert!(pool.count() <= 4, "{} segments are open", pool.count());
    }
    assert_eq!((log.flushed_offset(), log.unflushed_records()), (99, 1));
    assert!(log.unflushed_since().is_some(), "the bound on waiting holds for the rest");
    let image = disk.crash(CrashKind::Power);
    let (log, _) = open_known(&image, config(), &Known { flushed: Some(99), ..Known::default() });
    assert!(log.log_end() >= 99);
}

#[test]
fn delete_records_stops_at_the_high_watermark() {
    let mut log = open_log(&sim(), config());
    for _ in 0..5 {
        log.append(valid(3000, WALL), 1, now(0)).expect("appends");
    }
    log.view().set_high_watermark(4);
    assert!(matches!(log.delete_records(5), Err(LogError::OutOfRange { end: 4, .. })));
    assert!(matches!(log.delete_records(-2), Err(LogError::OutOfRange { .. })));
    let (low, record) = log.delete_records(2).expect("moves");
    assert_eq!(low, 2);
    assert!(matches!(record, Some(QRecord::Start { offset: 2, .. })));
    assert_eq!(log.log_start(), 0, "until that is durable");
    log.raise_start(2, now(0).instant);
    assert_eq!(log.delete_records(1).expect("no effect"), (2, None));
    log.raise_start(1, now(0).instant);
    assert_eq!(log.log_start(), 2, "it never moves down");
    assert_eq!(log.delete_records(-1).expect("moves").0, 4);
    log.raise_start(4, now(0).instant);
    assert!(matches!(log.view().read(3, 5, 1000, true), Err(ReadError::OutOfRange { start: 4, end: 5 })));
}

#[test]
fn damage_below_the_flushed_offset_is_reported_and_not_cut() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    for _ in 0..3 {
        log.append(valid(1000, WALL), 1, now(0)).expect("appends");
    }
    flush(&mut log);
    let size = log.size_bytes() / 3;
    drop(log);
    let file = Path::new(DIR).join("00000000000000000000.log");
    disk.flip_bit(&file, size + 100, 3).expect("flips");
    let known = Known { flushed: Some(3), ..Known::default() };
    let (mut log, recovery) = open_known(&disk, config(), &known);
    let rot = recovery.damaged.expect("damage");
    assert_eq!((rot.position, rot.offset, rot.flushed), (size, 1, 3));
    assert!(rot.to_string().contains("00000000000000000000.log is damaged at byte"), "{rot}");
    assert!(recovery.cut.is_none() && recovery.records.is_empty());
    assert_eq!(log.view().read(0, 9, 1000, true).expect("serves below").next, 1);
    assert!(matches!(log.view().read(1, 9, 1000, true), Err(ReadError::Damaged(_))));
    let error = log.append(valid(10, WALL), 1, now(0)).expect_err("refuses");
    assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    drop(log);
    disk.flip_bit(&file, size + 100, 3).expect("flips back");
    assert_eq!(open_known(&disk, config(), &known).0.log_end(), 3, "nothing was cut");
}

#[test]
fn after_a_failed_flush_a_start_cuts_to_what_was_flushed() {
    let (start, suspect) = (Some(0), true);
    for appended in [0, 3] {
        let disk = sim();
        let mut log = open_log(&disk, config());
        log.append(valid(1000, WALL), 1, now(0)).expect("appends");
        flush(&mut log);
        for _ in 0..appended {
            log.append(valid(1000, WALL), 2, now(0)).expect("appends");
        }
        drop(log);
        let disk = disk.crash(CrashKind::Process);
        let epochs = vec![(1, 0), (2, 1)];
        let known = Known { flushed: Some(1), start, epochs, clean: true, suspect, ..Known::default() };
        let (log, recovery) = open_known(&disk, config(), &known);
        assert_eq!((log.log_end(), log.flushed_offset()), (1, 1));
        let tp = TopicPartition::new(TopicId(Uuid::from_u128(1)), 0);
        assert_eq!(recovery.records, [QRecord::Trunc { tp, to: 1, epoch: 2 }], "also when nothing is cut");
        assert_eq!(recovery.cut.expect("a cut").bytes > 0, appended > 0);
        drop(log);
        // The zeros are durable: nothing above the flushed offset comes back.
        let image = disk.crash(CrashKind::Power);
        let (log, recovery) = open_known(&image, config(), &Known { flushed: Some(1), ..Known::default() });
        assert_eq!((log.log_end(), recovery.cut), (1, None));
    }
}

#[test]
fn a_failed_flush_of_a_start_takes_nothing_that_was_acknowledged_before_it() {
    let disk = sim();
    let mut log = open_log(&disk, config());
    log.append(valid(1000, WALL), 1, now(0)).expect("appends");
    flush(&mut log);
    drop(log);
    // The process ends before its note of the flushed offset reaches the write-ahead store.
    let known = Known { flushed: Some(0), clean: true, ..Known::default() };
    let disk = disk.crash(CrashKind::Process);
    let (log, recovery) = open_known(&disk, config(), &known);
    let work = recovery.flush.expect("what was found is flushed");
    disk.inject(Fault::new(Operation::Flush, 1));
    work.run().expect_err("the disk fails");
    assert!(work.rewritten, "so the host does not call the log suspect");
    drop(log);
    let disk = disk.crash(CrashKind::Process);
    let (log, recovery) = open_known(&disk, config(), &known);
    recovery.flush.expect("written again").run().expect("the disk works");
    assert_eq!(log.log_end(), 1);
    let known = Known { flushed: Some(1), ..Known::default() };
    let (log, recovery) = open_known(&disk.crash(CrashKind::Power), config(), &known);
    assert_eq!((log.log_end(), recovery.damaged), (1, None));
}

#[test]
fn what_was_acknowledged_from_the_page_cache_may_be_lost_by_a_failed_flush() {
    for (clean, suspect, lost) in [(true, false, false), (true, true, true), (false, false, true)] {
        let known = Known { volatile: true, clean, suspect, ..Known::default() };
        assert_eq!(open_known(&sim(), config(), &known).1.suffix_lost, lost);
    }
}

#[test]
fn a_lost_directory_is_damage() {
    let known = Known { flushed: Some(3), ..Known::default() };
    let (log, recovery) = open_known(&sim(), config(), &known);
    assert_eq!(recovery.damaged.expect("damage").offset, 0);
    assert!(matches!(log.view().read(0, 3, 100, true), Err(ReadError::Damaged(_))));
}

#[test]
fn open_segments_are_bounded_and_opened_again_on_demand() {
    let disk = sim();
    let open_segments = crate::segment::OpenSegments::new(3);
    let mut log = open_log(&disk, LogConfig { open_segments: open_segments.clone(), ..config() });
    for _ in 0..30 {
        log.append(valid(3000, WALL), 1, now(0)).expect("appends");
    }
    flush(&mut log);
    let view = log.view();
    for _ in 0..2 {
        for offset in 0..30 {
            assert_eq!(view.read(offset, 30, 10, true).expect("reads").next, offset + 1);
        }
    }
    assert!(open_segments.count() <= 3 + 1, "{} are open", open_segments.count());
}

#[test]
fn the_real_disk_keeps_what_was_appended() {
    let root = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::RealDisk::open(root.path()).expect("opens"));
    let partition = TopicPartition::new(TopicId(Uuid::from_u128(1)), 0);
    let open = |known: &Known| Log::open(&disk, Path::new(DIR), partition, config(), known, now(0)).expect("opens");
    let (mut log, _) = open(&Known::default());
    for _ in 0..20 {
        log.append(valid(3000, WALL), 1, now(0)).expect("appends");
        if let Some(job) = log.prepare() {
            log.prepared(job.run());
        }
    }
    flush(&mut log);
    drop(log);
    let (log, recovery) = open(&Known { flushed: Some(20), ..Known::default() });
    assert!(recovery.damaged.is_none() && recovery.cut.is_none() && recovery.flush.is_none());
    let (view, mut from) = (log.view(), 0);
    while from < 20 {
        let slice = view.read(from, 20, 4000, true).expect("reads");
        match slice.cold {
            Some(job) => job.run(),
            None => from = slice.next,
        }
    }
    assert_eq!((from, log.log_end()), (20, 20));
}
