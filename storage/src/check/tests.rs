//! A log with each kind of damage: what the check says, and that a start does just that.

use std::path::PathBuf;

use millrace_types::{Instant, TopicId};
use uuid::Uuid;

use super::*;
use crate::builder::BatchBuilder;
use crate::compress::Codec;
use crate::disk::{FaultPlan, OverlayDisk, SimDisk};
use crate::record_batch::{BatchLimits, ValidBatches};

const DIR: &str = "topics/t-0";
const WALL: i64 = 1_700_000_000_000;

fn now() -> Now {
    Now { instant: Instant::from_micros(1), wall: WALL }
}

fn tp() -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(1)), 0)
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 4_000, initial_segment_bytes: 4096, retention_ms: -1, ..LogConfig::default() }
}

/// A disk with a log of ten batches of about 1000 bytes, three in each segment, all flushed and sealed.
fn written() -> (SimDisk, Known) {
    let disk = SimDisk::new(1, FaultPlan::default());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = Log::open(&shared, Path::new(DIR), tp(), config(), &Known::default(), now()).unwrap();
    for sequence in 0..10 {
        let batch = BatchBuilder::new(WALL, Codec::None).push(None, Some(&[1; 1000])).producer(5, 0, sequence);
        let batch = batch.build().unwrap();
        log.append(ValidBatches::check(batch, &BatchLimits::default(), WALL).unwrap(), 1, now()).unwrap();
        while let Some(job) = log.prepare() {
            log.prepared(job.run());
        }
    }
    let work = log.take_flush().unwrap();
    work.run().unwrap();
    let known = Known { flushed: Some(work.upto), clean: true, ..Known::default() };
    (disk, known)
}

fn file(base: Offset, kind: &str) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.{kind}"))
}

/// All files and their contents.
fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let entries = disk.list(Path::new(DIR)).unwrap();
    let read = |name: &str| {
        let file = disk.open(&Path::new(DIR).join(name), 0).unwrap();
        file.read(0, file.len() as usize).unwrap().to_vec()
    };
    entries.into_iter().map(|entry| (entry.name.clone(), read(&entry.name))).collect()
}

/// Checks the log, sees that nothing was changed and that a start ends the log where the check said.
fn check(disk: &SimDisk, known: &Known) -> LogCheck {
    let before = contents(disk);
    let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::new(disk.clone())));
    let check = check_log(&overlay, Path::new(DIR), tp(), &config(), known, now()).unwrap();
    assert_eq!(contents(disk), before, "the check changed something");
    let real: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, _) = Log::open(&real, Path::new(DIR), tp(), config(), known, now()).unwrap();
    assert_eq!((check.start, check.end), (log.log_start(), log.log_end()));
    check
}

fn only(check: LogCheck) -> Finding {
    assert_eq!(check.findings.len(), 1, "{:?}", check.findings);
    check.findings.into_iter().next().unwrap()
}

#[test]
fn a_log_in_order_has_no_finding() {
    let (disk, known) = written();
    let check = check(&disk, &known);
    assert_eq!(check.findings, []);
    assert_eq!((check.start, check.end, check.segments), (0, 10, 4));
    assert!(check.bytes > 10_000, "{}", check.bytes);
}

#[test]
fn a_torn_tail_would_be_cut() {
    let (disk, known) = written();
    let active = disk.open(&file(9, "log"), 0).unwrap();
    let used = check(&disk, &known).bytes / 10;
    active.write_at(used, &[&[7; 100]]).unwrap();
    let finding = only(check(&disk, &known));
    assert_eq!((finding.severity, finding.file, finding.position), (Severity::Recovery, file(9, "log"), Some(used)));
    assert_eq!(finding.offset, Some(10));
    assert!(finding.next_start.contains("cuts 100 bytes"), "{}", finding.next_start);
}

#[test]
fn a_flipped_bit_above_the_flushed_offset_would_be_cut() {
    let (disk, known) = written();
    disk.flip_bit(&file(9, "log"), 200, 1).unwrap();
    let finding = only(check(&disk, &Known { flushed: Some(9), ..known }));
    assert_eq!((finding.severity, finding.position, finding.offset), (Severity::Recovery, Some(0), Some(9)));
    assert!(finding.what.contains("checksum"), "{}", finding.what);
}

#[test]
fn a_flipped_bit_below_the_flushed_offset_is_damage() {
    let (disk, known) = written();
    // One that a start does not look at, since the segment is sealed and flushed.
    disk.flip_bit(&file(3, "log"), 200, 1).unwrap();
    let finding = only(check(&disk, &known));
    assert_eq!((finding.severity, finding.file, finding.position), (Severity::Damage, file(3, "log"), Some(0)));
    assert_eq!(finding.offset, Some(3));
    // One that a start after a crash of the machine meets.
    let (disk, known) = written();
    disk.flip_bit(&file(9, "log"), 200, 1).unwrap();
    let finding = only(check(&disk, &Known { clean: false, ..known }));
    assert_eq!((finding.severity, finding.file, finding.offset), (Severity::Damage, file(9, "log"), Some(9)));
    assert!(finding.next_start.contains("cuts nothing"), "{}", finding.next_start);
}

#[test]
fn what_was_not_known_flushed_would_be_flushed() {
    let (disk, known) = written();
    let finding = only(check(&disk, &Known { flushed: Some(9), ..known }));
    assert_eq!((finding.severity, finding.offset), (Severity::Recovery, Some(9)));
}

#[test]
fn what_a_failed_flush_left_would_be_cut() {
    let (disk, known) = written();
    let finding = only(check(&disk, &Known { flushed: Some(9), suspect: true, ..known }));
    assert_eq!((finding.severity, finding.file, finding.position), (Severity::Recovery, file(9, "log"), Some(0)));
    assert!(finding.what.contains("a flush failed"), "{}", finding.what);
}

#[test]
fn sidecars_are_compared_with_their_segments() {
    let (disk, known) = written();
    disk.remove_file(&file(0, "index")).unwrap();
    let finding = only(check(&disk, &known));
    assert_eq!((finding.severity, finding.file), (Severity::Recovery, file(0, "index")));

    let (disk, known) = written();
    disk.flip_bit(&file(3, "index"), 60, 1).unwrap();
    assert_eq!(only(check(&disk, &known)).severity, Severity::Recovery, "a bad checksum is noticed by a start too");

    let (disk, known) = written();
    let bytes = contents(&disk).into_iter().find(|(name, _)| *name == format!("{:020}.index", 3)).unwrap().1;
    let (mut summary, index) = crate::index::decode_sidecar(&bytes).unwrap();
    summary.max_timestamp += 1;
    let bytes = crate::index::encode_sidecar(&summary, &index);
    disk.open(&file(3, "index"), 0).unwrap().write_at(0, &[&bytes]).unwrap();
    let finding = only(check(&disk, &known));
    assert_eq!((finding.severity, finding.file), (Severity::Damage, file(3, "index")));
}

#[test]
fn a_missing_segment_is_damage() {
    let (disk, known) = written();
    disk.remove_file(&file(3, "log")).unwrap();
    let check = check(&disk, &known);
    assert_eq!(check.findings[0].severity, Severity::Damage);
    assert_eq!(check.findings[0].offset, Some(3));
}

#[test]
fn bad_snapshots_and_unfinished_files_cost_nothing() {
    let (disk, known) = written();
    let snapshot = disk.list(Path::new(DIR)).unwrap().into_iter().find(|entry| entry.name.ends_with(".snapshot"));
    let snapshot = Path::new(DIR).join(snapshot.expect("one at each roll").name);
    disk.flip_bit(&snapshot, 9, 0).unwrap();
    disk.create(&file(99, "index.tmp"), 10, 10).unwrap();
    let check = check(&disk, &known);
    let found: Vec<_> = check.findings.iter().map(|finding| (finding.severity, finding.file.clone())).collect();
    assert_eq!(found, [(Severity::Recovery, snapshot), (Severity::Recovery, file(99, "index.tmp"))]);
}
