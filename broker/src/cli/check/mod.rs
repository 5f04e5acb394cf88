//! `millrace check`: what is in a data directory, and what the next start would do about it, without changing a byte.

mod directory;
mod report;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use millrace_storage::{DataDir, DataDirError, Finding, Severity};

use super::CliResult;
use super::connect::CliError;
use crate::config::{Config, Flags};
use report::Report;

/// The directory could not be looked at.
const EXIT_UNCHECKED: u8 = 3;

/// Flags of `millrace check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: in order. 1: the next start recovers it. 2: damaged. 3: it could not be checked, as \
                        when a broker uses it."
)]
pub struct CheckArgs {
    /// The data directory; that of `millrace serve` without it.
    directory: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks the directory and prints what was found.
///
/// # Errors
/// Anything but a directory in order, with the exit code that says what.
pub(super) fn run(args: &CheckArgs) -> CliResult {
    let root = args.directory.iter().map(|dir| ("DIRECTORY", "log.dir".to_owned(), dir.display().to_string()));
    let flags = Flags { config: None, values: root.collect() };
    let config = Config::load(&flags, std::env::vars())?;
    let mut report = Report::new(&config.data_dir);
    match DataDir::inspect(&config.data_dir) {
        Ok(data_dir) => directory::check(&data_dir, &config.broker, &mut report),
        Err(error @ (DataDirError::UnknownVersion { file, .. } | DataDirError::Malformed { file, .. })) => {
            report.findings.push(Finding {
                severity: Severity::Damage,
                file: file.into(),
                position: None,
                offset: None,
                what: error.to_string(),
                next_start: report::REFUSES.to_owned(),
            });
        }
        Err(error) => return Err(Box::new(CliError::with_code(EXIT_UNCHECKED, error.to_string()))),
    }
    let mut out = std::io::stdout().lock();
    let text = if args.json { report.json().to_string() } else { report.text() };
    writeln!(out, "{text}")?;
    match report.worst() {
        None => Ok(()),
        Some(Severity::Recovery) => Err(Box::new(CliError::with_code(1, "the next start recovers the directory"))),
        Some(Severity::Damage) => Err(Box::new(CliError::with_code(2, "the directory is damaged"))),
    }
}
