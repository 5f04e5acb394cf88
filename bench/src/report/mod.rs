//! What is left of a run: a summary in text, JSON for programs, HTML for people.

mod html;
mod json;
mod svg;
mod text;

use std::path::Path;

use serde::Serialize;

use crate::cli::Output;
use crate::clock::unix_ms;
use crate::compare::Comparison;
use crate::error::BenchError;
use crate::machine::{self, Machine};
use crate::run::RunResult;

/// Everything known of one call of the program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Version of this program.
    pub(crate) version: &'static str,
    /// Commit of what was measured.
    pub(crate) commit: Option<String>,
    /// The machine.
    pub(crate) machine: Machine,
    /// The command line that repeats it.
    pub(crate) command: String,
    /// When it was written, in milliseconds since the Unix epoch.
    pub(crate) written_unix_ms: i64,
    /// The runs.
    pub(crate) runs: Vec<RunResult>,
    /// How the clusters compare, when there are two.
    pub(crate) comparison: Option<Comparison>,
}

impl Report {
    /// A report of runs on this machine.
    pub(crate) fn new(runs: Vec<RunResult>, comparison: Option<Comparison>, commit: Option<String>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: commit.or_else(machine::commit),
            machine: Machine::read(),
            command: std::iter::once("millrace-bench".to_owned())
                .chain(std::env::args().skip(1))
                .collect::<Vec<_>>()
                .join(" "),
            written_unix_ms: unix_ms(),
            runs,
            comparison,
        }
    }
}

/// Writes the report to where the options say.
pub(crate) fn publish(report: &Report, output: &Output) -> Result<(), BenchError> {
    let to_stdout = output.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = &output.json {
        let text = json::render(report);
        if to_stdout { println!("{text}") } else { write(path, &text)? }
    }
    if let Some(path) = &output.html {
        write(path, &html::render(report))?;
    }
    if !to_stdout {
        print!("{}", text::render(report));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    std::fs::write(path, text).map_err(|source| BenchError::Report { path: path.display().to_string(), source })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::stats::Latencies;

    /// A run with a given throughput, without a broker's process.
    pub(crate) fn sample(mb_per_s: f64) -> RunResult {
        let Command::Run(single) = Cli::parse_from(["millrace-bench", "produce"]).command else { panic!("no run") };
        let mut latencies = Latencies::default();
        for micros in [100, 200, 400, 5_000] {
            latencies.record_ns(micros * 1_000);
        }
        RunResult {
            label: "a <b>".to_owned(),
            bootstrap: "127.0.0.1:9092".to_owned(),
            name: "produce",
            workload: single.workload,
            started_unix_ms: 1,
            seconds: 2.0,
            records: 2_000,
            bytes: 2_000_000,
            records_per_s: 1_000.0,
            mb_per_s,
            latencies: BTreeMap::from([("ack", latencies.summary())]),
            errors: BTreeMap::new(),
            broker: None,
            broker_cpu_s_per_gb: None,
            broker_cpu_us_per_record: None,
            client_cpu_s: 0.5,
            stolen_s: None,
            timeline: vec![(900, 900_000), (1_100, 1_100_000)],
        }
    }

    #[test]
    fn a_report_can_be_rendered_in_every_form() {
        let report = Report::new(vec![sample(1.0)], None, Some("abc".to_owned()));
        let value: serde_json::Value = serde_json::from_str(&json::render(&report)).unwrap();
        assert_eq!(value["commit"], "abc");
        assert_eq!(value["runs"][0]["latencies"]["ack"]["count"], 4);
        assert_eq!(value["runs"][0]["workload"]["produce"]["partitions"], 4);
        let page = html::render(&report);
        assert!(page.contains("<svg") && page.contains("a &lt;b&gt;") && !page.contains("a <b>"));
        assert!(!page.contains("src=") && !page.contains("href="), "the page needs no other file");
        assert!(text::render(&report).contains("1.0 MB/s"));
    }
}
