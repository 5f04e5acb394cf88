//! Start, restart and stop.

use millrace_storage::CrashKind;
use millrace_types::{ErrorCode, Instant, TopicPartition};

use super::{Scene, records};
use crate::call::{Acks, PartitionAnswer, PartitionOp};
use crate::replica::ReplicaEvent;
use crate::testing::{World, at_ms, batch};

/// A scene whose replica has not been told yet that its epoch is durable.
fn starting() -> Scene {
    let mut world = World::new(1);
    world.hold = true;
    let topic = world.topic("t", 1, &[]);
    Scene { world, partition: TopicPartition::new(topic, 0), next_token: 0 }
}

#[test]
fn leadership_is_published_after_its_epoch_is_durable() {
    let mut scene = starting();
    let view = scene.world.shared.directory.partition(&scene.partition).expect("hosted");
    assert_eq!(view.leader_epoch(), None);
    scene.work();
    assert_eq!(view.leader_epoch(), Some(1));
    let state = scene.world.storage.qstate.partition(scene.partition).expect("known");
    assert_eq!((state.term, &state.epochs[..]), (1, &[(1, 0)][..]));
}

#[test]
fn writes_that_come_early_wait_for_the_election() {
    let mut scene = starting();
    let early = scene.produce("a");
    let hasty = scene.produce_with(batch(&["b"]), Acks::All, at_ms(10).instant);
    scene.world.advance(10);
    assert_eq!(scene.failed(hasty), Some(ErrorCode::RequestTimedOut));
    scene.work();
    assert_eq!(scene.acked(early), Some(0));
    assert_eq!(records(&scene.world, scene.partition).len(), 1, "what timed out early was not appended");
}

#[test]
fn early_writes_are_bounded() {
    let mut scene = starting();
    let tokens: Vec<u64> = (0..1_001).map(|n| scene.produce(&n.to_string())).collect();
    assert_eq!(scene.failed(tokens[1_000]), Some(ErrorCode::NotLeaderOrFollower));
    scene.work();
    assert_eq!(scene.acked(tokens[999]), Some(999));
}

#[test]
fn every_restart_has_an_epoch_of_its_own() {
    let mut scene = Scene::new(&[]);
    scene.produce("a");
    for epoch in 2..5 {
        scene.world = scene.world.crash(CrashKind::Process);
        let view = scene.world.shared.directory.partition(&scene.partition).expect("hosted");
        assert_eq!(view.leader_epoch(), Some(epoch));
        assert_eq!(view.log.epoch_end_offset(1), (1, 1), "epochs without records are kept");
        assert_eq!(view.log.high_watermark(), 1);
    }
}

#[test]
fn a_stop_drains_and_leaves_a_log_that_opens_clean() {
    let mut scene = Scene::held(&[("flush.messages", "100")]);
    let token = scene.produce("a");
    let watch = scene.call(PartitionOp::Watch { beyond: 5 });
    scene.world.event(scene.partition, ReplicaEvent::Stop);
    assert_eq!(scene.failed(watch), Some(ErrorCode::NotLeaderOrFollower));
    let late = scene.produce("late");
    assert_eq!(scene.failed(late), Some(ErrorCode::NotLeaderOrFollower));
    assert!(scene.world.stopped.is_empty());
    scene.work();
    assert_eq!(scene.acked(token), Some(0), "what was appended is still acknowledged");
    assert!(scene.world.stopped.contains(&scene.partition));
    let state = scene.world.storage.qstate.partition(scene.partition).expect("known");
    assert!(!state.volatile, "everything is flushed");
    assert!(scene.world.replica(scene.partition).is_flushed());
    let next = scene.world.crash(CrashKind::Power);
    assert_eq!(records(&next, scene.partition).len(), 1);
}

#[test]
fn a_replica_that_never_started_stops_at_once() {
    let mut scene = starting();
    let token = scene.produce("a");
    scene.world.event(scene.partition, ReplicaEvent::Stop);
    assert_eq!(scene.failed(token), Some(ErrorCode::NotLeaderOrFollower));
    scene.work();
    assert!(scene.world.stopped.contains(&scene.partition));
}

#[test]
fn a_stopped_replica_answers_and_does_nothing() {
    let mut scene = Scene::new(&[]);
    scene.world.event(scene.partition, ReplicaEvent::Stop);
    assert!(scene.world.stopped.contains(&scene.partition));
    let token = scene.produce("a");
    assert_eq!(scene.failed(token), Some(ErrorCode::NotLeaderOrFollower));
    let described = scene.call(PartitionOp::Describe);
    assert!(matches!(scene.answer(described), Some(PartitionAnswer::Described(_))));
    scene.world.advance(1_000_000);
    assert_eq!(scene.high_watermark(), 0);
}

#[test]
fn an_idle_replica_asks_for_nothing_but_its_retention_check() {
    let mut scene = Scene::new(&[]);
    assert!(scene.produce_with(batch(&["a"]), Acks::All, Instant::NEVER) > 0);
    let (calls, timers) = (scene.world.storage.flushes, scene.world.timer_count());
    scene.world.advance(250_000);
    assert_eq!(scene.world.storage.flushes, calls);
    assert_eq!(scene.world.timer_count(), timers);
}
