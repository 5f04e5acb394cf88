//! One workload against two clusters in turn: medians, spread and ratios, since single runs on a shared machine say little.

use serde::Serialize;

use crate::cli::{Compare, Target};
use crate::error::BenchError;
use crate::run::{self, RunResult};
use crate::stats::Ratio;

/// How two clusters compare, figure by figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    /// Name of the first cluster.
    pub(crate) a: String,
    /// Name of the second cluster.
    pub(crate) b: String,
    /// Runs of each.
    pub(crate) reps: u32,
    /// The figures, the most telling first.
    pub(crate) figures: Vec<Figure>,
}

/// One figure of both clusters.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What it is, with its unit.
    pub(crate) name: String,
    /// Whether a lower value is better.
    pub(crate) lower_is_better: bool,
    /// The values.
    pub(crate) ratio: Ratio,
}

/// Reads a figure off a run.
type Read = fn(&RunResult) -> Option<f64>;

/// Figures of every run: name, whether lower is better, and where they stand.
const FIGURES: &[(&str, bool, Read)] = &[
    ("throughput, MB/s", false, |run| Some(run.mb_per_s)),
    ("throughput, records/s", false, |run| Some(run.records_per_s)),
    ("broker CPU, s/GB", true, |run| run.broker_cpu_s_per_gb),
    ("broker CPU, us/record", true, |run| run.broker_cpu_us_per_record),
    ("broker memory without mapped files, MiB", true, |run| Some(run.broker.as_ref()?.anonymous_mib)),
    ("broker memory resident, MiB", true, |run| Some(run.broker.as_ref()?.resident_mib)),
];

/// Whether the second cluster goes first in round `round`, counted from 0: A B, B A, A B, ...
const fn b_first(round: u32) -> bool {
    round % 2 == 1
}

/// Runs both clusters; the recorded runs are in the order of the rounds, A before B within each.
pub(crate) fn run(compare: &Compare) -> Result<Vec<RunResult>, BenchError> {
    let a = target(&compare.label_a, &compare.a, &compare.pid_a);
    let b = target(&compare.label_b, &compare.b, &compare.pid_b);
    let quiet = compare.output.quiet;
    for _ in 0..compare.warm_runs {
        for target in [&a, &b] {
            run::run(target, &compare.workload, quiet)?;
        }
    }
    let mut runs = Vec::new();
    for round in 0..compare.reps {
        let (first, second) = if b_first(round) { (&b, &a) } else { (&a, &b) };
        let first = run::run(first, &compare.workload, quiet)?;
        let second = run::run(second, &compare.workload, quiet)?;
        runs.extend(if b_first(round) { [second, first] } else { [first, second] });
    }
    Ok(runs)
}

fn target(label: &str, bootstrap: &str, pids: &[u32]) -> Target {
    Target { label: label.to_owned(), bootstrap: bootstrap.to_owned(), pids: pids.to_vec() }
}

/// The figures of runs that [`fn@run`] returned.
pub(crate) fn summarize(runs: &[RunResult], compare: &Compare) -> Comparison {
    let (a, b): (Vec<&RunResult>, Vec<&RunResult>) =
        (runs.iter().step_by(2).collect(), runs.iter().skip(1).step_by(2).collect());
    let mut figures = Vec::new();
    for (name, lower_is_better, read) in FIGURES {
        figures.extend(figure(name, *lower_is_better, &a, &b, read));
    }
    let kinds = runs.first().map(|run| run.latencies.keys().copied().collect::<Vec<_>>()).unwrap_or_default();
    for kind in kinds {
        for (percentile, read) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
            let read = |run: &RunResult| {
                let curve = &run.latencies.get(kind)?.curve;
                curve.iter().find(|(percent, _)| *percent == read).map(|(_, micros)| *micros as f64 / 1e3)
            };
            figures.extend(figure(&format!("{kind} {percentile}, ms"), true, &a, &b, &read));
        }
    }
    Comparison { a: compare.label_a.clone(), b: compare.label_b.clone(), reps: compare.reps, figures }
}

/// A figure that every run has.
fn figure(
    name: &str,
    lower_is_better: bool,
    a: &[&RunResult],
    b: &[&RunResult],
    read: &dyn Fn(&RunResult) -> Option<f64>,
) -> Option<Figure> {
    let values = |runs: &[&RunResult]| runs.iter().map(|run| read(run)).collect::<Option<Vec<f64>>>();
    let ratio = Ratio::of(&values(a)?, &values(b)?)?;
    Some(Figure { name: name.to_owned(), lower_is_better, ratio })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::report::tests::sample;

    #[test]
    fn rounds_alternate() {
        assert_eq!((0..4).map(b_first).collect::<Vec<_>>(), [false, true, false, true]);
    }

    #[test]
    fn figures_are_ratios_of_medians() {
        let cli = Cli::parse_from(["millrace-bench", "compare", "a:1", "b:1", "--reps", "3", "produce"]);
        let Command::Compare(compare) = cli.command else { panic!("no comparison") };
        let runs: Vec<RunResult> = [10.0, 20.0, 30.0, 10.0, 20.0, 80.0].map(sample).to_vec();
        let comparison = summarize(&runs, &compare);
        let throughput = comparison.figures.iter().find(|figure| figure.name == "throughput, MB/s").unwrap();
        assert_eq!(throughput.ratio.a.median, 20.0);
        assert_eq!(throughput.ratio.b_by_a, Some(1.0));
        assert!(comparison.figures.iter().any(|figure| figure.name == "ack p99, ms"));
        assert!(!comparison.figures.iter().any(|figure| figure.name.starts_with("broker CPU")), "no process was seen");
    }
}
