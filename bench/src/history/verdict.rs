//! What a run came to.

use std::path::Path;

use serde::Serialize;

use super::check::Findings;
use super::faults::inject::Tally;
use super::options::Run;
use crate::error::BenchError;

/// Anomalies that are told of each kind.
pub(crate) const SHOWN: usize = 10;

/// Everything that a run is judged by.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict<'a> {
    /// What was asked for.
    pub(crate) options: &'a Run,
    /// What lay between the brokers.
    pub(crate) network: &'static str,
    /// What was injected.
    pub(crate) injected: Tally,
    /// What the history shows.
    #[serde(flatten)]
    pub(crate) findings: Findings,
    /// Outcomes of rebalances that members were told after the first join: there is no reason for one.
    pub(crate) later_rebalances: u64,
    /// What was not in order when all faults were over.
    pub(crate) disorder: Vec<String>,
}

impl Verdict<'_> {
    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        let is_repaired = self.injected.unrepaired.is_empty();
        self.findings.anomalies.is_empty() && is_repaired && self.later_rebalances == 0 && self.disorder.is_empty()
    }

    /// Writes the verdict for people, or as JSON where the options say.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn publish(&self) -> Result<(), BenchError> {
        let json = self.options.json.as_deref();
        if let Some(path) = json {
            let failed = |source| BenchError::Report { path: path.display().to_string(), source };
            let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
            if path == Path::new("-") {
                println!("{text}");
                return Ok(());
            }
            std::fs::write(path, text + "\n").map_err(failed)?;
        }
        self.print();
        Ok(())
    }

    fn print(&self) {
        let injected = &self.injected;
        println!("seed {}, {} s, {}", self.options.seed, self.options.seconds.as_secs(), self.network);
        let faults: Vec<String> = injected.faults.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        println!("faults: {}", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") });
        print_findings(&self.findings, SHOWN);
        println!(
            "damage: {} segments, {} ends; {} ranges found, {} repaired, the slowest after {} ms",
            injected.damaged, injected.tails, injected.found, injected.repaired, injected.longest_repair_ms
        );
        injected.unrepaired.iter().for_each(|damage| println!("not repaired: {damage}"));
        println!("rebalances after the first join: {}", self.later_rebalances);
        self.disorder.iter().for_each(|what| println!("not in order: {what}"));
        println!("{}", if self.is_good() { "good" } else { "NOT GOOD" });
    }
}

/// Prints what a history shows.
pub(crate) fn print_findings(findings: &Findings, show: usize) {
    let counts = &findings.counts;
    println!(
        "{} operations; {} records sent, {} acknowledged, {} unknown, {} refused; {} read; {} commits",
        counts.ops, counts.sent, counts.acknowledged, counts.unknown, counts.refused, counts.read, counts.commits
    );
    println!(
        "longest time without an acknowledgement: {} ms (meanwhile: {}), of a partition {} ms",
        counts.longest_gap_ms,
        counts.longest_gap_faults.join(", "),
        counts.longest_partition_gap_ms
    );
    for (kind, count) in findings.by_kind() {
        println!("{kind:?}: {count}");
        let of_it = findings.anomalies.iter().filter(|anomaly| anomaly.kind == kind).take(show);
        of_it.for_each(|anomaly| println!("    {} {}", anomaly.key, anomaly.what));
    }
    println!("anomalies: {}", findings.anomalies.len());
}
