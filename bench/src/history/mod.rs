//! Whether a cluster keeps what it promises while processes die, networks fail and disks rot: what clients were told is written down and checked.
//!
//! A run starts the brokers itself, as processes with a network between them that can fail; client processes produce and consume, a consumer group
//! reads along, faults are injected by a seed and undone, and fresh consumers read everything. The history is a file, and
//! the checker a function of it alone.

mod check;
mod cluster;
mod draw;
mod event;
mod faults;
mod load;
mod network;
mod options;
mod replicas;
mod run;
mod verdict;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use crate::error::BenchError;
use check::Findings;
pub(crate) use options::History;
use options::{Check, Verb};

/// Makes or checks a history.
///
/// # Errors
/// The run is not possible, a file cannot be read or written, or something is wrong with the history.
pub(crate) fn run(options: &History) -> Result<(), BenchError> {
    match &options.command {
        Verb::Run(options) => run::run(options),
        Verb::Check(options) => again(options),
    }
}

/// Checks a history that was written before.
fn again(options: &Check) -> Result<(), BenchError> {
    let findings = checked(&options.file, options.stale)?;
    verdict::print_findings(&findings, options.show);
    if findings.anomalies.is_empty() { Ok(()) } else { Err(BenchError::Anomalies) }
}

fn checked(file: &Path, stale: Duration) -> Result<Findings, BenchError> {
    let failed = |source| BenchError::Io { address: file.display().to_string(), operation: "read the history", source };
    let events = event::read(BufReader::new(File::open(file).map_err(failed)?)).map_err(failed)?;
    Ok(check::check(&events, u64::try_from(stale.as_nanos()).unwrap_or(u64::MAX)))
}
