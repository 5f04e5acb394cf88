//! Opening a log: list its files, scan what was not known flushed, cut what does not continue the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{LeaderEpoch, Now, Offset, TopicPartition};

use super::epochs::{Epochs, merge};
use super::files::{Files, remove_segment, remove_snapshots_above};
use super::scan::{Bad, Expected, scan};
use super::sealed::has_both_ends;
use super::{Cut, Known, Recovery, Rot};
use crate::disk::DiskError;
use crate::epoch_cache::EpochCache;
use crate::log::{LogConfig, LogError};
use crate::mutation::{Mutation, broken};
use crate::producer_state::{ProducerState, has_snapshot, rebuild};
use crate::qstate::QRecord;
use crate::segment::{Content, FileKind, Home, Segment, file_name, remove_if_there, sidecar_head};

/// Bytes above the flushed offset that a start writes again at most.
const REWRITE_MAX: u64 = 64 << 20;

/// Why a whole batch is not taken after a failed flush.
const UNFLUSHED: &str = "a flush failed since: what the page cache shows may not be on the disk";
/// Why a whole batch is not taken that a cut was to remove.
const CUT: &str = "a cut was begun here and not finished";

/// What a log is made of after it was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) epochs: EpochCache,
    pub(crate) producers: ProducerState,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) flushed: Offset,
    /// Sealed segments without a sidecar.
    pub(crate) unfinished: Vec<Arc<Segment>>,
    /// Everything above the flushed offset was written again.
    pub(crate) rewritten: bool,
    pub(crate) recovery: Recovery,
}

/// Opens the log in `home`.
///
/// # Errors
/// When the disk fails. Damage is no error: the log is opened for reads below it.
pub(crate) fn open(
    home: &Home,
    partition: TopicPartition,
    config: &LogConfig,
    known: &Known,
    now: Now,
) -> Result<Opened, LogError> {
    let start = known.start.unwrap_or(0).max(0);
    let files = Files::list(home)?;
    let listed = files.is_some();
    let files = files.unwrap_or_default();
    let mut opening = Opening {
        lens: files.lens.clone(),
        home,
        config,
        known,
        now,
        segments: Vec::new(),
        unfinished: Vec::new(),
        next: start,
        epoch: 0,
        scanned: 0,
        tail: None,
        damage: None,
        holes: Vec::new(),
        rewritten: false,
    };
    let removed_below = opening.remove_below(&files, start)?;
    let mut rest: Vec<Offset> = files.logs.iter().copied().filter(|base| !removed_below.contains(base)).collect();
    rest.reverse();
    while let Some(base) = rest.pop() {
        while opening.accept_missing(base, &files) {}
        let following = rest.last().copied();
        if !opening.take_segment(base, following)? {
            rest.push(base);
            break;
        }
    }
    opening.check_end(start)?;
    if opening.damage.is_none() {
        opening.cut(&files, &rest, listed)?;
        opening.rewritten = opening.rewrite()?;
    }
    opening.finish(partition, start)
}

/// The bad bytes at the end of a segment and where they begin.
#[derive(Debug)]
struct Tail {
    /// Base offset of the segment.
    base: Offset,
    position: u64,
    bad: Bad,
}

/// A log while it is being opened. `next` is the offset behind the last good batch.
struct Opening<'a> {
    home: &'a Home,
    config: &'a LogConfig,
    known: &'a Known,
    now: Now,
    /// Lengths of the files by the base offsets of their segments.
    lens: BTreeMap<Offset, u64>,
    segments: Vec<Arc<Segment>>,
    unfinished: Vec<Arc<Segment>>,
    next: Offset,
    epoch: LeaderEpoch,
    scanned: u64,
    tail: Option<Tail>,
    damage: Option<Rot>,
    /// What is damaged in segments that were taken all the same.
    holes: Vec<Rot>,
    rewritten: bool,
}

impl Opening<'_> {
    fn flushed(&self) -> Offset {
        self.known.flushed.unwrap_or(0)
    }

    /// Whether nothing above the flushed offset is trusted, though it may read back.
    fn is_suspect(&self) -> bool {
        self.known.suspect && !broken(Mutation::TrustSuspect)
    }

    /// The offset no batch may end above, and why: of two bounds the lower.
    fn bound(&self) -> (Offset, &'static str) {
        let unflushed = self.is_suspect().then(|| (self.flushed(), UNFLUSHED));
        let cut = self.cutting().map(|to| (to, CUT));
        cut.into_iter().chain(unflushed).min().unwrap_or((Offset::MAX, ""))
    }

    /// Where a cut was to end the log that is not known to be done.
    fn cutting(&self) -> Option<Offset> {
        self.known.cutting.map(|(to, _)| to)
    }

    /// Removes segments that lie wholly below the log start offset: a removal that did not reach the disk.
    fn remove_below(&self, files: &Files, start: Offset) -> Result<Vec<Offset>, DiskError> {
        let bases: Vec<Offset> = files.logs.iter().copied().collect();
        let below = bases.windows(2).filter_map(|pair| match pair {
            [base, next] if *next <= start => Some(*base),
            _ => None,
        });
        let below: Vec<Offset> = below.collect();
        for base in &below {
            remove_segment(&self.home.disk, &self.home.dir, *base)?;
        }
        Ok(below)
    }

    /// Takes the segment `base` into the log. `false` ends the log in front of it, or inside it.
    fn take_segment(&mut self, base: Offset, following: Option<Offset>) -> Result<bool, DiskError> {
        let first = self.segments.is_empty();
        let continues = if first { base <= self.next } else { base == self.next };
        if !continues {
            let reason = format!("the file begins at offset {base}, {} is due", self.next);
            self.ends_at(&file_name(base, FileKind::Log), 0, reason);
            return Ok(false);
        }
        if first {
            self.next = base;
        }
        if let Some(next) = following.filter(|next| *next <= self.flushed())
            && self.accept_sealed(base, next)
        {
            return Ok(true);
        }
        self.scan_segment(base, following)
    }

    /// Takes a segment whose file is missing in front of the one that begins at `following`, by its sidecar.
    fn accept_missing(&mut self, following: Offset, files: &Files) -> bool {
        let base = if self.segments.is_empty() {
            // The one that holds the log start offset, if that is not `following`.
            files.indexes.range(..=self.next).next_back().copied().filter(|base| *base < following)
        } else {
            files.indexes.get(&self.next).copied()
        };
        let Some(base) = base.filter(|base| *base < following && !files.logs.contains(base)) else { return false };
        let next = files.indexes.range(base + 1..following).next().copied().unwrap_or(following);
        next > self.next && next <= self.flushed() && self.accept_sealed(base, next)
    }

    /// Takes a sealed segment by its sidecar: all of it was known flushed. A look at both ends of the file tells whether it
    /// is damaged; then it is taken as well, with a hole, if nothing but its records is needed of it.
    fn accept_sealed(&mut self, base: Offset, next: Offset) -> bool {
        let len = self.lens.get(&base).copied().unwrap_or(0);
        let Some(sidecar) = sidecar_head(&self.home.disk, &self.home.dir, base) else { return false };
        let summary = sidecar.summary;
        let falls = summary.epochs.first().is_some_and(|first| first.0 < self.epoch);
        if summary.base != base || summary.next != next || falls {
            return false;
        }
        if summary.used > len || !has_both_ends(self.home, &summary, sidecar.last) {
            // The producers behind it must be known without its records.
            if !has_snapshot(self.home, next) || broken(Mutation::CutToSealedDamage) {
                return false;
            }
            self.holes.push(Rot {
                file: self.home.dir.join(file_name(base, FileKind::Log)),
                position: 0,
                offset: base,
                flushed: next,
                reason: format!("{len} bytes of {}, or other ones than were written", summary.used),
            });
        }
        self.epoch = summary.epochs.last().map_or(self.epoch, |last| last.0);
        self.next = next;
        let content = Content::sealed(summary, self.config.index_interval_bytes);
        let segment = Segment::new(self.home, content, self.config.segment_limit(), true, self.now.wall);
        segment.set_sealed(true);
        self.segments.push(segment);
        true
    }

    fn scan_segment(&mut self, base: Offset, following: Option<Offset>) -> Result<bool, DiskError> {
        let sealed = following.is_some();
        let content = Content::new(base, self.config.index_interval_bytes);
        let segment = Segment::new(self.home, content, self.config.segment_limit(), true, self.now.wall);
        let file = segment.file()?;
        segment.raise_limit(file.len());
        let file = segment.file()?;
        let bytes = file.read(0, usize::try_from(file.len()).unwrap_or(usize::MAX))?;
        let (upto, why) = self.bound();
        let expected = Expected {
            offset: base,
            epoch: self.epoch,
            epochs: Epochs::new(self.known),
            trusted_below: if self.known.clean { self.flushed() } else { base },
            whole_tail: !self.known.clean,
            upto,
            why,
        };
        let scan = scan(&bytes, expected, |header| segment.content().write().add(header));
        self.scanned += scan.scanned;
        (self.next, self.epoch) = (scan.next, scan.epoch);
        segment.set_sealed(sealed);
        if sealed {
            self.unfinished.push(segment.clone());
        }
        self.segments.push(segment);
        let Some(bad) = scan.bad else { return Ok(true) };
        // When the next segment continues the log, the bytes behind the last batch were a batch torn by a crash, cut
        // in the page cache alone before the log went on in another file. Finishing the segment takes them away.
        if following == Some(scan.next) {
            return Ok(true);
        }
        let position = scan.position as u64;
        self.ends_at(&file_name(base, FileKind::Log), position, bad.reason.clone());
        self.tail = Some(Tail { base, position, bad });
        Ok(false)
    }

    /// The log ends at `next`: damage where more was flushed, a torn tail otherwise.
    fn ends_at(&mut self, file: &str, position: u64, reason: String) {
        // Below the log start offset nothing is owed.
        let owed = self.next < self.flushed() && self.flushed() > self.known.start.unwrap_or(0);
        if owed && self.damage.is_none() {
            self.damage = Some(Rot {
                file: self.home.dir.join(file),
                position,
                offset: self.next,
                flushed: self.flushed(),
                reason,
            });
        }
    }

    /// Compares the end that was found with what was flushed and with the log start offset.
    fn check_end(&mut self, start: Offset) -> Result<(), DiskError> {
        let position = self.segments.last().map_or(0, |segment| segment.used());
        let file = file_name(self.segments.last().map_or(start, |segment| segment.base()), FileKind::Log);
        self.ends_at(&file, position, "the file ends, or is missing".to_owned());
        if self.damage.is_none() && (self.next < start || self.cutting().is_some_and(|to| to <= start)) {
            // Every record was deleted, and some of the files came back at the crash; or a cut was to leave none.
            for segment in std::mem::take(&mut self.segments) {
                remove_segment(&self.home.disk, &self.home.dir, segment.base())?;
            }
            self.unfinished.clear();
            (self.next, self.tail) = (start, None);
        }
        Ok(())
    }

    /// Cuts what does not continue the log, durably (rule T1), with everything that speaks of offsets above the end.
    fn cut(&mut self, files: &Files, rest: &[Offset], listed: bool) -> Result<(), DiskError> {
        let Home { disk, dir, .. } = self.home;
        let later: Vec<Offset> = rest.iter().copied().filter(|base| !self.has(*base)).collect();
        let mut removed = remove_snapshots_unless_kept(self.home, self.next, listed)?;
        for base in later.iter().rev() {
            remove_segment(disk, dir, *base)?;
            removed = true;
        }
        let active = self.segments.last().map(|segment| segment.base());
        for base in files.indexes.iter().filter(|base| Some(**base) >= active || !self.has(**base)) {
            remove_if_there(disk, &dir.join(file_name(*base, FileKind::Index)))?;
            removed = true;
        }
        // The flush that failed may have been the directory's.
        let in_doubt = self.is_suspect() || self.cutting().is_some();
        if (removed || (listed && in_doubt)) && !broken(Mutation::NoDurableCut) {
            disk.sync_dir(dir)?;
        }
        if let (Some(tail), Some(segment)) = (&self.tail, self.segments.last()) {
            segment.set_sealed(false);
            let file = segment.file()?;
            if !broken(Mutation::CutWithoutZeroing) {
                file.zero(tail.position..file.len())?;
            }
            // After a crash of the process alone, a batch that was not written to its end was never whole anywhere:
            // nothing of it can come back as a batch, and waiting for all dirty pages of the file buys nothing.
            let harmless = self.known.clean && !in_doubt && later.is_empty() && tail.bad.one_torn_batch;
            if !harmless && !broken(Mutation::NoDurableCut) {
                file.flush()?;
            }
        }
        if let (Some(base), None) = (later.last(), &self.tail) {
            let reason = "later segments do not continue the log".to_owned();
            self.tail = Some(Tail { base: *base, position: 0, bad: Bad { reason, extent: 0, one_torn_batch: false } });
        }
        let removed = later.iter().filter_map(|base| self.lens.get(base)).sum::<u64>();
        if let Some(tail) = &mut self.tail {
            tail.bad.extent += removed;
        }
        Ok(())
    }

    /// Writes again what is not known flushed, so that the flush that follows has something to write. Had a flush
    /// failed in the process before, and the process ended before it could note that the log is suspect, the pages
    /// would be clean in the cache, missing on the disk, and beyond the reach of any later flush. A long suffix is left
    /// alone, and `false` comes back: it comes of a topic that acknowledges from the page cache.
    fn rewrite(&self) -> Result<bool, DiskError> {
        let beyond = |segment: &&Arc<Segment>| segment.next() > self.flushed() && segment.used() > 0;
        let mut ranges = Vec::new();
        for segment in self.segments.iter().filter(beyond) {
            let start = segment.position_of(self.flushed());
            ranges.push((segment.clone(), start, segment.used() - start));
        }
        if ranges.iter().map(|(_, _, len)| len).sum::<u64>() > REWRITE_MAX {
            return Ok(false);
        }
        for (segment, start, len) in ranges {
            let file = segment.file()?;
            let bytes = file.read(start, usize::try_from(len).unwrap_or(usize::MAX))?;
            file.write_at(start, &[&bytes])?;
        }
        Ok(true)
    }

    fn has(&self, base: Offset) -> bool {
        self.segments.iter().any(|segment| segment.base() == base)
    }

    fn finish(mut self, partition: TopicPartition, start: Offset) -> Result<Opened, LogError> {
        // A damaged log may end below its start; it then holds nothing that can be read.
        let end = self.next.max(start);
        if let Some(last) = self.segments.last() {
            last.set_sealed(false);
            self.unfinished.retain(|segment| segment.base() != last.base());
        } else {
            let content = Content::new(end, self.config.index_interval_bytes);
            let limit = self.config.segment_limit();
            self.segments.push(Segment::new(self.home, content, limit, false, self.now.wall));
        }
        let (mut epochs, dropped) = merge(&self.known.epochs, &self.batch_epochs(), end);
        let mut records = Vec::new();
        // A suspect log gets its record even when nothing was cut: the record is what ends the suspicion. So does a log
        // whose cut was begun.
        let shortened = self.tail.is_some() || dropped || self.is_suspect() || self.cutting().is_some();
        if self.damage.is_none() && shortened && !broken(Mutation::NoTruncRecord) {
            records.push(QRecord::Trunc { tp: partition, to: end, epoch: epochs.latest() });
        }
        epochs.raise_start(start);
        let producers = rebuild(self.home, &self.segments, end, self.config.max_producers)?;
        let flushed = if broken(Mutation::NoFdatasyncAfterScan) { end } else { self.flushed().clamp(start, end) };
        let cut = self.tail.as_ref().filter(|_| self.damage.is_none()).map(|tail| Cut {
            to: end,
            epoch: epochs.latest(),
            bytes: tail.bad.extent,
            file: self.home.dir.join(file_name(tail.base, FileKind::Log)),
            position: tail.position,
            reason: tail.bad.reason.clone(),
        });
        let recovery = Recovery {
            cut,
            records,
            scanned_bytes: self.scanned,
            flush: None,
            damaged: self.damage,
            holes: self.holes,
            suffix_lost: self.known.volatile && (!self.known.clean || self.known.suspect),
        };
        let Self { segments, unfinished, rewritten, .. } = self;
        Ok(Opened { segments, epochs, producers, start, end, flushed, unfinished, rewritten, recovery })
    }

    /// The first offset of each leader epoch that has records.
    fn batch_epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        let mut all: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for segment in &self.segments {
            for entry in segment.content().read().epochs() {
                if all.last().is_none_or(|last| last.0 < entry.0) {
                    all.push(*entry);
                }
            }
        }
        all
    }
}

/// Removes producer snapshots above the end of the log: they would be taken for true when the log grows past them.
fn remove_snapshots_unless_kept(home: &Home, end: Offset, listed: bool) -> Result<bool, DiskError> {
    if !listed || broken(Mutation::KeepSnapshotsAboveCut) {
        return Ok(false);
    }
    remove_snapshots_above(home, end)
}
