//! Identity, lock and clean marker, also over crashes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use millrace_types::{DirectoryId, TopicId, TopicPartition};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::disk::{CrashKind, Disk, FaultPlan, SimDisk};

fn new(number: u128) -> NewIdentity {
    NewIdentity { directory_id: DirectoryId(Uuid::from_u128(number)), cluster_id: format!("cluster {number}") }
}

fn open(disk: &SimDisk, number: u128) -> Result<DataDir, DataDirError> {
    DataDir::open_on(Arc::new(disk.clone()), new(number), "boot".into())
}

/// A disk with one file of these bytes.
fn disk_with(file: &str, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1, FaultPlan::default());
    let handle = disk.create(Path::new(file), bytes.len() as u64, 0).unwrap();
    handle.write_at(0, &[bytes]).unwrap();
    disk
}

#[test]
fn an_identity_is_given_once() {
    let disk = SimDisk::new(1, FaultPlan::default());
    let dir = open(&disk, 1).unwrap();
    assert_eq!((dir.identity().cluster_id.as_str(), dir.is_fresh(), dir.was_clean()), ("cluster 1", true, false));
    let image = disk.crash(CrashKind::Power);
    let dir = open(&image, 2).unwrap();
    assert_eq!(dir.identity().directory_id, new(1).directory_id);
}

#[test]
fn a_crash_during_the_first_start_leaves_a_directory_that_opens() {
    let mut identities = BTreeSet::new();
    for seed in 0..100 {
        let disk = SimDisk::new(seed, FaultPlan { power_off_after: Some(seed % 6), ..FaultPlan::default() });
        let first = open(&disk, 1).map(|dir| dir.identity().directory_id);
        let second = open(&disk.crash(CrashKind::Power), 2).unwrap();
        assert!(second.is_fresh());
        if let Ok(first) = first {
            assert_eq!(second.identity().directory_id, first, "an identity that was used stays");
        }
        identities.insert(second.identity().cluster_id.clone());
    }
    assert_eq!(identities.len(), 2);
}

#[test]
fn the_clean_marker_is_durable_and_valid_for_one_start() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed, FaultPlan::default());
        open(&disk, 1).unwrap().mark_clean().unwrap();
        let disk = disk.crash(CrashKind::Power);
        assert!(open(&disk, 1).unwrap().was_clean());
        assert!(!open(&disk.crash(CrashKind::Power), 1).unwrap().was_clean(), "consumed durably");
    }
}

#[test]
fn a_marker_of_another_directory_or_of_garbage_is_none() {
    for marker in
        [&b"{}"[..], b"", b"\xFF\xFE", br#"{"format_version":2,"directory_id":"00000000-0000-0000-0000-000000000001"}"#]
    {
        let disk = disk_with("clean", marker);
        assert!(!open(&disk, 1).unwrap().was_clean());
        assert!(disk.open(Path::new("clean"), 0).unwrap_err().is_not_found(), "it is gone nevertheless");
    }
    let other = br#"{"format_version":1,"directory_id":"00000000-0000-0000-0000-000000000002"}"#;
    assert!(!open(&disk_with("clean", other), 1).unwrap().was_clean());
    let own = br#"{"format_version":1,"directory_id":"00000000-0000-0000-0000-000000000001"}"#;
    assert!(open(&disk_with("clean", own), 1).unwrap().was_clean());
}

#[test]
fn an_unknown_format_version_is_refused_by_name() {
    let error = open(&disk_with("directory.json", br#"{"format_version":7,"other":1}"#), 1).unwrap_err();
    let said = error.to_string();
    assert_eq!(said, "directory.json: format version 7 is unknown; this program knows version 1");
}

#[test]
fn a_damaged_identity_is_refused() {
    for bytes in [&b""[..], b"{}", b"[1]", br#"{"format_version":1}"#, br#"{"format_version":"1"}"#, &[b' '; 70_000]] {
        let error = open(&disk_with("directory.json", bytes), 1).unwrap_err();
        assert!(matches!(error, DataDirError::Malformed { file: "directory.json", .. }), "{error}");
    }
}

#[test]
fn data_without_an_identity_is_refused_and_gets_none() {
    for path in ["qstate/qstate-1.journal", "metadata/metadata-1.journal", "topics/t/f"] {
        let disk = SimDisk::new(1, FaultPlan::default());
        let path = Path::new(path);
        disk.create_dir(path.parent().unwrap()).unwrap();
        disk.create(path, 1, 1).unwrap();
        disk.create(Path::new("clean"), 1, 1).unwrap();
        let said = open(&disk, 1).unwrap_err().to_string();
        let folder = path.iter().next().unwrap().to_str().unwrap();
        assert!(said.starts_with("directory.json is missing, but there are") && said.contains(folder), "{said}");
        assert!(said.contains("from a copy"), "{said}");
        assert!(disk.open(Path::new("directory.json"), 0).unwrap_err().is_not_found(), "none was made");
        assert!(disk.open(Path::new("clean"), 0).is_ok(), "the marker waits for the start that finds the identity");
    }
}

#[test]
fn a_directory_with_state_is_not_fresh() {
    for path in ["qstate/qstate-1.journal", "metadata/metadata-1.journal", "topics/t/f"] {
        let disk = SimDisk::new(1, FaultPlan::default());
        open(&disk, 1).unwrap();
        let path = Path::new(path);
        disk.create_dir(path.parent().unwrap()).unwrap();
        if !path.starts_with("topics") {
            assert!(open(&disk, 1).unwrap().is_fresh(), "an empty folder is no state");
        }
        disk.create(path, 1, 1).unwrap();
        assert!(!open(&disk, 1).unwrap().is_fresh(), "{}", path.display());
    }
}

#[test]
fn a_real_directory_is_made_locked_and_identified() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("deep/data");
    let dir = DataDir::open(&root, new(1)).unwrap();
    let boot_id = dir.boot_id().to_owned();
    assert!(boot_id.len() > 36 && boot_id.contains('/'), "{boot_id}");
    let error = DataDir::open(&root, new(1)).unwrap_err();
    assert!(matches!(&error, DataDirError::Locked { root: locked } if *locked == root), "{error}");
    dir.mark_clean().unwrap();
    drop(dir);
    let dir = DataDir::open(&root, new(2)).unwrap();
    assert!(dir.was_clean());
    assert_eq!((dir.identity().cluster_id.as_str(), dir.boot_id()), ("cluster 1", boot_id.as_str()));
}

#[test]
fn only_the_spelling_that_is_written_names_a_partition() {
    let topic = "00000000-0000-0000-0000-0000000000ab";
    for bad in [
        "",
        "-",
        topic,
        &format!("{topic}-"),
        &format!("{topic}--1"),
        &format!("{topic}-+1"),
        &format!("{topic}-01"),
        &format!("{}-1", topic.to_uppercase()),
        &format!("{topic}-9999999999"),
    ] {
        assert_eq!(parse_partition_dir(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_partition_is_found_by_the_name_of_its_folder(topic in any::<u128>(), partition in 0..i32::MAX) {
        let tp = TopicPartition::new(TopicId(Uuid::from_u128(topic)), partition);
        let dir = partition_dir(tp);
        prop_assert!(dir.starts_with(TOPICS_DIR));
        prop_assert_eq!(parse_partition_dir(dir.file_name().unwrap().to_str().unwrap()), Some(tp));
    }
}
