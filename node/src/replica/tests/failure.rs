//! Failed flushes, failed puts, full disks and rot.

use std::path::Path;

use millrace_storage::{CrashKind, Fault, Operation, partition_dir};
use millrace_types::ErrorCode;

use super::{Scene, records};
use crate::call::{PartitionAnswer, PartitionOp};
use crate::replica::ReplicaEvent;

#[test]
fn a_failed_flush_poisons_the_replica() {
    let mut scene = Scene::new(&[]);
    let safe = scene.produce("safe");
    assert_eq!(scene.acked(safe), Some(0));
    scene.world.hold = true;
    scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1).on(".log"));
    let first = scene.produce("a");
    let second = scene.produce("b");
    let watch = scene.call(PartitionOp::Watch { beyond: 1 });
    scene.work();
    for token in [first, second, watch] {
        assert_eq!(scene.failed(token), Some(ErrorCode::KafkaStorageError));
    }
    let third = scene.produce("c");
    scene.work();
    assert_eq!(scene.failed(third), Some(ErrorCode::KafkaStorageError), "never retried into a success");
    assert_eq!(scene.high_watermark(), 1);
    assert_eq!(records(&scene.world, scene.partition)[&0], "safe");
}

#[test]
fn a_failed_flush_from_the_page_cache_hides_what_may_be_lost() {
    let mut scene = Scene::new(&[("flush.messages", "3")]);
    for value in ["a", "b", "c"] {
        scene.produce(value);
    }
    let view = scene.world.shared.directory.partition(&scene.partition).expect("hosted");
    scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1).on(".log"));
    for value in ["d", "e", "f"] {
        scene.produce(value);
    }
    assert_eq!(view.log.high_watermark(), 6, "it was acknowledged and never falls");
    assert_eq!(view.readable_end(), 3, "but is served only as far as it is durable");
}

#[test]
fn after_a_failed_flush_the_next_start_has_what_was_acknowledged() {
    let mut scene = Scene::new(&[]);
    for n in 0..5 {
        let token = scene.produce(&n.to_string());
        assert_eq!(scene.acked(token), Some(n));
    }
    scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1).on(".log"));
    let token = scene.produce("lost");
    assert_eq!(scene.failed(token), Some(ErrorCode::KafkaStorageError));
    let next = scene.world.crash(CrashKind::Power);
    let kept = records(&next, scene.partition);
    for n in 0..5 {
        assert_eq!(kept[&n], n.to_string());
    }
}

#[test]
fn a_write_ahead_store_that_fails_keeps_the_replica_from_leading() {
    let mut scene = Scene::new(&[]);
    scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1).on("qstate"));
    let topic = scene.world.topic("other", 1, &[]);
    scene.partition.topic = topic;
    let view = scene.world.shared.directory.partition(&scene.partition).expect("hosted");
    assert_eq!(view.leader_epoch(), None);
    let token = scene.produce("a");
    assert_eq!(scene.failed(token), Some(ErrorCode::KafkaStorageError));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut scene = Scene::new(&[]);
    let before = scene.produce("before");
    assert_eq!(scene.acked(before), Some(0));
    scene.world.storage.disk.set_capacity(Some(0));
    let large = "x".repeat(600_000);
    let mut refused = None;
    for _ in 0..10 {
        let token = scene.produce(&large);
        if let Some(PartitionAnswer::Refused { error, .. }) = scene.answer(token) {
            refused = Some(error.error_code());
            break;
        }
    }
    assert_eq!(refused, Some(ErrorCode::KafkaStorageError), "the preallocated room runs out");
    let kept = records(&scene.world, scene.partition);
    assert_eq!(kept[&0], "before", "reads go on");
    scene.world.storage.disk.set_capacity(None);
    let token = scene.produce(&large);
    assert_eq!(scene.acked(token), i64::try_from(kept.len()).ok(), "and writes, without a restart");
}

#[test]
fn a_file_that_cannot_be_made_refuses_and_is_tried_again() {
    let mut scene = Scene::new(&[]);
    scene.world.storage.disk.inject(Fault::new(Operation::Create, 1).on(".log"));
    let refused = scene.produce("a");
    assert_eq!(scene.failed(refused), Some(ErrorCode::KafkaStorageError));
    let token = scene.produce("b");
    assert_eq!(scene.acked(token), Some(0), "nothing was written, so nothing is in doubt");
}

#[test]
fn a_write_that_fails_half_way_poisons_and_leaves_a_log_that_is_not_flushed() {
    let mut scene = Scene::new(&[("flush.messages", "100")]);
    let acked = scene.produce("a");
    assert_eq!(scene.acked(acked), Some(0), "from the page cache");
    assert!(!scene.world.replica(scene.partition).is_flushed());
    scene.world.storage.disk.inject(Fault::new(Operation::Write, 1).on(".log"));
    let torn = scene.produce("b");
    assert_eq!(scene.failed(torn), Some(ErrorCode::KafkaStorageError));
    let later = scene.produce("c");
    assert_eq!(scene.failed(later), Some(ErrorCode::KafkaStorageError));
    scene.world.event(scene.partition, ReplicaEvent::Stop);
    assert!(scene.world.stopped.contains(&scene.partition));
    assert!(!scene.world.replica(scene.partition).is_flushed(), "the host must not leave a clean marker");
}

#[test]
fn rot_below_what_was_flushed_is_never_cut_silently() {
    let mut scene = Scene::new(&[]);
    for n in 0..3 {
        scene.produce(&"y".repeat(100 + n));
    }
    let file = partition_dir(scene.partition).join(format!("{:020}.log", 0));
    let mut next = scene.world.crash_after(CrashKind::Power, |disk| {
        disk.flip_bit(Path::new(&file), 250, 3).expect("the file is there");
    });
    let view = next.shared.directory.partition(&scene.partition).expect("hosted");
    assert!(view.leader_epoch().is_some(), "what lies below is served");
    assert!(view.readable_end() <= 2);
    next.call(scene.partition, 1, PartitionOp::Watch { beyond: 0 });
    assert!(matches!(next.answers.remove(&1), Some(PartitionAnswer::Failed(ErrorCode::KafkaStorageError))));
    let mut scene = Scene { world: next, ..scene };
    let token = scene.produce("z");
    assert_eq!(scene.failed(token), Some(ErrorCode::KafkaStorageError));
}
