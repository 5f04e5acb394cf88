//! A majority that is lost for good is given up by the operator, and nobody who comes back undoes it (rule R15).

use millrace_storage::{CrashKind, LogConfig};
use millrace_types::{BrokerId, Instant, Offset};

use crate::call::{Acks, PartitionAnswer};
use crate::replica::{FORCE_PATIENCE, ForceRefusal, Forced, ReplicaEvent};
use crate::settings::Replication;
use crate::testing::{Cluster, batch, records};

fn broker(cluster: &Cluster, at: usize) -> BrokerId {
    cluster.replica(at).consensus().me().key.broker
}

/// What forcing `voters` at a broker comes to.
fn force(cluster: &mut Cluster, at: usize, voters: &[BrokerId]) -> Result<Forced, ForceRefusal> {
    let before = cluster.forced.len();
    cluster.step(at, ReplicaEvent::Force { token: 7, voters: voters.to_vec() });
    for _ in 0..100 {
        if cluster.forced.len() > before {
            break;
        }
        cluster.run(10);
    }
    assert_eq!(cluster.forced.len(), before + 1, "it is answered once");
    cluster.forced[before].clone()
}

fn write(cluster: &mut Cluster, value: &str) -> Offset {
    let at = cluster.leader().expect("a leader");
    let token = cluster.produce(at, batch(&[value]), Acks::All, Instant::NEVER);
    cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
    match cluster.answers.remove(&token) {
        Some(PartitionAnswer::Produced { base_offset, .. }) => base_offset,
        other => panic!("{other:?}"),
    }
}

fn wait_out(cluster: &mut Cluster) {
    cluster.run(u64::try_from(FORCE_PATIENCE.as_millis()).expect("small") + 2_000);
}

#[test]
fn the_survivor_leads_alone_and_a_voter_that_comes_back_follows_it() {
    let mut cluster = Cluster::led(1, 3, LogConfig::default(), 1);
    for n in 0..3 {
        write(&mut cluster, &format!("all {n}"));
    }
    let survivor = cluster.leader().expect("a leader");
    let lost: Vec<usize> = (0..3).filter(|at| *at != survivor).collect();
    let me = broker(&cluster, survivor);
    let gone = broker(&cluster, lost[1]);
    assert_eq!(force(&mut cluster, survivor, &[me]), Err(ForceRefusal::Led(me)));

    // One of them goes on for a while without the survivor: what it acknowledges then is what is given up.
    cluster.isolate(survivor, false);
    cluster.run_until("the two go on", |cluster| {
        cluster.leader().is_some_and(|at| at != survivor && cluster.view(at).tells_latest())
    });
    let given_up = write(&mut cluster, "given up");
    lost.iter().for_each(|at| cluster.crash(*at, CrashKind::Process));
    cluster.isolate(survivor, true);
    cluster.run(1_000);
    assert!(matches!(force(&mut cluster, survivor, &[me]), Err(ForceRefusal::Recent(_))));
    wait_out(&mut cluster);
    assert_eq!(force(&mut cluster, survivor, &[gone]), Err(ForceRefusal::NotNamed(me)));
    assert_eq!(force(&mut cluster, survivor, &[me, BrokerId(99)]), Err(ForceRefusal::Unknown(BrokerId(99))));
    let forced = force(&mut cluster, survivor, &[me]).expect("forced");
    assert_eq!((forced.generation, &forced.voters[..], forced.log_end), (1, &[me][..], given_up));
    cluster.run_until("it leads", |cluster| cluster.leader() == Some(survivor));
    assert_eq!(write(&mut cluster, "alone"), given_up);
    assert_eq!(force(&mut cluster, survivor, &[me]), Err(ForceRefusal::Led(me)));

    // The two are a majority of what they know, and hold an acknowledged record that the survivor has not.
    lost.iter().for_each(|at| cluster.start(*at));
    cluster.hear();
    cluster.move_to(&[0, 1, 2], 1);
    cluster.run_until("all are voters again", |cluster| cluster.are_members(&[0, 1, 2]) && cluster.leader().is_some());
    cluster.run_until("agreement", Cluster::agree);
    for at in 0..3 {
        let view = cluster.view(at);
        assert_eq!(records(&view, view.log.log_end()).get(&given_up).map(String::as_str), Some("alone"), "broker {at}");
        assert_eq!(cluster.replica(at).consensus().configuration().id.generation, 1);
    }
    assert!(write(&mut cluster, "all again") > given_up);
}

#[test]
fn whoever_is_heard_is_not_left_out_and_the_longest_log_of_them_leads() {
    let mut cluster = Cluster::led(2, 5, LogConfig::default(), 1);
    write(&mut cluster, "all");
    let leader = cluster.leader().expect("a leader");
    let stale = (0..5).find(|at| *at != leader).expect("another");
    cluster.isolate(stale, false);
    let last = write(&mut cluster, "all but one");
    let others: Vec<usize> = (0..5).filter(|at| ![leader, stale].contains(at)).collect();
    others.iter().for_each(|at| cluster.crash(*at, CrashKind::Process));
    // A leader that still leads would have the stale one catch up.
    cluster.run(3_000);
    cluster.isolate(stale, true);
    wait_out(&mut cluster);
    let (me, other) = (broker(&cluster, stale), broker(&cluster, leader));
    assert_eq!(force(&mut cluster, stale, &[me]), Err(ForceRefusal::LeftOut(other)));
    // Both are asked, as two operators would: it is one configuration.
    let voters = [me, other];
    let first = force(&mut cluster, stale, &voters).expect("forced");
    assert_eq!(first.log_end, last, "what the stale one holds");
    cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
    assert_eq!(cluster.leader(), Some(leader), "who holds more");
    assert!(write(&mut cluster, "two") > last);
}

#[test]
fn recovering_by_hand_waits_for_the_operator_and_has_one() {
    use millrace_raft::UncleanRecovery;
    let config = LogConfig { flush_messages: i64::MAX.unsigned_abs(), ..LogConfig::default() };
    let mut cluster = Cluster::led(3, 3, config, 1);
    let replication = Replication { unclean_recovery: UncleanRecovery::Manual, ..Replication::default() };
    cluster.configure(replication);
    write(&mut cluster, "volatile");
    (0..3).for_each(|at| cluster.crash(at, CrashKind::Power));
    (0..3).for_each(|at| cluster.start(at));
    cluster.hear();
    cluster.configure(replication);
    wait_out(&mut cluster);
    assert_eq!(cluster.leader(), None, "no voter is sure of what was acknowledged");
    let voters: Vec<BrokerId> = (0..3).map(|at| broker(&cluster, at)).collect();
    assert_eq!(force(&mut cluster, 0, &voters).expect("forced").generation, 1);
    cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
    write(&mut cluster, "on");
}
