//! Looking at a log without changing it: everything in its files is read, and its recovery is done on a disk that
//! keeps changes in memory.

mod files;
mod judge;
mod segment;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_types::{Now, Offset, TopicPartition};

use crate::disk::Disk;
use crate::log::{Log, LogConfig, LogError};
use crate::recovery::Known;
use files::Files;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The next start puts it in order.
    Recovery,
    /// Something that was durable is missing or altered; no start can put it in order.
    Damage,
}

/// Something that is not as a clean stop leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the data directory.
    pub file: PathBuf,
    /// Position in the file, in bytes.
    pub position: Option<u64>,
    /// The first offset concerned.
    pub offset: Option<Offset>,
    /// What is wrong.
    pub what: String,
    /// What the next start does.
    pub next_start: String,
}

/// What is in the files of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogCheck {
    /// The first offset after a recovery.
    pub start: Offset,
    /// The offset behind the last record after a recovery.
    pub end: Offset,
    /// Segments that were read.
    pub segments: usize,
    /// Bytes of batches whose checksums hold.
    pub bytes: u64,
    /// What is wrong, in the order of the files' names for each kind of file.
    pub findings: Vec<Finding>,
}

/// Reads every file of the log in `dir` and does its recovery. Give it a disk whose changes are forgotten, such as that
/// of [`DataDir::inspect`](crate::DataDir::inspect); `known` is what a start would know.
///
/// # Errors
/// The disk fails.
pub fn check_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    tp: TopicPartition,
    config: &LogConfig,
    known: &Known,
    now: Now,
) -> Result<LogCheck, LogError> {
    let files = Files::list(disk, dir)?;
    let segments = files.scan(disk, dir, known.start.unwrap_or(0))?;
    let (log, recovery) = Log::open(disk, dir, tp, config.clone(), known, now)?;
    let mut check = LogCheck {
        start: log.log_start(),
        end: log.log_end(),
        segments: segments.len(),
        bytes: segments.iter().map(|segment| segment.position).sum(),
        findings: Vec::new(),
    };
    judge::recovery(&mut check, dir, known, &recovery);
    judge::segments(&mut check, known, &recovery, &segments);
    files.judge(disk, dir, &mut check)?;
    Ok(check)
}

#[cfg(test)]
mod tests;
