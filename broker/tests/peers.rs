//! Sessions between brokers as processes: who is heard, who is refused, and what a connection that is cut costs.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::cluster::{CLUSTER, Cluster, Shared, cluster_file};
use common::numbers::{PARTITIONS, Progress, TOPIC, check, consume, finish, produce};
use common::proxy::Proxy;
use common::{DEADLINE, Starting, command, lasting_address, until};
use tempfile::tempdir;

fn all_hear_each_other(cluster: &Cluster, count: usize) {
    for (id, other) in (1..=count).flat_map(|id| (1..=count).map(move |other| (id, other))) {
        until("a session", || (id == other || cluster.hears(id, other)).then_some(()));
    }
}

/// Starts a broker beside the cluster; it is no part of it.
fn stranger(directory: &Path, id: usize, cluster_id: &str, brokers: Vec<(usize, String)>) -> common::Broker {
    let file = directory.join("stranger.toml");
    std::fs::write(&file, cluster_file(cluster_id, brokers)).expect("written");
    let mut command = command(&directory.join("data"), &[]);
    command.arg("--cluster-file").arg(file).args(["--broker-id", &id.to_string()]);
    Starting::run(command).within(DEADLINE).unwrap_or_else(|starting| starting.give_up())
}

fn refused(broker: &common::Broker, other: usize) -> bool {
    let (_, brokers) = broker.json("GET", "/api/v1/brokers", "");
    let found = brokers.as_array().expect("a list").iter().find(|broker| broker["id"] == other).expect("it is known");
    assert_eq!(found["session"]["up"], false, "{found}");
    found["session"]["refused"].as_u64().expect("a number") > 0
}

#[test]
fn a_broker_is_heard_while_it_lives() {
    let mut cluster = Cluster::start(3, &[], &[]);
    all_hear_each_other(&cluster, 3);
    until("one connection for control, two for records and one to catch up by", || {
        (cluster.session(1, 2)["connections"] == 4).then_some(())
    });
    let before = cluster.session(1, 2);
    cluster.kill(2);
    until("the end of a process is noticed", || (!cluster.hears(1, 2) && !cluster.hears(3, 2)).then_some(()));
    assert!(cluster.hears(1, 3), "the others hear each other");
    cluster.restart(2);
    all_hear_each_other(&cluster, 3);
    let after = cluster.session(1, 2);
    assert_eq!(after["directory"], before["directory"]);
    assert_eq!(after["incarnation"].as_u64(), before["incarnation"].as_u64().map(|number| number + 1));
    cluster.broker(3).pause();
    until("silence is noticed", || (!cluster.hears(1, 3) && !cluster.hears(2, 3)).then_some(()));
    cluster.broker(3).resume();
    all_hear_each_other(&cluster, 3);
}

#[test]
fn who_is_not_of_the_cluster_is_refused() {
    let cluster = Cluster::start(2, &[], &[]);
    all_hear_each_other(&cluster, 2);
    let known = |own: usize| {
        let peers = [1, 2].map(|id| (id, cluster.peer(id).to_owned()));
        let others = peers.into_iter().filter(|(id, _)| *id != own);
        others.chain([(own, lasting_address())]).collect::<Vec<_>>()
    };
    let directory = tempdir().expect("a directory");
    let unknown = stranger(directory.path(), 0, CLUSTER, known(0));
    until("it is refused", || refused(&unknown, 1).then_some(()));
    let directory = tempdir().expect("a directory");
    let other = stranger(directory.path(), 1, "another", known(1));
    until("it is refused", || refused(&other, 2).then_some(()));
    assert!(cluster.hears(1, 2) && cluster.hears(2, 1), "nobody is disturbed");
    assert!(cluster.metric(2, "millrace_peer_hellos_refused_total") >= 1.0);
}

#[test]
fn bytes_that_are_no_hello_end_their_connection_and_nothing_else() {
    let cluster = Cluster::start(2, &[], &[]);
    all_hear_each_other(&cluster, 2);
    let sessions = cluster.metric(2, "millrace_peer_sessions_total");
    let hello = |length: u32, rest: &[u8]| [&length.to_be_bytes()[..], rest].concat();
    let cases = [
        hello(0, b""),
        hello(5, b"12345"),
        hello(4_097, b""),
        hello(u32::MAX, b""),
        hello(20, &[7; 20]),
        hello(4_096, &[0; 4_096]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // Too little, and no more: the time for a hello ends it.
        hello(100, b"x"),
        Vec::new(),
    ];
    let count = cases.len();
    let streams: Vec<TcpStream> = cases
        .iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(cluster.peer(2)).expect("it listens");
            stream.set_read_timeout(Some(DEADLINE)).expect("set");
            stream.write_all(bytes).expect("sent");
            stream
        })
        .collect();
    for (mut stream, case) in streams.into_iter().zip(cases) {
        let end = stream.read(&mut [0; 1]);
        assert!(!matches!(end, Ok(1)), "{case:?} is answered");
    }
    until("each is counted", || {
        (cluster.metric(2, "millrace_peer_connections_refused_total") >= count as f64).then_some(())
    });
    assert_eq!(cluster.metric(2, "millrace_peer_sessions_total"), sessions);
    assert!(cluster.hears(1, 2) && cluster.hears(2, 1));
}

#[test]
fn a_copy_of_a_disk_is_refused() {
    let mut cluster = Cluster::start(2, &[], &[]);
    all_hear_each_other(&cluster, 2);
    cluster.stop(2);
    let (data, copy, aside) = (cluster.directory(2), cluster.directory(8), cluster.directory(9));
    let copied = Command::new("cp").arg("-r").arg(&data).arg(&copy).status().expect("cp is there");
    assert!(copied.success());
    cluster.restart(2);
    all_hear_each_other(&cluster, 2);
    cluster.stop(2);
    std::fs::rename(&data, &aside).expect("renamed");
    std::fs::rename(&copy, &data).expect("renamed");
    cluster.restart(2);
    until("the copy is refused", || refused(cluster.broker(1), 2).then_some(()));
    cluster.stop(2);
    std::fs::remove_dir_all(&data).expect("removed");
    std::fs::rename(&aside, &data).expect("renamed");
    cluster.restart(2);
    all_hear_each_other(&cluster, 2);
}

#[test]
fn a_wiped_disk_is_another_directory_and_has_no_part_in_what_the_old_one_held() {
    let configs = [("min.insync.replicas", "2")];
    let mut cluster = Cluster::start(3, &[Shared { name: TOPIC, partitions: 1, configs: &configs }], &[]);
    let leader = cluster.leader(TOPIC, 0, None);
    let mut client = cluster.broker(leader).connect();
    until("a leader that takes writes", || client.produce(TOPIC, 0, &["before"]).ok());
    let wiped = (1..=3).find(|id| *id != leader).expect("a follower");
    until("a session", || cluster.hears(leader, wiped).then_some(()));
    let before = cluster.session(leader, wiped)["directory"].clone();
    cluster.kill(wiped);
    std::fs::remove_dir_all(cluster.directory(wiped)).expect("removed");
    cluster.restart(wiped);
    all_hear_each_other(&cluster, 3);
    let session = cluster.session(leader, wiped);
    assert_ne!(session["directory"], before, "it is another one");
    assert_eq!(session["incarnation"], 1);
    assert_eq!(client.produce(TOPIC, 0, &["after"]), Ok(1), "the other two have the record");
    // Nothing of the partition is on the new disk, whatever it may have been told.
    let view = cluster.broker(wiped).connect().produce(TOPIC, 0, &["nobody"]);
    assert!(matches!(view, Err(3 | 6)), "{view:?}");
    assert_eq!(client.fetch_all(TOPIC, 0).len(), 2);
}

#[test]
fn connections_that_are_cut_lose_nothing() {
    let partitions = usize::try_from(PARTITIONS).expect("small");
    let configs = [("min.insync.replicas", "2")];
    let topic = Shared { name: TOPIC, partitions, configs: &configs };
    // Who has the smaller number dials.
    let proxy = Proxy::new();
    let cluster = Cluster::start_by(2, &[topic], &[], |id, other, address| {
        if (id, other) != (1, 2) {
            return address.to_owned();
        }
        proxy.lead_to(address);
        proxy.address.clone()
    });
    all_hear_each_other(&cluster, 2);
    let progress = Arc::new(Progress::default());
    let producer = produce(&cluster.bootstrap(), &progress);
    let mut acknowledged = 0;
    for _ in 0..10 {
        acknowledged = progress.await_acknowledged(acknowledged + 100);
        proxy.cut();
    }
    progress.await_acknowledged(acknowledged + 100);
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&cluster.bootstrap()), &acknowledged, sent);
    assert!(cluster.metric(1, "millrace_peer_sessions_total") > 1.0, "there was something to lose");
}
