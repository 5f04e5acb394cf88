//! Deleting records, by request and by retention.

use millrace_storage::CrashKind;
use millrace_types::{ErrorCode, Instant, Offset};

use super::{Scene, records};
use crate::call::{PartitionAnswer, PartitionOp};
use crate::testing::at_ms;

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
