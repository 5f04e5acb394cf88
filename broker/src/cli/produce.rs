//! `millrace produce`: the lines of standard input as records.

use std::collections::VecDeque;
use std::io::BufRead;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use millrace_client::{Acks, Codec, Delivery, Header, Producer, ProducerConfig, ProducerRecord};
use serde_json::json;

use super::CliResult;
use super::connect::{CliError, Connect, block_on, key_value};

/// Lines read ahead of the producer.
const LINES_AHEAD: usize = 1024;

/// Records whose acknowledgement is waited for at the same time.
const UNACKNOWLEDGED_MAX: usize = 100_000;

/// How many replicas must have a record.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AcksArg {
    /// No answer at all.
    #[value(name = "0")]
    None,
    /// The leader alone.
    #[value(name = "1")]
    Leader,
    /// All in-sync replicas.
    All,
}

/// Flags of `millrace produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    connect: Connect,
    /// Name of the topic.
    topic: String,
    /// Partition; by the key, or spread, without it.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// What stands between key and value in a line; without it lines are values.
    #[arg(short, long)]
    key_separator: Option<String>,
    /// A header for every record.
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(short, long, default_value = "none", value_parser = Codec::from_str)]
    codec: Codec,
    /// How many replicas must have a record before it counts.
    #[arg(short, long, value_enum, default_value = "all")]
    acks: AcksArg,
    /// Send an empty line as a record too.
    #[arg(long)]
    empty_lines: bool,
}

/// Runs the command.
///
/// # Errors
/// A record was not acknowledged, or standard input cannot be read.
pub(super) fn run(args: &ProduceArgs) -> CliResult {
    block_on(produce(args))
}

async fn produce(args: &ProduceArgs) -> Result<(), CliError> {
    let mut config = ProducerConfig::new(&args.connect.bootstrap);
    config.client = args.connect.client();
    config.codec = args.codec;
    config.acks = match args.acks {
        AcksArg::None => Acks::None,
        AcksArg::Leader => Acks::Leader,
        AcksArg::All => Acks::All,
    };
    config.idempotence = config.acks == Acks::All;
    config.max_block = config.client.api_timeout;
    config.delivery_timeout = config.client.api_timeout + config.linger;
    let producer = Producer::connect(config).await?;
    let (lines_in, mut lines) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(LINES_AHEAD);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || read_lines(&lines_in))?;
    let mut waiting: VecDeque<Delivery> = VecDeque::new();
    while let Some(line) = lines.recv().await {
        let line = line?;
        if line.is_empty() && !args.empty_lines {
            continue;
        }
        let record = record(args, &line)?;
        waiting.push_back(producer.send(record).await?);
        while waiting.len() > UNACKNOWLEDGED_MAX {
            acknowledged(&args.connect, waiting.pop_front()).await?;
        }
    }
    producer.flush().await?;
    while !waiting.is_empty() {
        acknowledged(&args.connect, waiting.pop_front()).await?;
    }
    Ok(producer.close().await?)
}

async fn acknowledged(connect: &Connect, delivery: Option<Delivery>) -> Result<(), CliError> {
    let Some(delivery) = delivery else { return Ok(()) };
    let written = delivery.await?;
    // As text, silence is success.
    if !connect.json {
        return Ok(());
    }
    let document = json!({
        "topic": &*written.topic,
        "partition": written.partition,
        "offset": written.offset,
        "timestamp": written.timestamp,
    });
    connect.print(&document, String::new)
}

/// Sends the lines of standard input, without their ends, until it ends or nobody wants them.
fn read_lines(lines: &tokio::sync::mpsc::Sender<std::io::Result<Vec<u8>>>) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let sent = match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                lines.blocking_send(Ok(line))
            }
            Err(error) => lines.blocking_send(Err(error)),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn record(args: &ProduceArgs, line: &[u8]) -> Result<ProducerRecord, CliError> {
    let mut record = ProducerRecord::to(args.topic.as_str());
    record.partition = args.partition;
    let header = |(key, value): &(String, String)| Header {
        key: key.as_str().into(),
        value: Some(value.clone().into_bytes().into()),
    };
    record.headers = args.headers.iter().map(header).collect();
    match args.key_separator.as_deref().filter(|separator| !separator.is_empty()) {
        None => Ok(record.value(line.to_vec())),
        Some(separator) => {
            let at = line.windows(separator.len()).position(|part| part == separator.as_bytes());
            let at = at.ok_or_else(|| {
                let line = String::from_utf8_lossy(line);
                CliError::new(format!("no key separator {separator:?} in the line {line:?}"))
            })?;
            let (key, rest) = line.split_at(at);
            let value = rest.get(separator.len()..).unwrap_or_default();
            Ok(record.key(key.to_vec()).value(value.to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Shell {
        #[command(flatten)]
        args: ProduceArgs,
    }

    fn args(line: &[&str]) -> ProduceArgs {
        Shell::try_parse_from(line).expect("valid").args
    }

    #[test]
    fn a_line_is_split_at_its_first_separator() {
        let args = args(&["x", "t", "--key-separator", "::", "-H", "h=1", "-p", "3"]);
        let record = record(&args, b"k::v::w").expect("separated");
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"k"[..]), Some(&b"v::w"[..])));
        assert_eq!((record.partition, record.headers.len()), (Some(3), 1));
        assert!(super::record(&args, b"no separator").is_err());
    }

    #[test]
    fn codecs_and_acks_are_checked() {
        assert_eq!(args(&["x", "t", "--codec", "zstd"]).codec, Codec::Zstd);
        assert!(Shell::try_parse_from(["x", "t", "--codec", "brotli"]).is_err());
        assert!(Shell::try_parse_from(["x", "t", "--acks", "2"]).is_err());
    }
}
