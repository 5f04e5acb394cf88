//! One suite of contract tests that every implementation of `Disk` passes: the real one, the simulated one, and the
//! overlay over another one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;

use millrace_storage::{Disk, DiskError, FaultPlan, FileRef, OverlayDisk, RealDisk, SimDisk};
use proptest::prelude::*;

/// Runs each named check on every disk.
macro_rules! contract {
    ($($check:ident),* $(,)?) => {
        mod real {
            $(#[test] fn $check() {
                let root = tempfile::tempdir().unwrap();
                super::$check(&super::RealDisk::open(root.path()).unwrap());
            })*
        }
        mod simulated {
            $(#[test] fn $check() {
                super::$check(&super::SimDisk::new(1, super::FaultPlan::default()));
            })*
        }
        mod overlay {
            $(#[test] fn $check() {
                super::$check(&super::overlay(super::SimDisk::new(1, super::FaultPlan::default())));
            })*
        }
    };
}

contract!(
    a_created_file_is_allocated_zeros,
    creating_twice_is_refused,
    a_missing_parent_or_file_is_not_found,
    writes_are_gathered_and_read_back,
    more_parts_than_one_call_takes_are_written,
    nothing_reaches_beyond_the_allocated_length,
    growing_keeps_contents_and_adds_zeros,
    a_grown_file_is_read_beyond_its_first_mapping,
    cutting_and_growing_again_shows_zeros,
    zeroing_small_and_large_ranges,
    slices_outlive_their_file_and_its_name,
    an_opened_file_has_its_length,
    renaming_replaces_the_target,
    listing_is_sorted_and_typed,
    directories_are_made_with_parents_and_removed_whole,
    everything_can_be_made_durable,
    space_is_reported,
    warming_makes_resident,
);

fn overlay(base: SimDisk) -> OverlayDisk {
    OverlayDisk::new(Arc::new(base))
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn a_created_file_is_allocated_zeros(disk: &dyn Disk) {
    let file = disk.create(path("a"), 10_000, 20_000).unwrap();
    assert_eq!(file.path(), path("a"));
    assert_eq!((file.len(), file.is_empty()), (10_000, false));
    assert!(file.read(0, 10_000).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(file.read(10_000, 0).unwrap().len(), 0);
}

fn creating_twice_is_refused(disk: &dyn Disk) {
    disk.create(path("a"), 1, 1).unwrap();
    assert!(matches!(disk.create(path("a"), 1, 1), Err(DiskError::Exists { path }) if path == Path::new("a")));
}

fn a_missing_parent_or_file_is_not_found(disk: &dyn Disk) {
    assert!(disk.create(path("no/a"), 1, 1).unwrap_err().is_not_found());
    assert!(disk.open(path("a"), 0).unwrap_err().is_not_found());
    assert!(disk.list(path("no")).unwrap_err().is_not_found());
    assert!(disk.rename(path("a"), path("b")).unwrap_err().is_not_found());
    assert!(disk.remove_file(path("a")).unwrap_err().is_not_found());
    assert!(disk.remove_dir_all(path("no")).unwrap_err().is_not_found());
    assert!(disk.sync_dir(path("no")).unwrap_err().is_not_found());
}

fn writes_are_gathered_and_read_back(disk: &dyn Disk) {
    let file = disk.create(path("a"), 16, 16).unwrap();
    file.write_at(3, &[b"", b"abc", b"", b"de", b""]).unwrap();
    file.write_at(0, &[]).unwrap();
    file.write_at(16, &[b""]).unwrap();
    assert_eq!(&file.read(2, 7).unwrap()[..], b"\0abcde\0");
}

fn more_parts_than_one_call_takes_are_written(disk: &dyn Disk) {
    let file = disk.create(path("a"), 5_000, 5_000).unwrap();
    let bytes: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8).collect();
    let parts: Vec<&[u8]> = bytes.chunks(2).collect();
    file.write_at(0, &parts).unwrap();
    assert_eq!(&file.read(0, 5_000).unwrap()[..], &bytes[..]);
}

fn nothing_reaches_beyond_the_allocated_length(disk: &dyn Disk) {
    let file = disk.create(path("a"), 8, 4096).unwrap();
    let outside = |result: Result<(), DiskError>| {
        assert!(matches!(result, Err(DiskError::OutOfRange { file_len: 8, .. })), "{result:?}");
    };
    outside(file.write_at(6, &[b"ab", b"c"]));
    outside(file.write_at(u64::MAX, &[b"a"]));
    outside(file.read(4, 5).map(drop));
    outside(file.read(u64::MAX, 1).map(drop));
    outside(file.zero(4..9));
    outside(file.warm(4..9));
    assert_eq!(&file.read(0, 8).unwrap()[..], &[0; 8], "a refused write leaves nothing behind");
}

fn growing_keeps_contents_and_adds_zeros(disk: &dyn Disk) {
    let file = disk.create(path("a"), 4, 1 << 20).unwrap();
    file.write_at(0, &[b"abcd"]).unwrap();
    file.allocate(100_000).unwrap();
    file.allocate(10).unwrap();
    assert_eq!(file.len(), 100_000);
    assert_eq!(&file.read(0, 6).unwrap()[..], b"abcd\0\0");
    file.write_at(99_999, &[b"z"]).unwrap();
    assert_eq!(&file.read(99_998, 2).unwrap()[..], b"\0z");
}

fn a_grown_file_is_read_beyond_its_first_mapping(disk: &dyn Disk) {
    disk.create(path("a"), 4096, 4096).unwrap();
    let file = disk.open(path("a"), 0).unwrap();
    let early = file.read(0, 4).unwrap();
    file.allocate(1 << 20).unwrap();
    file.write_at((1 << 20) - 1, &[b"z"]).unwrap();
    assert_eq!(&file.read((1 << 20) - 2, 2).unwrap()[..], b"\0z");
    assert_eq!(&early[..], &[0; 4]);
}

fn cutting_and_growing_again_shows_zeros(disk: &dyn Disk) {
    let file = disk.create(path("a"), 10_000, 10_000).unwrap();
    file.write_at(0, &[&[7; 10_000]]).unwrap();
    file.truncate(20_000).unwrap();
    assert_eq!(file.len(), 10_000, "truncation never grows");
    file.truncate(5_000).unwrap();
    assert_eq!(file.len(), 5_000);
    assert!(matches!(file.read(4_999, 2), Err(DiskError::OutOfRange { .. })));
    file.allocate(10_000).unwrap();
    assert!(file.read(0, 5_000).unwrap().iter().all(|byte| *byte == 7));
    assert!(file.read(5_000, 5_000).unwrap().iter().all(|byte| *byte == 0));
}

fn zeroing_small_and_large_ranges(disk: &dyn Disk) {
    let file = disk.create(path("a"), 400_000, 400_000).unwrap();
    file.write_at(0, &[&vec![7; 400_000]]).unwrap();
    file.zero(10..20).unwrap();
    file.zero(50_001..399_999).unwrap();
    file.zero(5..5).unwrap();
    let bytes = file.read(0, 400_000).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        let zeroed = (10..20).contains(&at) || (50_001..399_999).contains(&at);
        assert_eq!(*byte == 0, zeroed, "byte {at}");
    }
    assert_eq!(file.len(), 400_000);
}

fn slices_outlive_their_file_and_its_name(disk: &dyn Disk) {
    let file = disk.create(path("a"), 4096, 4096).unwrap();
    file.write_at(0, &[b"still here"]).unwrap();
    let slice = file.read(0, 10).unwrap();
    disk.remove_file(path("a")).unwrap();
    assert_eq!(&file.read(6, 4).unwrap()[..], b"here");
    drop(file);
    assert_eq!(&slice[..], b"still here");
    assert!(disk.open(path("a"), 0).unwrap_err().is_not_found());
}

fn an_opened_file_has_its_length(disk: &dyn Disk) {
    disk.create(path("a"), 1234, 5000).unwrap().write_at(1230, &[b"tail"]).unwrap();
    let file = disk.open(path("a"), 5000).unwrap();
    assert_eq!(file.len(), 1234);
    assert_eq!(&file.read(1230, 4).unwrap()[..], b"tail");
}

fn renaming_replaces_the_target(disk: &dyn Disk) {
    disk.create_dir(path("d")).unwrap();
    disk.create(path("a"), 1, 1).unwrap().write_at(0, &[b"a"]).unwrap();
    let old = disk.create(path("d/b"), 1, 1).unwrap();
    old.write_at(0, &[b"b"]).unwrap();
    disk.rename(path("a"), path("d/b")).unwrap();
    assert!(disk.open(path("a"), 0).unwrap_err().is_not_found());
    assert_eq!(&disk.open(path("d/b"), 0).unwrap().read(0, 1).unwrap()[..], b"a");
    assert_eq!(&old.read(0, 1).unwrap()[..], b"b", "an open handle keeps its file");
}

fn listing_is_sorted_and_typed(disk: &dyn Disk) {
    assert_eq!(disk.list(path("")).unwrap(), []);
    disk.create_dir(path("m")).unwrap();
    disk.create(path("z"), 3, 3).unwrap();
    disk.create(path("a"), 0, 0).unwrap();
    disk.create(path("m/inner"), 9, 9).unwrap();
    let entries: Vec<_> = disk.list(path("")).unwrap().into_iter().map(|e| (e.name, e.is_dir, e.len)).collect();
    assert_eq!(entries, [("a".to_owned(), false, 0), ("m".to_owned(), true, 0), ("z".to_owned(), false, 3)]);
    assert_eq!(disk.list(path("m")).unwrap().len(), 1);
}

fn directories_are_made_with_parents_and_removed_whole(disk: &dyn Disk) {
    disk.create_dir(path("a/b/c")).unwrap();
    disk.create_dir(path("a/b/c")).unwrap();
    disk.create(path("a/b/c/f"), 1, 1).unwrap();
    disk.create(path("a/g"), 1, 1).unwrap();
    disk.remove_dir_all(path("a/b")).unwrap();
    assert_eq!(disk.list(path("a")).unwrap().len(), 1);
    assert!(disk.list(path("a/b")).unwrap_err().is_not_found());
    assert!(disk.remove_dir_all(path("")).is_err(), "the root stays");
}

fn everything_can_be_made_durable(disk: &dyn Disk) {
    disk.create_dir(path("d")).unwrap();
    let file = disk.create(path("d/a"), 100, 100).unwrap();
    file.write_at(0, &[b"x"]).unwrap();
    file.flush().unwrap();
    disk.sync_dir(path("d")).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.sync_all().unwrap();
}

fn space_is_reported(disk: &dyn Disk) {
    let space = disk.space().unwrap();
    assert!(space.free > 0 && space.free <= space.total);
}

fn warming_makes_resident(disk: &dyn Disk) {
    let file = disk.create(path("a"), 1 << 20, 1 << 20).unwrap();
    file.write_at(0, &[&vec![1; 1 << 20]]).unwrap();
    file.warm(100..(1 << 20)).unwrap();
    assert!(file.is_resident(100..(1 << 20)));
    file.warm(7..7).unwrap();
    assert!(file.is_resident(7..7));
}

#[test]
fn the_real_disk_does_not_leave_its_root() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(root.path()).unwrap();
    for outside in ["../a", "/etc/passwd", "a/../../b"] {
        assert!(matches!(disk.open(path(outside), 0), Err(DiskError::Io { .. })), "{outside}");
    }
}

#[test]
fn a_file_that_finds_no_room_is_not_left_behind() {
    let disk = SimDisk::new(1, FaultPlan { capacity: Some(8192), ..FaultPlan::default() });
    let file = disk.create(path("a"), 4096, 4096).unwrap();
    assert!(disk.create(path("b"), 8192, 8192).unwrap_err().is_full());
    assert!(disk.open(path("b"), 0).unwrap_err().is_not_found());
    assert!(file.allocate(8193).unwrap_err().is_full());
    assert_eq!(file.len(), 4096);
    file.allocate(8192).unwrap();
}

/// A change of one file, with positions as fractions of what there is.
#[derive(Debug, Clone)]
enum Change {
    Write { at: u16, len: u16, byte: u8 },
    Zero { at: u16, len: u16 },
    Allocate(u32),
    Truncate(u32),
    Flush,
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<u16>(), 0..9000_u16, 1..=255_u8).prop_map(|(at, len, byte)| Change::Write { at, len, byte }),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(at, len)| Change::Zero { at, len }),
        1 => (0..200_000_u32).prop_map(Change::Allocate),
        1 => (0..200_000_u32).prop_map(Change::Truncate),
        1 => Just(Change::Flush),
        1 => Just(Change::Reopen),
    ]
}

/// Applies `changes` to the file `f` and to a vector, and compares the two.
fn follows_the_model(disk: &dyn Disk, changes: &[Change]) -> Result<(), TestCaseError> {
    let file = disk.create(path("f"), 10_000, 200_000).unwrap();
    apply_all(disk, file, &mut vec![0_u8; 10_000], changes)?;
    disk.remove_file(path("f")).unwrap();
    Ok(())
}

/// Applies `changes` to `file`, whose path is `f`, and to `model`, and compares the two.
fn apply_all(disk: &dyn Disk, mut file: FileRef, model: &mut Vec<u8>, changes: &[Change]) -> Result<(), TestCaseError> {
    for change in changes {
        match *change {
            Change::Write { at, len, byte } => {
                let at = usize::from(at) % (model.len() + 1);
                let end = (at + usize::from(len)).min(model.len());
                model[at..end].fill(byte);
                let half = (end - at) / 2;
                file.write_at(at as u64, &[&vec![byte; half], &vec![byte; end - at - half]]).unwrap();
            }
            Change::Zero { at, len } => {
                let at = usize::from(at) % (model.len() + 1);
                let end = (at + usize::from(len)).min(model.len());
                model[at..end].fill(0);
                file.zero(at as u64..end as u64).unwrap();
            }
            Change::Allocate(len) => {
                model.resize(model.len().max(len as usize), 0);
                file.allocate(u64::from(len)).unwrap();
            }
            Change::Truncate(len) => {
                model.truncate(len as usize);
                file.truncate(u64::from(len)).unwrap();
            }
            Change::Flush => file.flush().unwrap(),
            Change::Reopen => {
                drop(file);
                file = disk.open(path("f"), 0).unwrap();
            }
        }
        prop_assert_eq!(file.len(), model.len() as u64);
        prop_assert!(file.read(0, model.len()).unwrap() == *model, "contents differ after {:?}", change);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_disks_follow_the_model(changes in prop::collection::vec(change(), 0..30), seed in any::<u64>()) {
        let root = tempfile::tempdir().unwrap();
        follows_the_model(&RealDisk::open(root.path()).unwrap(), &changes)?;
        follows_the_model(&SimDisk::new(seed, FaultPlan::default()), &changes)?;
        follows_the_model(&overlay(SimDisk::new(seed, FaultPlan::default())), &changes)?;
    }

    /// The file is made below and changed above; what is below stays as it was.
    #[test]
    fn an_overlay_changes_nothing_below(
        first in prop::collection::vec(change(), 0..10),
        then in prop::collection::vec(change(), 0..30),
    ) {
        let base = SimDisk::new(1, FaultPlan::default());
        let mut below = vec![0_u8; 10_000];
        let file = base.create(path("f"), 10_000, 200_000).unwrap();
        apply_all(&base, file, &mut below, &first)?;
        let above = overlay(base.clone());
        let mut model = below.clone();
        apply_all(&above, above.open(path("f"), 200_000).unwrap(), &mut model, &then)?;
        above.rename(path("f"), path("g")).unwrap();
        prop_assert!(above.open(path("g"), 0).unwrap().read(0, model.len()).unwrap() == model);
        prop_assert!(above.open(path("f"), 0).unwrap_err().is_not_found());
        above.remove_file(path("g")).unwrap();
        prop_assert!(above.list(path("")).unwrap().is_empty());
        let file = base.open(path("f"), 0).unwrap();
        prop_assert!(file.len() == below.len() as u64 && file.read(0, below.len()).unwrap() == below);
    }
}
