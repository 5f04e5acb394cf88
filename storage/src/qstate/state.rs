//! What the records of the write-ahead store add up to.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, DirectoryId, LeaderEpoch, Offset, TopicPartition};

use super::record::{BootRecord, Configuration, QRecord, SeenStart, ToldStart};
use crate::mutation::{Mutation, broken};

/// Starts whose (incarnation, nonce) are kept: what a broker shows its peers (consensus rules, 2.5), beside the one that
/// the peer is known to remember.
pub(super) const BOOTS_KEPT: usize = 32;

/// What is known durably about one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionState {
    /// The greatest epoch this replica was in.
    pub term: LeaderEpoch,
    /// Whom it voted for in that epoch.
    pub voted_for: Option<(BrokerId, DirectoryId)>,
    /// Leader epochs and their first offsets. Invariant: both grow, the epochs strictly.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// The last cut: log end offset and last epoch after it; `None` once data behind it was flushed, since the cut
    /// itself was durable before that data was appended (consensus rules, 1.7).
    pub trunc: Option<(Offset, LeaderEpoch)>,
    /// A cut that was begun and is not known to be done: log end offset and last epoch after it.
    pub cutting: Option<(Offset, LeaderEpoch)>,
    /// Everything below was flushed; more may have been. `None`: nothing was.
    pub flushed: Option<Offset>,
    /// Whether acknowledged records may exist that were never flushed.
    pub volatile: bool,
    /// Whether acknowledged records may be lost and have not been fetched again.
    pub recovering: bool,
    /// Whether a flush failed in this run of the operating system: what is behind `flushed` may be in the page cache
    /// only, though it reads back, so it has to be cut.
    pub suspect: bool,
    /// Whether the page cache was lost since the log was last opened, as far as its last epoch shows.
    pub(super) lost_cache: bool,
    /// Whether it was lost so before the start that is under way: a start in between has not come to open the log, so
    /// that the same run of the operating system proves nothing.
    pub missed_loss: bool,
    /// The log start offset; `None`: as the segments say.
    pub start: Option<Offset>,
    /// How far the log goes that a witness votes for; `None` where the replica is no witness.
    pub witness_end: Option<Offset>,
    /// The newest configuration.
    pub cfg: Option<Configuration>,
}

/// The starts of the process on this directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// This start.
    pub current: BootRecord,
    /// Earlier ones, oldest first; the last 31 of them.
    pub earlier: Vec<BootRecord>,
}

impl BootState {
    /// Whether the operating system has run without a break since the previous start, so that everything that start
    /// wrote is still in the page cache or on the disk.
    #[must_use]
    pub fn same_boot(&self) -> bool {
        self.earlier.last().is_some_and(|earlier| earlier.boot_id == self.current.boot_id)
    }
}

/// The whole store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) boots: Vec<BootRecord>,
    pub(super) partitions: BTreeMap<TopicPartition, PartitionState>,
    /// The last word about each directory of another broker.
    pub(super) seen: BTreeMap<DirectoryId, SeenStart>,
    /// What each other broker is known to remember of this directory.
    pub(super) told: BTreeMap<BrokerId, ToldStart>,
}

impl State {
    pub(super) fn apply(&mut self, record: &QRecord) {
        match record {
            QRecord::Boot(boot) => {
                let changed = self.boots.last().is_some_and(|last| last.boot_id != boot.boot_id);
                for partition in self.partitions.values_mut() {
                    partition.missed_loss = partition.lost_cache;
                    partition.lost_cache |= changed;
                    // The page cache is another one: what reads back is on the disk.
                    partition.suspect &= !changed;
                }
                self.boots.push(boot.clone());
                let surplus = self.boots.len().saturating_sub(BOOTS_KEPT);
                self.boots.drain(..surplus);
            }
            QRecord::Forget { tp } => {
                self.partitions.remove(tp);
            }
            QRecord::Seen(seen) => {
                self.seen.insert(seen.directory, *seen);
            }
            QRecord::Told(told) => {
                self.told.insert(told.broker, *told);
            }
            QRecord::Term { tp, .. }
            | QRecord::Epoch { tp, .. }
            | QRecord::Trunc { tp, .. }
            | QRecord::Cutting { tp, .. }
            | QRecord::Cfg { tp, .. }
            | QRecord::Volatile { tp, .. }
            | QRecord::Recovering { tp, .. }
            | QRecord::Flushed { tp, .. }
            | QRecord::Suspect { tp }
            | QRecord::WitnessEnd { tp, .. }
            | QRecord::Start { tp, .. } => self.partitions.entry(*tp).or_default().apply(record),
        }
    }

    /// Records that, applied to nothing, give this state. A partition whose page cache was lost comes before the start
    /// that shows it; when that is forgotten, so is the loss.
    pub(super) fn records(&self) -> impl Iterator<Item = QRecord> {
        let differ = |pair: &[BootRecord]| matches!(pair, [a, b] if a.boot_id != b.boot_id);
        let change = self.boots.windows(2).rposition(differ);
        let (before, after) = self.boots.split_at(change.map_or(0, |at| at + 1));
        let boots = |boots: &[BootRecord]| boots.iter().cloned().map(QRecord::Boot).collect::<Vec<_>>();
        let partitions = move |lost: bool| {
            let chosen =
                self.partitions.iter().filter(move |(_, state)| (state.lost_cache && change.is_some()) == lost);
            chosen.flat_map(|(tp, state)| state.records(*tp))
        };
        let seen = self.seen.values().copied().map(QRecord::Seen);
        let told = self.told.values().copied().map(QRecord::Told);
        let brokers = seen.chain(told);
        boots(before).into_iter().chain(partitions(true)).chain(boots(after)).chain(partitions(false)).chain(brokers)
    }
}

impl PartitionState {
    fn apply(&mut self, record: &QRecord) {
        match record {
            QRecord::Term { term, voted_for, .. } if *term >= self.term => {
                self.term = *term;
                self.voted_for = *voted_for;
            }
            QRecord::Epoch { epoch, start, .. } => self.begin_epoch(*epoch, *start),
            QRecord::Trunc { to, epoch, .. } => {
                self.cut(*to, *epoch);
                self.trunc = Some((*to, *epoch));
                (self.cutting, self.suspect) = (None, false);
            }
            QRecord::Cutting { to, epoch, .. } => {
                self.cut(*to, *epoch);
                self.cutting = Some((*to, *epoch));
            }
            QRecord::Cfg { cfg, .. } if self.cfg.as_ref().is_none_or(|known| known <= cfg) => {
                self.cfg = Some(cfg.clone());
            }
            QRecord::Volatile { volatile, .. } => self.volatile = *volatile,
            QRecord::Recovering { recovering, .. } => {
                self.recovering = *recovering;
                // The loss is known by this record from now on.
                (self.lost_cache, self.missed_loss) = (false, false);
            }
            // After a failed flush the kernel reports success for pages that it has given up (consensus rules, 2.2).
            QRecord::Flushed { .. } if self.suspect => {}
            QRecord::Flushed { upto, .. } => {
                self.flushed = self.flushed.max(Some(*upto));
                self.trunc = self.trunc.filter(|(to, _)| upto <= to);
            }
            QRecord::Suspect { .. } => self.suspect = true,
            QRecord::Start { offset, .. } => self.raise_start(*offset),
            QRecord::WitnessEnd { end, .. } => self.witness_end = Some(*end),
            // An older epoch or configuration than the known one says nothing.
            QRecord::Term { .. } | QRecord::Cfg { .. } => {}
            // These are not about one partition's state.
            QRecord::Forget { .. } | QRecord::Boot(_) | QRecord::Seen(_) | QRecord::Told(_) => {}
        }
    }

    /// The last word about an epoch wins over what it contradicts, as in Kafka's epoch cache (KIP-101).
    fn begin_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        // An epoch begins when the log has been opened.
        (self.lost_cache, self.missed_loss) = (false, false);
        self.epochs.retain(|known| known.0 < epoch && known.1 <= start);
        self.epochs.push((epoch, start));
        self.forget_ended_epochs();
    }

    fn cut(&mut self, to: Offset, epoch: LeaderEpoch) {
        self.epochs.retain(|known| (known.0 <= epoch && known.1 <= to) || broken(Mutation::TruncVoidsNothing));
        // What was flushed beyond the cut is gone on purpose; a later start must not miss it.
        self.flushed = self.flushed.map(|flushed| flushed.min(to));
        self.witness_end = self.witness_end.map(|end| end.min(to));
    }

    fn raise_start(&mut self, offset: Offset) {
        self.start = self.start.max(Some(offset));
        self.forget_ended_epochs();
    }

    /// Forgets epochs that ended below the start; the newest that began below it still answers for it.
    fn forget_ended_epochs(&mut self) {
        let Some(start) = self.start else { return };
        let last_below = self.epochs.iter().rposition(|known| known.1 < start).unwrap_or(0);
        self.epochs.drain(..last_below);
    }

    fn records(&self, tp: TopicPartition) -> Vec<QRecord> {
        let mut records = Vec::with_capacity(4 + self.epochs.len());
        // The cut comes first: it voids epochs and lowers what was flushed.
        records.extend(self.trunc.map(|(to, epoch)| QRecord::Trunc { tp, to, epoch }));
        records.extend(self.cutting.map(|(to, epoch)| QRecord::Cutting { tp, to, epoch }));
        records.push(QRecord::Term { tp, term: self.term, voted_for: self.voted_for });
        records.extend(self.cfg.iter().map(|cfg| QRecord::Cfg { tp, cfg: cfg.clone() }));
        records.extend(self.epochs.iter().map(|(epoch, start)| QRecord::Epoch { tp, epoch: *epoch, start: *start }));
        records.extend(self.start.map(|offset| QRecord::Start { tp, offset }));
        records.extend(self.witness_end.map(|end| QRecord::WitnessEnd { tp, end }));
        records.extend(self.volatile.then_some(QRecord::Volatile { tp, volatile: true }));
        records.extend(self.recovering.then_some(QRecord::Recovering { tp, recovering: true }));
        records.extend(self.flushed.map(|upto| QRecord::Flushed { tp, upto }));
        // The suspicion comes last: it voids later flushed offsets.
        records.extend(self.suspect.then_some(QRecord::Suspect { tp }));
        records
    }
}
