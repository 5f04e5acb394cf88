//! The small JSON files of a data directory: who it is, and whether it was left in order.

use std::path::Path;

use millrace_types::DirectoryId;
use serde::{Deserialize, Serialize};

use super::{DataDirError, names};
use crate::disk::{Disk, DiskError};

pub(super) const IDENTITY: &str = "directory.json";
const CLEAN: &str = "clean";
const VERSION: u64 = 1;
/// Longest file read, in bytes.
const MAX_LEN: u64 = 64 << 10;

/// Whose directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the layout and of every file's format that names none of its own.
    pub format_version: u64,
    /// Identity of the directory.
    pub directory_id: DirectoryId,
    /// Identity of the cluster.
    pub cluster_id: String,
}

/// The identity a directory gets when it has none; both ids are drawn at random by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdentity {
    /// Identity of the directory.
    pub directory_id: DirectoryId,
    /// Identity of the cluster.
    pub cluster_id: String,
}

#[derive(Serialize, Deserialize)]
struct CleanMarker {
    format_version: u64,
    directory_id: DirectoryId,
}

/// The identity, and whether it was made by this call. A directory that holds data never gets a new one: the data is of
/// the cluster that the lost one named.
pub(super) fn load_or_create(disk: &dyn Disk, new: NewIdentity) -> Result<(Identity, bool), DataDirError> {
    match read(disk, IDENTITY) {
        Ok(bytes) => parse(&bytes).map(|identity| (identity, false)),
        Err(DataDirError::Disk(error)) if error.is_not_found() => {
            if let Some(held) = names::held(disk)? {
                return Err(DataDirError::LostIdentity { file: IDENTITY, held });
            }
            let NewIdentity { directory_id, cluster_id } = new;
            let identity = Identity { format_version: VERSION, directory_id, cluster_id };
            write(disk, IDENTITY, &identity)?;
            Ok((identity, true))
        }
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8]) -> Result<Identity, DataDirError> {
    let malformed = |error: serde_json::Error| DataDirError::Malformed { file: IDENTITY, reason: error.to_string() };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(malformed)?;
    // The version is looked at first: a later version may have other fields.
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(VERSION) => serde_json::from_value(value).map_err(malformed),
        Some(found) => Err(DataDirError::UnknownVersion { file: IDENTITY, found, known: VERSION }),
        None => Err(DataDirError::Malformed { file: IDENTITY, reason: "has no format_version".into() }),
    }
}

pub(super) fn write_clean_marker(disk: &dyn Disk, identity: &Identity) -> Result<(), DiskError> {
    write(disk, CLEAN, &CleanMarker { format_version: VERSION, directory_id: identity.directory_id })
}

/// Whether there is a valid marker; whatever there was is durably gone afterwards, so that a crash of this process
/// does not find it.
pub(super) fn consume_clean_marker(disk: &dyn Disk, identity: &Identity) -> Result<bool, DataDirError> {
    let bytes = match read(disk, CLEAN) {
        Err(DataDirError::Disk(error)) if error.is_not_found() => return Ok(false),
        Err(error @ DataDirError::Disk(_)) => return Err(error),
        other => other.unwrap_or_default(),
    };
    disk.remove_file(Path::new(CLEAN))?;
    disk.sync_dir(Path::new(""))?;
    let marker: Option<CleanMarker> = serde_json::from_slice(&bytes).ok();
    Ok(marker.is_some_and(|marker| marker.format_version == VERSION && marker.directory_id == identity.directory_id))
}

fn read(disk: &dyn Disk, file: &'static str) -> Result<Vec<u8>, DataDirError> {
    let handle = disk.open(Path::new(file), 0)?;
    if handle.len() > MAX_LEN {
        return Err(DataDirError::Malformed { file, reason: format!("is {} bytes long", handle.len()) });
    }
    Ok(handle.read(0, handle.len() as usize)?.to_vec())
}

/// Writes a whole file so that after a crash there is the old one, or none, or this one.
fn write(disk: &dyn Disk, file: &str, content: &impl Serialize) -> Result<(), DiskError> {
    let bytes =
        serde_json::to_vec_pretty(content).map_err(|error| DiskError::io(Path::new(file), "encode", error.into()))?;
    let temporary = format!("{file}.tmp");
    let temporary = Path::new(&temporary);
    match disk.remove_file(temporary) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let handle = disk.create(temporary, bytes.len() as u64, bytes.len() as u64)?;
    handle.write_at(0, &[&bytes])?;
    handle.flush()?;
    disk.rename(temporary, Path::new(file))?;
    disk.sync_dir(Path::new(""))
}
