//! What the trials came to.

use std::path::Path;

use serde::Serialize;

use super::Failover;
use crate::error::BenchError;
use crate::stats::Spread;

/// One trial.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Trial {
    /// The broker that led.
    pub(super) leader: i32,
    /// The longest time without an acknowledgement before, since the trial before, while the cluster was put in order.
    pub(super) steady_ms: f64,
    /// The longest time without an acknowledgement.
    pub(super) longest_ms: f64,
    /// From the action until records of a second were acknowledged.
    pub(super) took_ms: f64,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    options: &'a Failover,
    /// Of the longest times: median, lowest and highest.
    longest_ms: Option<Spread>,
    /// Records that were given up.
    failed: u64,
    trials: Vec<Trial>,
}

impl<'a> Summary<'a> {
    /// The summary of trials.
    pub(super) fn new(options: &'a Failover, trials: Vec<Trial>, failed: u64) -> Self {
        let longest: Vec<f64> = trials.iter().map(|trial| trial.longest_ms).collect();
        Self { options, longest_ms: Spread::of(&longest), failed, trials }
    }

    /// Writes the summary for people, or as JSON where the options say.
    pub(super) fn publish(&self, json: Option<&Path>) -> Result<(), BenchError> {
        let written = |path: &Path, source| BenchError::Report { path: path.display().to_string(), source };
        let to_stdout = json == Some(Path::new("-"));
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(self).map_err(|error| written(path, error.into()))?;
            if to_stdout {
                println!("{text}");
            } else {
                std::fs::write(path, text + "\n").map_err(|error| written(path, error))?;
            }
        }
        if let Some(spread) = self.longest_ms.filter(|_| !to_stdout) {
            let what = match self.options.leaders {
                Some(partitions) => format!("the last of {partitions} partitions took records again after"),
                None => format!("at {} records/s without an acknowledgement for", self.options.rate),
            };
            println!(
                "{:?}, {} trials: {what} {:.0} ms (median), {:.0} ms (least), {:.0} ms (most); {} records given up",
                self.options.action,
                self.trials.len(),
                spread.median,
                spread.min,
                spread.max,
                self.failed
            );
        }
        if self.failed > 0 { Err(BenchError::Faults(1)) } else { Ok(()) }
    }
}
