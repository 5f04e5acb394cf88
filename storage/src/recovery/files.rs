//! The files of a partition's directory, as recovery finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::Offset;

use crate::disk::{Disk, DiskError};
use crate::segment::{FileKind, Home, file_name, parse_file_name, remove_if_there};

/// The offsets in the names of each kind of file. Other names are left alone.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) logs: BTreeSet<Offset>,
    /// Lengths of the segments' files.
    pub(super) lens: BTreeMap<Offset, u64>,
    pub(super) indexes: BTreeSet<Offset>,
    pub(super) snapshots: BTreeSet<Offset>,
}

impl Files {
    /// Lists the directory and removes files that were not written to their end. `None` when there is no directory.
    pub(super) fn list(home: &Home) -> Result<Option<Self>, DiskError> {
        let entries = match home.disk.list(&home.dir) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut files = Self::default();
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            match parse_file_name(&entry.name) {
                Some((offset, FileKind::Log)) => {
                    files.logs.insert(offset);
                    files.lens.insert(offset, entry.len);
                }
                Some((offset, FileKind::Index)) => drop(files.indexes.insert(offset)),
                Some((offset, FileKind::Snapshot)) => drop(files.snapshots.insert(offset)),
                None if is_temporary(&entry.name) => remove_if_there(&home.disk, &home.dir.join(&entry.name))?,
                None => tracing::warn!(dir = %home.dir.display(), name = entry.name, "not a file of a partition"),
            }
        }
        Ok(Some(files))
    }
}

fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some_and(|name| parse_file_name(name).is_some())
}

/// Removes a segment's file and its sidecar.
pub(crate) fn remove_segment(disk: &Arc<dyn Disk>, dir: &std::path::Path, base: Offset) -> Result<(), DiskError> {
    remove_if_there(disk, &dir.join(file_name(base, FileKind::Index)))?;
    remove_if_there(disk, &dir.join(file_name(base, FileKind::Log)))
}

/// Removes, durably, the files of all segments but those that begin at one of `known`.
pub(crate) fn remove_segments_but(home: &Home, known: &[Offset]) -> Result<(), DiskError> {
    let Some(files) = Files::list(home)? else { return Ok(()) };
    // The last first: a crash in between leaves no gap that was not there.
    let all: BTreeSet<Offset> = files.logs.union(&files.indexes).copied().collect();
    for base in all.into_iter().rev().filter(|base| !known.contains(base)) {
        remove_segment(&home.disk, &home.dir, base)?;
    }
    home.disk.sync_dir(&home.dir)
}

/// Removes the producer snapshots above `offset`; says whether there were any.
pub(crate) fn remove_snapshots_above(home: &Home, offset: Offset) -> Result<bool, DiskError> {
    let Some(files) = Files::list(home)? else { return Ok(false) };
    let above: Vec<_> = files.snapshots.range(offset.saturating_add(1)..).copied().collect();
    for snapshot in &above {
        remove_if_there(&home.disk, &home.dir.join(file_name(*snapshot, FileKind::Snapshot)))?;
    }
    Ok(!above.is_empty())
}
