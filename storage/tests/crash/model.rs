//! What the log must be: every batch ever stored, what of it is promised, and the checks against a log.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use millrace_storage::{Known, Log};
use millrace_types::{LeaderEpoch, Offset};

use crate::batches::Stored;

/// The ghost of the log.
#[derive(Debug, Default, Clone)]
pub(crate) struct Model {
    /// All batches from offset 0 on, also those deleted since.
    pub(crate) batches: Vec<Stored>,
    /// A batch whose append failed: it may be there after a crash.
    pub(crate) attempt: Option<Stored>,
    /// Markers that are valid, or may be after a failed truncation.
    pub(crate) markers: Vec<(LeaderEpoch, Offset)>,
    /// Everything below was flushed.
    pub(crate) promised: Offset,
    /// The log start offset.
    pub(crate) start: Offset,
}

impl Model {
    /// The log end offset. A cut to a start inside of a batch leaves no batch, and the end at the start.
    pub(crate) fn end(&self) -> Offset {
        self.batches.last().map_or(0, |batch| batch.next).max(self.start)
    }

    /// Forgets what lies at or above `to`.
    pub(crate) fn cut(&mut self, to: Offset) {
        self.batches.retain(|batch| batch.next <= to);
        self.promised = self.promised.min(to);
    }

    /// Checks a log that was opened after a crash, and takes what it is for true.
    pub(crate) fn check_recovered(&mut self, log: &Log, known: &Known) -> Result<(), String> {
        let (start, end) = (log.log_start(), log.log_end());
        if end < self.promised {
            return Err(format!("the log ends at {end}, {} was flushed", self.promised));
        }
        if start > self.start || start < known.start.unwrap_or(0) {
            return Err(format!("the log starts at {start}, due is {} to {}", known.start.unwrap_or(0), self.start));
        }
        if known.suspect && end > known.flushed.unwrap_or(0).max(start) {
            return Err(format!("the log ends at {end} though a flush failed above {:?}", known.flushed));
        }
        let attempt = self.attempt.take();
        self.batches.extend(attempt);
        if end > self.end() {
            return Err(format!("the log ends at {end}, {} was written", self.end()));
        }
        self.cut(end);
        if self.end() != end {
            return Err(format!("the log ends at {end}, inside of a batch"));
        }
        self.start = start;
        self.check_epochs(log, known)?;
        self.markers = log.epoch_cache().entries().to_vec();
        self.check(log)
    }

    /// Checks a log that runs.
    pub(crate) fn check(&self, log: &Log) -> Result<(), String> {
        let (start, end) = (log.log_start(), log.log_end());
        if (start, end) != (self.start, self.end()) {
            return Err(format!("the log is [{start}, {end}), due is [{}, {})", self.start, self.end()));
        }
        let expected: Vec<&Stored> = self.batches.iter().filter(|batch| batch.next > start).collect();
        let bytes: Vec<u8> = expected.iter().flat_map(|batch| batch.bytes.to_vec()).collect();
        if read_all(log)? != bytes {
            return Err(format!("the bytes of [{start}, {end}) are not those that were appended"));
        }
        for batch in expected {
            if log.view().epoch_at(batch.base.max(start)) != Some(batch.epoch) {
                return Err(format!("offset {} has epoch {:?}", batch.base, log.view().epoch_at(batch.base)));
            }
        }
        self.check_producers(log)
    }

    fn check_epochs(&self, log: &Log, known: &Known) -> Result<(), String> {
        let (cache, end) = (log.epoch_cache(), log.log_end());
        let of_batches = |entry: &(LeaderEpoch, Offset)| {
            self.batches.iter().any(|batch| batch.epoch == entry.0 && batch.base == entry.1)
        };
        for entry in cache.entries() {
            if entry.1 > end || !(self.markers.contains(entry) || of_batches(entry)) {
                return Err(format!("epoch {entry:?} was never begun, or was voided; the log ends at {end}"));
            }
        }
        let due = known.epochs.iter().filter(|entry| entry.1 <= end && entry.1 >= self.start);
        match due.into_iter().find(|entry| self.markers.contains(entry) && !cache.entries().contains(entry)) {
            Some(entry) => Err(format!("epoch {entry:?} is durable and forgotten")),
            None => Ok(()),
        }
    }

    /// The state must be that of a replay; of a producer whose batches are all deleted it may be lost.
    fn check_producers(&self, log: &Log) -> Result<(), String> {
        let mut replayed: BTreeMap<i64, (i32, Offset)> = BTreeMap::new();
        for batch in &self.batches {
            if let Some((id, _, last)) = batch.producer {
                replayed.insert(id, (last, batch.next));
            }
        }
        let found: BTreeMap<i64, i32> = log.producers().map(|p| (p.producer_id, p.last_sequence)).collect();
        for (id, (last, next)) in &replayed {
            let deleted = *next <= self.start;
            let lost = !found.contains_key(id);
            if found.get(id) != Some(last) && (!deleted || !lost) {
                return Err(format!("producer {id} has sequence {:?}, due is {last}", found.get(id)));
            }
        }
        match found.keys().find(|id| !replayed.contains_key(id)) {
            Some(id) => Err(format!("producer {id} is remembered from records that are not in the log")),
            None => Ok(()),
        }
    }
}

/// All whole batches of the log, read in small pieces.
fn read_all(log: &Log) -> Result<Bytes, String> {
    let view = log.view();
    let (mut from, end) = (view.log_start(), view.log_end());
    let mut all = BytesMut::new();
    while from < end {
        let slice = view.read(from, end, 3000, true).map_err(|error| format!("read at {from}: {error}"))?;
        if let Some(job) = slice.cold {
            job.run();
            continue;
        }
        if slice.next <= from || slice.first > from {
            return Err(format!(
                "a read at {from} of a log that ends at {end} returned [{}, {})",
                slice.first, slice.next
            ));
        }
        all.extend_from_slice(&slice.bytes);
        from = slice.next;
    }
    Ok(all.freeze())
}
