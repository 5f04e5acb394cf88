//! `millrace consume`: the records of a topic on standard output.

use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::Args;
use millrace_client::{
    Admin, Assignor, Consumer, ConsumerConfig, ConsumerRecord, Isolation, OffsetReset, OffsetSpec, TopicPartition,
};
use serde_json::{Map, Value, json};

use super::CliResult;
use super::connect::{CliError, Connect, block_on, partitions_of};

/// Where to begin: an offset, `beginning`, `end`, `-N` for the last N records or `@MILLISECONDS` for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    At(i64),
    Beginning,
    End,
    Last(i64),
    Time(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is no offset, beginning, end, -N or @MILLISECONDS");
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(invalid);
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            _ if text.starts_with('-') => number(text.trim_start_matches('-')).map(Self::Last),
            _ if text.starts_with('@') => number(text.trim_start_matches('@')).map(Self::Time),
            _ => number(text).map(Self::At),
        }
    }
}

/// Flags of `millrace consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    #[command(flatten)]
    connect: Connect,
    /// Name of the topic.
    topic: String,
    /// Begin at the first record.
    #[arg(short = 'b', long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Begin at an offset, `beginning`, `end`, the last N records (`-N`) or a time (`@MILLISECONDS`).
    #[arg(short, long, allow_hyphen_values = true, conflicts_with = "group", value_parser = Start::from_str)]
    offset: Option<Start>,
    /// Read these partitions only.
    #[arg(short, long, conflicts_with = "group")]
    partition: Vec<i32>,
    /// Read as a member of this group, and commit.
    #[arg(short, long)]
    group: Option<String>,
    /// End after so many records.
    #[arg(short = 'n', long)]
    max: Option<u64>,
    /// End when everything that was there at the start is printed.
    #[arg(short = 'e', long, conflicts_with = "group")]
    exit_at_end: bool,
    /// What to print of a record: %t topic, %p partition, %o offset, %k key, %v value, %T timestamp, %h headers,
    /// \n and \t, %% for a percent sign.
    #[arg(short, long, default_value = "%v\\n")]
    format: String,
    /// Hide records of transactions that are open or aborted.
    #[arg(long)]
    read_committed: bool,
}

/// Runs the command.
///
/// # Errors
/// The topic does not exist, or the cluster cannot be reached.
pub(super) fn run(args: &ConsumeArgs) -> CliResult {
    block_on(consume(args))
}

async fn consume(args: &ConsumeArgs) -> Result<(), CliError> {
    let mut config = ConsumerConfig::new(&args.connect.bootstrap);
    config.client = args.connect.client();
    config.fetch_max_wait = config.fetch_max_wait.min(config.client.request_timeout / 2);
    config.group_id.clone_from(&args.group);
    config.assignors = vec![Assignor::Range, Assignor::CooperativeSticky];
    config.allow_auto_create_topics = false;
    config.offset_reset = if args.from_beginning { OffsetReset::Earliest } else { OffsetReset::Latest };
    config.isolation = if args.read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    if let Some(max) = args.max.and_then(|max| usize::try_from(max).ok()) {
        // What is not printed must not be committed.
        config.max_poll_records = config.max_poll_records.min(max.max(1));
    }
    let admin = args.connect.admin().await?;
    let partitions = partitions_of(&admin, &args.topic, &args.partition).await?;
    let consumer = Consumer::connect(config).await?;
    let mut ends = BTreeMap::new();
    if args.group.is_some() {
        consumer.subscribe(&[&args.topic])?;
    } else {
        if args.exit_at_end {
            ends = offsets(&admin, &partitions, OffsetSpec::Latest).await?;
        }
        consumer.assign(&partitions)?;
        start(&admin, &consumer, args.offset, &partitions).await?;
    }
    admin.close().await;
    let result = print_all(args, &consumer, &mut ends).await;
    let closed = consumer.close().await;
    result?;
    Ok(closed?)
}

async fn start(
    admin: &Admin,
    consumer: &Consumer,
    start: Option<Start>,
    partitions: &[TopicPartition],
) -> Result<(), CliError> {
    let Some(start) = start else { return Ok(()) };
    let starts = offsets(admin, partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(admin, partitions, OffsetSpec::Latest).await?;
    for partition in partitions {
        let first = starts.get(partition).copied().unwrap_or(0);
        match start {
            Start::At(offset) => consumer.seek(partition, offset)?,
            Start::Last(count) => {
                let end = ends.get(partition).copied().unwrap_or(0);
                consumer.seek(partition, end.saturating_sub(count).max(first))?;
            }
            Start::Beginning => consumer.seek_to(partition, OffsetSpec::Earliest)?,
            Start::End => consumer.seek_to(partition, OffsetSpec::Latest)?,
            Start::Time(timestamp) => consumer.seek_to(partition, OffsetSpec::Timestamp(timestamp))?,
        }
    }
    Ok(())
}

async fn offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let specs = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let rows = admin.offsets(&specs).await?.into_iter().map(|(partition, found)| Ok((partition, found?.offset)));
    rows.collect()
}

/// Prints until one of the ends that were asked for.
async fn print_all(
    args: &ConsumeArgs,
    consumer: &Consumer,
    ends: &mut BTreeMap<TopicPartition, i64>,
) -> Result<(), CliError> {
    let mut left = args.max.unwrap_or(u64::MAX);
    while left > 0 {
        if args.exit_at_end && reached(consumer, ends).await? {
            return Ok(());
        }
        let records = consumer.poll(Duration::from_millis(500)).await?;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for record in records {
            if left == 0 {
                break;
            }
            left -= 1;
            if args.connect.json {
                writeln!(out, "{}", document(&record))?;
            } else {
                out.write_all(&format(&args.format, &record))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// Whether every partition's position is at its end of the start.
async fn reached(consumer: &Consumer, ends: &mut BTreeMap<TopicPartition, i64>) -> Result<bool, CliError> {
    let mut done = Vec::new();
    for (partition, end) in ends.iter() {
        if consumer.position(partition).await? >= *end {
            done.push(partition.clone());
        }
    }
    ends.retain(|partition, _| !done.contains(partition));
    Ok(ends.is_empty())
}

/// Puts bytes into a document: as text under `name` when they are UTF-8, else, since JSON has no other bytes, in Base64
/// under `name` with `_base64` behind.
fn put(document: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let (name, value) = match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (name.to_owned(), Value::Null),
        Some(Ok(text)) => (name.to_owned(), text.into()),
        Some(Err(bytes)) => (format!("{name}_base64"), BASE64_STANDARD.encode(bytes).into()),
    };
    document.insert(name, value);
}

fn document(record: &ConsumerRecord) -> Value {
    let header = |header: &millrace_client::Header| {
        let mut document = Map::from_iter([("key".to_owned(), json!(&*header.key))]);
        put(&mut document, "value", header.value.as_deref());
        Value::Object(document)
    };
    let mut document = Map::new();
    document.insert("topic".to_owned(), json!(&*record.topic));
    document.insert("partition".to_owned(), record.partition.into());
    document.insert("offset".to_owned(), record.offset.into());
    document.insert("timestamp".to_owned(), record.timestamp.into());
    put(&mut document, "key", record.key.as_deref());
    put(&mut document, "value", record.value.as_deref());
    document.insert("headers".to_owned(), record.headers.iter().map(header).collect());
    Value::Object(document)
}

/// The record in the words of `--format`; bytes stay as they are.
fn format(pattern: &str, record: &ConsumerRecord) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match (character, if matches!(character, '%' | '\\') { rest.next() } else { None }) {
            ('%', Some('t')) => out.extend(record.topic.as_bytes()),
            ('%', Some('p')) => out.extend(record.partition.to_string().into_bytes()),
            ('%', Some('o')) => out.extend(record.offset.to_string().into_bytes()),
            ('%', Some('T')) => out.extend(record.timestamp.to_string().into_bytes()),
            ('%', Some('k')) => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
            ('%', Some('v')) => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
            ('%', Some('h')) => out.extend(headers(record)),
            ('\\', Some('n')) => out.push(b'\n'),
            ('\\', Some('t')) => out.push(b'\t'),
            (_, Some(other)) => out.extend(other.to_string().into_bytes()),
            (plain, None) => out.extend(plain.to_string().into_bytes()),
        }
    }
    out
}

fn headers(record: &ConsumerRecord) -> Vec<u8> {
    let one = |header: &millrace_client::Header| {
        [header.key.as_bytes(), b"=", header.value.as_deref().unwrap_or_default()].concat()
    };
    record.headers.iter().map(one).collect::<Vec<_>>().join(&b","[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ConsumerRecord {
        let header = |key: &str| millrace_client::Header { key: key.into(), value: Some("1".into()) };
        ConsumerRecord {
            topic: "t".into(),
            partition: 2,
            offset: 7,
            leader_epoch: 0,
            timestamp: 1000,
            key: None,
            value: Some("v%".into()),
            headers: vec![header("a"), header("b")],
        }
    }

    #[test]
    fn a_format_names_the_parts() {
        assert_eq!(format("%t-%p@%o:%k=%v %T %h%%\\n", &record()), b"t-2@7:=v% 1000 a=1,b=1%\n");
    }

    #[test]
    fn json_has_null_for_what_is_missing() {
        let document = document(&record());
        assert_eq!(document["key"], serde_json::Value::Null);
        assert_eq!(document["headers"][1]["key"], "b");
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let mut record = ConsumerRecord { key: Some("k".into()), value: Some(b"\xFF\x00\xFEv"[..].into()), ..record() };
        record.headers[0].value = Some(b"\x80"[..].into());
        let document = document(&record);
        assert_eq!((&document["key"], document.get("key_base64")), (&json!("k"), None));
        assert_eq!((&document["value_base64"], document.get("value")), (&json!("/wD+dg=="), None));
        assert_eq!(document["headers"], json!([{"key": "a", "value_base64": "gA=="}, {"key": "b", "value": "1"}]));
    }

    #[test]
    fn starts_are_read() {
        assert_eq!("5".parse(), Ok(Start::At(5)));
        assert_eq!("-5".parse(), Ok(Start::Last(5)));
        assert_eq!("@5".parse(), Ok(Start::Time(5)));
        assert_eq!("beginning".parse(), Ok(Start::Beginning));
        assert!("x".parse::<Start>().is_err() && "--5x".parse::<Start>().is_err());
    }
}
