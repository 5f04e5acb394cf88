//! What a broker says that is cut off from its cluster, by a fault or by how it was started.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use common::cluster::{Cluster, Shared};
use common::{command, lasting_address, program, until, wait};

fn ready(cluster: &Cluster, id: usize) -> (u16, serde_json::Value) {
    cluster.broker(id).json("GET", "/health/ready", "")
}

#[test]
fn without_a_majority_a_broker_is_not_ready_and_says_why() {
    let mut cluster = Cluster::start(3, &[Shared { name: "t", partitions: 1, configs: &[] }], &[]);
    (1..=3).for_each(|id| until("ready", || (ready(&cluster, id).0 == 200).then_some(())));

    // One of three may go; the groups that it keeps are not known meanwhile, and it is named.
    cluster.kill(2);
    assert_eq!(ready(&cluster, 1).0, 200);
    let bootstrap = cluster.broker(1).address.to_string();
    let listed =
        program().args(["group", "list", "--timeout", "2", "--bootstrap", &bootstrap]).output().expect("it runs");
    let said = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(!listed.status.success() && said.contains("broker 2 is not reached"), "{said}");
    assert!(!said.contains("no broker can be reached"), "{said}");

    cluster.kill(3);
    let reason = until("not ready", || {
        let (status, answer) = ready(&cluster, 1);
        (status == 503).then(|| answer["reason"].as_str().expect("a reason").to_owned())
    });
    assert!(reason.contains("1 of 3 brokers"), "{reason}");
    cluster.restart(3);
    until("ready again", || (ready(&cluster, 1).0 == 200).then_some(()));

    // Started alone its directory would wait for brokers that nobody looks for.
    cluster.kill(1);
    let mut alone = command(&cluster.directory(1), &["node.id=1"]);
    let mut child = alone.stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    assert!(!wait(&mut child).success());
    let said = child.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("--cluster-file"), "{said}");
}

#[test]
fn a_broker_that_nobody_hears_is_not_ready() {
    // The second is looked for where it is not: its own file names another port.
    let elsewhere = lasting_address();
    let way = |id: usize, other: usize, address: &str| {
        if id == 1 && other == 2 { elsewhere.clone() } else { address.to_owned() }
    };
    let cluster = Cluster::start_by(2, &[], &[], way);
    let (status, answer) = ready(&cluster, 2);
    assert_eq!((status, &answer["status"]), (503, &"not ready".into()), "{answer}");
}
