//! What deletions have left behind because the process ended in the middle of them: found and forgotten before
//! anything is served, removed while the broker serves.
//!
//! A deletion is durable in the metadata first, then the write-ahead store forgets the partition, then its directory
//! goes. So of a topic that the replayed metadata does not know, both the memory and the directory may go. Metadata that
//! cannot be replayed fail the start before anything here runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use millrace_metadata::Image;
use millrace_storage::{
    Disk, DiskError, QRecord, QState, StorageHandle, StorageJob, TOPICS_DIR, parse_partition_dir, partition_dir,
};
use millrace_types::TopicPartition;

/// Partitions of topics that do not exist any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orphans {
    /// Those the write-ahead store remembers.
    remembered: Vec<TopicPartition>,
    /// Those with a directory.
    directories: Vec<TopicPartition>,
}

impl Orphans {
    /// Finds what `image`, as it was replayed, does not know.
    ///
    /// # Errors
    /// The directory of the partitions cannot be listed.
    pub(crate) fn find(disk: &dyn Disk, image: &Image, qstate: &QState) -> Result<Self, DiskError> {
        if image.cluster_id().is_empty() {
            // A journal without a single entry says nothing about what there was.
            return Ok(Self::default());
        }
        let entries = match disk.list(Path::new(TOPICS_DIR)) {
            Err(error) if error.is_not_found() => Vec::new(),
            entries => entries?,
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            match parse_partition_dir(&entry.name).filter(|_| entry.is_dir) {
                Some(partition) => drop(found.insert(partition)),
                None => tracing::warn!(name = entry.name, "not of this broker: left alone"),
            }
        }
        let is_orphan = |partition: &TopicPartition| image.topic_by_id(partition.topic).is_none();
        Ok(Self {
            remembered: qstate.partitions().map(|(partition, _)| partition).filter(is_orphan).collect(),
            directories: found.into_iter().filter(is_orphan).collect(),
        })
    }

    /// Makes the write-ahead store forget them, durably: a memory without its data would be taken for a loss.
    ///
    /// # Errors
    /// The store cannot be written; no directory may be removed then.
    pub(crate) fn forget(&self, qstate: &mut QState) -> Result<(), DiskError> {
        if self.remembered.is_empty() {
            return Ok(());
        }
        let records: Vec<QRecord> = self.remembered.iter().map(|tp| QRecord::Forget { tp: *tp }).collect();
        qstate.put(&records)?;
        qstate.flush()
    }

    /// Has the directories removed by a storage thread; what cannot be removed is found again by the next start.
    pub(crate) fn remove(self, disk: &Arc<dyn Disk>, storage: &StorageHandle) {
        if self.directories.is_empty() {
            return;
        }
        let disk = Arc::clone(disk);
        let job = StorageJob::new("remove orphans", move || {
            for partition in self.directories {
                match disk.remove_dir_all(&partition_dir(partition)) {
                    Err(error) if !error.is_not_found() => {
                        tracing::warn!(%partition, %error, "the directory of a deleted partition was not removed");
                    }
                    _ => tracing::info!(%partition, "removed what a deletion left behind"),
                }
            }
        });
        if let Err(error) = storage.run(job) {
            tracing::warn!(%error, "directories of deleted partitions stay until the next start");
        }
    }
}
