//! A broker whose disk was wiped comes back: its replicas hold everything again, and count.

use millrace_raft::VoterRole;
use millrace_storage::{CrashKind, LogConfig};

use crate::testing::Cluster;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, retention_ms: -1, ..LogConfig::default() }
}

/// Whether all that run agree that these are the voters: every broker under the directory that it has now.
fn are_members(cluster: &Cluster) -> bool {
    let keys: Vec<_> = cluster.nodes.iter().map(|node| node.storage.me().key).collect();
    let running = cluster.nodes.iter().filter_map(|node| {
        let replica = node.replica.as_ref().map(|replica| replica.consensus());
        replica.or_else(|| node.witness.as_ref().map(|witness| witness.consensus()))
    });
    running.map(|raft| raft.configuration()).all(|members| {
        members.learners.is_empty()
            && members.voters.len() == keys.len()
            && keys.iter().all(|key| members.voter(*key).is_some())
    })
}

#[test]
fn a_wiped_replica_catches_up_and_counts_again() {
    for (seed, of_leader) in [(1, false), (2, true)] {
        let mut cluster = Cluster::led(seed, 3, config(), 2);
        for n in 0..20 {
            cluster.write(&n.to_string());
        }
        let leader = cluster.leader().expect("a leader");
        let wiped = if of_leader { leader } else { (leader + 1) % 3 };
        cluster.wipe(wiped);
        cluster.run_until("another leader", |cluster| {
            cluster.leader().is_some_and(|at| at != wiped && cluster.view(at).tells_latest())
        });
        cluster.start(wiped);
        cluster.run(2_000);
        assert!(cluster.values(wiped).is_empty(), "nobody has said that it is one of them");
        cluster.retarget();
        cluster.write("while it catches up");
        cluster.run_until("it is a member", are_members);
        cluster.run_until("agreement", Cluster::agree);
        // It counts: with another one gone, what is acknowledged is held by it.
        cluster
            .run_until("it is in sync", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).in_sync() == 3));
        let leader = cluster.leader().expect("a leader");
        let other = (0..3).find(|at| *at != wiped && *at != leader).unwrap_or(leader);
        cluster.crash(other, CrashKind::Power);
        cluster.run_until("a leader", |cluster| {
            cluster.leader().is_some_and(|at| at != other && cluster.view(at).tells_latest())
        });
        cluster.write("with it");
        let held = cluster.values(wiped);
        assert_eq!((held.len(), held.last().map(String::as_str)), (22, Some("with it")));
        cluster.start(other);
        cluster.run_until("agreement", |cluster| cluster.agree() && are_members(cluster));
    }
}

#[test]
fn a_wiped_witness_votes_again() {
    let mut cluster = Cluster::with_witness(3, 3, Some(2), config(), 1);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
    cluster.write("a");
    cluster.wipe(2);
    cluster.start(2);
    cluster.retarget();
    cluster.run_until("it is a member", are_members);
    let leader = cluster.leader().expect("a leader");
    cluster.run_until("both in sync", |cluster| cluster.view(leader).in_sync() == 2);
    let witness = cluster.replica(leader).consensus().configuration().voters.last().map(|voter| voter.role);
    assert_eq!(witness, Some(VoterRole::Witness));
    cluster.crash(leader, CrashKind::Power);
    cluster.run_until("the other leads", |cluster| {
        cluster.leader() == Some(1 - leader) && cluster.view(1 - leader).tells_latest()
    });
    cluster.write("b");
    assert_eq!(cluster.values(1 - leader), ["a", "b"]);
}

#[test]
fn a_wiped_replica_that_does_not_come_back_costs_no_vote() {
    let mut cluster = Cluster::led(4, 3, config(), 2);
    cluster.write("a");
    let leader = cluster.leader().expect("a leader");
    let wiped = (leader + 1) % 3;
    cluster.wipe(wiped);
    cluster.retarget();
    cluster.run(5_000);
    let members = cluster.replica(leader).consensus().configuration().clone();
    assert_eq!((members.voters.len(), members.learners.len()), (3, 1), "it waits as a learner");
    cluster.write("b");
}
