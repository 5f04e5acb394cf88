//! The report for programs.

use super::Report;

/// The report as indented JSON.
pub(crate) fn render(report: &Report) -> String {
    // Only maps with keys that are no text and failing `Serialize` implementations can fail; the report has neither.
    serde_json::to_string_pretty(report).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}
