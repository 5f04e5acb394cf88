//! The options of `history`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::faults::Kind;
use super::network::Between;

/// A leader that does not hear a majority resigns after 1.5 times `peer.session.timeout.ms`, whose default is 400.
const STALE_MS: &str = "600";

/// Histories of client processes: made under faults, and checked.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Verb,
}

/// What is done about histories.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start brokers, ask them while faults are injected, and check what clients were told.
    Run(Box<Run>),
    /// Check a history that was written before.
    Check(Check),
}

/// Options of `history check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The history: lines of JSON.
    pub(crate) file: PathBuf,
    /// How many milliseconds an answer about ends or committed offsets may be behind; see `history run`.
    #[arg(long, default_value = STALE_MS, value_parser = crate::cli::millis)]
    pub(crate) stale: Duration,
    /// Anomalies that are told of each kind.
    #[arg(long, default_value_t = 10)]
    pub(crate) show: usize,
}

/// Options of `history run`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Run {
    /// The broker's program.
    #[arg(long, default_value = "target/release/millrace")]
    pub(crate) millrace: PathBuf,
    /// Brokers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) brokers: u8,
    /// Seconds in which faults are injected.
    #[arg(long, default_value = "60", value_parser = crate::cli::seconds)]
    pub(crate) seconds: Duration,
    /// What is injected, separated by commas; nothing when left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) faults: Vec<Kind>,
    /// What is injected when, and what clients do, follows from it.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// What lies between the brokers.
    #[arg(long, value_enum, default_value_t = Between::Auto)]
    pub(crate) network: Between,
    /// Client processes: a producer and a consumer each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) processes: u32,
    /// Members of the consumer group.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) members: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub(crate) partitions: i32,
    /// Records per second of each process.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) rate: u64,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(32..=65_536))]
    pub(crate) record_size: u32,
    /// Bytes of a segment of the topic.
    #[arg(long, default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(4_096..))]
    pub(crate) segment_bytes: u32,
    /// Producers take the leader's word alone and are not idempotent (acks=1): faults then lose and double what was acknowledged, and the
    /// checker has to say so.
    #[arg(long)]
    pub(crate) weak: bool,
    /// How many milliseconds an answer about ends or committed offsets may be behind what was acknowledged or told elsewhere: a leader that
    /// is cut off answers from what it knows until it notices. 0 for not at all.
    #[arg(long, default_value = STALE_MS, value_parser = crate::cli::millis)]
    #[serde(skip)]
    pub(crate) stale: Duration,
    /// Where the history is written; beside the brokers' data when left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Folder for the brokers' data and logs; a temporary one when left out.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Leave the folder in place also after a run without an anomaly.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Write the verdict as JSON; `-` for standard output in place of the summary.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
