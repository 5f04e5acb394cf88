//! `kill -9` at any moment loses nothing that was acknowledged, doubles nothing and leaves no gap, while one idempotent
//! producer goes on over all the restarts.
//!
//! `MILLRACE_KILL_ROUNDS` sets how often the broker is killed for each durability, `MILLRACE_KILL_SEED` when.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::numbers::{Draw, PARTITIONS, Progress, TOPIC, check, consume, finish, produce, setting};
use common::{Broker, Starting};
use tempfile::tempdir;

/// Starts the broker, in some rounds only after it was killed while it started.
fn restart(address: &str, directory: &Path, draw: &mut Draw) -> Broker {
    for _ in 0..draw.below(3) {
        // The moment of the kill is what the wait is for.
        let patience = Duration::from_micros(draw.below(60_000));
        match Starting::begin(address, directory, &[]).within(patience) {
            Ok(broker) => return broker,
            Err(starting) => drop(starting),
        }
    }
    Broker::start_at(address, directory, &[])
}

fn survives(flush_messages: &str, growth: u64) {
    let (rounds, seed) = (setting("MILLRACE_KILL_ROUNDS", 3), setting("MILLRACE_KILL_SEED", 1));
    let mut draw = Draw::new(seed);
    let directory = tempdir().expect("a directory");
    let address = common::lasting_address();
    let mut broker = Broker::start_at(&address, directory.path(), &[]);
    let configs = [("flush.messages", flush_messages), ("segment.bytes", "1048576")];
    let mut client = broker.connect();
    assert_eq!(client.create_topic(TOPIC, PARTITIONS, &configs), 0);
    client.await_leaders(TOPIC);
    drop(client);

    let progress = Arc::new(Progress::default());
    let producer = produce(&address, &progress);
    let mut acknowledged = 0;
    for _ in 0..rounds {
        let more = usize::try_from(1 + draw.below(growth)).expect("small");
        acknowledged = progress.await_acknowledged(acknowledged + more);
        broker.kill();
        broker = restart(&address, directory.path(), &mut draw);
    }
    progress.await_acknowledged(acknowledged + 1);
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&address), &acknowledged, sent);
    one_producer(&broker);
    eprintln!("flush.messages={flush_messages}, seed {seed}: {rounds} rounds, {sent} records");
}

/// Every batch has the same producer id and epoch: it was the broker that told a repetition, not a new beginning.
fn one_producer(broker: &Broker) {
    let mut client = broker.connect();
    let mut identities: Vec<[u8; 10]> = Vec::new();
    for partition in 0..PARTITIONS {
        let request = common::fetch_request(TOPIC, partition, 0, 0);
        let response = client.call(&request, 12);
        let mut records = response.responses[0].partitions[0].records.clone().expect("records");
        // Producer id and epoch are at byte 43 of a batch, whose length without the first 12 bytes is at byte 8.
        while let Some(identity) = records.get(43..53) {
            identities.push(identity.try_into().expect("ten bytes"));
            let length = u32::from_be_bytes(records[8..12].try_into().expect("four bytes"));
            records = records.slice((12 + length as usize).min(records.len())..);
        }
    }
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), 1, "producer ids and epochs: {identities:?}");
    assert_eq!(identities[0][8..], [0, 0], "the producer epoch");
}

#[test]
fn when_each_ack_waits_for_a_flush() {
    survives("1", 3_000);
}

#[test]
fn when_acks_come_from_the_page_cache() {
    survives("9223372036854775807", 20_000);
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let good: Vec<(i64, u64)> = vec![(0, 5), (1, 6), (2, 8)];
    let acknowledged: BTreeMap<(i32, i64), u64> = good.iter().map(|(offset, number)| ((0, *offset), *number)).collect();
    let passes = |records: Vec<(i64, u64)>| {
        let found = BTreeMap::from([(0, records)]);
        std::panic::catch_unwind(|| check(&found, &acknowledged, 3)).is_ok()
    };
    assert!(passes(good));
    for (what, records) in [
        ("a lost suffix", vec![(0, 5), (1, 6)]),
        ("a gap", vec![(0, 5), (2, 8)]),
        ("a doubled record", vec![(0, 5), (1, 6), (2, 6)]),
        ("a doubled record behind", vec![(0, 5), (1, 6), (2, 8), (3, 8)]),
        ("another order", vec![(0, 6), (1, 5), (2, 8)]),
    ] {
        assert!(!passes(records), "{what}");
    }
}
