//! `kill -9` at any moment loses nothing that was acknowledged and doubles nothing.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use common::{Broker, Client};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::tempdir;

/// Times the broker is killed for each durability.
const ROUNDS: usize = 3;

fn survives(flush_messages: &str) {
    let directory = tempdir().expect("a directory");
    let mut acknowledged: Vec<(i64, String)> = Vec::new();
    for round in 0..ROUNDS {
        let broker = Broker::start(directory.path(), &[]);
        let mut client = broker.connect();
        if round == 0 {
            assert_eq!(client.create_topic("t", 1, &[("flush.messages", flush_messages)]), 0);
        }
        client.await_leaders("t");
        check(&mut client, &acknowledged);
        let enough = AtomicBool::new(false);
        let address = broker.address;
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| produce_until_killed(address, round, &enough));
            while !enough.load(Ordering::Acquire) && !producer.is_finished() {
                std::thread::yield_now();
            }
            broker.kill();
            acknowledged.extend(producer.join().expect("it ends with its connection"));
            assert!(enough.load(Ordering::Acquire), "the producer ended before the broker");
        });
    }
    let broker = Broker::start(directory.path(), &[]);
    check(&mut broker.connect(), &acknowledged);
}

/// Produces as fast as it goes; what was acknowledged, with the offsets.
fn produce_until_killed(address: std::net::SocketAddr, round: usize, enough: &AtomicBool) -> Vec<(i64, String)> {
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::protocol::Decodable;
    use std::io::Write;

    let mut client = Client::connect(address);
    let mut acknowledged = Vec::new();
    for number in 0i32.. {
        let value = format!("{round}-{number}");
        let bytes = common::frame(&common::produce_request("t", 0, &[&value], -1), 9, number);
        if client.stream.write_all(&bytes).is_err() {
            break;
        }
        let Some(mut frame) = client.receive_frame() else { break };
        let _correlation_and_tags = frame.split_to(5);
        let response = <ProduceRequest as kafka_protocol::protocol::Request>::Response::decode(&mut frame, 9);
        let response = response.expect("a response");
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0);
        acknowledged.push((partition.base_offset, value));
        if number == 100 {
            enough.store(true, Ordering::Release);
        }
    }
    acknowledged
}

/// Every acknowledged record is at its offset, the offsets have no gap, and no record is there twice.
fn check(client: &mut Client, acknowledged: &[(i64, String)]) {
    let records = client.fetch_all("t", 0);
    for (position, (offset, _)) in records.iter().enumerate() {
        assert_eq!(*offset, i64::try_from(position).expect("fits"), "a gap");
    }
    for (offset, value) in acknowledged {
        let found = usize::try_from(*offset).ok().and_then(|offset| records.get(offset));
        assert_eq!(found, Some(&(*offset, value.clone())), "an acknowledged record is lost");
    }
    let mut values: Vec<_> = records.iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), records.len(), "a record is there twice");
}

#[test]
fn when_each_ack_waits_for_a_flush() {
    survives("1");
}

#[test]
fn when_acks_come_from_the_page_cache() {
    survives("1000000");
}
