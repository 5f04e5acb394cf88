//! The small files of a partition's directory: which there are, and whether the producer snapshots can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use millrace_types::Offset;

use super::segment::{Scanned, scan_segment};
use super::{Finding, LogCheck, Severity};
use crate::disk::{Disk, DiskError};
use crate::producer_state::decode_snapshot;
use crate::segment::{FileKind, file_name, parse_file_name, read_whole};

/// The files by what their names say.
#[derive(Debug, Default)]
pub(super) struct Files {
    logs: BTreeSet<Offset>,
    indexes: BTreeSet<Offset>,
    snapshots: BTreeSet<Offset>,
    unfinished: BTreeMap<String, u64>,
}

impl Files {
    /// Lists `dir`; there is nothing in a directory that does not exist.
    pub(super) fn list(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, DiskError> {
        let mut files = Self::default();
        let entries = match disk.list(dir) {
            Err(error) if error.is_not_found() => return Ok(files),
            entries => entries?,
        };
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            match parse_file_name(&entry.name) {
                Some((offset, FileKind::Log)) => drop(files.logs.insert(offset)),
                Some((offset, FileKind::Index)) => drop(files.indexes.insert(offset)),
                Some((offset, FileKind::Snapshot)) => drop(files.snapshots.insert(offset)),
                None if entry.name.ends_with(".tmp") => drop(files.unfinished.insert(entry.name, entry.len)),
                None => {}
            }
        }
        Ok(files)
    }

    /// Reads the segments that hold offsets from `start` on.
    pub(super) fn scan(&self, disk: &Arc<dyn Disk>, dir: &Path, start: Offset) -> Result<Vec<Scanned>, DiskError> {
        let bases: Vec<Offset> = self.logs.iter().copied().collect();
        let mut scanned = Vec::with_capacity(bases.len());
        for (at, base) in bases.iter().enumerate() {
            let following = bases.get(at + 1).copied();
            if following.is_none_or(|following| following > start) {
                scanned.push(scan_segment(disk, dir, *base, following, self.indexes.contains(base))?);
            }
        }
        Ok(scanned)
    }

    /// Adds what is wrong with the files that are no segments.
    pub(super) fn judge(&self, disk: &Arc<dyn Disk>, dir: &Path, check: &mut LogCheck) -> Result<(), DiskError> {
        let recovery = |name: &str, what: String, next_start: &str| Finding {
            severity: Severity::Recovery,
            file: dir.join(name),
            position: None,
            offset: None,
            what,
            next_start: next_start.to_owned(),
        };
        for snapshot in self.snapshots.range(..=check.end) {
            let name = file_name(*snapshot, FileKind::Snapshot);
            // The recovery may have removed it, with the records that it speaks of.
            let bytes = match read_whole(disk, &dir.join(&name)) {
                Err(error) if error.is_not_found() => continue,
                bytes => bytes?,
            };
            if let Err(error) = decode_snapshot(*snapshot, &bytes) {
                let next_start = "takes the producers from an older snapshot or from the records";
                check.findings.push(recovery(&name, error.to_string(), next_start));
            }
        }
        for (name, len) in &self.unfinished {
            let what = format!("a file of {len} bytes that was not written to its end");
            check.findings.push(recovery(name, what, "removes it"));
        }
        Ok(())
    }
}
