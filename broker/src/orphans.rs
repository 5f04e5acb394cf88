//! What deletions and moves have left behind because the process ended in the middle of them ([`Orphans`]): forgotten before
//! anything is served, removed while the broker serves.
//!
//! Metadata that cannot be replayed fail the start before anything here runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use millrace_metadata::Image;
use millrace_node::metadata_store::Orphans;
use millrace_node::replica::Promises;
use millrace_raft::ReplicaKey;
use millrace_storage::{
    Disk, DiskError, QState, StorageHandle, StorageJob, TOPICS_DIR, parse_partition_dir, remove_partition_dir,
};
use millrace_types::TopicPartition;

use crate::actor::supervisor::Remembered;

/// Finds what `image`, as it was replayed, does not name here.
///
/// # Errors
/// The directory of the partitions cannot be listed.
pub(crate) fn find(disk: &dyn Disk, image: &Image, qstate: &QState, me: ReplicaKey) -> Result<Orphans, DiskError> {
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
    let remembered = qstate.partitions().map(|(partition, state)| (partition, Promises::from(state))).collect();
    Ok(Orphans::find(image, &remembered, &found, me))
}

/// Makes the write-ahead store forget them, durably. Of what has moved away its data goes before anything is served: the
/// partition may come back.
///
/// # Errors
/// The store cannot be written: no directory may be removed then. Or the data of what has moved away cannot be removed: a
/// replica that came back would take it for its own.
pub(crate) fn forget(
    orphans: &Orphans,
    disk: &dyn Disk,
    qstate: &mut QState,
    remembered: &mut BTreeMap<TopicPartition, Remembered>,
) -> Result<(), DiskError> {
    let records = orphans.records();
    if !records.is_empty() {
        qstate.put(&records)?;
        qstate.flush()?;
    }
    for (partition, promises) in orphans.retired() {
        remove_partition_dir(disk, *partition)?;
        tracing::info!(%partition, "removed what a move left behind");
        let known = Remembered { promises: promises.clone(), ..Remembered::default() };
        remembered.insert(*partition, known);
    }
    remembered.retain(|partition, _| qstate.partition(*partition).is_some());
    Ok(())
}

/// Has the directories of what was deleted removed by a storage thread; what cannot be removed is found again by the next start.
pub(crate) fn remove(orphans: &Orphans, disk: &Arc<dyn Disk>, storage: &StorageHandle) {
    if orphans.deleted().is_empty() {
        return;
    }
    let (disk, deleted) = (Arc::clone(disk), orphans.deleted().to_vec());
    let job = StorageJob::new("remove orphans", move || {
        for partition in deleted {
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
