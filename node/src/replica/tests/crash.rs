//! Random histories with crashes: what was acknowledged is there after the restart, once, and nothing else moved.

use std::collections::BTreeMap;
use std::ops::Range;

use millrace_storage::{CrashKind, Fault, Operation};
use millrace_types::{ErrorCode, Instant, LeaderEpoch, Offset};

use super::{Scene, records};
use crate::call::{Acks, PartitionAnswer};
use crate::replica::mutation::{Mutation, with_broken};
use crate::testing::{Dice, batch, sequenced};

const DURABLE: &[(&str, &str)] = &[("segment.bytes", "1048576")];
const FROM_PAGE_CACHE: &[(&str, &str)] = &[("flush.messages", "7"), ("flush.ms", "30")];

/// An idempotent producer that sends a batch again until it is acknowledged.
struct Producer {
    id: i64,
    sequence: i32,
    /// The batch that is not acknowledged, and the call it was last sent under.
    pending: Option<(Vec<String>, Option<u64>)>,
    written: u64,
}

impl Producer {
    fn new(id: i64) -> Self {
        Self { id, sequence: 0, pending: None, written: 0 }
    }

    fn send(&mut self, scene: &mut Scene, dice: &mut Dice) {
        let values = match &self.pending {
            Some((_, Some(_))) if dice.roll(4) > 0 => return,
            // Without an answer it may lose patience and send the batch again.
            Some((values, _)) => values.clone(),
            None => (0..=dice.roll(3)).map(|_| self.value()).collect(),
        };
        let refs: Vec<&str> = values.iter().map(String::as_str).collect();
        let records = sequenced(self.id, 0, self.sequence, &refs);
        let acks = if dice.roll(2) == 0 { Acks::Leader } else { Acks::All };
        let token = scene.produce_with(records, acks, Instant::NEVER);
        self.pending = Some((values, Some(token)));
    }

    fn value(&mut self) -> String {
        self.written += 1;
        format!("{}:{}", self.id, self.written)
    }

    /// Takes an answer, if one has come.
    fn receive(&mut self, scene: &mut Scene, acked: &mut BTreeMap<Offset, String>) {
        let Some((values, Some(token))) = &self.pending else { return };
        match scene.answer(*token) {
            None => {}
            Some(PartitionAnswer::Produced { base_offset, .. }) => {
                for (offset, value) in (base_offset..).zip(values) {
                    let before = acked.insert(offset, value.clone());
                    assert!(before.is_none(), "offset {offset} was acknowledged for two records");
                }
                self.sequence += i32::try_from(values.len()).expect("small");
                self.pending = None;
            }
            Some(PartitionAnswer::Failed(ErrorCode::KafkaStorageError)) => self.forget_call(),
            Some(other) => panic!("producer {}: {other:?}", self.id),
        }
    }

    /// The answer will not come any more.
    fn forget_call(&mut self) {
        if let Some((_, token)) = &mut self.pending {
            *token = None;
        }
    }
}

/// A history: producers, the broker they write to, and what they know.
struct History {
    seed: u64,
    dice: Dice,
    scene: Scene,
    producers: [Producer; 3],
    acked: BTreeMap<Offset, String>,
    /// The latest epoch that was published.
    epoch: LeaderEpoch,
    /// How the process may end; `None` for either.
    kind: Option<CrashKind>,
}

impl History {
    fn new(seed: u64, configs: &[(&str, &str)], kind: Option<CrashKind>) -> Self {
        Self {
            seed,
            dice: Dice::new(seed),
            scene: Scene::held(configs),
            producers: [Producer::new(1), Producer::new(2), Producer::new(3)],
            acked: BTreeMap::new(),
            epoch: 1,
            kind,
        }
    }

    /// Runs it; returns how many records were acknowledged.
    fn run(mut self) -> usize {
        for _ in 0..4 {
            for _ in 0..30 {
                self.act();
            }
            self.crash();
            if self.dice.roll(3) == 0 {
                for _ in 0..self.dice.roll(3) {
                    self.scene.world.work_once();
                }
                self.see_epoch();
                self.crash();
            }
            self.lead();
            self.verify();
        }
        self.conclude();
        self.acked.len()
    }

    fn act(&mut self) {
        match self.dice.roll(100) {
            // What was acknowledged from the page cache is lost by a failed flush: [`lose_suffix`] looks at that.
            0 if self.kind.is_none() => {
                self.scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1).on(".log"));
            }
            1..=25 => {
                for _ in 0..self.dice.roll(3) {
                    self.scene.world.work_once();
                }
            }
            26..=50 => self.scene.world.advance(self.dice.roll(50)),
            choice => {
                let producer = &mut self.producers[usize::try_from(choice % 3).expect("small")];
                producer.send(&mut self.scene, &mut self.dice);
            }
        }
        for producer in &mut self.producers {
            producer.receive(&mut self.scene, &mut self.acked);
        }
    }

    fn crash(&mut self) {
        let either = if self.dice.roll(2) == 0 { CrashKind::Power } else { CrashKind::Process };
        self.scene.world = self.scene.world.crash_held(self.kind.unwrap_or(either));
        self.producers.iter_mut().for_each(Producer::forget_call);
    }

    /// Works until the replica leads.
    fn lead(&mut self) {
        while self.published_epoch().is_none() {
            assert!(self.scene.world.work_once(), "seed {}: it never leads", self.seed);
        }
        self.see_epoch();
    }

    fn published_epoch(&self) -> Option<LeaderEpoch> {
        self.scene.world.shared.directory.partition(&self.scene.partition)?.leader_epoch()
    }

    fn see_epoch(&mut self) {
        if let Some(epoch) = self.published_epoch() {
            assert!(self.epoch < epoch, "seed {}: epoch {epoch} was led before", self.seed);
            self.epoch = epoch;
        }
    }

    /// Acknowledged records are where they were acknowledged, and offsets have no gap.
    fn verify(&self) -> BTreeMap<Offset, String> {
        let (seed, found) = (self.seed, records(&self.scene.world, self.scene.partition));
        for (offset, value) in &self.acked {
            assert_eq!(found.get(offset), Some(value), "seed {seed}: acknowledged record {offset}");
        }
        let last = found.keys().next_back().copied().unwrap_or(-1);
        assert_eq!(found.len(), usize::try_from(last + 1).expect("positive"), "seed {seed}: offsets have a gap");
        found
    }

    /// Everything pending is sent again; then each record is there exactly once.
    fn conclude(&mut self) {
        for producer in &mut self.producers {
            if producer.pending.is_some() {
                producer.forget_call();
                producer.send(&mut self.scene, &mut self.dice);
            }
        }
        self.scene.work();
        for producer in &mut self.producers {
            producer.receive(&mut self.scene, &mut self.acked);
            assert!(producer.pending.is_none(), "seed {}: a retry was not acknowledged", self.seed);
        }
        let mut values: Vec<String> = self.verify().into_values().collect();
        let total = values.len();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), total, "seed {}: a record is there twice", self.seed);
    }
}

/// Power is lost, or a flush fails, under a topic that acknowledges from the page cache: what is lost is a suffix, and
/// the write-ahead store knew that it could be.
fn lose_suffix(seed: u64, kind: CrashKind) -> usize {
    let mut dice = Dice::new(seed);
    let mut scene = Scene::held(FROM_PAGE_CACHE);
    if kind == CrashKind::Process {
        scene.world.storage.disk.inject(Fault::new(Operation::Flush, 1 + dice.roll(2)).on(".log"));
    }
    let mut acked = BTreeMap::new();
    let mut calls = BTreeMap::new();
    for n in 0..20 {
        let value = n.to_string();
        calls.insert(scene.produce_with(batch(&[&value]), Acks::All, Instant::NEVER), value);
        if dice.roll(3) == 0 {
            scene.world.work_once();
        }
        calls.retain(|token, value| match scene.answer(*token) {
            Some(PartitionAnswer::Produced { base_offset, .. }) => acked.insert(base_offset, value.clone()).is_some(),
            Some(PartitionAnswer::Failed(ErrorCode::KafkaStorageError)) if kind == CrashKind::Process => false,
            Some(other) => panic!("{other:?}"),
            None => true,
        });
        if dice.roll(15) == 0 {
            break;
        }
    }
    scene.world = scene.world.crash(kind);
    let found = records(&scene.world, scene.partition);
    for (at, (offset, value)) in found.iter().enumerate() {
        assert_eq!(i64::try_from(at).ok(), Some(*offset), "seed {seed}: only a suffix may be lost");
        assert!(acked.get(offset).is_none_or(|acked| acked == value), "seed {seed}: record {offset} changed");
    }
    let lost = acked.keys().filter(|offset| !found.contains_key(offset)).count();
    let known = scene.world.storage.qstate.partition(scene.partition).is_some_and(|state| state.volatile);
    assert!(lost == 0 || known, "seed {seed}: {lost} records are lost and nobody knows that they may be");
    lost
}

/// Runs the histories of these seeds; they must acknowledge enough to mean something.
fn run_all(seeds: Range<u64>, configs: &[(&str, &str)], kind: Option<CrashKind>) {
    let histories = usize::try_from(seeds.end - seeds.start).expect("small");
    let acked: usize = seeds.map(|seed| History::new(seed, configs, kind).run()).sum();
    assert!(acked > 10 * histories, "{acked} records were acknowledged in {histories} histories");
}

#[test]
fn power_loss_with_a_flush_before_each_acknowledgement() {
    run_all(0..30, DURABLE, None);
}

#[test]
fn process_crash_from_the_page_cache() {
    run_all(0..20, FROM_PAGE_CACHE, Some(CrashKind::Process));
}

#[test]
fn power_loss_from_the_page_cache() {
    let lost: usize = (0..60).map(|seed| lose_suffix(seed, CrashKind::Power)).sum();
    assert!(lost > 0, "no history lost anything");
}

#[test]
fn failed_flush_of_the_page_cache() {
    let lost: usize = (0..60).map(|seed| lose_suffix(seed, CrashKind::Process)).sum();
    assert!(lost > 0, "what could not be flushed was trusted");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let acked = || History::new(42, DURABLE, None).run();
    assert_eq!(acked(), acked());
}

/// `MILLRACE_SEEDS=first..end cargo test --release -p millrace-node -- --ignored many_seeds`
#[test]
#[ignore = "takes minutes"]
#[allow(clippy::disallowed_methods)] // A test's own setting.
fn many_seeds() {
    let seeds = std::env::var("MILLRACE_SEEDS").unwrap_or_else(|_| "0..10000".to_owned());
    let (first, end) = seeds.split_once("..").expect("first..end");
    let seeds = first.parse().expect("a number")..end.parse().expect("a number");
    run_all(seeds.clone(), DURABLE, None);
    run_all(seeds.clone(), FROM_PAGE_CACHE, Some(CrashKind::Process));
    for seed in seeds {
        lose_suffix(seed, CrashKind::Power);
        lose_suffix(seed, CrashKind::Process);
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let durable = |seed| History::new(seed, DURABLE, None).run();
    let lose_suffix = |seed| lose_suffix(seed, CrashKind::Power);
    let cases: [(Mutation, &(dyn Fn(u64) -> usize + std::panic::RefUnwindSafe)); 5] = [
        (Mutation::CommitBeforeFlush, &durable),
        (Mutation::LeadBeforeDurable, &durable),
        (Mutation::TrustFailedFlush, &durable),
        (Mutation::AcknowledgeDuplicateAtOnce, &durable),
        (Mutation::CommitBeforeVolatile, &lose_suffix),
    ];
    for (mutation, history) in cases {
        let is_noticed = |seed: &u64| std::panic::catch_unwind(|| history(*seed)).is_err();
        let noticed = with_broken(Some(mutation), || (0..200).find(is_noticed));
        assert!(noticed.is_some(), "{mutation:?} goes unnoticed");
        println!("noticed {mutation:?}: crash.rs, seed {noticed:?}");
    }
}
