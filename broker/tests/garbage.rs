//! Bytes that are no requests close their connection and nothing else.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use bytes::{Buf, BufMut};
use common::{Broker, Client, fetch_request, until};
use kafka_protocol::messages::FetchRequest;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use tempfile::tempdir;

/// Bytes of memory a broker may use at once, whatever it is sent.
const MEMORY: u64 = 300 << 20;
/// Error code of a version that is not served.
const UNSUPPORTED_VERSION: i16 = 35;

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
        let _reset = client.stream.shutdown(Shutdown::Write);
        while client.receive_frame().is_some() {}
    }
    broker.is_sound(MEMORY);
    assert_eq!(broker.connect().call(&common::api_versions(), 3).error_code, 0);
    let (_, metrics) = broker.http("GET", "/metrics", "");
    assert!(metrics.contains("millrace_frames_invalid_total 7\n"), "{metrics}");
}

#[test]
fn announced_bytes_cost_nothing_until_they_come() {
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[]);
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
    // 20 GB are announced.
    broker.is_sound(MEMORY);
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

/// A frame with this key and version and no client id.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_i32(i32::try_from(10 + body.len()).expect("fits"));
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame.put_slice(body);
    frame
}

#[test]
fn unknown_keys_and_versions_are_refused() {
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[]);
    // KIP-511: whatever the version, the answer is one of version 0 that tells the versions of ApiVersions.
    for version in [99, i16::MAX, -1] {
        let mut client = broker.connect();
        client.stream.write_all(&request(18, version, &[0; 5])).expect("sent");
        let mut answer = client.receive_frame().expect("an answer");
        assert_eq!((answer.get_i32(), answer.get_i16()), (7, UNSUPPORTED_VERSION), "version {version}");
        assert_eq!((answer.get_i32(), answer.get_i16(), answer.get_i16()), (1, 18, 0), "version {version}");
        assert!(answer.get_i16() >= 3 && !answer.has_remaining());
        assert_eq!(client.call(&common::api_versions(), 3).error_code, 0, "the connection goes on");
    }
    // Kafka closes the connection: without knowing the version it cannot answer in it.
    for (key, version) in [(-1, 0), (i16::MAX, 0), (i16::MIN, 0), (999, 3), (1, 99), (1, -1), (3, i16::MAX), (11, 99)] {
        let mut client = broker.connect();
        client.stream.write_all(&request(key, version, &[0; 20])).expect("sent");
        assert!(client.is_closed(), "key {key}, version {version}");
    }
    broker.is_sound(MEMORY);
}

#[test]
fn a_fetch_of_absurd_sizes_is_answered() {
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    client.produce("t", 0, &["value"]).expect("written");
    for bytes in [i32::MIN, -1, 0, 1, i32::MAX] {
        for (offset, expected) in [(0, 0), (1, 0), (-1, 1), (i64::MIN, 1), (i64::MAX, 1)] {
            let mut request = fetch_request("t", 0, offset, 0);
            request.max_bytes = bytes;
            request.min_bytes = bytes;
            request.topics[0].partitions[0].partition_max_bytes = bytes;
            request.max_wait_ms = bytes.min(1);
            let response = client.call::<FetchRequest>(&request, 12);
            let partition = &response.responses[0].partitions[0];
            assert_eq!((response.error_code, partition.error_code), (0, expected), "{bytes} bytes at {offset}");
            let records = partition.records.as_ref().map_or(0, bytes::Bytes::len);
            assert!(records < 1000, "{records} bytes");
            assert!(bytes < 1 || offset != 0 || records > 0, "the first batch comes whole, however small the limit");
        }
    }
    broker.is_sound(MEMORY);
}

#[test]
fn thousands_of_half_open_connections_leave_room_for_others() {
    const WANTED: u64 = 10_000;
    let limit = getrlimit(Resource::Nofile);
    // Each end of a connection is a descriptor of its own process; the broker inherits the limit.
    let most = limit.maximum.unwrap_or(WANTED * 2);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).expect("up to the maximum");
    let count = WANTED.min(most.saturating_sub(500));
    let allowed = count - count / 10;
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[&format!("max.connections={allowed}")]);
    let mut clients = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(broker.address).expect("the broker listens");
        // Nothing at all, half a length, or a length of a megabyte with a bit of it. The last ones find it closed.
        let bytes: &[u8] = match number % 3 {
            0 => &[],
            1 => &[0, 0],
            _ => b"\x00\x0f\x42\x40\x00\x01\x00\x0c half of a request",
        };
        let sent = stream.write_all(bytes);
        assert!(sent.is_ok() || number >= allowed, "{sent:?} at {number}");
        clients.push(stream);
    }
    until("every place is taken", || {
        let (_, metrics) = broker.http("GET", "/metrics", "");
        metrics.contains(&format!("millrace_connections {allowed}\n")).then_some(())
    });
    assert!(broker.connect().is_closed(), "there is no place left");
    assert_eq!(broker.http("GET", "/health/live", "").0, 200);
    broker.is_sound(MEMORY);
    // One client that leaves makes room for one that comes.
    drop(clients.swap_remove(0));
    let mut client = until("a place is free", || {
        let mut client = Client::connect(broker.address);
        client.stream.write_all(&common::frame(&common::api_versions(), 3, 1)).ok()?;
        client.receive_frame().map(|_| client)
    });
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    assert_eq!(client.produce("t", 0, &["served"]), Ok(0));
    drop(clients);
    until("the others are gone", || {
        let (_, metrics) = broker.http("GET", "/metrics", "");
        metrics.contains("millrace_connections 1\n").then_some(())
    });
    broker.is_sound(MEMORY);
}

#[test]
fn requests_cut_anywhere_leave_nothing_behind() {
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[]);
    let whole = common::frame(&fetch_request("t", 0, 0, 0), 12, 1);
    for end in 0..whole.len() {
        let mut client = broker.connect();
        client.stream.write_all(&whole[..end]).expect("sent");
        client.stream.shutdown(Shutdown::Write).expect("open");
        assert!(client.receive_frame().is_none(), "an answer to {end} bytes of a request");
    }
    until("no connection is left", || {
        let (_, metrics) = broker.http("GET", "/metrics", "");
        metrics.contains("millrace_connections 0\n").then_some(())
    });
    broker.is_sound(MEMORY);
}
