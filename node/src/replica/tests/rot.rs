//! Random histories of three replicas of which one at a time has rot in what it has flushed: while it runs, or while it is
//! down, among crashes and cut links. In the end all hold the same bytes, and everything that was acknowledged.

use std::collections::BTreeMap;

use millrace_storage::{BatchHeader, CrashKind, Disk, LogConfig, Upkeep, intact_prefix};
use millrace_types::{Instant, Offset};

use super::damage::{bases, bytes, dir, is_healed, log_file, small_segments};
use crate::call::{Acks, PartitionAnswer};
use crate::testing::{Cluster, batch};

struct History {
    seed: u64,
    cluster: Cluster,
    upkeep: Upkeep,
    /// What each replica's store surely knows to be flushed: what it knew at its last start.
    flushed: [Offset; 3],
    /// Who may have rot.
    victim: Option<usize>,
    pending: Vec<(u64, String)>,
    acked: BTreeMap<Offset, String>,
    written: u64,
    /// Segments that were hurt.
    hurt: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let upkeep = Upkeep::new(50 << 20);
        let config = LogConfig { upkeep: upkeep.clone(), ..small_segments() };
        let cluster = Cluster::led(seed, 3, config, 2);
        Self {
            seed,
            cluster,
            upkeep,
            flushed: [0; 3],
            victim: None,
            pending: Vec::new(),
            acked: BTreeMap::new(),
            written: 0,
            hurt: 0,
        }
    }

    fn run(mut self) -> (usize, u64) {
        self.cluster.delay = 1 + self.cluster.dice.roll(10);
        for _ in 0..120 {
            self.act();
            let ms = self.cluster.dice.roll(80);
            self.cluster.run(ms);
            self.receive();
        }
        self.cluster.heal();
        self.revive();
        self.cluster.run_until("healed", is_healed);
        // Whoever has rot has it found and repaired by then.
        self.cluster.run(12_000);
        self.cluster.run_until("healed", is_healed);
        self.receive();
        self.conclude();
        let snapshot = self.upkeep.snapshot();
        (self.hurt, snapshot.repaired.iter().map(|(ranges, _)| ranges).sum())
    }

    fn act(&mut self) {
        let at = usize::try_from(self.cluster.dice.roll(3)).expect("small");
        match self.cluster.dice.roll(100) {
            0..=4 => self.crash(at),
            5..=24 => (0..3).for_each(|at| self.start(at)),
            25..=27 => self.cluster.link(at, (at + 1) % 3, false),
            28..=34 => (0..3).for_each(|at| self.cluster.isolate(at, true)),
            35..=44 => self.rot(at),
            _ => self.produce(),
        }
    }

    fn start(&mut self, at: usize) {
        if self.cluster.runs(at) {
            return;
        }
        self.flushed[at] = self.known_flushed(at);
        self.cluster.start(at);
    }

    /// A replica is out until it starts again when it has to cut its log where rot hides the place.
    fn revive(&mut self) {
        self.cluster.run(5_000);
        for at in (0..3).filter(|at| !self.cluster.replica(*at).consensus().is_taking_part()).collect::<Vec<_>>() {
            self.cluster.crash(at, CrashKind::Process);
            self.start(at);
        }
    }

    fn known_flushed(&self, at: usize) -> Offset {
        let known = self.cluster.nodes[at].storage.qstate.partition(self.cluster.partition);
        known.and_then(|state| state.flushed).unwrap_or(0)
    }

    fn crash(&mut self, at: usize) {
        let kind = if self.cluster.dice.roll(2) == 0 { CrashKind::Power } else { CrashKind::Process };
        if self.cluster.runs(at) {
            self.cluster.crash(at, kind);
        }
    }

    /// A sealed segment, flushed for sure, rots.
    fn rot(&mut self, at: usize) {
        if self.victim.is_some_and(|victim| victim != at && !self.is_sound(victim)) {
            return;
        }
        self.victim = Some(at);
        let (dir, disk) = (dir(&self.cluster), self.cluster.nodes[at].storage.disk.clone());
        let flushed = if self.cluster.runs(at) { self.flushed[at] } else { self.known_flushed(at) };
        let Ok(entries) = disk.list(&dir) else { return };
        if entries.is_empty() {
            return;
        }
        let all = bases(&disk, &dir);
        let sealed: Vec<Offset> = all.windows(2).filter(|pair| pair[1] <= flushed).map(|pair| pair[0]).collect();
        let Some(last) = sealed.len().checked_sub(1) else { return };
        let chosen = usize::try_from(self.cluster.dice.roll(last as u64 + 1)).expect("small");
        let file = disk.open(&log_file(&dir, sealed[chosen]), 0).expect("there");
        self.hurt += 1;
        match self.cluster.dice.roll(4) {
            0 => file.truncate(file.len() / 3).expect("cut"),
            1 => file.zero(0..file.len()).expect("zeroed"),
            _ => {
                let position = self.cluster.dice.roll(file.len().clamp(1, 500));
                if position < file.len() {
                    disk.flip_bit(&log_file(&dir, sealed[chosen]), position, 3).expect("there");
                }
            }
        }
        file.flush().expect("durable");
    }

    /// Whether a replica runs, is whole, and every byte of its log is.
    fn is_sound(&self, at: usize) -> bool {
        if !self.cluster.runs(at) || self.cluster.replica(at).consensus().status().recovering {
            return false;
        }
        let view = self.cluster.view(at);
        let (mut from, end) = (view.log.log_start(), view.log.log_end());
        let mut warmed = 0;
        while from < end {
            match view.log.read(from, end, 1 << 20, true) {
                // What a file that was cut short does not hold cannot be read in.
                Ok(slice) if slice.cold.is_some() && warmed < 100 => {
                    warmed += 1;
                    slice.cold.into_iter().for_each(|job| job.run());
                }
                Ok(slice)
                    if slice.next > from && intact_prefix(&slice.bytes, from) == (slice.bytes.len(), slice.next) =>
                {
                    let first = BatchHeader::parse(&slice.bytes).expect("a batch");
                    if view.log.epoch_at(from) != Some(first.leader_epoch) || slice.first != from {
                        return false;
                    }
                    from = slice.next;
                }
                _ => return false,
            }
        }
        true
    }

    fn produce(&mut self) {
        let Some(leader) = self.cluster.leader() else { return };
        self.written += 1;
        let value = format!("{:0200}", self.written);
        let token = self.cluster.produce(leader, batch(&[&value]), Acks::All, Instant::NEVER);
        self.pending.push((token, value));
    }

    fn receive(&mut self) {
        let (answers, acked, seed) = (&mut self.cluster.answers, &mut self.acked, self.seed);
        self.pending.retain(|(token, value)| match answers.remove(token) {
            None => true,
            Some(PartitionAnswer::Produced { base_offset, .. }) => {
                assert!(acked.insert(base_offset, value.clone()).is_none(), "seed {seed}: offset {base_offset} twice");
                false
            }
            Some(_) => false,
        });
    }

    fn conclude(&self) {
        let seed = self.seed;
        let first = bytes(&self.cluster, 0);
        for at in 0..3 {
            assert!(self.is_sound(at), "seed {seed}: the log of {at} has rot");
            assert!(bytes(&self.cluster, at) == first, "seed {seed}: the log of {at} has other bytes");
        }
        let view = self.cluster.view(0);
        let records = crate::testing::records(&view, view.log.log_end());
        for (offset, value) in &self.acked {
            assert_eq!(records.get(offset), Some(value), "seed {seed}: acknowledged record {offset}");
        }
    }
}

fn run_all(seeds: std::ops::Range<u64>) {
    let (mut hurt, mut repaired) = (0, 0);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| History::new(seed).run());
        let (one, other) = run.unwrap_or_else(|_| panic!("seed {seed}"));
        (hurt, repaired) = (hurt + one, repaired + other);
    }
    assert!(hurt > 20 && repaired > 10, "{hurt} segments were hurt, {repaired} ranges repaired");
}

#[test]
fn nothing_acknowledged_is_lost_to_rot_on_one_of_three() {
    run_all(0..30);
}

/// `MILLRACE_SEEDS=first..end cargo test --release -p millrace-node -- --ignored much_rot`
#[test]
#[ignore = "takes minutes"]
#[allow(clippy::disallowed_methods)] // A test's own setting.
fn much_rot() {
    let seeds = std::env::var("MILLRACE_SEEDS").unwrap_or_else(|_| "0..2000".to_owned());
    let (first, end) = seeds.split_once("..").expect("first..end");
    run_all(first.parse().expect("a number")..end.parse().expect("a number"));
}
