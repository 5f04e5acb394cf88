//! Small files that are written and read in one piece.

use std::path::Path;
use std::sync::Arc;

use millrace_types::Offset;

use super::{FileKind, file_name};
use crate::disk::{Disk, DiskError};
use crate::index::SidecarHead;

/// Writes a small file so that it appears whole or not at all.
///
/// # Errors
/// When the disk fails.
pub(crate) fn write_whole(disk: &Arc<dyn Disk>, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = dir.join(format!("{name}.tmp"));
    match disk.remove_file(&temporary) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let len = bytes.len() as u64;
    let file = disk.create(&temporary, len, len)?;
    file.write_at(0, &[bytes])?;
    file.flush()?;
    disk.rename(&temporary, &dir.join(name))
}

/// Reads a small file.
///
/// # Errors
/// When the disk fails.
pub(crate) fn read_whole(disk: &Arc<dyn Disk>, path: &Path) -> Result<bytes::Bytes, DiskError> {
    let file = disk.open(path, 0)?;
    file.read(0, usize::try_from(file.len()).unwrap_or(usize::MAX))
}

/// Removes a file that may be gone already.
///
/// # Errors
/// When the disk fails.
pub(crate) fn remove_if_there(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), DiskError> {
    match disk.remove_file(path) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// What the sidecar of the segment `base` says at its two ends, where there is a good one.
pub(crate) fn sidecar_head(disk: &Arc<dyn Disk>, dir: &Path, base: Offset) -> Option<SidecarHead> {
    let bytes = read_whole(disk, &dir.join(file_name(base, FileKind::Index))).ok()?;
    crate::index::decode_head(&bytes).ok()
}
