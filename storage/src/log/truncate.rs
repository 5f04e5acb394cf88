//! Cutting the end of the log, so that it survives a second crash (consensus rules, 1.7).

use std::sync::Arc;

use millrace_types::{LeaderEpoch, Offset};

use super::{Log, LogError};
use crate::disk::DiskError;
use crate::mutation::{Mutation, broken};
use crate::producer_state::{ProducerState, rebuild};
use crate::qstate::QRecord;
use crate::recovery::{Rot, remove_segment, remove_segments_but, remove_snapshots_above};
use crate::segment::{Content, FileKind, Home, Segment, Walk, file_name, remove_if_there};

/// A truncation that was decided and not done yet.
#[derive(Debug)]
#[must_use = "the records must be durable before the truncation is applied"]
pub struct Truncation {
    /// Records to make durable first (rule T1), in one put.
    pub records: Vec<QRecord>,
    /// The log end offset after the truncation: where a batch begins, at or below the offset asked for, or the log
    /// start offset.
    pub to: Offset,
    epoch: LeaderEpoch,
    /// The log begins anew at `to`, with this epoch below it.
    reset: Option<Option<(LeaderEpoch, Offset)>>,
    /// The log is damaged where it is cut: there are files behind that it does not know.
    salvages: bool,
}

impl Log {
    /// Decides a cut to `to`, or to the start of the batch that holds it. Epochs above that of the last record that
    /// stays are dropped. Make the records durable, then call [`Log::apply_truncation`].
    ///
    /// # Errors
    /// When `to` is outside the log, or the log is damaged or cannot be read.
    pub fn truncate_to(&mut self, to: Offset) -> Result<Truncation, LogError> {
        let epoch = self.shared.epochs.read().epoch_at(to.saturating_sub(1)).unwrap_or(0);
        self.truncate_to_epoch(to, epoch)
    }

    /// As [`Log::truncate_to`], keeping the epochs up to `epoch`: the answer to a diverging epoch (consensus rule 1.4).
    ///
    /// # Errors
    /// As [`Log::truncate_to`].
    pub fn truncate_to_epoch(&mut self, to: Offset, epoch: LeaderEpoch) -> Result<Truncation, LogError> {
        self.check_cuttable()?;
        let (start, end) = (self.log_start(), self.log_end());
        if to < start || to > end {
            return Err(LogError::OutOfRange { offset: to, start, end });
        }
        let to = self.batch_start(to)?.max(start);
        let epoch = epoch.min(self.latest_epoch);
        let record = QRecord::Cutting { tp: self.partition, to, epoch };
        Ok(Truncation { records: vec![record], to, epoch, reset: None, salvages: false })
    }

    /// Decides to drop everything: the log begins anew at `start`, above or below where it ends now, and `below` is the
    /// epoch before it (consensus rule 1.6). As with [`Log::truncate_to`], [`Log::apply_truncation`] follows.
    ///
    /// # Errors
    /// When the log is damaged or poisoned.
    pub fn reset_to(&mut self, start: Offset, below: Option<(LeaderEpoch, Offset)>) -> Result<Truncation, LogError> {
        self.check_cuttable()?;
        let tp = self.partition;
        let mut records = vec![QRecord::Cutting { tp, to: start, epoch: 0 }, QRecord::Start { tp, offset: start }];
        records.extend(below.map(|(epoch, start)| QRecord::Epoch { tp, epoch, start }));
        let epoch = below.map_or(0, |known| known.0);
        Ok(Truncation { records, to: start, epoch, reset: Some(below), salvages: false })
    }

    /// Decides a cut of a damaged log to its damage: what lies above is to be had from other replicas. `None` when the log
    /// is whole. Beside the record, that acknowledged records are missing must be durable before
    /// [`Log::apply_truncation`]: else a crash leaves a log that looks like one that never held them.
    pub fn truncate_to_damage(&mut self) -> Option<Truncation> {
        self.shared.damage.load().as_ref()?;
        let (tp, to, epoch) = (self.partition, self.log_end(), self.latest_epoch);
        let records = vec![QRecord::Cutting { tp, to, epoch }];
        Some(Truncation { records, to, epoch, reset: None, salvages: true })
    }

    fn check_cuttable(&self) -> Result<(), LogError> {
        if let Some(rot) = &*self.shared.damage.load() {
            return Err(LogError::Damaged(Box::new(Rot::clone(rot))));
        }
        match self.poison.cause() {
            Some(cause) => Err(LogError::Disk(cause.clone())),
            None => Ok(()),
        }
    }

    /// The base offset of the batch that holds `offset`, or `offset` at the log's end.
    fn batch_start(&self, offset: Offset) -> Result<Offset, DiskError> {
        let segments = self.segments();
        let Some(segment) = segments.iter().rev().find(|segment| segment.base() <= offset) else { return Ok(offset) };
        if offset == segment.base() || offset >= segment.next() || !segment.is_created() {
            return Ok(offset);
        }
        let bytes = segment.held()?;
        let holds = Walk::new(&bytes).find(|walked| walked.header.last_offset() >= offset);
        Ok(holds.map_or(offset, |walked| walked.header.base_offset))
    }

    /// Cuts the log, durably, as [`Log::begin_cut`], [`CutJob::run`] and [`Log::finish_cut`] do. It blocks on the device.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn apply_truncation(&mut self, truncation: Truncation) -> Result<QRecord, LogError> {
        let done = self.begin_cut(truncation).run();
        self.finish_cut(done)
    }

    /// Ends the log where the truncation says, in memory, and gives the work that makes it so on the disk. Until
    /// [`Log::finish_cut`] takes what came of it nothing may be appended, flushed or removed.
    pub fn begin_cut(&mut self, truncation: Truncation) -> CutJob {
        let to = truncation.to;
        self.ahead.void();
        // Before the list of segments changes: files of a damaged log that no segment of it knows.
        let salvaged = truncation.salvages.then(|| self.segments().iter().map(|segment| segment.base()).collect());
        self.shared.set_end(if truncation.reset.is_some() { self.log_start() } else { to });
        let mut kept = self.segments();
        // A cut to the log start leaves no record; the start may lie inside of a batch, so no file can stay.
        let empties = to == self.log_start() || truncation.reset.is_some();
        let keeps = if empties { 0 } else { kept.iter().take_while(|s| s.base() < to).count() };
        let later = kept.split_off(keeps);
        // A sealed segment that ends at the cut stays as it is, damaged or not.
        let sealed = kept.last().filter(|last| last.is_sealed() && last.next() == to).cloned();
        for segment in later.iter().chain(kept.last().filter(|_| sealed.is_none())) {
            segment.end_life();
        }
        let (index_interval_bytes, limit) = (self.config.index_interval_bytes, self.config.segment_limit());
        let begins_anew = kept.is_empty() || sealed.is_some();
        if begins_anew {
            let content = Content::new(to, index_interval_bytes);
            kept.push(Segment::new(&self.home, content, limit, false, self.active.opened_at()));
        }
        if let Some(last) = kept.last() {
            self.active = Arc::clone(last);
        }
        self.flush.cut(to, &kept);
        match truncation.reset {
            None => drop(self.shared.epochs.write().cut(to, truncation.epoch)),
            Some(below) => {
                self.flush.begin_anew(to);
                self.shared.reset(to);
                self.shared.epochs.write().reset(below);
            }
        }
        self.latest_epoch = self.shared.epochs.read().latest();
        self.shared.set_segments(kept.clone());
        self.shared.damage.store(None);
        self.grown_from = to;
        self.shared.cut_holes(if truncation.reset.is_some() { Offset::MIN } else { to });
        let max_producers = self.config.max_producers;
        CutJob {
            home: self.home.clone(),
            truncation,
            salvaged,
            kept,
            later,
            sealed,
            begins_anew,
            index_interval_bytes,
            limit,
            max_producers,
        }
    }

    /// Takes what a cut came to, and gives the record to make durable before the next append: that the cut is done. A
    /// failure poisons the log: where it ends on the disk is unknown then, and the next start cuts again.
    ///
    /// # Errors
    /// When the disk has failed.
    pub fn finish_cut(&mut self, done: CutDone) -> Result<QRecord, LogError> {
        let CutDone { to, epoch, sealed, producers } = done;
        self.producers = producers.map_err(|error| {
            self.poison.set(&error);
            LogError::Disk(error)
        })?;
        if let Some(sealed) = sealed {
            // What was left to do for it was given up with all that was under way.
            self.ahead.seal(sealed, to, &self.producers);
        }
        self.shared.set_first_undecided(self.producers.first_undecided());
        Ok(QRecord::Trunc { tp: self.partition, to, epoch })
    }
}

/// The part of a cut that waits for the disk, to be run on any thread.
#[derive(Debug)]
#[must_use = "the log is cut when the job has run"]
pub struct CutJob {
    home: Home,
    truncation: Truncation,
    /// The segments that stay; the last one becomes the active one.
    kept: Vec<Arc<Segment>>,
    later: Vec<Arc<Segment>>,
    /// The segments that a damaged log knew: files of others go.
    salvaged: Option<Vec<Offset>>,
    /// The last segment that stays, when it is sealed and ends at the cut.
    sealed: Option<Arc<Segment>>,
    /// Whether no segment is cut, and the last of `kept` is a new one.
    begins_anew: bool,
    index_interval_bytes: u32,
    limit: u64,
    max_producers: usize,
}

/// What a [`CutJob`] came to.
#[derive(Debug)]
#[must_use = "the log has to take it"]
pub struct CutDone {
    to: Offset,
    epoch: LeaderEpoch,
    sealed: Option<Arc<Segment>>,
    producers: Result<ProducerState, DiskError>,
}

impl CutJob {
    /// Removes later segments, zeroes the rest of the last one and flushes it, rolls the producers back.
    pub fn run(self) -> CutDone {
        let producers = self.cut();
        CutDone { to: self.truncation.to, epoch: self.truncation.epoch, sealed: self.sealed, producers }
    }

    fn cut(&self) -> Result<ProducerState, DiskError> {
        let to = self.truncation.to;
        if let Some(known) = &self.salvaged {
            remove_segments_but(&self.home, known)?;
        }
        let last = self.kept.last().filter(|_| !self.begins_anew);
        // What the producers of a log were that begins anew is unknown.
        let snapshots_above = if self.truncation.reset.is_some() { -1 } else { to };
        self.remove_later(snapshots_above, last)?;
        if let Some(last) = last {
            self.cut_segment(last, to)?;
        }
        rebuild(&self.home, &self.kept, to, self.max_producers)
    }

    /// Removes, durably, every file of the later segments, what `last` has beside its records, and the producer snapshots
    /// above `to`.
    fn remove_later(&self, to: Offset, last: Option<&Arc<Segment>>) -> Result<(), DiskError> {
        let home = &self.home;
        if !self.later.iter().chain(last).any(|segment| segment.is_created()) {
            return Ok(());
        }
        for segment in self.later.iter().rev() {
            remove_segment(&home.disk, &home.dir, segment.base())?;
        }
        if let Some(last) = last {
            remove_if_there(&home.disk, &home.dir.join(file_name(last.base(), FileKind::Index)))?;
        }
        if !broken(Mutation::KeepSnapshotsAboveCut) {
            remove_snapshots_above(home, to)?;
        }
        if broken(Mutation::NoDurableCut) { Ok(()) } else { home.disk.sync_dir(&home.dir) }
    }

    /// Cuts the segment that becomes the active one: zeroes to the end of the allocated range, so that no stale batch
    /// can follow a later one.
    fn cut_segment(&self, segment: &Arc<Segment>, to: Offset) -> Result<(), DiskError> {
        let mut content = Content::new(segment.base(), self.index_interval_bytes);
        if !segment.is_created() {
            return Ok(());
        }
        let bytes = segment.held()?;
        for walked in Walk::new(&bytes).take_while(|walked| walked.header.base_offset < to) {
            content.add(&walked.header);
        }
        drop(bytes);
        if content.next() != to {
            // The headers in front of the cut have rotted: where its position is cannot be told.
            let why = std::io::Error::other("the records in front of a cut are damaged");
            return Err(DiskError::io(segment.path(), "cut", why));
        }
        let position = content.used();
        *segment.content().write() = content;
        segment.reopen(self.limit);
        let file = segment.file()?;
        if !broken(Mutation::CutWithoutZeroing) {
            file.zero(position..file.len())?;
        }
        if broken(Mutation::NoDurableCut) { Ok(()) } else { file.flush() }
    }
}

#[cfg(test)]
mod tests;
