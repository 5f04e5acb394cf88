//! Names of what lies in a data directory.

use std::path::{Path, PathBuf};

use millrace_types::{TopicId, TopicPartition};
use uuid::Uuid;

use crate::disk::{Disk, DiskError};

/// Folder of the write-ahead store.
pub const QSTATE_DIR: &str = "qstate";
/// Folder of the metadata journal.
pub const METADATA_DIR: &str = "metadata";
/// Folder of the partitions' logs.
pub const TOPICS_DIR: &str = "topics";

/// The folder of a partition's log, relative to the data directory.
#[must_use]
pub fn partition_dir(tp: TopicPartition) -> PathBuf {
    Path::new(TOPICS_DIR).join(tp.to_string())
}

/// Removes the folder of a partition's log, if there is one.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove_partition_dir(disk: &dyn Disk, tp: TopicPartition) -> Result<(), DiskError> {
    match disk.remove_dir_all(&partition_dir(tp)) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The partition whose folder in [`TOPICS_DIR`] has this name; `None` for every other name.
#[must_use]
pub fn parse_partition_dir(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let tp = TopicPartition::new(TopicId(Uuid::try_parse(topic).ok()?), partition.parse().ok()?);
    // Only the one spelling that is written is read: "+1", "01" or a topic id in capitals is not ours.
    (tp.partition >= 0 && tp.to_string() == name).then_some(tp)
}

/// What the folders hold, in words; `None` when they hold nothing: the process that made the directory died before it
/// had made its first journal.
pub(super) fn held(disk: &dyn Disk) -> Result<Option<&'static str>, DiskError> {
    let holds = |dir: &str, suffix: &str| match disk.list(Path::new(dir)) {
        Err(error) if error.is_not_found() => Ok(false),
        result => result.map(|entries| entries.iter().any(|entry| entry.name.ends_with(suffix))),
    };
    let folders = [
        (QSTATE_DIR, ".journal", "journals in qstate/"),
        (METADATA_DIR, ".journal", "journals in metadata/"),
        (TOPICS_DIR, "", "logs in topics/"),
    ];
    for (dir, suffix, words) in folders {
        if holds(dir, suffix)? {
            return Ok(Some(words));
        }
    }
    Ok(None)
}
