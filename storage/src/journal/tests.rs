//! A journal loses nothing flushed, invents nothing, tells rot from a torn tail, and works on a full disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::disk::{CrashKind, Disk, DiskError, Fault, FaultPlan, Operation, SimDisk};

const DIR: &str = "j";
const NAME: &str = "test";

fn options() -> JournalOptions {
    JournalOptions { room: 16 << 10, reserve: 4 << 10, max_record: 4 << 10, create: true }
}

fn prepare(disk: &SimDisk) -> Result<(), DiskError> {
    disk.create_dir(Path::new(DIR))?;
    disk.sync_dir(Path::new(""))
}

fn open(disk: &SimDisk) -> Result<(Journal, Vec<Vec<u8>>, JournalReport), JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (journal, records, report) = Journal::open(&disk, Path::new(DIR), NAME, options())?;
    Ok((journal, records.iter().map(|record| record.to_vec()).collect(), report))
}

fn new_disk(seed: u64, plan: FaultPlan) -> SimDisk {
    let disk = SimDisk::new(seed, plan);
    prepare(&disk).unwrap();
    disk
}

/// A record that is recognised by its number.
fn record(number: usize, len: usize) -> Vec<u8> {
    let mut bytes = format!("record {number} ").into_bytes();
    bytes.resize(bytes.len() + len, number as u8);
    bytes
}

fn slices(records: &[Vec<u8>]) -> Vec<&[u8]> {
    records.iter().map(Vec::as_slice).collect()
}

#[test]
fn an_empty_journal_is_made_and_found_again() {
    let disk = new_disk(1, FaultPlan::default());
    let (_, records, report) = open(&disk).unwrap();
    assert!(records.is_empty() && report.created);
    let (journal, records, report) = open(&disk.crash(CrashKind::Power)).unwrap();
    assert!(records.is_empty() && !report.created && report.cut_at.is_none());
    assert_eq!(journal.path(), Path::new("j/test-00000000000000000001.journal"));
}

#[test]
fn a_missing_journal_is_refused_when_it_must_exist() {
    let disk = new_disk(1, FaultPlan::default());
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let options = JournalOptions { create: false, ..options() };
    let error = Journal::open(&disk, Path::new(DIR), NAME, options).unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
}

#[test]
fn records_come_back_in_order_with_their_sequence() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    let records: Vec<_> = (0..10).map(|number| record(number, number * 7)).collect();
    assert_eq!(journal.append(&slices(&records[..4])).unwrap(), 3);
    assert_eq!(journal.append(&slices(&records[4..])).unwrap(), 9);
    let (mut journal, found, report) = open(&disk.crash(CrashKind::Process)).unwrap();
    assert_eq!(found, records);
    assert_eq!((report.snapshot_records, report.tail_records), (0, 10));
    assert_eq!(journal.append(&[b"next"]).unwrap(), 10);
}

#[test]
fn a_snapshot_replaces_what_was_before() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    for number in 0..1000 {
        journal.append(&[&record(number, 10)]).unwrap();
        if journal.needs_snapshot() {
            journal.snapshot(&[b"state"]).unwrap();
        }
    }
    journal.flush().unwrap();
    let (journal, found, report) = open(&disk.crash(CrashKind::Power)).unwrap();
    assert!(report.generation > 3 && report.snapshot_records == 1);
    assert_eq!(found[0], b"state");
    assert_eq!(found.last().unwrap(), &record(999, 10));
    assert_eq!(journal.next_sequence, 1000);
    let names: Vec<_> = disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 2, "one file and its spare: {names:?}");
}

#[test]
fn the_sequence_of_a_snapshot_larger_than_one_write_is_kept() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    let records: Vec<_> = (0..1000).map(|number| record(number, 3)).collect();
    journal.snapshot(&slices(&records)).unwrap();
    let (_, found, report) = open(&disk.crash(CrashKind::Power)).unwrap();
    assert_eq!((found, report.snapshot_records), (records, 1000));
}

#[test]
fn a_full_disk_stops_neither_records_nor_snapshots() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    disk.set_capacity(Some(0));
    for number in 0..2000 {
        journal.append(&[&record(number, 20)]).unwrap();
        journal.flush().unwrap();
        if journal.needs_snapshot() {
            journal.snapshot(&[&record(number, 20)]).unwrap();
        }
    }
    let (_, found, _) = open(&disk.crash(CrashKind::Power)).unwrap();
    assert_eq!(found.last().unwrap(), &record(1999, 20));
}

#[test]
fn when_even_the_reserve_is_used_up_appending_fails_and_works_again_later() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    disk.set_capacity(Some(0));
    let mut written = 0;
    let error = loop {
        match journal.append(&[&record(written, 100)]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, JournalError::Disk(error) if error.is_full()), "{error}");
    assert!(written > 50, "the room was used first: {written}");
    disk.set_capacity(None);
    journal.append(&[&record(written, 100)]).unwrap();
    journal.flush().unwrap();
    assert_eq!(open(&disk.crash(CrashKind::Power)).unwrap().1.len(), written + 1);
}

#[test]
fn a_file_filled_to_its_reserve_grows_for_the_mark() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    let (file, frame) = (Arc::clone(&journal.writer.file), frame::FRAME_LEN as u64);
    while journal.writer.end + options().reserve < file.len() {
        let left = file.len() - options().reserve - journal.writer.end;
        let payload = if left > 4000 { 2000 } else { left - frame };
        journal.append(&[&vec![7; payload as usize]]).unwrap();
    }
    journal.flush().unwrap();
    disk.flip_bit(journal.path(), journal.writer.durable.load(Ordering::Acquire) - 1, 0).unwrap();
    assert!(matches!(open(&disk).unwrap_err(), JournalError::Damaged { .. }), "rot in the last record is no torn tail");
}

#[test]
fn a_failed_flush_closes_the_journal_for_good() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    journal.append(&[b"a"]).unwrap();
    let work = journal.flush_work();
    disk.inject(Fault::new(Operation::Flush, 1));
    work.run().unwrap_err();
    for error in
        [journal.append(&[b"b"]).unwrap_err(), journal.flush().unwrap_err(), journal.snapshot(&[]).unwrap_err()]
    {
        assert!(matches!(error, JournalError::Disk(DiskError::Poisoned { .. })), "{error}");
    }
    assert!(!journal.needs_snapshot());
}

#[test]
fn a_snapshot_that_fails_before_its_file_took_over_changes_nothing() {
    for operation in [Operation::Flush, Operation::Write] {
        let disk = new_disk(1, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        journal.append(&[b"a"]).unwrap();
        disk.inject(Fault::new(operation, 1).on("spare"));
        journal.snapshot(&[b"snapshot"]).unwrap_err();
        journal.append(&[b"b"]).unwrap();
        journal.flush().unwrap();
        let image = disk.crash(CrashKind::Power);
        assert_eq!(open(&image).unwrap().1, [b"a", b"b"]);
        journal.snapshot(&[b"snapshot"]).unwrap();
        assert_eq!(open(&disk.crash(CrashKind::Power)).unwrap().1, [b"snapshot"]);
    }
}

#[test]
fn a_snapshot_that_fails_while_its_file_takes_over_closes_the_journal() {
    for operation in [Operation::Rename, Operation::SyncDir] {
        let disk = new_disk(1, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        journal.append(&[b"a"]).unwrap();
        journal.flush().unwrap();
        disk.inject(Fault::new(operation, 1));
        journal.snapshot(&[b"a"]).unwrap_err();
        assert!(journal.append(&[b"b"]).is_err(), "a start may find either file");
        assert_eq!(open(&disk.crash(CrashKind::Power)).unwrap().1, [b"a"]);
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_alone() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    let error = journal.append(&[b"ok", &[0; 5000]]).unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { len: 5000, max: 4096 }));
    journal.append(&[b"ok"]).unwrap();
    assert_eq!(open(&disk).unwrap().1, [b"ok"]);
}

#[test]
fn an_unknown_format_version_is_refused_by_name() {
    let disk = new_disk(1, FaultPlan::default());
    let (journal, _, _) = open(&disk).unwrap();
    disk.flip_bit(journal.path(), 8, 1).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, JournalError::UnknownVersion { found: 3, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("test-00000000000000000001.journal: format version 3"));
}

#[test]
fn rot_in_the_newest_file_never_falls_back_to_an_older_one() {
    let disk = new_disk(1, FaultPlan::default());
    let (mut journal, _, _) = open(&disk).unwrap();
    journal.append(&[b"old"]).unwrap();
    journal.snapshot(&[b"new"]).unwrap();
    disk.flip_bit(journal.path(), 20, 0).unwrap();
    assert!(matches!(open(&disk).unwrap_err(), JournalError::Damaged { position: 0, .. }));
}

#[test]
fn a_torn_tail_stays_cut_when_records_of_its_length_follow() {
    // Without zeroing, "second" would stand behind the new record of the lost one's length and be taken for durable.
    let mut torn = 0;
    for seed in 0..200 {
        let disk = new_disk(seed, FaultPlan { write_back_percent: 0, ..FaultPlan::default() });
        let (mut journal, _, _) = open(&disk).unwrap();
        journal.append(&[&record(0, 4000 - 9)]).unwrap();
        journal.append(&[&record(1, 500 - 9)]).unwrap();
        journal.append(&[&record(2, 500 - 9)]).unwrap();
        let image = disk.crash(CrashKind::Power);
        let (mut journal, found, report) = open(&image).unwrap();
        torn += usize::from(report.cut_at.is_some());
        let next = record(7, if found.is_empty() { 4000 - 9 } else { 500 - 9 });
        journal.append(&[&next]).unwrap();
        journal.flush().unwrap();
        let (_, again, _) = open(&image.crash(CrashKind::Power)).unwrap();
        assert_eq!(again[..found.len()], found);
        assert_eq!(again[found.len()..], [next], "seed {seed}");
    }
    assert!(torn > 20, "tails were torn {torn} times");
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Flush,
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0..1500_usize, 1..5).prop_map(Step::Append),
        2 => Just(Step::Flush),
        1 => Just(Step::Snapshot),
    ]
}

/// What the model knows: every record appended, and how many of them a successful call made durable.
#[derive(Debug, Default)]
struct Model {
    records: Vec<Vec<u8>>,
    durable: usize,
}

/// Runs the steps until one fails, since the power went off. A snapshot keeps all records.
fn run(journal: &mut Journal, steps: &[Step], model: &mut Model) -> Result<(), JournalError> {
    for step in steps {
        match step {
            Step::Append(lens) => {
                let start = model.records.len();
                model.records.extend(lens.iter().enumerate().map(|(at, len)| record(start + at, *len)));
                journal.append(&slices(&model.records[start..]))?;
            }
            Step::Flush => {
                journal.flush()?;
                model.durable = model.records.len();
            }
            Step::Snapshot => {
                journal.snapshot(&slices(&model.records))?;
                model.durable = model.records.len();
            }
        }
    }
    Ok(())
}

fn rounds() -> impl Strategy<Value = Vec<(Vec<Step>, u64)>> {
    prop::collection::vec((prop::collection::vec(step(), 1..30), 0..80_u64), 1..5)
}

/// Each round runs some steps, loses power in their midst, and checks what comes back.
fn survives(seed: u64, rounds: &[(Vec<Step>, u64)]) -> Result<(), TestCaseError> {
    let mut disk = new_disk(seed, FaultPlan::default());
    let mut model = Model::default();
    for (steps, power_off_after) in rounds {
        disk.set_power_off_after(Some(*power_off_after));
        if let Ok((mut journal, _, _)) = open(&disk) {
            let _ = run(&mut journal, steps, &mut model);
        }
        disk = disk.crash(CrashKind::Power);
        let (_, found, _) = open(&disk).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(found.len() >= model.durable, "{} of {} durable records", found.len(), model.durable);
        prop_assert!(model.records.starts_with(&found), "what comes back is a prefix");
        model = Model { durable: found.len(), records: found };
    }
    Ok(())
}

/// A failed flush leaves its pages clean in the cache: a later process reads them, and no flush of its own writes them.
#[test]
fn what_a_failed_flush_left_in_the_page_cache_is_written_again() {
    for seed in 0..50 {
        let disk = new_disk(seed, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        journal.append(&[b"first"]).unwrap();
        journal.flush().unwrap();
        // More than a page, so that the next record does not dirty all of it again.
        journal.append(&[&record(1, 3900), &record(2, 3900)]).unwrap();
        disk.inject(Fault::new(Operation::Flush, 1).on("j/"));
        journal.flush().unwrap_err();
        drop(journal);
        let disk = disk.crash(CrashKind::Process);
        let (mut journal, found, _) = open(&disk).unwrap();
        assert_eq!(found.len(), 3, "the page cache shows them");
        journal.append(&[b"last"]).unwrap();
        journal.flush().unwrap();
        let (_, found, _) = open(&disk.crash(CrashKind::Power)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!((found.len(), &found[3][..]), (4, &b"last"[..]), "seed {seed}");
    }
}

/// A process that is killed between a rename and the sync of the directory leaves a name that only the cache has.
#[test]
fn the_name_of_the_newest_file_is_durable_before_it_is_relied_upon() {
    for seed in 0..100 {
        let disk = new_disk(seed, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        journal.append(&[b"old"]).unwrap();
        journal.flush().unwrap();
        disk.inject(Fault::new(Operation::SyncDir, 1).on("j"));
        journal.snapshot(&[b"old"]).unwrap_err();
        drop(journal);
        let disk = disk.crash(CrashKind::Process);
        let (mut journal, _, report) = open(&disk).unwrap();
        assert_eq!(report.generation, 2);
        journal.append(&[b"new"]).unwrap();
        journal.flush().unwrap();
        let (_, found, _) = open(&disk.crash(CrashKind::Power)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(found, [b"old", b"new"], "seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_prefix_with_everything_flushed_comes_back(
        seed in any::<u64>(), rounds in rounds(),
    ) {
        survives(seed, &rounds)?;
    }

    #[test]
    fn inspecting_finds_what_opening_finds_and_changes_nothing(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..20)) {
        let disk = new_disk(seed, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        run(&mut journal, &steps, &mut Model::default()).unwrap();
        let image = disk.crash(CrashKind::Power);
        let inspected = || Journal::inspect(&image, Path::new(DIR), NAME).unwrap();
        let (records, report) = inspected();
        prop_assert_eq!(inspected().1, report.clone());
        let (_, found, opened) = open(&image).unwrap();
        prop_assert!(records == found && report == opened);
    }

    #[test]
    fn a_flipped_bit_in_the_durable_part_is_never_a_silent_cut(
        seed in any::<u64>(), steps in prop::collection::vec(step(), 1..20), at in any::<u64>(), bit in 0..8_u8,
    ) {
        let disk = new_disk(seed, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        let mut model = Model::default();
        run(&mut journal, &steps, &mut model).unwrap();
        journal.flush().unwrap();
        let durable = journal.writer.durable.load(Ordering::Acquire);
        disk.flip_bit(journal.path(), at % durable, bit).unwrap();
        match open(&disk) {
            // The unused part of the header and the padding mean nothing.
            Ok((_, found, _)) => prop_assert_eq!(found, model.records),
            Err(JournalError::Damaged { path, position, .. }) => {
                prop_assert_eq!(path.as_path(), journal.path());
                prop_assert!(position <= at % durable);
            }
            Err(JournalError::UnknownVersion { .. }) => prop_assert!((8..12).contains(&(at % durable))),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    #[test]
    fn arbitrary_bytes_are_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000), start in any::<bool>()) {
        let disk = new_disk(1, FaultPlan::default());
        let (journal, _, _) = open(&disk).unwrap();
        let file = disk.open(journal.path(), 0).unwrap();
        let pos = if start { 0 } else { frame::HEADER_LEN };
        file.write_at(pos, &[&bytes]).unwrap();
        match open(&disk) {
            Ok((_, found, _)) => prop_assert!(found.is_empty()),
            Err(error) => prop_assert!(!matches!(error, JournalError::Disk(_)), "{}", error),
        }
    }
}

/// Whether some case of many breaks the promise when the rule is broken.
#[cfg(feature = "mutations")]
fn is_caught(mutation: crate::mutation::Mutation, case: impl Fn(u64, &[(Vec<Step>, u64)]) -> bool) -> bool {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    (0..3000).any(|seed| {
        let rounds = rounds().new_tree(&mut runner).unwrap().current();
        crate::mutation::with_broken(Some(mutation), || !case(seed, &rounds))
    })
}

#[cfg(feature = "mutations")]
#[test]
fn breaking_a_rule_of_the_journal_is_noticed() {
    use crate::mutation::Mutation;
    for mutation in [Mutation::JournalTailNotZeroed, Mutation::SnapshotNotFlushed, Mutation::SnapshotNameNotSynced] {
        assert!(is_caught(mutation, |seed, rounds| survives(seed, rounds).is_ok()), "{mutation:?} goes unnoticed");
        println!("noticed {mutation:?}: breaking_a_rule_of_the_journal_is_noticed");
    }
    let rot = |seed, rounds: &[(Vec<Step>, u64)]| {
        let disk = new_disk(seed, FaultPlan::default());
        let (mut journal, _, _) = open(&disk).unwrap();
        let mut model = Model::default();
        run(&mut journal, &rounds[0].0, &mut model).unwrap();
        journal.flush().unwrap();
        disk.flip_bit(journal.path(), journal.writer.snapshot_end + 40, 0).unwrap();
        open(&disk).is_ok_and(|(_, found, _)| found == model.records)
    };
    assert!(is_caught(Mutation::JournalRotIsCut, |seed, rounds| rot(seed, rounds)));
    println!("noticed JournalRotIsCut: breaking_a_rule_of_the_journal_is_noticed");
}

/// Any bytes in place of a journal: an error or records, never a panic, and no memory beyond the file's size.
#[test]
fn fuzz_recovery() {
    bolero::check!().with_type::<(bool, Vec<u8>)>().for_each(|(header, bytes)| {
        let disk = new_disk(1, FaultPlan::default());
        let (journal, _, _) = open(&disk).unwrap();
        let file = disk.open(journal.path(), 0).unwrap();
        let pos = if *header { 0 } else { frame::HEADER_LEN };
        let len = bytes.len().min((file.len() - pos) as usize);
        file.write_at(pos, &[&bytes[..len]]).unwrap();
        let _ = open(&disk);
    });
}
