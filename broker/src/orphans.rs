//! What deletions and moves have left behind because the process ended in the middle of them: found and forgotten before
//! anything is served, removed while the broker serves.
//!
//! A deletion is durable in the metadata first, then the write-ahead store forgets the partition, then its directory
//! goes. So of a topic that the replayed metadata does not know, both the memory and the directory may go. Metadata that
//! cannot be replayed fail the start before anything here runs. What has moved to other brokers goes as well, unless what is
//! known here still says that it counts: then it runs until it does not ([`Orphans::left_behind`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use millrace_metadata::Image;
use millrace_node::metadata_store::{Part, part};
use millrace_node::replica::Promises;
use millrace_raft::ReplicaKey;
use millrace_storage::{
    Disk, DiskError, QRecord, QState, StorageHandle, StorageJob, TOPICS_DIR, parse_partition_dir, remove_partition_dir,
};
use millrace_types::TopicPartition;

use crate::actor::supervisor::Remembered;

/// Partitions of topics that do not exist any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orphans {
    /// Those the write-ahead store remembers.
    remembered: Vec<TopicPartition>,
    /// Those with a directory.
    directories: Vec<TopicPartition>,
    /// Partitions that this broker shall have nothing of, where what is left here counts no more, with what stays of its
    /// promises.
    retired: Vec<(TopicPartition, Promises)>,
    /// Partitions of which something else is here than this broker shall have, and may count.
    left: Vec<(TopicPartition, Part)>,
}

impl Orphans {
    /// Finds what `image`, as it was replayed, does not know.
    ///
    /// # Errors
    /// The directory of the partitions cannot be listed.
    pub(crate) fn find(disk: &dyn Disk, image: &Image, qstate: &QState, me: ReplicaKey) -> Result<Self, DiskError> {
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
        let mut orphans = Self {
            remembered: qstate.partitions().map(|(partition, _)| partition).filter(is_orphan).collect(),
            directories: found.iter().copied().filter(is_orphan).collect(),
            ..Self::default()
        };
        let remembered = qstate.partitions().map(|(partition, _)| partition);
        let known: BTreeSet<TopicPartition> = remembered.chain(found.iter().copied()).collect();
        for partition in known.into_iter().filter(|partition| !is_orphan(partition)) {
            let promises = qstate.partition(partition).map(Promises::from).unwrap_or_default();
            orphans.look_at(partition, promises, found.contains(&partition), image, me);
        }
        Ok(orphans)
    }

    /// Compares what is here of a partition with what the image names here.
    fn look_at(
        &mut self,
        partition: TopicPartition,
        promises: Promises,
        has_directory: bool,
        image: &Image,
        me: ReplicaKey,
    ) {
        let named = part(image, partition, me.broker);
        let is_here = match promises.part(me) {
            Some(part) => Some(part),
            None => has_directory.then_some(Part::Replica),
        };
        match is_here {
            None => {}
            Some(is_here) if Some(is_here) == named => {}
            Some(_) if promises.are_outside(me) => self.retired.push((partition, promises)),
            Some(is_here) => self.left.push((partition, is_here)),
        }
    }

    /// What runs until it may go, beside or instead of what this broker shall have.
    pub(crate) fn left_behind(&self) -> Vec<(TopicPartition, Part)> {
        self.left.clone()
    }

    /// Makes the write-ahead store forget them, durably: a memory without its data would be taken for a loss. Of what has moved
    /// away its word in elections stays, and its data goes before anything is served: the partition may come back.
    ///
    /// # Errors
    /// The store cannot be written: no directory may be removed then. Or the data of what has moved away cannot be removed: a
    /// replica that came back would take it for its own.
    pub(crate) fn forget(
        &self,
        disk: &dyn Disk,
        qstate: &mut QState,
        remembered: &mut BTreeMap<TopicPartition, Remembered>,
    ) -> Result<(), DiskError> {
        let forgotten = self.remembered.iter().map(|tp| QRecord::Forget { tp: *tp });
        let retired = self.retired.iter().flat_map(|(tp, promises)| promises.retired().retirement(*tp));
        let records: Vec<QRecord> = forgotten.chain(retired).collect();
        if !records.is_empty() {
            qstate.put(&records)?;
            qstate.flush()?;
        }
        for (partition, promises) in &self.retired {
            remove_partition_dir(disk, *partition)?;
            tracing::info!(%partition, "removed what a move left behind");
            let known = Remembered { promises: promises.retired(), ..Remembered::default() };
            remembered.insert(*partition, known);
        }
        remembered.retain(|partition, _| qstate.partition(*partition).is_some());
        Ok(())
    }

    /// Has the directories removed by a storage thread; what cannot be removed is found again by the next start.
    pub(crate) fn remove(self, disk: &Arc<dyn Disk>, storage: &StorageHandle) {
        if self.directories.is_empty() {
            return;
        }
        let disk = Arc::clone(disk);
        let job = StorageJob::new("remove orphans", move || {
            for partition in self.directories {
                match remove_partition_dir(&*disk, partition) {
                    Err(error) => {
                        tracing::warn!(%partition, %error, "the directory of a deleted partition was not removed");
                    }
                    Ok(()) => tracing::info!(%partition, "removed what a deletion left behind"),
                }
            }
        });
        if let Err(error) = storage.run(job) {
            tracing::warn!(%error, "directories of deleted partitions stay until the next start");
        }
    }
}
