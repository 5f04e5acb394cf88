//! The keys that say how a partition replicates: each does what it says, and does so from the moment it is changed.

use std::time::Duration;

use millrace_raft::{AckPolicy, UncleanRecovery};
use millrace_storage::{CrashKind, LogConfig};
use millrace_types::Instant;

use crate::call::Acks;
use crate::settings::Replication;
use crate::testing::{Cluster, batch};

fn config(flush_messages: u64) -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, retention_ms: -1, flush_messages, ..LogConfig::default() }
}

/// Three replicas in sync, of which two must have a record, and one of the followers is heard and takes no more records;
/// and a produce request that waits for it.
fn with_a_slow_follower(seed: u64, replication: Replication) -> (Cluster, u64) {
    let mut cluster = Cluster::led(seed, 3, config(1), 2);
    cluster.configure(replication);
    let leader = cluster.leader().expect("a leader");
    cluster.run_until("all are in sync", |cluster| cluster.view(leader).in_sync() == 3 && cluster.agree());
    let slow = (leader + 1) % 3;
    cluster.lost.push((leader, slow, "FetchResponse"));
    let token = cluster.produce(leader, batch(&["a"]), Acks::All, Instant::NEVER);
    (cluster, token)
}

fn acknowledged(cluster: &mut Cluster, token: u64) -> u64 {
    let took = cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    cluster.acknowledged(token);
    took
}

const QUORUM: Replication = Replication {
    min_in_sync: 2,
    ack_policy: AckPolicy::Quorum,
    unclean_recovery: UncleanRecovery::Unanimous,
    lag_max: Duration::from_secs(10),
};
const IN_SYNC: Replication = Replication { ack_policy: AckPolicy::InSync, ..QUORUM };

#[test]
fn a_quorum_does_not_wait_for_the_slowest() {
    let (mut cluster, token) = with_a_slow_follower(1, QUORUM);
    assert!(acknowledged(&mut cluster, token) < 50);
    let (mut cluster, token) = with_a_slow_follower(1, IN_SYNC);
    let took = acknowledged(&mut cluster, token);
    assert!((10_000..12_000).contains(&took), "{took} ms: as long as it may be behind");
}

#[test]
fn the_policy_changes_under_what_waits() {
    let (mut cluster, token) = with_a_slow_follower(2, IN_SYNC);
    cluster.run(3_000);
    assert!(!cluster.answers.contains_key(&token));
    cluster.configure(QUORUM);
    assert!(acknowledged(&mut cluster, token) < 50);
}

#[test]
fn a_replica_leaves_when_it_has_been_behind_for_as_long_as_is_set() {
    for seconds in [1, 4] {
        let replication = Replication { lag_max: Duration::from_secs(seconds), ..IN_SYNC };
        let (mut cluster, token) = with_a_slow_follower(3, replication);
        let took = acknowledged(&mut cluster, token);
        assert!((seconds * 1_000..seconds * 1_000 + 500).contains(&took), "{took} ms of {seconds} s");
        let leader = cluster.leader().expect("a leader");
        assert_eq!(cluster.view(leader).in_sync(), 2);
    }
}

#[test]
fn all_may_have_lost_records_and_lead_only_where_that_is_allowed() {
    let mut cluster = Cluster::led(4, 3, config(1_000_000), 2);
    cluster.configure(Replication { unclean_recovery: UncleanRecovery::Manual, ..IN_SYNC });
    let leader = cluster.leader().expect("a leader");
    let token = cluster.produce(leader, batch(&["a"]), Acks::All, Instant::NEVER);
    acknowledged(&mut cluster, token);
    (0..3).for_each(|at| cluster.crash(at, CrashKind::Power));
    (0..3).for_each(|at| cluster.start(at));
    cluster.run(10_000);
    assert_eq!(cluster.leader(), None, "the operator was to decide");
    cluster.configure(IN_SYNC);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some());
}
