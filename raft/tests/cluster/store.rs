//! The durable side of a simulated replica: a write-ahead store, and a disk that keeps what was flushed and may keep more.

use std::collections::BTreeMap;

use millrace_raft::{Configuration, EpochStart, Record, ReplicaKey, Restored};
use millrace_types::{LeaderEpoch, Offset};

/// A record of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) value: u64,
}

/// A log: records from `start` on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) start: Offset,
    records: Vec<Rec>,
}

impl Records {
    pub(crate) fn end(&self) -> Offset {
        self.start + self.records.len() as Offset
    }

    pub(crate) fn get(&self, offset: Offset) -> Option<Rec> {
        self.records.get(usize::try_from(offset - self.start).ok()?).copied()
    }

    pub(crate) fn push(&mut self, record: Rec) {
        self.records.push(record);
    }

    pub(crate) fn cut(&mut self, to: Offset) {
        self.records.truncate(usize::try_from(to - self.start).unwrap_or(0));
    }

    pub(crate) fn reset(&mut self, start: Offset) {
        self.records.clear();
        self.start = start;
    }

    pub(crate) fn raise_start(&mut self, start: Offset) {
        if start > self.end() {
            return self.reset(start);
        }
        if start > self.start {
            self.records.drain(..(start - self.start) as usize);
            self.start = start;
        }
    }

    pub(crate) fn range(&self, from: Offset, upto: Offset) -> Vec<Rec> {
        (from..upto).filter_map(|offset| self.get(offset)).collect()
    }

    /// Writes `other` below `upto` over this one, as a flush does: what lies beyond stays.
    fn write_over(&mut self, other: &Self, upto: Offset) {
        self.raise_start(other.start);
        for offset in self.start..upto.min(other.end()) {
            let record = other.get(offset).expect("within the log");
            match self.records.get_mut((offset - self.start) as usize) {
                Some(old) => *old = record,
                None => self.records.push(record),
            }
        }
    }
}

/// What the write-ahead store adds up to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) voted_for: Option<ReplicaKey>,
    pub(crate) configuration: Configuration,
    pub(crate) epochs: BTreeMap<LeaderEpoch, Offset>,
    pub(crate) volatile: bool,
    pub(crate) recovering: bool,
    pub(crate) flushed: Offset,
    pub(crate) witness_end: Offset,
    pub(crate) log_start: Offset,
    /// A cut or reset that is noted and not done.
    pub(crate) undone: Option<Offset>,
}

impl Store {
    /// Applies a record; `at_start` when recovery has done already what it notes.
    pub(crate) fn apply(&mut self, record: &Record, at_start: bool) {
        match record {
            Record::Term { epoch, voted_for } => (self.epoch, self.voted_for) = (*epoch, *voted_for),
            Record::Epoch(marker) => {
                self.epochs.retain(|epoch, start| *epoch < marker.epoch && *start <= marker.start);
                self.epochs.insert(marker.epoch, marker.start);
            }
            Record::Trunc { to, epoch } => {
                self.epochs.retain(|known, start| known <= epoch && *start <= *to);
                (self.flushed, self.witness_end) = (self.flushed.min(*to), self.witness_end.min(*to));
                self.undone = (!at_start).then_some(*to);
            }
            Record::Reset { start, below } => {
                self.epochs = below.iter().map(|known| (known.epoch, known.start)).collect();
                (self.flushed, self.witness_end, self.log_start) = (*start, *start, *start);
                self.undone = Some(*start);
            }
            Record::Configuration(configuration) => self.configuration = configuration.clone(),
            Record::Volatile(volatile) => self.volatile = *volatile,
            Record::Recovering(recovering) => self.recovering = *recovering,
            Record::WitnessEnd(end) => self.witness_end = *end,
        }
    }
}

/// The log's file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// What survives the loss of power; behind what was flushed last there may be more, from before a cut.
    pub(crate) durable: Records,
    /// Everything below is flushed in this run.
    pub(crate) flushed: Offset,
}

impl Disk {
    pub(crate) fn flush(&mut self, log: &Records, upto: Offset) {
        self.durable.write_over(log, upto);
        self.flushed = upto;
    }

    /// The cut is durable: nothing lies beyond `to`, but for what was flushed since.
    pub(crate) fn cut(&mut self, to: Offset) {
        self.durable.cut(to.max(self.flushed));
    }

    /// The file after the loss of power, when writes up to `kept` had reached the disk by themselves.
    pub(crate) fn after_power_loss(&self, log: &Records, kept: Offset) -> Records {
        let mut left = self.durable.clone();
        left.write_over(log, kept);
        left
    }
}

/// What a start finds: the log is put right, and its epochs are those of its records and of the store.
pub(crate) fn recover(store: &Store, log: &mut Records, witness: bool) -> Restored {
    let mut cut = false;
    if let Some(to) = store.undone {
        if store.log_start > log.start {
            log.raise_start(store.log_start);
        }
        log.cut(to);
    }
    log.raise_start(store.log_start);
    let mut end = log.start;
    let mut last = 0;
    let mut epochs: BTreeMap<LeaderEpoch, Offset> = BTreeMap::new();
    while let Some(record) = log.get(end).filter(|record| record.epoch >= last) {
        last = record.epoch;
        epochs.entry(record.epoch).or_insert(end);
        end += 1;
    }
    cut |= end < log.end();
    log.cut(end);
    let log_end = if witness { store.witness_end } else { end };
    for (epoch, start) in &store.epochs {
        let below = epochs.range(..epoch).all(|(_, known)| known <= start);
        let above = epochs.range(epoch + 1..).all(|(_, known)| known >= start);
        let free = log.get(*start).is_none_or(|record| record.epoch >= *epoch);
        if *start <= log_end && below && above && free {
            epochs.insert(*epoch, *start);
        } else {
            cut = true;
        }
    }
    Restored {
        epoch: store.epoch,
        voted_for: store.voted_for,
        configuration: store.configuration.clone(),
        witness,
        log_start: if witness { store.log_start.min(log_end) } else { log.start },
        log_end,
        flushed: if witness { log_end } else { log.start },
        epochs: epochs.into_iter().map(|(epoch, start)| EpochStart { epoch, start }).collect(),
        high_watermark: 0,
        volatile: store.volatile,
        recovering: store.recovering || log_end < store.flushed,
        cut,
    }
}
