//! One of three brokers loses its disk while a producer runs: it comes back with an empty one, holds everything again, and
//! counts.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::sync::Arc;

use common::cluster::{Cluster, Shared};
use common::numbers::{PARTITIONS, Progress, TOPIC, check, consume, finish, produce};
use common::until;

#[test]
fn a_broker_with_an_empty_disk_takes_its_place_again() {
    let partitions = usize::try_from(PARTITIONS).expect("small");
    let configs = [("min.insync.replicas", "2"), ("segment.bytes", "1048576")];
    let mut cluster = Cluster::start(3, &[Shared { name: TOPIC, partitions, configs: &configs }], &[]);
    let progress = Arc::new(Progress::default());
    let producer = produce(&cluster.bootstrap(), &progress);
    let mut acknowledged = progress.await_acknowledged(2_000);
    for wiped in [3, 1] {
        cluster.kill(wiped);
        std::fs::remove_dir_all(cluster.directory(wiped)).expect("removed");
        acknowledged = progress.await_acknowledged(acknowledged + 500);
        cluster.restart(wiped);
        cluster.await_in_sync(2, TOPIC, 3);
        acknowledged = progress.await_acknowledged(acknowledged + 500);
    }
    // Of the two that are left one was wiped, and both have to have what is acknowledged.
    cluster.kill(2);
    progress.await_acknowledged(acknowledged + 1_000);
    for partition in 0..partitions {
        until("one of them leads", || {
            cluster.leader_by(1, TOPIC, partition).filter(|leader| [1, 3].contains(leader)).map(drop)
        });
    }
    let (acknowledged, sent) = finish(&progress, producer);
    check(&consume(&cluster.bootstrap()), &acknowledged, sent);
}
