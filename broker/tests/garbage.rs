//! Bytes that are no requests close their connection and nothing else.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use bytes::BufMut;
use common::{Broker, produce_request, until};
use kafka_protocol::messages::ProduceRequest;
use std::io::Write;
use tempfile::tempdir;

/// A small generator of the same bytes in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[0]
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

#[test]
fn garbage_closes_the_connection_and_the_broker_lives_on() {
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[]);
    let mut lengths: Vec<Vec<u8>> = [i32::MAX, i32::MIN, -1, 0, 104_857_601, 0x1603_0100]
        .iter()
        .map(|length| length.to_be_bytes().to_vec())
        .collect();
    lengths.push(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    for bytes in lengths {
        let mut client = broker.connect();
        client.stream.write_all(&bytes).expect("sent");
        assert!(client.is_closed(), "{bytes:?}");
    }
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    for _ in 0..200 {
        let mut client = broker.connect();
        let length = usize::from(noise.byte()) * 4 + 1;
        let mut frame = Vec::new();
        frame.put_i32(i32::try_from(length).expect("fits"));
        // Known keys and versions, so that the bodies are looked at.
        frame.put_i16(i16::from(noise.byte() % 50));
        frame.put_i16(i16::from(noise.byte() % 10));
        while frame.len() < length + 4 {
            frame.put_u8(noise.byte());
        }
        frame.truncate(length + 4);
        // Whatever the answer is, if there is one: the broker must survive it.
        let _reset = client.stream.write_all(&frame);
        let _reset = client.stream.shutdown(std::net::Shutdown::Write);
        while client.receive_frame().is_some() {}
    }
    assert!(broker.is_running());
    assert_eq!(broker.connect().call(&common::api_versions(), 3).error_code, 0);
    let (_, metrics) = broker.http("GET", "/metrics", "");
    assert!(metrics.contains("millrace_frames_invalid_total 7\n"), "{metrics}");
}

#[test]
fn announced_bytes_cost_nothing_until_they_come() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let before = resident_bytes(broker.id());
    let mut clients: Vec<_> = (0..200).map(|_| broker.connect()).collect();
    for client in &mut clients {
        client.stream.write_all(&100_000_000i32.to_be_bytes()).expect("sent");
        client.stream.write_all(&[0; 100]).expect("sent");
    }
    until("all are served", || {
        let (_, metrics) = broker.http("GET", "/metrics", "");
        metrics.contains("millrace_connections 200\n").then_some(())
    });
    assert_eq!(broker.connect().call(&common::api_versions(), 3).error_code, 0);
    let grown = resident_bytes(broker.id()).saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes for 20 GB announced");
}

#[test]
fn a_damaged_batch_is_refused_by_code_and_leaves_no_trace() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    let mut request = produce_request("t", 0, &["value"], -1);
    let data = &mut request.topic_data[0].partition_data[0];
    let mut records = data.records.clone().expect("records").to_vec();
    *records.last_mut().expect("bytes") ^= 1;
    data.records = Some(records.into());
    client.send(&request, 9);
    let (_, response) = client.receive::<ProduceRequest>(9);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 2, "CORRUPT_MESSAGE");
    assert_eq!(client.fetch_all("t", 0), []);
    assert_eq!(client.produce("t", 0, &["good"]), Ok(0));
}

#[test]
fn limits_of_connections_hold() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &["max.connections.per.ip=3", "connections.max.idle.ms=300"]);
    let mut clients: Vec<_> = (0..3).map(|_| broker.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&common::api_versions(), 3).error_code, 0);
    }
    assert!(broker.connect().is_closed(), "a fourth is closed");
    for client in &mut clients {
        assert!(client.is_closed(), "the others are closed when they are idle");
    }
    let mut next = until("a place is free", || {
        let mut client = broker.connect();
        client.stream.write_all(&common::frame(&common::api_versions(), 3, 1)).ok()?;
        client.receive_frame().map(|_| client)
    });
    assert_eq!(next.call(&common::api_versions(), 3).error_code, 0);
}
