//! When a record is committed, and who is told.

use millrace_types::{ErrorCode, Instant};

use super::Scene;
use crate::call::{Acks, PartitionAnswer, PartitionOp};
use crate::testing::{at_ms, batch, sequenced};

const FROM_PAGE_CACHE: (&str, &str) = ("flush.messages", "1000");

#[test]
fn an_acknowledgement_waits_for_the_flush() {
    for acks in [Acks::Leader, Acks::All] {
        let mut scene = Scene::held(&[]);
        let token = scene.produce_with(batch(&["a", "b"]), acks, Instant::NEVER);
        assert!(scene.answer(token).is_none());
        assert_eq!(scene.high_watermark(), 0);
        scene.work();
        assert_eq!(scene.acked(token), Some(0));
        assert_eq!(scene.high_watermark(), 2);
    }
}

#[test]
fn without_acks_nothing_is_waited_for() {
    let mut scene = Scene::held(&[]);
    let token = scene.produce_with(batch(&["a"]), Acks::None, Instant::NEVER);
    assert_eq!(scene.acked(token), Some(0));
    assert_eq!(scene.high_watermark(), 0, "readers still wait for the flush");
    scene.work();
    assert_eq!(scene.high_watermark(), 1);
}

#[test]
fn one_flush_covers_all_that_came_during_the_one_before() {
    let mut scene = Scene::held(&[]);
    let tokens: Vec<u64> = (0..10).map(|n| scene.produce(&n.to_string())).collect();
    let is_flush = |work: &&crate::testing::Work| matches!(work, crate::testing::Work::Flush(..));
    assert_eq!(scene.world.storage.work.iter().filter(is_flush).count(), 1);
    scene.work();
    for (offset, token) in tokens.into_iter().enumerate() {
        assert_eq!(scene.acked(token), i64::try_from(offset).ok());
    }
    assert_eq!(scene.world.storage.flushes, 2);
}

#[test]
fn from_the_page_cache_the_first_acknowledgement_waits_for_the_mark_alone() {
    let mut scene = Scene::held(&[FROM_PAGE_CACHE]);
    let first = scene.produce("a");
    assert!(scene.answer(first).is_none(), "the write-ahead store must say `volatile` first");
    scene.work();
    assert_eq!(scene.acked(first), Some(0));
    let second = scene.produce("b");
    assert_eq!(scene.acked(second), Some(1));
    assert_eq!(scene.high_watermark(), 2);
    assert_eq!(scene.world.storage.flushes, 0);
    assert!(scene.world.storage.qstate.partition(scene.partition).is_some_and(|state| state.volatile));
}

#[test]
fn from_the_page_cache_a_flush_follows_by_count() {
    let mut scene = Scene::new(&[("flush.messages", "5")]);
    for n in 0..4 {
        scene.produce(&n.to_string());
    }
    assert_eq!(scene.world.storage.flushes, 0);
    scene.produce("4");
    assert_eq!(scene.world.storage.flushes, 1);
    for n in 0..5 {
        scene.produce(&n.to_string());
    }
    assert_eq!(scene.world.storage.flushes, 2);
}

#[test]
fn from_the_page_cache_a_flush_follows_by_time() {
    let mut scene = Scene::new(&[FROM_PAGE_CACHE, ("flush.ms", "200")]);
    scene.produce("a");
    scene.world.advance(100);
    scene.produce("b");
    assert_eq!(scene.world.storage.flushes, 0);
    scene.world.advance(99);
    assert_eq!(scene.world.storage.flushes, 0);
    scene.world.advance(1);
    assert_eq!(scene.world.storage.flushes, 1, "200 ms after the first unflushed append");
    scene.world.advance(10_000);
    assert_eq!(scene.world.storage.flushes, 1, "nothing is left to flush");
}

#[test]
fn a_topic_that_goes_back_to_flushing_is_no_longer_volatile() {
    let mut scene = Scene::new(&[FROM_PAGE_CACHE]);
    scene.produce("a");
    let volatile =
        |scene: &Scene| scene.world.storage.qstate.partition(scene.partition).is_some_and(|state| state.volatile);
    assert!(volatile(&scene));
    scene.configure(&[("flush.messages", "1")]);
    assert!(!volatile(&scene));
    assert_eq!(scene.world.storage.flushes, 1);
    scene.world.hold = true;
    let token = scene.produce("b");
    assert!(scene.answer(token).is_none());
    scene.work();
    assert_eq!(scene.acked(token), Some(1));
}

#[test]
fn a_duplicate_waits_like_the_batch_it_repeats() {
    let mut scene = Scene::held(&[]);
    let first = scene.produce_with(sequenced(7, 0, 0, &["a", "b"]), Acks::All, Instant::NEVER);
    let again = scene.produce_with(sequenced(7, 0, 0, &["a", "b"]), Acks::All, Instant::NEVER);
    assert!(scene.answer(first).is_none() && scene.answer(again).is_none());
    scene.work();
    assert_eq!((scene.acked(first), scene.acked(again)), (Some(0), Some(0)));
    assert_eq!(scene.high_watermark(), 2, "it is in the log once");
    let late = scene.produce_with(sequenced(7, 0, 0, &["a", "b"]), Acks::All, Instant::NEVER);
    assert_eq!(scene.acked(late), Some(0), "what is committed is acknowledged at once");
}

#[test]
fn sequences_are_checked() {
    let mut scene = Scene::new(&[]);
    let gap =
        |scene: &mut Scene, sequence| scene.produce_with(sequenced(7, 0, sequence, &["x"]), Acks::All, Instant::NEVER);
    let first = gap(&mut scene, 0);
    assert_eq!(scene.acked(first), Some(0));
    let skipped = gap(&mut scene, 2);
    assert_eq!(scene.failed(skipped), Some(ErrorCode::OutOfOrderSequenceNumber));
    let fenced = scene.produce_with(sequenced(7, 1, 0, &["y"]), Acks::All, Instant::NEVER);
    assert_eq!(scene.acked(fenced), Some(1));
    let old = gap(&mut scene, 1);
    assert_eq!(scene.failed(old), Some(ErrorCode::InvalidProducerEpoch));
}

#[test]
fn a_deadline_ends_the_wait_but_not_the_write() {
    let mut scene = Scene::held(&[]);
    let token = scene.produce_with(batch(&["a"]), Acks::All, at_ms(40_000).instant);
    let hasty = scene.produce_with(batch(&["a"]), Acks::All, at_ms(50).instant);
    scene.world.advance(29_999);
    assert!(scene.answer(hasty).is_none(), "it waits for no other replica: its own flush is waited for longer");
    scene.world.advance(1);
    assert_eq!(scene.failed(hasty), Some(ErrorCode::RequestTimedOut));
    scene.world.advance(9_999);
    assert!(scene.answer(token).is_none());
    scene.world.advance(1);
    assert_eq!(scene.failed(token), Some(ErrorCode::RequestTimedOut));
    scene.work();
    assert_eq!(scene.high_watermark(), 2);
    assert!(scene.answer(token).is_none() && scene.answer(hasty).is_none(), "a call is answered once");
}

#[test]
fn a_watch_fires_once_when_the_high_watermark_passes_it() {
    let mut scene = Scene::held(&[]);
    let watch = scene.call(PartitionOp::Watch { beyond: 0 });
    let later = scene.call(PartitionOp::Watch { beyond: 1 });
    scene.produce("a");
    assert!(scene.answer(watch).is_none(), "appended is not committed");
    scene.work();
    assert!(matches!(scene.answer(watch), Some(PartitionAnswer::Advanced)));
    assert!(scene.answer(later).is_none());
    let behind = scene.call(PartitionOp::Watch { beyond: 0 });
    assert!(matches!(scene.answer(behind), Some(PartitionAnswer::Advanced)), "at once");
    scene.produce("b");
    scene.work();
    assert!(matches!(scene.answer(later), Some(PartitionAnswer::Advanced)));
    assert!(scene.answer(watch).is_none());
}

#[test]
fn a_cancelled_watch_stays_silent() {
    let mut scene = Scene::new(&[]);
    let watch = scene.call(PartitionOp::Watch { beyond: 0 });
    scene.cancel(watch);
    scene.produce("a");
    assert!(scene.answer(watch).is_none());
}
