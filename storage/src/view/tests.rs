//! Reads: whole batches, bounds, timestamps, epochs.

use std::path::Path;
use std::sync::Arc;

use millrace_types::{Now, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::builder::BatchBuilder;
use crate::compress::Codec;
use crate::disk::{Disk, FaultPlan, SimDisk};
use crate::log::{Log, LogConfig};
use crate::record_batch::{BatchHeader, BatchLimits, ValidBatches};
use crate::recovery::Known;

/// Forty batches of three records; record `n` has timestamp `1000 + 10 * n`.
fn log() -> Log {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(3, FaultPlan::default()));
    let partition = TopicPartition::new(TopicId(Uuid::from_u128(1)), 0);
    let config = LogConfig { segment_bytes: 5000, index_interval_bytes: 400, ..LogConfig::default() };
    let (mut log, _) =
        Log::open(&disk, Path::new("t-0"), partition, config, &Known::default(), Now::default()).expect("opens");
    for at in 0..40_i64 {
        let mut builder = BatchBuilder::new(1000 + 30 * at, if at % 2 == 0 { Codec::None } else { Codec::Lz4 });
        for record in 0..3 {
            builder = builder.push_at(1000 + 30 * at + 10 * record, None, Some(&[7; 100]));
        }
        let valid =
            ValidBatches::check(builder.build().expect("builds"), &BatchLimits::default(), 2000).expect("valid");
        log.append(valid, 1 + i32::try_from(at / 10).expect("small"), Now::default()).expect("appends");
    }
    log.view().set_high_watermark(120);
    log
}

#[test]
fn reads_return_whole_batches_from_the_one_that_holds_the_offset() {
    let log = log();
    let view = log.view();
    for from in 0..120 {
        let slice = view.read(from, 120, 700, true).expect("reads");
        assert_eq!(slice.first, from / 3 * 3);
        assert!(slice.next > from && (slice.next % 3) == 0);
        assert!(slice.bytes.len() <= 700, "two batches of about 380 bytes do not fit");
        let header = BatchHeader::parse(&slice.bytes).expect("a batch");
        assert_eq!(header.base_offset, slice.first);
        assert!(header.crc_holds(&slice.bytes[..header.size()]));
    }
    let large = view.read(0, 120, 1 << 20, true).expect("reads");
    assert!(large.next > 9 && large.next < 120, "one segment's bytes");
    assert_eq!(view.read(0, 120, 1, true).expect("reads").next, 3, "one batch, even if it is larger");
    assert!(view.read(0, 120, 1, false).expect("reads").bytes.is_empty());
}

#[test]
fn reads_end_at_their_bound() {
    let log = log();
    let view = log.view();
    for upto in 1..120 {
        let mut from = 0;
        loop {
            let slice = view.read(from, upto, 1 << 20, true).expect("reads");
            if slice.bytes.is_empty() {
                break;
            }
            from = slice.next;
        }
        assert_eq!(from, upto / 3 * 3, "a batch that reaches beyond the bound is left out");
    }
    assert!(view.read(120, 200, 100, true).expect("at the end").bytes.is_empty());
    assert!(matches!(view.read(121, 200, 100, true), Err(ReadError::OutOfRange { start: 0, end: 120 })));
    assert!(matches!(view.read(-1, 200, 100, true), Err(ReadError::OutOfRange { .. })));
}

/// What a search found, on pages that are in memory.
fn found(searched: Result<ByTime, ReadError>) -> Option<(i64, i64, i32)> {
    match searched.expect("reads") {
        ByTime::Found(found) => found,
        ByTime::Cold(_) => panic!("cold"),
    }
}

#[test]
fn timestamps_find_the_first_record_with_its_own() {
    let log = log();
    let view = log.view();
    for record in 0..120_i64 {
        for asked in [1000 + 10 * record, 1000 + 10 * record - 9] {
            let epoch = i32::try_from(1 + record / 30).expect("small");
            let expected = Some((1000 + 10 * record, record, epoch));
            assert_eq!(found(view.offset_for_timestamp(asked, 120)), expected);
        }
    }
    assert_eq!(found(view.offset_for_timestamp(1000 + 1191, 120)), None);
    assert_eq!(found(view.offset_for_timestamp(1500, 50)), None, "it lies at offset 50");
    assert_eq!(found(view.max_timestamp(120)), Some((2190, 119, 4)));
    assert_eq!(found(view.max_timestamp(60)), Some((1590, 59, 2)));
    assert_eq!(found(view.max_timestamp(0)), None);
}

#[test]
fn a_search_by_time_in_a_cold_segment_waits_for_a_storage_thread() {
    for greatest in [false, true] {
        let search =
            |view: &LogView| if greatest { view.max_timestamp(5) } else { view.offset_for_timestamp(1000, 120) };
        let mut log = log();
        let warm = found(search(&log.view()));
        let job = log.prepare().expect("sealed segments to finish");
        log.prepared(job.run());
        log.maintain(Now::default(), 0);
        log.maintain(Now::default(), 0);
        let Ok(ByTime::Cold(job)) = search(&log.view()) else { panic!("its index is not in memory") };
        job.run();
        assert_eq!(found(search(&log.view())), warm);
    }
}

#[test]
fn epochs_are_answered_from_the_cache() {
    let mut log = log();
    log.begin_epoch(7);
    let view = log.view();
    assert_eq!(view.epoch_end_offset(2), (2, 60));
    assert_eq!(view.epoch_end_offset(6), (4, 120));
    assert_eq!(view.epoch_end_offset(7), (7, 120));
    assert_eq!(view.epoch_end_offset(0), (0, 0));
    assert_eq!(view.epoch_at(30), Some(2));
}

#[test]
fn a_sealed_segment_without_its_index_is_cold_until_it_is_warmed() {
    let mut log = log();
    let job = log.prepare().expect("sealed segments to finish");
    log.prepared(job.run());
    log.maintain(Now::default(), 0);
    log.maintain(Now::default(), 0);
    let view = log.view();
    let cold = view.read(4, 120, 700, true).expect("reads");
    assert!(cold.bytes.is_empty());
    cold.cold.expect("a job").run();
    assert_eq!(view.read(4, 120, 700, true).expect("reads").first, 3);
}
