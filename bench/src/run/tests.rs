//! Whole runs against a broker in memory.

use std::sync::atomic::Ordering;

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command, Single};
use crate::testing::FakeBroker;

fn single(address: &str, line: &str) -> Single {
    let (verb, options) = line.split_once(' ').unwrap();
    let common = ["--duration", "0.4", "--warm-up", "0.1", "--partitions", "3", "-b", address];
    let words = ["millrace-bench", verb].into_iter().chain(common).chain(options.split_whitespace());
    let Command::Run(single) = Cli::parse_from(words).command else { panic!("no run") };
    *single
}

fn run_against(address: &str, line: &str) -> Result<RunResult, BenchError> {
    let single = single(address, line);
    single.workload.validate()?;
    run(&single.target(), &single.workload, true)
}

fn fresh(line: &str) -> RunResult {
    let (broker, address) = FakeBroker::start();
    let result = run_against(&address, line).unwrap();
    assert_eq!(broker.topics(), (1, 1), "the topic is created and deleted");
    assert_eq!(result.errors, BTreeMap::new());
    result
}

#[test]
fn produce_counts_what_was_acknowledged() {
    for line in ["produce --batch-size 4096 --connections 2", "produce --codec lz4 --in-flight 1"] {
        let result = fresh(line);
        assert_eq!(result.bytes, result.records * 1024, "bytes are those of values");
        assert!(result.records > 0 && result.latencies["ack"].count > 0);
        assert!(result.broker.is_some(), "the process that listens is this one");
    }
}

#[test]
fn a_paced_run_keeps_its_rate() {
    let result = fresh("produce --rate 500 --batch-size 1 --record-size 100");
    assert!((1..=250).contains(&result.records), "{} records in 0.5 s at 500/s", result.records);
}

#[test]
fn consume_reads_round_and_round() {
    let result = fresh("consume --fill-mib 1 --verify --batch-size 16384");
    assert!(result.bytes > 2 << 20, "more than the topic holds: {}", result.bytes);
}

#[test]
fn end_to_end_loses_and_doubles_nothing() {
    for line in ["end-to-end --rate 500", "end-to-end --rate 5000 --record-size 100 --connections 2"] {
        let result = fresh(line);
        let latency = &result.latencies["end to end"];
        assert!(latency.count > 100 && latency.max_us > 0, "{line}: {}", latency.count);
    }
}

#[test]
fn refusals_are_counted_by_name() {
    let (broker, address) = FakeBroker::start();
    broker.refuse_with.store(56, Ordering::SeqCst);
    let result = run_against(&address, "produce --in-flight 2").unwrap();
    assert_eq!(result.records, 0);
    assert_eq!(result.errors.keys().collect::<Vec<_>>(), ["KafkaStorageError"]);
}

#[test]
fn a_topic_that_was_there_is_left_there() {
    let (broker, address) = FakeBroker::start();
    run_against(&address, "produce --keep-topic").unwrap();
    assert_eq!(broker.topics(), (1, 0));
    run_against(&address, "produce --topic topic").unwrap();
    assert_eq!(broker.topics(), (1, 0));
}
