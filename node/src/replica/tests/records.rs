//! Deleting records, by request and by retention.

use millrace_storage::{CrashKind, Disk, Fault, Operation, partition_dir};
use millrace_types::{ErrorCode, Instant, Offset};

use super::{Scene, records};
use crate::call::{PartitionAnswer, PartitionOp};
use crate::testing::{Work, at_ms};

fn delete(scene: &mut Scene, before: Offset) -> u64 {
    scene.call(PartitionOp::DeleteRecords { before, deadline: Instant::NEVER })
}

fn low_watermark(scene: &mut Scene, token: u64) -> Option<Offset> {
    match scene.answer(token)? {
        PartitionAnswer::Deleted { low_watermark } => Some(low_watermark),
        other => panic!("not deleted: {other:?}"),
    }
}

fn ten_records() -> Scene {
    let mut scene = Scene::new(&[]);
    for n in 0..10 {
        scene.produce(&n.to_string());
    }
    scene
}

#[test]
fn the_answer_waits_until_the_new_start_is_durable() {
    let mut scene = ten_records();
    scene.world.hold = true;
    let token = delete(&mut scene, 4);
    assert!(scene.answer(token).is_none());
    scene.work();
    assert_eq!(low_watermark(&mut scene, token), Some(4));
    let next = scene.world.crash(CrashKind::Power);
    assert_eq!(records(&next, scene.partition).keys().next(), Some(&4), "also after a power loss");
}

#[test]
fn nobody_sees_a_start_that_is_not_durable() {
    let mut scene = ten_records();
    let view = scene.world.replica(scene.partition).view.log.clone();
    scene.world.hold = true;
    let (first, second) = (delete(&mut scene, 4), delete(&mut scene, 2));
    assert_eq!(view.log_start(), 0);
    assert!(scene.answer(second).is_none(), "nor is the second answered by the first, which may still be lost");
    scene.work();
    assert_eq!((low_watermark(&mut scene, first), low_watermark(&mut scene, second)), (Some(4), Some(4)));
    assert_eq!(view.log_start(), 4);
    scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1).on("qstate"));
    let lost = delete(&mut scene, 9);
    scene.work();
    assert_eq!(scene.failed(lost), Some(ErrorCode::KafkaStorageError));
    assert_eq!(view.log_start(), 4, "where the next start finds it");
}

#[test]
fn the_limits_are_the_log_start_and_the_high_watermark() {
    let mut scene = ten_records();
    for bad in [11, -2, i64::MIN] {
        let token = delete(&mut scene, bad);
        assert_eq!(scene.failed(token), Some(ErrorCode::OffsetOutOfRange), "{bad}");
    }
    let token = delete(&mut scene, 6);
    assert_eq!(low_watermark(&mut scene, token), Some(6));
    let token = delete(&mut scene, 3);
    assert_eq!(low_watermark(&mut scene, token), Some(6), "it never moves down");
    let token = delete(&mut scene, -1);
    assert_eq!(low_watermark(&mut scene, token), Some(10), "to the high watermark");
    let token = scene.produce("next");
    assert_eq!(scene.acked(token), Some(10));
}

#[test]
fn a_deadline_ends_the_wait_for_the_disk() {
    let mut scene = ten_records();
    scene.world.hold = true;
    let token = scene.call(PartitionOp::DeleteRecords { before: 4, deadline: at_ms(20).instant });
    scene.world.advance(20);
    assert_eq!(scene.failed(token), Some(ErrorCode::RequestTimedOut));
    scene.work();
    assert!(scene.answer(token).is_none(), "a call is answered once");
}

#[test]
fn no_file_goes_before_the_start_that_gave_it_up_is_durable() {
    let mut scene = Scene::new(&[("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")]);
    for _ in 0..3 {
        scene.produce(&"x".repeat(600_000));
    }
    scene.world.hold = true;
    delete(&mut scene, 2);
    scene.world.advance(1_000);
    let removals = |scene: &Scene| scene.world.storage.work.iter().filter(|work| matches!(work, Work::Run(_))).count();
    assert_eq!(removals(&scene), 0, "the files wait for the write-ahead store");
    scene.work();
    let left = scene.world.storage.disk.list(&partition_dir(scene.partition)).expect("lists");
    let left: Vec<_> = left.iter().map(|entry| entry.name.as_str()).filter(|name| name.ends_with(".log")).collect();
    assert_eq!(left, ["00000000000000000002.log"], "then they go");
}

#[test]
fn a_rolled_segment_is_flushed_though_nobody_waits_for_it() {
    let mut scene = Scene::new(&[("flush.messages", "1000000"), ("segment.bytes", "1048576")]);
    for _ in 0..20 {
        scene.produce(&"x".repeat(600_000));
    }
    let replica = scene.world.replica(scene.partition);
    assert!(!replica.is_flushed(), "the active segment waits for flush.messages");
    assert_eq!(scene.world.storage.qstate.partition(scene.partition).and_then(|state| state.flushed), Some(19));
}

#[test]
fn retention_removes_old_segments() {
    let mut scene = Scene::new(&[("retention.ms", "600000"), ("segment.ms", "60000"), ("file.delete.delay.ms", "0")]);
    for n in 0..10 {
        scene.produce(&n.to_string());
        scene.world.advance(61_000);
    }
    scene.world.advance(3_600_000);
    let token = scene.produce("last");
    assert_eq!(scene.acked(token), Some(10), "offsets go on");
    let kept = records(&scene.world, scene.partition);
    assert!(kept.len() < 10, "{kept:?}");
    assert_eq!(kept[&10], "last");
}
