//! The options of `failover`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::BenchError;

/// What is done to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// SIGKILL: its process is gone without a word.
    Kill,
    /// SIGSTOP: its process does nothing and is not gone.
    Stop,
    /// SIGTERM: it stops in order.
    Term,
}

/// Options of `failover`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Failover {
    /// Addresses to find the cluster by, separated by commas.
    #[arg(long, short)]
    pub(crate) bootstrap: String,
    /// A broker and the command that runs it, as in `1=millrace serve --broker-id 1`, split at blanks; once for each.
    #[arg(long = "broker", value_name = "ID=COMMAND", required = true)]
    broker: Vec<String>,
    /// Topic to produce to; created when it is not there.
    #[arg(long, default_value = "failover")]
    pub(crate) topic: String,
    /// Partition to produce to.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=100_000))]
    pub(crate) partition: i32,
    /// Measures the end of a broker that leads all of so many partitions, in place of one partition under load: the time
    /// until each of them has acknowledged a record that was sent afterwards. The first `--broker` is the one that ends.
    #[arg(long, conflicts_with_all = ["partition", "rate"], value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub(crate) leaders: Option<i32>,
    /// Replicas of the topic when it is created.
    #[arg(long, default_value_t = 3)]
    pub(crate) replication_factor: i16,
    /// Setting of the topic when it is created, as in `min.insync.replicas=2`; may be repeated.
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = crate::cli::key_value)]
    pub(crate) topic_config: Vec<(String, String)>,
    /// What is done to the leader.
    #[arg(long, value_enum, default_value_t = Action::Kill)]
    pub(crate) action: Action,
    /// How often.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) trials: u32,
    /// Records per second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: u64,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) record_size: u32,
    /// Seconds of undisturbed load before each trial.
    #[arg(long, default_value = "2", value_parser = crate::cli::seconds)]
    pub(crate) settle: Duration,
    /// Milliseconds after which the client gives up a request that is not answered, as where the leader halts.
    #[arg(long, default_value = "1000", value_parser = crate::cli::millis)]
    pub(crate) request_timeout: Duration,
    /// Milliseconds between two tries of the client.
    #[arg(long, default_value = "10", value_parser = crate::cli::millis)]
    pub(crate) retry_backoff: Duration,
    /// Write the result as JSON; `-` for standard output in place of the summary.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Nothing about single trials.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Failover {
    /// The brokers and their commands.
    pub(super) fn brokers(&self) -> Result<Vec<(i32, Vec<String>)>, BenchError> {
        let split = |text: &String| {
            let (id, command) = text.split_once('=')?;
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            Some((id.trim().parse().ok()?, words)).filter(|(_, words)| !words.is_empty())
        };
        let read =
            |text| split(text).ok_or_else(|| BenchError::Options(format!("--broker: `{text}` is not ID=COMMAND")));
        self.broker.iter().map(read).collect()
    }

    /// A record's value.
    pub(super) fn value(&self) -> String {
        "x".repeat(usize::try_from(self.record_size).unwrap_or(1))
    }

    /// Replicas that a partition in order has.
    pub(super) fn replicas(&self) -> usize {
        usize::try_from(self.replication_factor).unwrap_or(1).max(1)
    }
}
