//! What a history says of values and offsets, gathered once; and the anomalies that are about these alone.

use std::collections::{BTreeMap, BTreeSet};

use super::super::event::{Event, Key, Op, Phase, Sent};
use super::{Anomaly, Counts, Kind, anomaly};

/// What became of a record, as far as its producer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was heard.
    Unknown,
    /// It is at this offset since this moment.
    Acknowledged { offset: i64, at: u64 },
    /// It was not written.
    Refused,
}

/// A record that was sent.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) invoked: u64,
    pub(super) outcome: Outcome,
}

/// The records of one operation, in the order of the program.
#[derive(Debug)]
pub(super) struct SendOp {
    pub(super) process: u32,
    pub(super) values: Vec<u64>,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The values that were seen at an offset, by acknowledgements and polls.
    pub(super) at: BTreeMap<i64, BTreeSet<u64>>,
    /// The offsets at which a value was seen.
    pub(super) places: BTreeMap<u64, BTreeSet<i64>>,
    /// The values that were read.
    pub(super) read: BTreeSet<u64>,
    /// The highest offset that was read.
    pub(super) highest_read: Option<i64>,
    /// Acknowledgements by their time: offset.
    pub(super) acknowledged: Vec<(u64, i64)>,
}

impl Partition {
    /// An offset between two others at which there is a record.
    pub(super) fn between(&self, low: i64, high: i64) -> Option<i64> {
        if low + 1 >= high {
            return None;
        }
        self.at.range(low + 1..high).next().map(|(offset, _)| *offset)
    }

    fn see(&mut self, offset: i64, value: u64) {
        self.at.entry(offset).or_default().insert(value);
        self.places.entry(value).or_default().insert(offset);
    }
}

/// All of a history's values.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) records: BTreeMap<u64, Record>,
    pub(super) partitions: BTreeMap<Key, Partition>,
    pub(super) sends: Vec<SendOp>,
    pub(super) is_drained: bool,
    pub(super) counts: Counts,
    /// Faults from when to when.
    faults: Vec<(u64, u64, String)>,
}

impl Index {
    /// Gathers what `events` say.
    pub(super) fn of(events: &[Event]) -> Self {
        let mut index = Self::default();
        for event in events {
            index.add(event);
        }
        for partition in index.partitions.values_mut() {
            partition.acknowledged.sort_unstable();
        }
        index.count();
        index
    }

    fn add(&mut self, event: &Event) {
        // A poll is an operation when it ends: it is written down in one line.
        let is_operation = match event.op {
            Op::Send { .. } | Op::Ends { .. } | Op::Commit { .. } | Op::Committed { .. } => {
                event.phase == Phase::Invoke
            }
            Op::Poll { .. } => event.phase != Phase::Invoke,
            Op::Assign { .. } | Op::Subscribe { .. } | Op::Crash => true,
            Op::Rebalance { .. } | Op::Fault { .. } | Op::Drain => false,
        };
        self.counts.ops += u64::from(is_operation);
        match (&event.op, event.phase) {
            (Op::Send { sends }, Phase::Invoke) => self.invoke(event, sends),
            (Op::Send { sends }, phase) => sends.iter().for_each(|sent| self.complete(event.at, sent, phase)),
            (Op::Poll { polls }, Phase::Ok) => {
                for (key, records) in polls {
                    self.counts.read += records.len() as u64;
                    let partition = self.partitions.entry(key.clone()).or_default();
                    for (offset, value) in records {
                        partition.see(*offset, *value);
                        partition.read.insert(*value);
                        partition.highest_read = partition.highest_read.max(Some(*offset));
                    }
                }
            }
            (Op::Rebalance { .. }, _) => self.counts.rebalances += 1,
            (Op::Commit { .. }, Phase::Ok) => self.counts.commits += 1,
            (Op::Drain, Phase::Ok) => self.is_drained = true,
            (Op::Fault { what }, Phase::Invoke) => self.faults.push((event.at, u64::MAX, what.clone())),
            (Op::Fault { what }, Phase::Ok) => {
                let begun = self.faults.iter_mut().rev().find(|(_, _, begun)| begun == what);
                if let Some((_, until, _)) = begun {
                    *until = event.at;
                }
            }
            _ => {}
        }
    }

    fn invoke(&mut self, event: &Event, sends: &[Sent]) {
        for sent in sends {
            let record = Record { key: sent.key.clone(), invoked: event.at, outcome: Outcome::Unknown };
            self.records.insert(sent.value, record);
        }
        self.sends.push(SendOp { process: event.process, values: sends.iter().map(|sent| sent.value).collect() });
    }

    fn complete(&mut self, at: u64, sent: &Sent, phase: Phase) {
        let outcome = match (phase, sent.offset) {
            (Phase::Ok, Some(offset)) => Outcome::Acknowledged { offset, at },
            (Phase::Fail, _) => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        if let Some(record) = self.records.get_mut(&sent.value) {
            record.outcome = outcome;
        }
        if let Outcome::Acknowledged { offset, at } = outcome {
            let partition = self.partitions.entry(sent.key.clone()).or_default();
            partition.see(offset, sent.value);
            partition.acknowledged.push((at, offset));
        }
    }

    fn count(&mut self) {
        let counts = &mut self.counts;
        for record in self.records.values() {
            counts.sent += 1;
            match record.outcome {
                Outcome::Acknowledged { .. } => counts.acknowledged += 1,
                Outcome::Unknown => counts.unknown += 1,
                Outcome::Refused => counts.refused += 1,
            }
        }
        let times = |partition: &Partition| partition.acknowledged.iter().map(|(at, _)| *at).collect::<Vec<u64>>();
        let mut all: Vec<u64> = self.partitions.values().flat_map(times).collect();
        all.sort_unstable();
        let longest =
            |times: &[u64]| times.windows(2).map(|pair| (pair[1] - pair[0], pair[0])).max().unwrap_or_default();
        let (gap, since) = longest(&all);
        counts.longest_gap_ms = gap / 1_000_000;
        let meanwhile = self.faults.iter().filter(|(from, until, _)| *from < since + gap && *until > since);
        counts.longest_gap_faults = meanwhile.map(|(_, _, what)| what.clone()).collect();
        let of_partitions = self.partitions.values().map(|partition| longest(&times(partition)).0);
        counts.longest_partition_gap_ms = of_partitions.max().unwrap_or(0) / 1_000_000;
    }
}

/// Values at more than one offset, offsets with more than one value, and values that should not be there.
pub(super) fn values(index: &Index, found: &mut Vec<Anomaly>) {
    for (key, partition) in &index.partitions {
        for (offset, values) in partition.at.iter().filter(|(_, values)| values.len() > 1) {
            found.push(anomaly(Kind::InconsistentOffsets, key, format!("offset {offset} has the values {values:?}")));
        }
        for (value, offsets) in partition.places.iter().filter(|(_, offsets)| offsets.len() > 1) {
            found.push(anomaly(Kind::Duplicate, key, format!("value {value} is at the offsets {offsets:?}")));
        }
        for value in &partition.read {
            match index.records.get(value).filter(|record| record.key == *key) {
                None => found.push(anomaly(Kind::Phantom, key, format!("value {value} was read, and nobody sent it"))),
                Some(record) if record.outcome == Outcome::Refused => {
                    found.push(anomaly(Kind::RefusedRead, key, format!("value {value} was refused, and read")));
                }
                Some(_) => {}
            }
        }
    }
}

/// Acknowledged values that nobody has read.
pub(super) fn lost(index: &Index, found: &mut Vec<Anomaly>) {
    if !index.is_drained {
        found.push(anomaly(Kind::Undrained, "", "the final reads did not reach every end".to_owned()));
    }
    for (value, record) in &index.records {
        let Outcome::Acknowledged { offset, .. } = record.outcome else { continue };
        let partition = index.partitions.get(&record.key);
        if partition.is_some_and(|partition| partition.read.contains(value)) {
            continue;
        }
        let highest = partition.and_then(|partition| partition.highest_read);
        let what = format!("value {value} was acknowledged at {offset}; the highest offset read is {highest:?}");
        if highest >= Some(offset) {
            found.push(anomaly(Kind::LostWrite, &record.key, what));
        } else if index.is_drained {
            found.push(anomaly(Kind::Unseen, &record.key, what));
        }
    }
}
