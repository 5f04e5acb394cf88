//! Random histories of three replicas: lost and late frames, cut links, crashes and power losses. What was acknowledged to
//! acks=all is in every log in the end, once, at its offset.

use std::collections::BTreeMap;
use std::panic::RefUnwindSafe;

use millrace_storage::{CrashKind, LogConfig};
use millrace_types::{Instant, Offset};

use crate::call::{Acks, PartitionAnswer, PartitionOp};
use crate::replica::mutation::{Mutation, with_broken};
use crate::testing::{Cluster, records, sequenced};

/// What a history may do.
#[derive(Debug, Clone, Copy)]
struct Plan {
    flush_messages: u64,
    /// Of a hundred crashes, how many end all processes at once.
    of_all: u64,
    /// Of a hundred acts, how many are crashes.
    crashes: u64,
    /// Whether the last of the three is a witness; then one copy suffices to acknowledge.
    witness: bool,
}

const DURABLE: Plan = Plan { flush_messages: 1, of_all: 20, crashes: 5, witness: false };
const PAGE_CACHE: Plan = Plan { flush_messages: 7, of_all: 0, crashes: 5, witness: false };
/// Two replicas and a witness: what one alone has acknowledged is not led away from by the other.
const WITNESS: Plan = Plan { flush_messages: 1, of_all: 20, crashes: 5, witness: true };
/// All lose power again and again: then only what each has flushed is left.
const POWER_CUTS: Plan = Plan { flush_messages: 1, of_all: 100, crashes: 5, witness: false };

struct History {
    plan: Plan,
    seed: u64,
    cluster: Cluster,
    sequence: i32,
    written: u64,
    /// The batch that is not acknowledged, and the call it was last sent under.
    pending: Option<(String, Option<u64>)>,
    acked: BTreeMap<Offset, String>,
    deleted: Offset,
    /// The leader of each epoch: broker, and start of its process.
    leaders: BTreeMap<i32, (usize, u64)>,
    /// The greatest latest offset that a client could be told.
    latest: Offset,
    /// Who may have lost what it acknowledged.
    lossy: Option<usize>,
}

impl History {
    fn new(seed: u64, plan: Plan) -> Self {
        let config = LogConfig {
            flush_messages: plan.flush_messages,
            flush_ms: 40,
            segment_bytes: 700,
            retention_ms: -1,
            ..LogConfig::default()
        };
        let (witness, min_in_sync) = if plan.witness { (Some(2), 1) } else { (None, 2) };
        let mut cluster = Cluster::with_witness(seed, 3, witness, config, min_in_sync);
        cluster.delay = 1 + cluster.dice.roll(20);
        cluster.loss = cluster.dice.roll(10);
        Self {
            plan,
            seed,
            cluster,
            sequence: 0,
            written: 0,
            pending: None,
            acked: BTreeMap::new(),
            deleted: 0,
            leaders: BTreeMap::new(),
            latest: 0,
            lossy: None,
        }
    }

    /// The brokers that hold a log.
    fn data(&self) -> std::ops::Range<usize> {
        0..if self.plan.witness { 2 } else { 3 }
    }

    fn run(mut self) -> usize {
        for _ in 0..150 {
            self.act();
            let ms = self.cluster.dice.roll(60);
            self.cluster.run(ms);
            self.look();
        }
        self.cluster.heal();
        self.cluster.run_until("agreement after the faults", |cluster| cluster.leader().is_some() && cluster.agree());
        self.look();
        self.conclude();
        self.acked.len()
    }

    fn act(&mut self) {
        let at = usize::try_from(self.cluster.dice.roll(3)).expect("small");
        match self.cluster.dice.roll(100) {
            act if act < self.plan.crashes => self.crash(at),
            0..=24 => (0..3).filter(|at| !self.cluster.runs(*at)).collect::<Vec<_>>().into_iter().for_each(|at| {
                self.cluster.start(at);
            }),
            25..=27 => self.cluster.link(at, (at + 1) % 3, false),
            28..=29 => self.cluster.isolate(at, false),
            30..=35 => (0..3).for_each(|at| self.cluster.isolate(at, true)),
            36..=38 => {
                if let Some(leader) = self.cluster.leader() {
                    let before = self.cluster.view(leader).log.high_watermark() / 2;
                    self.cluster.call(leader, PartitionOp::DeleteRecords { before, deadline: Instant::NEVER });
                    self.deleted = self.deleted.max(before);
                }
            }
            39..=42 if self.cluster.runs(at) => self.cluster.nodes[at].hold = true,
            43..=52 => (0..3).for_each(|at| {
                self.cluster.nodes[at].hold = false;
                self.cluster.work(at);
            }),
            _ => self.produce(at),
        }
    }

    fn crash(&mut self, at: usize) {
        let power = self.cluster.dice.roll(2) == 0;
        let volatile = self.plan.flush_messages > 1;
        if power && volatile {
            // One at a time may have lost something.
            let whole = |at: usize| {
                let replica = self.cluster.nodes[at].replica.as_ref();
                replica.is_some_and(|replica| !replica.consensus().status().recovering)
            };
            if self.lossy.is_some_and(|lossy| lossy != at && !whole(lossy)) {
                return;
            }
            self.lossy = Some(at);
        }
        let kind = if power { CrashKind::Power } else { CrashKind::Process };
        let all = self.cluster.dice.roll(100) < self.plan.of_all;
        if all {
            self.with_slow_disks();
        }
        for one in (0..3).filter(|one| all || *one == at) {
            if self.cluster.runs(one) {
                self.cluster.crash(one, kind);
            }
        }
    }

    /// Before all end the disks are slow: nothing that they have not done may have been promised. Neither a record that is
    /// only written, nor the epoch of an election.
    fn with_slow_disks(&mut self) {
        (0..3).for_each(|at| self.cluster.isolate(at, true));
        if self.cluster.dice.roll(2) == 0 {
            for at in 0..3 {
                if self.cluster.runs(at) {
                    self.cluster.crash(at, CrashKind::Process);
                }
                self.cluster.start(at);
            }
        }
        self.cluster.nodes.iter_mut().for_each(|node| node.hold = true);
        if let Some(leader) = self.cluster.leader() {
            self.produce(leader);
        }
        self.cluster.run(400);
        self.look();
    }

    fn produce(&mut self, at: usize) {
        if !self.cluster.runs(at) || !self.data().contains(&at) {
            return;
        }
        let value = match &self.pending {
            Some((_, Some(_))) if self.cluster.dice.roll(8) > 0 => return,
            Some((value, _)) => value.clone(),
            None => {
                self.written += 1;
                self.written.to_string()
            }
        };
        let batch = sequenced(5, 0, self.sequence, &[&value]);
        let token = self.cluster.produce(at, batch, Acks::All, Instant::NEVER);
        self.pending = Some((value, Some(token)));
        self.receive();
    }

    fn receive(&mut self) {
        let Some((value, Some(token))) = &self.pending else { return };
        match self.cluster.answers.remove(token) {
            None => {}
            Some(PartitionAnswer::Produced { base_offset, .. }) => {
                let before = self.acked.insert(base_offset, value.clone());
                assert!(before.is_none(), "seed {}: offset {base_offset} twice", self.seed);
                self.sequence += 1;
                self.pending = None;
            }
            Some(PartitionAnswer::Failed(_) | PartitionAnswer::Refused { .. }) => {
                self.pending = Some((value.clone(), None));
            }
            Some(other) => panic!("seed {}: {other:?}", self.seed),
        }
    }

    /// What must hold at any time.
    fn look(&mut self) {
        self.receive();
        let seed = self.seed;
        for at in self.data().filter(|at| self.cluster.runs(*at)).collect::<Vec<_>>() {
            let view = self.cluster.view(at);
            let Some(epoch) = view.leader_epoch() else { continue };
            let one = (at, self.cluster.replica(at).consensus().me().incarnation);
            let leader = *self.leaders.entry(epoch).or_insert(one);
            assert_eq!(leader, one, "seed {seed}: epoch {epoch} has two leaders");
            // Only the newest leader may be asked: an older one is slow to learn of its end.
            let newest = self.leaders.keys().next_back() == Some(&epoch);
            if newest && view.tells_latest() {
                let latest = view.log.high_watermark();
                assert!(latest >= self.latest, "seed {seed}: latest falls from {} to {latest}", self.latest);
                self.latest = latest;
            }
        }
    }

    /// Logs are equal, and hold what was acknowledged and not deleted.
    fn conclude(&mut self) {
        let seed = self.seed;
        let start = self.data().map(|at| self.cluster.view(at).log.log_start()).max().expect("three");
        let logs: Vec<BTreeMap<Offset, String>> = self
            .data()
            .map(|at| {
                let view = self.cluster.view(at);
                records(&view, view.log.log_end()).split_off(&start)
            })
            .collect();
        assert!(logs.iter().all(|log| *log == logs[0]), "seed {seed}: logs differ: {logs:?}");
        for (offset, value) in self.acked.iter().filter(|(offset, _)| **offset >= self.deleted) {
            assert_eq!(logs[0].get(offset), Some(value), "seed {seed}: acknowledged record {offset}");
        }
        let mut values: Vec<&String> = logs[0].values().collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), logs[0].len(), "seed {seed}: a record is there twice");
        let epochs: Vec<Vec<(i32, Offset)>> = self
            .data()
            .map(|at| {
                let epochs = self.cluster.view(at).log.epochs();
                epochs.entries().iter().copied().filter(|known| known.1 >= start).collect()
            })
            .collect();
        assert!(epochs.iter().all(|one| *one == epochs[0]), "seed {seed}: epochs differ: {epochs:?}");
        // It goes on, with all of them.
        let all = self.data().len();
        self.cluster.run_until("all in sync", |cluster| {
            cluster.leader().is_some_and(|leader| cluster.view(leader).in_sync() == all)
        });
        let leader = self.cluster.leader().expect("a leader");
        let token = self.cluster.produce(leader, sequenced(6, 0, 0, &["end"]), Acks::All, Instant::NEVER);
        self.cluster.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
        let answer = self.cluster.answers.remove(&token);
        assert!(matches!(answer, Some(PartitionAnswer::Produced { .. })), "seed {seed}: {answer:?}");
    }
}

fn run_all(seeds: std::ops::Range<u64>, plan: Plan) {
    let count = usize::try_from(seeds.end - seeds.start).expect("small");
    let acked: usize = seeds.map(|seed| History::new(seed, plan).run()).sum();
    assert!(acked > 5 * count, "{acked} records were acknowledged in {count} histories");
}

#[test]
fn nothing_acknowledged_is_lost() {
    run_all(0..30, DURABLE);
    run_all(0..10, POWER_CUTS);
}

#[test]
fn nothing_acknowledged_by_one_replica_and_a_witness_is_lost() {
    run_all(0..40, WITNESS);
}

#[test]
fn nothing_acknowledged_from_the_page_cache_is_lost_by_one_power_loss_at_a_time() {
    run_all(0..40, PAGE_CACHE);
}

/// `MILLRACE_SEEDS=first..end cargo test --release -p millrace-node -- --ignored many_faults`
#[test]
#[ignore = "takes minutes"]
#[allow(clippy::disallowed_methods)] // A test's own setting.
fn many_faults() {
    let seeds = std::env::var("MILLRACE_SEEDS").unwrap_or_else(|_| "0..2000".to_owned());
    let (first, end) = seeds.split_once("..").expect("first..end");
    let seeds: std::ops::Range<u64> = first.parse().expect("a number")..end.parse().expect("a number");
    for seed in seeds {
        for plan in [DURABLE, PAGE_CACHE, POWER_CUTS, WITNESS] {
            assert!(std::panic::catch_unwind(|| History::new(seed, plan).run()).is_ok(), "seed {seed}, {plan:?}");
        }
    }
}

#[test]
fn a_broken_rule_is_noticed_among_three() {
    let history = |plan: Plan| move |seed: u64| History::new(seed, plan).run();
    let cases: [(Mutation, &(dyn Fn(u64) -> usize + RefUnwindSafe)); 2] =
        [(Mutation::CommitBeforeFlush, &history(POWER_CUTS)), (Mutation::LeadBeforeDurable, &history(POWER_CUTS))];
    for (mutation, history) in cases {
        let is_noticed = |seed: &u64| std::panic::catch_unwind(|| history(*seed)).is_err();
        let noticed = with_broken(Some(mutation), || (0..100).find(is_noticed));
        assert!(noticed.is_some(), "{mutation:?} goes unnoticed");
    }
}
