//! Deletions of records, and what a crash leaves of them.

use millrace_storage::{CrashKind, LogConfig};
use millrace_types::Instant;

use super::super::mutation::{Mutation, with_broken};
use crate::call::{Acks, PartitionOp};
use crate::testing::{Cluster, batch};

/// Whether a deletion that was answered is there when every follower loses power at that moment.
fn an_answered_deletion_stays(seed: u64) -> bool {
    let mut cluster = Cluster::led(seed, 3, LogConfig { retention_ms: -1, ..LogConfig::default() }, 2);
    let leader = cluster.leader().expect("a leader");
    let token = cluster.produce(leader, batch(&["a", "b", "c", "d", "e"]), Acks::All, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    cluster.run_until("agreement", Cluster::agree);
    let token = cluster.call(leader, PartitionOp::DeleteRecords { before: 4, deadline: Instant::NEVER });
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    (0..3).filter(|at| *at != leader).all(|at| {
        cluster.crash(at, CrashKind::Power);
        cluster.start(at);
        cluster.view(at).log.log_start() == 4
    })
}

#[test]
fn a_deletion_is_answered_when_it_is_durable_everywhere() {
    for seed in 0..40 {
        assert!(an_answered_deletion_stays(seed), "seed {seed}");
    }
    let noticed =
        with_broken(Some(Mutation::DeleteBeforeDurable), || (0..40).find(|seed| !an_answered_deletion_stays(*seed)));
    assert!(noticed.is_some(), "DeleteBeforeDurable goes unnoticed");
    println!("noticed DeleteBeforeDurable: a_deletion_is_answered_when_it_is_durable_everywhere, seed {noticed:?}");
}
