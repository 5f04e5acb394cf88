//! Cuts and resets, and what a start makes of those that were begun.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millrace_types::{Instant, LeaderEpoch, Now, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use crate::builder::BatchBuilder;
use crate::compress::Codec;
use crate::disk::{CrashKind, Disk, FaultPlan, SimDisk};
use crate::log::{Log, LogConfig};
use crate::qstate::QRecord;
use crate::recovery::{Known, Recovery};

const NOW: Now = Now { instant: Instant::from_micros(1), wall: 1_700_000_000_000 };

fn partition() -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(1)), 0)
}

fn sim() -> SimDisk {
    SimDisk::new(1, FaultPlan::default())
}

fn open(disk: &SimDisk, known: &Known) -> (Log, Recovery) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let config = LogConfig { segment_bytes: 400, initial_segment_bytes: 400, ..LogConfig::default() };
    Log::open(&disk, Path::new("topics/t-0"), partition(), config, known, NOW).expect("opens")
}

/// A batch as another replica has it.
fn batch(offset: Offset, epoch: LeaderEpoch, records: usize) -> Bytes {
    let builder = (0..records).fold(BatchBuilder::new(1000, Codec::None), |all, _| all.push(None, Some(b"value")));
    let mut bytes = BytesMut::from(builder.build().expect("builds").as_ref());
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes.freeze()
}

/// A flushed log of the offsets 0 to 9, in epoch 1 up to 5 and in epoch 3 from there.
fn ten(disk: &SimDisk) -> Log {
    let mut log = open(disk, &Known::default()).0;
    for offset in 0..10 {
        log.append_replicated(&batch(offset, if offset < 5 { 1 } else { 3 }, 1), NOW).expect("appends");
    }
    let work = log.take_flush().expect("dirty");
    work.run().expect("flushes");
    log.flushed(work.upto);
    log
}

#[test]
fn a_cut_is_noted_before_and_after() {
    let disk = sim();
    let mut log = ten(&disk);
    let cut = log.truncate_to_epoch(5, 1).expect("within the log");
    assert_eq!(cut.records, [QRecord::Cutting { tp: partition(), to: 5, epoch: 1 }]);
    let done = log.apply_truncation(cut).expect("cuts");
    assert_eq!(done, QRecord::Trunc { tp: partition(), to: 5, epoch: 1 });
    assert_eq!((log.log_end(), log.flushed_offset()), (5, 5));
    log.append_replicated(&batch(5, 2, 3), NOW).expect("goes on");
    assert_eq!(log.epoch_cache().entries(), [(1, 0), (2, 5)]);
}

#[test]
fn a_start_finishes_a_cut_that_was_begun() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        let disk = sim();
        let log = ten(&disk);
        drop(log);
        let known = Known {
            flushed: Some(7),
            epochs: vec![(1, 0), (3, 5)],
            cutting: Some((7, 3)),
            clean: kind == CrashKind::Process,
            ..Known::default()
        };
        let disk = disk.crash(kind);
        let (log, recovery) = open(&disk, &known);
        assert_eq!((log.log_end(), recovery.damaged), (7, None));
        assert_eq!(recovery.records, [QRecord::Trunc { tp: partition(), to: 7, epoch: 3 }]);
        drop(log);
        // Nothing of it comes back, also behind records that fit.
        let disk = disk.crash(CrashKind::Power);
        let (log, recovery) = open(&disk, &Known { flushed: Some(7), ..Known::default() });
        assert_eq!((log.log_end(), recovery.cut), (7, None));
    }
}

#[test]
fn a_reset_leaves_nothing_and_begins_anywhere() {
    for start in [3, 100] {
        let disk = sim();
        let mut log = ten(&disk);
        let reset = log.reset_to(start, Some((2, start - 2))).expect("intact");
        let tp = partition();
        let noted = [
            QRecord::Cutting { tp, to: start, epoch: 0 },
            QRecord::Start { tp, offset: start },
            QRecord::Epoch { tp, epoch: 2, start: start - 2 },
        ];
        assert_eq!(reset.records, noted);
        let done = log.apply_truncation(reset).expect("empties");
        assert_eq!(done, QRecord::Trunc { tp, to: start, epoch: 2 });
        assert_eq!((log.log_start(), log.log_end(), log.flushed_offset()), (start, start, start));
        assert_eq!((log.size_bytes(), log.view().high_watermark()), (0, start));
        log.append_replicated(&batch(start, 4, 2), NOW).expect("appends");
        assert_eq!(log.epoch_cache().entries(), [(2, start - 2), (4, start)]);
        assert_eq!(log.view().read(start, start + 2, 1000, true).expect("reads").next, start + 2);
    }
}

#[test]
fn a_start_finishes_a_reset_that_was_begun() {
    for start in [3, 100] {
        let disk = sim();
        drop(ten(&disk));
        let known = Known {
            flushed: Some(start.min(10)),
            start: Some(start),
            epochs: vec![(2, start - 2)],
            cutting: Some((start, 0)),
            ..Known::default()
        };
        let (log, recovery) = open(&disk.crash(CrashKind::Power), &known);
        assert_eq!((log.log_start(), log.log_end(), recovery.damaged), (start, start, None));
        assert_eq!(recovery.records, [QRecord::Trunc { tp: partition(), to: start, epoch: 2 }]);
        assert_eq!(log.epoch_cache().entries(), [(2, start - 2)]);
    }
}

#[test]
fn an_empty_log_takes_a_batch_that_holds_its_start() {
    let disk = sim();
    let mut log = ten(&disk);
    let reset = log.reset_to(22, Some((3, 20))).expect("intact");
    log.apply_truncation(reset).expect("empties");
    assert!(log.append_replicated(&batch(18, 3, 4), NOW).is_err(), "it ends at the start");
    log.append_replicated(&batch(20, 3, 4), NOW).expect("appends");
    assert_eq!((log.log_start(), log.log_end()), (22, 24));
    assert!(log.append_replicated(&batch(23, 3, 4), NOW).is_err(), "only the first");
    let slice = log.view().read(22, 24, 1000, true).expect("reads");
    assert_eq!((slice.first, slice.next), (20, 24));
    let work = log.take_flush().expect("dirty");
    work.run().expect("flushes");
    let known = Known { flushed: Some(24), start: Some(22), epochs: vec![(3, 20)], ..Known::default() };
    let (log, recovery) = open(&disk.crash(CrashKind::Power), &known);
    assert_eq!((log.log_start(), log.log_end(), recovery.damaged), (22, 24, None));
}
