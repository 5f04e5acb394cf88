//! `millrace-bench`: load for any cluster that speaks the Kafka protocol, and side-by-side runs of two of them.

mod child;
mod cli;
mod clock;
mod compare;
mod error;
mod failover;
mod history;
mod machine;
mod process;
mod progress;
mod raw;
mod report;
mod run;
mod stats;
mod tally;
#[cfg(test)]
mod testing;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use error::BenchError;
use report::Report;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), BenchError> {
    let (runs, comparison, output) = match &cli.command {
        Command::Run(single) => {
            single.workload.validate()?;
            (vec![run::run(&single.target(), &single.workload, single.output.quiet)?], None, &single.output)
        }
        Command::Failover(options) => return failover::run(options),
        Command::History(options) => return history::run(options),
        Command::Compare(compare) => {
            compare.workload.validate()?;
            let runs = compare::run(compare)?;
            let comparison = compare::summarize(&runs, compare);
            (runs, Some(comparison), &compare.output)
        }
    };
    let report = Report::new(runs, comparison, output.commit.clone());
    report::publish(&report, output)?;
    match report.runs.iter().filter(|run| !run.errors.is_empty()).count() {
        0 => Ok(()),
        faulty => Err(BenchError::Faults(faulty)),
    }
}
