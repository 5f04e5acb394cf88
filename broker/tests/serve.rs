//! A broker's life as its users see it: start, serve, stop, start again.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use common::{Broker, Client, command, fetch_request, frame, produce_request, until, wait};
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::tempdir;

/// What a broker says that does not start.
fn refused(mut command: Command) -> String {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
    assert!(!wait(&mut child).success());
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("text");
    error
}

#[test]
fn produces_and_fetches_over_the_wire() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    let versions = client.call(&common::api_versions(), 3);
    assert_eq!(versions.error_code, 0);
    assert!(versions.api_keys.iter().any(|api| api.api_key == 0), "Produce is served");

    assert_eq!(client.create_topic("orders", 2, &[]), 0);
    assert_eq!(client.create_topic("orders", 2, &[]), 36, "TOPIC_ALREADY_EXISTS");
    client.await_leaders("orders");
    assert_eq!(client.produce("orders", 1, &["a", "b"]), Ok(0));
    assert_eq!(client.produce("orders", 1, &["c"]), Ok(2));
    let expected = [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
    assert_eq!(client.fetch_all("orders", 1), expected);
    assert_eq!(client.fetch_all("orders", 0), []);
    assert_eq!(client.produce("orders", 7, &["x"]), Err(3), "UNKNOWN_TOPIC_OR_PARTITION");
}

#[test]
fn a_fetch_that_waits_is_answered_by_a_produce_of_another_connection() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut producer = broker.connect();
    assert_eq!(producer.create_topic("t", 4, &[]), 0);
    producer.await_leaders("t");
    for partition in 0..4 {
        let mut consumer = broker.connect();
        let sent = consumer.send(&fetch_request("t", partition, 0, 60_000), 12);
        assert_eq!(producer.produce("t", partition, &["wake up"]), Ok(0));
        let (received, response) = consumer.receive::<FetchRequest>(12);
        assert_eq!(received, sent);
        assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &["num.network.threads=2"]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 3, &[]), 0);
    client.await_leaders("t");
    let mut sent = Vec::new();
    for round in 0..200 {
        sent.push(client.send(&produce_request("t", round % 3, &["v"], -1), 9));
    }
    for id in sent {
        let (received, response) = client.receive::<ProduceRequest>(9);
        assert_eq!(received, id);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let counts: usize = (0..3).map(|partition| client.fetch_all("t", partition).len()).sum();
    assert_eq!(counts, 200);
}

#[test]
fn large_frames_in_small_pieces_and_small_frames_in_one_piece() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    let large = "x".repeat(900_000);
    let bytes = frame(&produce_request("t", 0, &[&large], -1), 9, 1);
    for piece in bytes.chunks(10_007) {
        client.stream.write_all(piece).expect("sent");
    }
    let many: Vec<u8> = (2..50).flat_map(|id| frame(&produce_request("t", 0, &["s"], -1), 9, id)).collect();
    client.stream.write_all(&many).expect("sent");
    for id in 1..50 {
        assert_eq!(client.receive::<ProduceRequest>(9).0, id);
    }
    let records = client.fetch_all("t", 0);
    assert_eq!(records.len(), 49);
    assert_eq!(records[0].1, large);
}

#[test]
fn a_client_that_reads_late_gets_everything_it_has_asked_for() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    let large = "x".repeat(900_000);
    assert_eq!(client.produce("t", 0, &[&large]), Ok(0));
    // Far more than the kernel's buffers and the broker's own bound take before the first byte is read.
    let sent: Vec<i32> = (0..60).map(|_| client.send(&fetch_request("t", 0, 0, 0), 12)).collect();
    until("the broker has stopped to take requests", || {
        let (_, metrics) = broker.http("GET", "/metrics", "");
        let line = metrics.lines().find(|line| line.starts_with("millrace_network_sent_bytes_total "))?;
        let bytes: u64 = line.rsplit(' ').next()?.parse().ok()?;
        (bytes > 4 << 20).then_some(())
    });
    for id in sent {
        let (received, response) = client.receive::<FetchRequest>(12);
        assert_eq!(received, id);
        let records = response.responses[0].partitions[0].records.as_ref().map_or(0, bytes::Bytes::len);
        assert!(records > 900_000, "{records} bytes");
    }
}

#[test]
fn a_clean_stop_is_marked_and_everything_is_there_again() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("kept", 1, &[("flush.messages", "1000000")]), 0);
    client.await_leaders("kept");
    for number in 0..20 {
        assert_eq!(client.produce("kept", 0, &[&number.to_string()]), Ok(number));
    }
    let before = client.fetch_all("kept", 0);
    // A consumer that waits for a minute does not hold up the stop.
    let mut waiting = broker.connect();
    waiting.send(&fetch_request("kept", 0, 20, 60_000), 12);
    let begun = Instant::now();
    assert!(broker.stop().success());
    assert!(begun.elapsed().as_secs() < 30, "it waited for the fetch");
    assert!(directory.path().join("clean").exists(), "the marker of a clean stop");

    let broker = Broker::start(directory.path(), &[]);
    assert!(!directory.path().join("clean").exists(), "the marker is consumed");
    let mut client = broker.connect();
    assert_eq!(client.fetch_all("kept", 0), before);
    assert_eq!(client.produce("kept", 0, &["next"]), Ok(20));
}

#[test]
fn a_deleted_topic_leaves_nothing_behind() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("gone", 3, &[]), 0);
    client.await_leaders("gone");
    for partition in 0..3 {
        assert_eq!(client.produce("gone", partition, &["x"]), Ok(0));
    }
    let topics = directory.path().join("topics");
    let directories = || std::fs::read_dir(&topics).expect("topics").count();
    assert_eq!(directories(), 3);
    assert_eq!(broker.http("DELETE", "/api/v1/topics/gone", "").0, 204);
    until("the data is removed", || (directories() == 0).then_some(()));
    assert_eq!(client.create_topic("gone", 1, &[]), 0, "the name is free again");
    client.await_leaders("gone");
    assert_eq!(client.produce("gone", 0, &["y"]), Ok(0), "and the topic is another one");
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused_by_name() {
    let directory = tempdir().expect("a directory");
    let _broker = Broker::start(directory.path(), &[]);
    let error = refused(command(directory.path(), &[]));
    assert!(error.contains(&directory.path().display().to_string()), "{error}");
}

#[test]
fn a_configuration_that_is_refused_ends_the_start_with_one_line() {
    let directory = tempdir().expect("a directory");
    for (setting, expected) in [
        ("num.partition=3", "did you mean `num.partitions`?"),
        ("num.partitions=0", "Value must be at least 1"),
        ("admin.listener=0.0.0.0:0", "loopback addresses only"),
        ("log.level=a=loud", "log.level"),
        ("log.level=bogus", "`bogus` is no level; write one of off, error, warn, info, debug, trace"),
        ("listeners=SSL://127.0.0.1:0", "PLAINTEXT is the only protocol"),
        ("advertised.listeners=0.0.0.0:9092", "every interface"),
    ] {
        let error = refused(command(directory.path(), &[setting]));
        assert!(error.contains(expected), "{setting}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}

#[test]
fn members_that_do_not_fit_end_the_start_with_one_line() {
    let root = tempdir().expect("a directory");
    let (file, data) = (root.path().join("cluster.toml"), root.path().join("data"));
    let brokers = "cluster_id = \"x\"\n[[brokers]]\nid = 1\npeer = \"127.0.0.1:21990\"\n";
    std::fs::write(&file, brokers).expect("written");
    let name = file.display().to_string();
    let set = |key: &str, value: &str| format!("{key}={value}");
    for (settings, expected) in [
        (vec![set("peer.listener", "127.0.0.1:1")], "`cluster.file` is not".to_owned()),
        (vec![set("cluster.file", "nowhere.toml")], "`cluster.file`: cannot read nowhere.toml".to_owned()),
        (vec![set("cluster.file", &name), set("node.id", "7")], format!("{name}: there is no broker 7")),
        (vec![set("cluster.file", &name), set("peer.listener", "127.0.0.1:1")], format!("as {name}:3:6 says")),
        (vec![set("cluster.file", &name), set("peer.listener", "x")], "`peer.listener`: `x` has no port".to_owned()),
    ] {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let error = refused(command(&data, &settings));
        assert!(error.contains(&expected), "{settings:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
    assert!(Broker::start(&data, &[]).stop().success());
    let error = refused(command(&data, &[&set("cluster.file", &name)]));
    assert!(error.contains("but `cluster.file` is of cluster x"), "{error}");
}

#[test]
fn a_directory_that_has_lost_its_identity_is_refused_and_left_alone() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    assert!(broker.stop().success());
    let (file, aside) = (directory.path().join("directory.json"), directory.path().join("aside.json"));
    std::fs::rename(&file, &aside).expect("renamed");
    let error = refused(command(directory.path(), &[]));
    assert!(error.contains("directory.json is missing") && error.contains("from a copy"), "{error}");
    assert!(!file.exists(), "no other one is made");
    std::fs::rename(&aside, &file).expect("renamed");
    assert!(Broker::start(directory.path(), &[]).stop().success(), "put back, it serves as before");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = tempdir().expect("a directory");
    let setting = format!("listeners={address}");
    let error = refused(command(directory.path(), &[&setting]));
    assert!(error.contains(&format!("cannot listen on PLAINTEXT://{address}")), "{error}");
}

#[test]
fn several_listeners_each_tell_clients_their_own_address() {
    let directory = tempdir().expect("a directory");
    let listeners = "listeners=A://127.0.0.1:0,B://[::1]:0";
    let mut child = common::program()
        .args(["--admin", "", "--set", listeners, "--data-dir"])
        .arg(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    let mut addresses: Vec<std::net::SocketAddr> = Vec::new();
    while addresses.len() < 2 {
        let line = lines.next().expect("two listeners").expect("text");
        if let Some(address) = line.strip_prefix("listening on ") {
            addresses.push(address.rsplit('/').next().expect("an address").parse().expect("an address"));
        }
    }
    for address in addresses {
        let mut client = Client::connect(address);
        let response = client.call(&kafka_protocol::messages::MetadataRequest::default().with_topics(None), 12);
        let broker = response.brokers.first().expect("itself");
        let told: std::net::SocketAddr =
            (broker.host.parse::<std::net::IpAddr>().expect("an address"), u16::try_from(broker.port).expect("a port"))
                .into();
        assert_eq!(told, address);
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
