//! What the simulated disk promises about crashes, faults and repetition.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::disk::{Disk, DiskError, FileRef, Space};

const F: &str = "f";

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, FaultPlan::default())
}

/// A durable file of `len` bytes, each `byte`.
fn durable_file(disk: &SimDisk, name: &str, len: u64, byte: u8) -> FileRef {
    let file = disk.create(path(name), len, len).unwrap();
    file.write_at(0, &[&vec![byte; len as usize]]).unwrap();
    file.flush().unwrap();
    disk.sync_dir(path("")).unwrap();
    file
}

fn contents(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(path(name), 0).ok()?;
    Some(file.read(0, file.len() as usize).unwrap().to_vec())
}

#[test]
fn a_killed_process_loses_nothing() {
    let disk = disk(1);
    let file = disk.create(path(F), 5000, 5000).unwrap();
    file.write_at(100, &[b"kept"]).unwrap();
    let image = disk.crash(CrashKind::Process);
    assert_eq!(contents(&image, F), contents(&disk, F));
}

#[test]
fn a_crash_image_is_a_disk_of_its_own() {
    let disk = disk(1);
    durable_file(&disk, F, 10, 1);
    let image = disk.crash(CrashKind::Power);
    image.open(path(F), 0).unwrap().write_at(0, &[&[9; 10]]).unwrap();
    assert_eq!(contents(&disk, F), Some(vec![1; 10]));
}

#[test]
fn unflushed_pages_are_lost_kept_and_torn() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = disk(seed);
        let file = durable_file(&disk, F, 8192, 1);
        file.write_at(0, &[&[2; 8192]]).unwrap();
        let bytes = contents(&disk.crash(CrashKind::Power), F).unwrap();
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is never torn");
        }
        let pages: Vec<_> = bytes.chunks(4096).map(|page| (page.contains(&1), page.contains(&2))).collect();
        outcomes.insert(pages);
    }
    let (old, new, torn) = ((true, false), (false, true), (true, true));
    for seen in [[old, old], [new, new], [old, new], [new, old], [torn, old], [old, torn], [torn, torn]] {
        assert!(outcomes.contains(&seen[..]), "{seen:?} never happened");
    }
}

#[test]
fn an_unsynced_name_may_be_missing_though_its_file_was_flushed() {
    let mut missing = BTreeSet::new();
    for seed in 0..50 {
        let disk = disk(seed);
        let file = disk.create(path(F), 10, 10).unwrap();
        file.flush().unwrap();
        missing.insert(contents(&disk.crash(CrashKind::Power), F).is_none());
        disk.sync_dir(path("")).unwrap();
        assert!(contents(&disk.crash(CrashKind::Power), F).is_some());
    }
    assert_eq!(missing.len(), 2, "both outcomes happen");
}

#[test]
fn a_rename_is_atomic_and_durable_after_the_directory_is_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        durable_file(&disk, F, 100, 1);
        let file = disk.create(path("tmp"), 100, 100).unwrap();
        file.write_at(0, &[&[2; 100]]).unwrap();
        file.flush().unwrap();
        disk.rename(path("tmp"), path(F)).unwrap();
        let image = disk.crash(CrashKind::Power);
        let bytes = contents(&image, F).unwrap();
        assert!(bytes == [1; 100] || bytes == [2; 100], "old or new, never between");
        outcomes.insert((bytes[0], contents(&image, "tmp").is_some()));
        disk.sync_dir(path("")).unwrap();
        let image = disk.crash(CrashKind::Power);
        assert_eq!((contents(&image, F), contents(&image, "tmp")), (Some(vec![2; 100]), None));
    }
    assert_eq!(outcomes, BTreeSet::from([(1, false), (1, true), (2, false)]));
}

#[test]
fn a_rename_before_the_flush_may_leave_an_empty_shell() {
    let lost = (0..100).any(|seed| {
        let disk = disk(seed);
        durable_file(&disk, F, 100, 1);
        let file = disk.create(path("tmp"), 100, 100).unwrap();
        file.write_at(0, &[&[2; 100]]).unwrap();
        disk.rename(path("tmp"), path(F)).unwrap();
        disk.sync_dir(path("")).unwrap();
        contents(&disk.crash(CrashKind::Power), F).unwrap() != [2; 100]
    });
    assert!(lost, "skipping the flush is caught by some seed");
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_is_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let disk = disk(seed);
        durable_file(&disk, F, 100, 1);
        disk.remove_file(path(F)).unwrap();
        outcomes.insert(contents(&disk.crash(CrashKind::Power), F));
        disk.sync_dir(path("")).unwrap();
        assert_eq!(contents(&disk.crash(CrashKind::Power), F), None);
    }
    assert_eq!(outcomes, BTreeSet::from([None, Some(vec![1; 100])]));
}

#[test]
fn an_unflushed_cut_may_bring_old_bytes_back() {
    let mut resurrected = false;
    for seed in 0..100 {
        let disk = disk(seed);
        let file = durable_file(&disk, F, 8192, 1);
        file.truncate(100).unwrap();
        file.allocate(8192).unwrap();
        let bytes = contents(&disk.crash(CrashKind::Power), F).unwrap();
        resurrected |= bytes.len() == 8192 && bytes[4096] == 1;
        file.flush().unwrap();
        let bytes = contents(&disk.crash(CrashKind::Power), F).unwrap();
        assert!(bytes.len() == 8192 && bytes[100..].iter().all(|byte| *byte == 0));
    }
    assert!(resurrected);
}

#[test]
fn a_length_whose_flush_failed_is_made_durable_by_the_next_flush() {
    let mut lost = false;
    for seed in 0..50 {
        let disk = disk(seed);
        let file = durable_file(&disk, F, 4096, 1);
        disk.inject(Fault::new(Operation::Flush, 1).on(F));
        file.allocate(8192).unwrap();
        file.flush().unwrap_err();
        let len = |disk: &SimDisk| contents(disk, F).map(|bytes| bytes.len());
        lost |= len(&disk.crash(CrashKind::Power)) == Some(4096);
        file.flush().unwrap();
        assert_eq!(len(&disk.crash(CrashKind::Power)), Some(8192));
    }
    assert!(lost, "the failed flush promises nothing");
}

#[test]
fn a_failed_flush_is_followed_by_successes_that_promise_nothing() {
    let mut lost = false;
    for seed in 0..50 {
        let disk = disk(seed);
        let file = durable_file(&disk, F, 40_960, 1);
        disk.inject(Fault::new(Operation::Flush, 1).on(F));
        file.write_at(0, &[&vec![2; 40_960]]).unwrap();
        assert!(matches!(file.flush(), Err(DiskError::Io { operation: "fdatasync", .. })));
        file.flush().unwrap();
        disk.sync_all().unwrap();
        assert_eq!(contents(&disk, F), Some(vec![2; 40_960]), "the page cache still shows the bytes");
        lost |= contents(&disk.crash(CrashKind::Power), F) != Some(vec![2; 40_960]);
    }
    assert!(lost);
}

#[test]
fn a_failed_sync_of_everything_fails_every_dirty_file() {
    let disk = disk(3);
    let file = durable_file(&disk, F, 409_600, 1);
    file.write_at(0, &[&vec![2; 409_600]]).unwrap();
    disk.inject(Fault::new(Operation::SyncAll, 1));
    assert!(disk.sync_all().is_err());
    disk.sync_all().unwrap();
    assert!(file.flush().is_err(), "each file's own flush reports the failure, once");
    file.flush().unwrap();
    assert_ne!(contents(&disk.crash(CrashKind::Power), F), Some(vec![2; 409_600]));
}

#[test]
fn faults_count_calls_on_matching_paths() {
    let disk = disk(1);
    let (a, b) = (durable_file(&disk, "a", 100, 1), durable_file(&disk, "b", 100, 1));
    disk.inject(Fault::new(Operation::Write, 2).on("b"));
    disk.inject(Fault::new(Operation::Allocate, 1).full());
    a.write_at(0, &[b"x"]).unwrap();
    b.write_at(0, &[b"x"]).unwrap();
    a.write_at(0, &[b"x"]).unwrap();
    assert!(b.write_at(0, &[b"x"]).is_err());
    b.write_at(0, &[b"x"]).unwrap();
    assert!(a.allocate(200).unwrap_err().is_full());
    a.allocate(200).unwrap();
    assert_eq!(disk.calls(Operation::Write), 7);
}

#[test]
fn rot_shows_at_once_and_survives() {
    let disk = disk(1);
    durable_file(&disk, F, 100, 0);
    disk.flip_bit(path(F), 42, 3).unwrap();
    assert!(disk.flip_bit(path(F), 100, 0).is_err());
    for image in [disk.clone(), disk.crash(CrashKind::Power)] {
        let bytes = contents(&image, F).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == if at == 42 { 8 } else { 0 }));
    }
}

#[test]
fn space_comes_back_with_the_last_handle() {
    let disk = SimDisk::new(1, FaultPlan { capacity: Some(100 * 4096), ..FaultPlan::default() });
    let file = durable_file(&disk, F, 60 * 4096, 1);
    assert_eq!(disk.space().unwrap(), Space { total: 100 * 4096, free: 40 * 4096 });
    disk.remove_file(path(F)).unwrap();
    assert_eq!(disk.space().unwrap().free, 40 * 4096);
    drop(file);
    assert_eq!(disk.space().unwrap().free, 100 * 4096);
    let file = durable_file(&disk, F, 100 * 4096, 1);
    file.truncate(4097).unwrap();
    assert_eq!(disk.space().unwrap().free, 98 * 4096);
    assert_eq!(disk.crash(CrashKind::Power).space().unwrap().total, 100 * 4096);
}

#[test]
fn after_the_power_goes_off_every_call_fails() {
    let disk = SimDisk::new(1, FaultPlan { power_off_after: Some(3), ..FaultPlan::default() });
    let file = disk.create(path(F), 100, 100).unwrap();
    file.flush().unwrap();
    disk.sync_dir(path("")).unwrap();
    assert!(file.write_at(0, &[b"x"]).is_err());
    assert!(file.flush().is_err() && file.read(0, 1).is_err() && disk.list(path("")).is_err());
    let image = disk.crash(CrashKind::Power);
    image.open(path(F), 0).unwrap().flush().unwrap();
}

#[test]
fn a_slow_disk_counts_its_time() {
    let disk = SimDisk::new(1, FaultPlan { flush_micros: 250, ..FaultPlan::default() });
    durable_file(&disk, F, 10, 1);
    assert_eq!(disk.busy_micros(), 500);
}

/// A write of one byte value over some sectors, or a flush.
#[derive(Debug, Clone)]
enum Step {
    Write { sector: usize, sectors: usize },
    Zero { sector: usize, sectors: usize },
    Flush,
    SyncAll,
}

const SECTORS: usize = 40;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..SECTORS, 1..12_usize).prop_map(|(sector, sectors)| Step::Write { sector, sectors }),
        1 => (0..SECTORS, 1..12_usize).prop_map(|(sector, sectors)| Step::Zero { sector, sectors }),
        1 => Just(Step::Flush),
        1 => Just(Step::SyncAll),
    ]
}

/// Runs the steps; returns, for each sector, the values it may have after a power loss.
fn run(disk: &SimDisk, steps: &[Step]) -> Vec<BTreeSet<u8>> {
    let file = durable_file(disk, F, (SECTORS * 512) as u64, 0);
    let mut possible = vec![BTreeSet::from([0_u8]); SECTORS];
    let mut last = [0_u8; SECTORS];
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Write { sector, sectors } | Step::Zero { sector, sectors } => {
                let zero = matches!(step, Step::Zero { .. });
                let byte = if zero { 0 } else { number as u8 + 1 };
                let end = (sector + sectors).min(SECTORS);
                if zero {
                    file.zero((sector * 512) as u64..(end * 512) as u64).unwrap();
                } else {
                    file.write_at((sector * 512) as u64, &[&vec![byte; (end - sector) * 512]]).unwrap();
                }
                for at in sector..end {
                    possible[at].insert(byte);
                    last[at] = byte;
                }
            }
            Step::Flush | Step::SyncAll => {
                if matches!(step, Step::Flush) { file.flush() } else { disk.sync_all() }.unwrap();
                possible = last.iter().map(|byte| BTreeSet::from([*byte])).collect();
            }
        }
    }
    possible
}

proptest! {
    #[test]
    fn after_a_power_loss_each_sector_has_its_flushed_or_a_later_value(
        steps in prop::collection::vec(step(), 0..40), seed in any::<u64>(),
    ) {
        let disk = disk(seed);
        let possible = run(&disk, &steps);
        let bytes = contents(&disk.crash(CrashKind::Power), F).unwrap();
        for (sector, possible) in bytes.chunks(512).zip(&possible) {
            prop_assert!(possible.contains(&sector[0]) && sector.iter().all(|byte| *byte == sector[0]));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_image(steps in prop::collection::vec(step(), 0..40), seed in any::<u64>()) {
        let images: Vec<_> = (0..2).map(|_| {
            let disk = disk(seed);
            run(&disk, &steps);
            (contents(&disk.crash(CrashKind::Power), F), contents(&disk.crash(CrashKind::Power), F))
        }).collect();
        prop_assert_eq!(&images[0], &images[1]);
    }
}
