//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::error::BenchError;
use crate::failover::Failover;
use crate::history::History;

/// Load for any cluster that speaks the Kafka protocol.
#[derive(Debug, Parser)]
#[command(name = "millrace-bench", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One run, or runs side by side.
#[derive(Debug)]
pub(crate) enum Command {
    /// One workload against one cluster.
    Run(Box<Single>),
    /// One workload against two clusters in turn.
    Compare(Box<Compare>),
    /// Leaders that end, and how long that is felt.
    Failover(Box<Failover>),
    /// What clients are told while faults are injected.
    History(Box<History>),
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Produce as fast as the cluster takes it, or at a rate.
    Produce(Verbed<Produce>),
    /// Read a filled topic round and round.
    Consume(Verbed<Consume>),
    /// Produce at a rate and measure until each record is consumed.
    EndToEnd(Verbed<EndToEnd>),
    /// Run one workload against two clusters in alternating order (A B, B A, ...): medians, spread and ratios.
    Compare(Box<Compare>),
    /// Start brokers, end the leader of a partition again and again, and measure how long no record is acknowledged.
    Failover(Box<Failover>),
    /// Write down what clients are told while brokers, networks and disks fail, and check it.
    History(Box<History>),
}

#[derive(Debug, Args)]
struct Verbed<W: Args> {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    workload: W,
}

/// One workload against one cluster.
#[derive(Debug)]
pub(crate) struct Single {
    place: Place,
    /// Where the results go.
    pub(crate) output: Output,
    /// The load.
    pub(crate) workload: Workload,
}

impl Single {
    /// The cluster under load.
    pub(crate) fn target(&self) -> Target {
        let label = self.place.label.clone().unwrap_or_else(|| self.place.bootstrap.clone());
        Target { label, bootstrap: self.place.bootstrap.clone(), pids: self.place.pid.clone() }
    }
}

impl<W: Args> Verbed<W> {
    fn single(self, wrap: impl FnOnce(W) -> Workload) -> Command {
        Command::Run(Box::new(Single { place: self.place, output: self.output, workload: wrap(self.workload) }))
    }
}

impl clap::FromArgMatches for Command {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        Ok(match Verb::from_arg_matches(matches)? {
            Verb::Produce(verbed) => verbed.single(Workload::Produce),
            Verb::Consume(verbed) => verbed.single(Workload::Consume),
            Verb::EndToEnd(verbed) => verbed.single(Workload::EndToEnd),
            Verb::Compare(compare) => Self::Compare(compare),
            Verb::Failover(failover) => Self::Failover(failover),
            Verb::History(history) => Self::History(history),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Command {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        Verb::augment_subcommands(command)
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Verb::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Verb::has_subcommand(name)
    }
}

/// The cluster under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name in the results.
    pub(crate) label: String,
    /// Addresses to find it by, separated by commas.
    pub(crate) bootstrap: String,
    /// Its processes on this machine; empty to look for the one that listens on the bootstrap port.
    pub(crate) pids: Vec<u32>,
}

#[derive(Debug, Args)]
struct Place {
    /// Addresses to find the cluster by, separated by commas.
    #[arg(long, short, env = "BOOTSTRAP", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Process ids of the brokers, for their CPU and memory; found by the listening port when left out.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Name of the cluster in the results.
    #[arg(long)]
    label: Option<String>,
}

/// Where the results go besides the summary on standard output.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Write the result as JSON; `-` for standard output in place of the summary.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a self-contained HTML report.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Commit of the broker under test; that of the current directory when left out.
    #[arg(long)]
    pub(crate) commit: Option<String>,
    /// No progress bar.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Two clusters in alternating order.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Bootstrap address of the first cluster, the one ratios divide by.
    pub(crate) a: String,
    /// Bootstrap address of the second cluster.
    pub(crate) b: String,
    /// Recorded runs of each cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) reps: u32,
    /// Runs of each cluster before the recorded ones, thrown away.
    #[arg(long, default_value_t = 1)]
    pub(crate) warm_runs: u32,
    /// Name of the first cluster.
    #[arg(long, default_value = "A")]
    pub(crate) label_a: String,
    /// Name of the second cluster.
    #[arg(long, default_value = "B")]
    pub(crate) label_b: String,
    /// Process ids of the first cluster.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid_a: Vec<u32>,
    /// Process ids of the second cluster.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid_b: Vec<u32>,
    /// Where the results go.
    #[command(flatten)]
    pub(crate) output: Output,
    /// The load.
    #[command(subcommand)]
    pub(crate) workload: Workload,
}

/// The load of a run.
#[derive(Debug, Clone, Subcommand, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Produce as fast as the cluster takes it, or at a rate.
    Produce(Produce),
    /// Read a filled topic round and round.
    Consume(Consume),
    /// Produce at a rate and measure until each record is consumed.
    EndToEnd(EndToEnd),
}

impl Workload {
    /// Name in the results.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            Self::EndToEnd(_) => "end-to-end",
        }
    }

    /// The settings every workload has.
    pub(crate) const fn load(&self) -> &Load {
        match self {
            Self::Produce(produce) => &produce.load,
            Self::Consume(consume) => &consume.load,
            Self::EndToEnd(end_to_end) => &end_to_end.load,
        }
    }

    /// Checks what single options cannot say.
    pub(crate) fn validate(&self) -> Result<(), BenchError> {
        let load = self.load();
        let refuse = |message: &str| Err(BenchError::Options(message.to_owned()));
        if load.duration.is_zero() {
            return refuse("--duration must be above zero");
        }
        match self {
            Self::Produce(produce) if produce.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) => {
                refuse("--rate must be above zero")
            }
            Self::EndToEnd(it) if !(it.rate > 0.0 && it.rate.is_finite()) => refuse("--rate must be above zero"),
            Self::EndToEnd(it) if it.load.acks == Acks::None => refuse("end-to-end needs answers: --acks 1 or all"),
            Self::EndToEnd(it) if it.load.client == Client::Raw && it.load.codec != Codec::None => {
                refuse("the raw end-to-end workload sends records uncompressed: use --client library with --codec")
            }
            Self::EndToEnd(it) if it.load.record_size < 16 => {
                refuse("end-to-end records carry 16 bytes of their own: --record-size 16 or more")
            }
            _ => Ok(()),
        }
    }
}

/// Settings of every workload.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Load {
    /// Topic to use; a fresh one is created and deleted when left out.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Partitions of the created topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub(crate) partitions: i32,
    /// Replicas of the created topic; -1 for the cluster's default.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) replication_factor: i16,
    /// Setting of the created topic, as in `flush.messages=1`; may be repeated.
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) topic_config: Vec<(String, String)>,
    /// Leave the created topic in place.
    #[arg(long)]
    pub(crate) keep_topic: bool,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub(crate) record_size: u32,
    /// Bytes of records in one batch before compression.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub(crate) batch_size: u32,
    /// Compression of batches.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub(crate) codec: Codec,
    /// Replicas that must have a batch before it is answered.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub(crate) acks: Acks,
    /// Connections to each broker.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Requests in flight per connection; 5 when left out, at a rate 1,000: the load then does not wait for the broker.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) in_flight: Option<u32>,
    /// Seconds that count.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds of load before them.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// Milliseconds that the client library waits to fill a batch; without effect on the raw client.
    #[arg(long, default_value = "5", value_parser = millis)]
    pub(crate) linger: Duration,
    /// What generates the load.
    #[arg(long, value_enum, default_value_t = Client::Raw)]
    pub(crate) client: Client,
}

impl Load {
    /// Requests in flight per connection, for a load that is paced or not.
    pub(crate) fn in_flight(&self, is_paced: bool) -> usize {
        let requests = self.in_flight.unwrap_or(if is_paced { 1_000 } else { 5 });
        usize::try_from(requests).unwrap_or(usize::MAX)
    }
}

/// Settings of `produce`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Produce {
    /// What every workload has.
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: Load,
    /// Records per second over all connections; as fast as it goes when left out.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
}

/// Settings of `consume`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Consume {
    /// What every workload has.
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: Load,
    /// MiB of records written first into a created topic.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) fill_mib: u32,
    /// Largest answer per partition, in bytes.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(i32).range(1..=64 << 20))]
    pub(crate) fetch_bytes: i32,
    /// Verify the checksum of every batch read.
    #[arg(long)]
    pub(crate) verify: bool,
}

/// Settings of `end-to-end`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct EndToEnd {
    /// What every workload has.
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: Load,
    /// Records per second over all partitions.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,
}

/// What generates the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Client {
    /// Prepared requests over plain TCP: costs next to nothing.
    Raw,
    /// The project's own client library.
    Library,
}

/// Compression of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Replicas that must have a batch before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Acks {
    /// No answer at all.
    #[value(name = "0")]
    None,
    /// The leader.
    #[value(name = "1")]
    Leader,
    /// All in-sync replicas.
    All,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.trim_end_matches('s').parse().map_err(|_| "a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    let number: f64 = text.trim_end_matches("ms").parse().map_err(|_| "a number of milliseconds".to_owned())?;
    Duration::try_from_secs_f64(number / 1e3).map_err(|error| error.to_string())
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words = std::iter::once("millrace-bench").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    fn single(line: &str) -> Single {
        match parse(line) {
            Ok(Command::Run(single)) => *single,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_run_has_usable_defaults() {
        let run = single("produce");
        let load = run.workload.load();
        assert_eq!((load.client, load.acks, load.partitions), (Client::Raw, Acks::All, 4));
        assert_eq!(load.duration, Duration::from_secs(10));
        assert_eq!(run.target().label, run.target().bootstrap);
        assert!(run.workload.validate().is_ok());
    }

    #[test]
    fn topic_settings_and_times_are_read() {
        let run =
            single("end-to-end --rate 20000 --topic-config flush.messages=1 --duration 2.5s --warm-up 0 --pid 1,2");
        let load = run.workload.load();
        assert_eq!(load.topic_config, [("flush.messages".to_owned(), "1".to_owned())]);
        assert_eq!((load.duration, load.warm_up), (Duration::from_millis(2500), Duration::ZERO));
        assert_eq!(run.target().pids, [1, 2]);
    }

    #[test]
    fn a_comparison_nests_its_workload() {
        let Ok(Command::Compare(compare)) = parse("compare a:1 b:2 --reps 5 consume --fill-mib 64 --verify") else {
            panic!("no comparison")
        };
        assert_eq!((compare.a.as_str(), compare.b.as_str(), compare.reps), ("a:1", "b:2", 5));
        assert!(matches!(&compare.workload, Workload::Consume(it) if it.verify && it.fill_mib == 64));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "produce --rate 0",
            "produce --rate nan",
            "produce --duration 0",
            "end-to-end --acks 0",
            "end-to-end --codec lz4",
            "end-to-end --record-size 15",
        ] {
            assert!(single(line).workload.validate().is_err(), "{line}");
        }
        for line in ["produce --partitions 0", "produce --topic-config x", "compare a b", "produce --in-flight 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
