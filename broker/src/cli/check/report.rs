//! What was found, as text and as JSON.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use millrace_storage::{Finding, JournalError, JournalReport, LogCheck, Severity};
use serde_json::{Value, json};

/// What the next start does about what it cannot read.
pub(super) const REFUSES: &str = "refuses to start";

/// What was found in a data directory.
#[derive(Debug)]
pub(super) struct Report {
    root: PathBuf,
    partitions: usize,
    segments: usize,
    bytes: u64,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// A report without findings.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), partitions: 0, segments: 0, bytes: 0, findings: Vec::new() }
    }

    /// Adds what is wrong with a file as a whole.
    pub(super) fn add(&mut self, severity: Severity, file: &Path, what: impl Into<String>, next_start: &str) {
        let (file, next_start) = (file.to_owned(), next_start.to_owned());
        self.findings.push(Finding { severity, file, position: None, offset: None, what: what.into(), next_start });
    }

    /// Adds what was found in a log.
    pub(super) fn add_log(&mut self, check: LogCheck) {
        self.partitions += 1;
        self.segments += check.segments;
        self.bytes += check.bytes;
        self.findings.extend(check.findings);
    }

    /// Adds what opening the journal `name` in `dir` found.
    pub(super) fn add_journal(&mut self, dir: &str, name: &str, report: &JournalReport) {
        let Some(position) = report.cut_at else { return };
        self.findings.push(Finding {
            severity: Severity::Recovery,
            file: Path::new(dir).join(format!("{name}-{:020}.journal", report.generation)),
            position: Some(position),
            offset: None,
            what: "the last record was not written to its end".to_owned(),
            next_start: "cuts it; nobody was promised what it says".to_owned(),
        });
    }

    /// Adds why the journal in `dir` cannot be read.
    pub(super) fn add_bad_journal(&mut self, dir: &str, error: &JournalError) {
        let (file, position) = match error {
            JournalError::Damaged { path, position, .. } => (path.clone(), Some(*position)),
            JournalError::UnknownVersion { path, .. } | JournalError::Missing { path } => (path.clone(), None),
            _ => (PathBuf::from(dir), None),
        };
        let (severity, what, next_start) = (Severity::Damage, error.to_string(), REFUSES.to_owned());
        self.findings.push(Finding { severity, file, position, offset: None, what, next_start });
    }

    /// How bad the worst finding is.
    pub(super) fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn status(&self) -> &'static str {
        match self.worst() {
            None => "clean",
            Some(Severity::Recovery) => "recovery",
            Some(Severity::Damage) => "damaged",
        }
    }

    /// The findings and a line that sums up.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let position = finding.position.map_or_else(String::new, |position| format!(", byte {position}"));
            let offset = finding.offset.map_or_else(String::new, |offset| format!(", offset {offset}"));
            let (severity, file) = (severity(finding.severity), finding.file.display());
            // A String takes everything that is written to it.
            let _ = writeln!(text, "{severity}: {file}{position}{offset}: {}", finding.what);
            let _ = writeln!(text, "  next start: {}", finding.next_start);
        }
        let Self { partitions, segments, bytes, .. } = self;
        let _ = write!(
            text,
            "{}: {}; {partitions} partitions, {segments} segments, {bytes} bytes of batches read",
            self.root.display(),
            self.status()
        );
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "severity": severity(finding.severity),
                "file": finding.file.display().to_string(),
                "position": finding.position,
                "offset": finding.offset,
                "what": finding.what,
                "next_start": finding.next_start,
            })
        });
        json!({
            "data_dir": self.root.display().to_string(),
            "status": self.status(),
            "partitions": self.partitions,
            "segments": self.segments,
            "bytes": self.bytes,
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Recovery => "recovery",
        Severity::Damage => "damage",
    }
}
