//! What every connection of a broker reads without asking an actor: the metadata image and the partitions' views.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use millrace_metadata::Image;
use millrace_storage::LogView;
use millrace_types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use parking_lot::RwLock;

use crate::leaders::{Hint, Hints};

/// The published side of one replica: its readers never enter the replica's mailbox.
#[derive(Debug)]
pub struct PartitionView {
    /// The partition.
    pub partition: TopicPartition,
    /// Segments, offsets and high watermark.
    pub log: LogView,
    /// The leader this replica knows, see [`Leadership`]. Its own leadership is published after its epoch is durable.
    leadership: AtomicU64,
    /// Whether a leader tells its latest offset: what an earlier one may have told is committed here (KIP-207).
    tells_latest: AtomicBool,
    /// Of a leader: how many replicas are in sync, itself included.
    in_sync: AtomicUsize,
    /// The brokers of these replicas, or of those that were in sync when the replica last led; empty before they are told.
    in_sync_brokers: ArcSwap<Arc<[BrokerId]>>,
    /// The last epoch that the replica led; 0 for none.
    led_epoch: AtomicI32,
    /// Of a leader: what every other replica is known to hold; `i64::MAX` where nothing is known.
    held_by_all: AtomicI64,
    /// Grows with each change of the leader or of the in-sync replicas.
    changes: AtomicU64,
    /// Offsets from here on are not served: the end of what is durable when a flush has failed, else `i64::MAX`.
    readable_end: AtomicI64,
    /// Whether acknowledged records from `readable_end` on have rotted away: the end of the log is then none.
    damaged: AtomicBool,
    /// Whether its disk takes long for a flush or a write, see [`Self::is_hung`].
    hung: AtomicBool,
    /// Whether appends are refused for want of room.
    full: AtomicBool,
}

impl PartitionView {
    /// The view of a replica that has no leader yet.
    #[must_use]
    pub fn new(partition: TopicPartition, log: LogView) -> Self {
        Self {
            partition,
            log,
            leadership: AtomicU64::new(Leadership::default().packed()),
            tells_latest: AtomicBool::new(false),
            in_sync: AtomicUsize::new(1),
            in_sync_brokers: ArcSwap::from_pointee(Arc::from([])),
            led_epoch: AtomicI32::new(0),
            held_by_all: AtomicI64::new(i64::MAX),
            changes: AtomicU64::new(0),
            readable_end: AtomicI64::new(i64::MAX),
            damaged: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            full: AtomicBool::new(false),
        }
    }

    /// The epoch that this replica leads; `None` while it does not.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        let leadership = self.leadership();
        leadership.is_own.then_some(leadership.epoch)
    }

    /// The leader and its epoch, as far as this replica knows them.
    #[must_use]
    pub fn leader(&self) -> Option<(BrokerId, LeaderEpoch)> {
        let leadership = self.leadership();
        Some((leadership.leader?, leadership.epoch))
    }

    /// The greatest epoch that this replica knows of; 0 for none.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.leadership().epoch
    }

    /// A number that grows with each change of what the view says of its leader or of the in-sync replicas: hosts
    /// compare it to know when there is news for [`crate::leaders`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether the end of the log may be told, by a leader: until then clients are to ask again, since another leader may
    /// have told a later one.
    #[must_use]
    pub fn tells_latest(&self) -> bool {
        self.tells_latest.load(Ordering::Acquire)
    }

    /// How many replicas are in sync with this leader, itself included.
    #[must_use]
    pub fn in_sync(&self) -> usize {
        self.in_sync.load(Ordering::Relaxed)
    }

    /// The brokers whose replicas are in sync with this leader, itself included. Of a replica that does not lead they are those
    /// that were when it last did, if it has.
    #[must_use]
    pub fn in_sync_brokers(&self) -> Arc<[BrokerId]> {
        Arc::clone(&self.in_sync_brokers.load())
    }

    /// The records that a follower of this leader lacks, of the follower that lacks most, as far as they have told what they hold.
    #[must_use]
    pub fn max_lag(&self) -> u64 {
        let lag = self.log.log_end().saturating_sub(self.held_by_all.load(Ordering::Relaxed));
        u64::try_from(lag).unwrap_or(0)
    }

    fn leadership(&self) -> Leadership {
        Leadership::unpacked(self.leadership.load(Ordering::Acquire))
    }

    /// The first offset that is not served although it may be below the high watermark: after a failed flush nothing is
    /// read beyond what is durable. `i64::MAX` in health.
    #[must_use]
    pub fn readable_end(&self) -> Offset {
        self.readable_end.load(Ordering::Acquire)
    }

    /// Whether there were records at the offsets from `end` on that cannot be served any more. No answer may then name
    /// `end` as where the log ends: a consumer would take the gap for a log that was cut, and go back.
    #[must_use]
    pub fn hides(&self, end: Offset) -> bool {
        let readable = self.readable_end();
        end > readable || end == readable && self.damaged.load(Ordering::Acquire)
    }

    /// Whether a flush or a write of the replica has been outstanding for so long that its disk is taken to hang.
    #[must_use]
    pub fn is_hung(&self) -> bool {
        self.hung.load(Ordering::Relaxed)
    }

    /// Whether the replica has refused appends for want of room lately.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Publishes whether the disk hangs, and whether it has no room; called by the replica's core alone.
    pub(crate) fn set_disk(&self, hung: bool, full: bool) {
        self.hung.store(hung, Ordering::Relaxed);
        self.full.store(full, Ordering::Relaxed);
    }

    /// Says that the records from `end` on have rotted away; called by the replica's core alone.
    pub(crate) fn set_damaged(&self, end: Offset) {
        self.limit_reads(end);
        self.damaged.store(true, Ordering::Release);
    }

    /// Limits reads to the offsets below `end`; called by the replica's core alone.
    pub(crate) fn limit_reads(&self, end: Offset) {
        self.readable_end.store(end, Ordering::Release);
    }

    /// Publishes who leads; called by the replica's core alone.
    pub(crate) fn set_leadership(&self, leadership: Leadership) {
        debug_assert!(leadership.epoch > 0 || leadership.leader.is_none(), "epochs start at 1");
        if leadership.is_own {
            self.led_epoch.store(leadership.epoch, Ordering::Release);
        }
        let before = self.leadership.swap(leadership.packed(), Ordering::AcqRel);
        if before != leadership.packed() {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Publishes whether a leader tells its latest offset; called by the replica's core alone.
    pub(crate) fn set_tells_latest(&self, tells: bool) {
        self.tells_latest.store(tells, Ordering::Release);
    }

    /// Publishes what every other replica is known to hold; called by the replica's core alone.
    pub(crate) fn set_held_by_all(&self, upto: Option<Offset>) {
        self.held_by_all.store(upto.unwrap_or(Offset::MAX), Ordering::Relaxed);
    }

    /// Publishes which replicas are in sync, none when the replica leads no longer; called by the replica's core alone.
    pub(crate) fn set_in_sync(&self, brokers: Arc<[BrokerId]>) {
        self.in_sync.store(brokers.len().max(1), Ordering::Relaxed);
        if !brokers.is_empty() && **self.in_sync_brokers.load() != brokers {
            self.in_sync_brokers.store(Arc::new(brokers));
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Who leads, as one replica knows it. It is published as one number, so that no reader sees a leader with the epoch of
/// another: the epoch in the upper half, the leader's id in the lower, -1 for none, and the sign, which epochs do not need,
/// says that the replica itself leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Leadership {
    /// The epoch the replica is in.
    pub(crate) epoch: LeaderEpoch,
    /// Its leader, where known.
    pub(crate) leader: Option<BrokerId>,
    /// Whether the replica itself leads.
    pub(crate) is_own: bool,
}

impl Leadership {
    const OWN: u64 = 1 << 63;

    fn packed(self) -> u64 {
        let id = self.leader.map_or(-1, |leader| leader.0);
        let own = if self.is_own { Self::OWN } else { 0 };
        u64::from(self.epoch.cast_unsigned()) << 32 | u64::from(id.cast_unsigned()) | own
    }

    fn unpacked(packed: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0).cast_signed();
        let id = half(packed);
        Self {
            epoch: half((packed & !Self::OWN) >> 32),
            leader: (id >= 0).then_some(BrokerId(id)),
            is_own: packed & Self::OWN != 0,
        }
    }
}

/// Who leads a partition, as far as this broker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The leader, which is heard.
    pub broker: BrokerId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The in-sync replicas, the leader at least.
    pub in_sync: Arc<[BrokerId]>,
}

/// The image of the metadata, the views of all replicas hosted here, and what other brokers tell of those they lead.
#[derive(Debug)]
pub struct Directory {
    image: ArcSwap<Image>,
    partitions: RwLock<HashMap<TopicPartition, Arc<PartitionView>>>,
    hints: Hints,
}

impl Directory {
    /// A directory with no partition.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { image: ArcSwap::from_pointee(image), partitions: RwLock::default(), hints: Hints::default() }
    }

    /// What other brokers tell of the partitions that they lead.
    #[must_use]
    pub const fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Whether the broker can be sent to: it is this one, or it is heard.
    #[must_use]
    pub fn is_heard(&self, broker: BrokerId) -> bool {
        self.image.load().local().broker == Some(broker) || self.hints.hears(broker)
    }

    /// Who leads a partition: of what the replica here knows and what other brokers tell, the greater epoch. `None` when
    /// nobody is known to, or who does is not heard.
    #[must_use]
    pub fn leader(&self, partition: &TopicPartition) -> Option<Leader> {
        let (view, hint) = (self.partition(partition), self.hints.get(partition));
        let known = view.as_ref().map_or(0, |view| view.epoch());
        let hint = hint.filter(|hint| hint.epoch >= known);
        let told = |hint: Hint| Leader { broker: hint.leader, epoch: hint.epoch, in_sync: hint.in_sync };
        let seen = view.as_ref().and_then(|view| {
            let (broker, epoch) = view.leader()?;
            let own = view.leader_epoch().map(|_| view.in_sync_brokers()).filter(|brokers| !brokers.is_empty());
            let hinted = hint.as_ref().filter(|hint| (hint.leader, hint.epoch) == (broker, epoch));
            let in_sync = match (own, hinted) {
                (Some(own), _) => own,
                (None, Some(hint)) => Arc::clone(&hint.in_sync),
                (None, None) => Arc::from([broker]),
            };
            Some(Leader { broker, epoch, in_sync })
        });
        let leader = match (seen, hint) {
            (Some(seen), Some(hint)) if hint.epoch > seen.epoch => told(hint),
            (Some(seen), _) => seen,
            (None, Some(hint)) => told(hint),
            (None, None) => return None,
        };
        Some(leader).filter(|leader| self.is_heard(leader.broker))
    }

    /// The replicas that the last leader of a partition had in sync, as far as this broker knows: itself, or another one that has
    /// told. `None` when it has heard of none.
    #[must_use]
    pub fn last_in_sync(&self, partition: &TopicPartition) -> Option<Arc<[BrokerId]>> {
        let view = self.partition(partition);
        let own = view.map(|view| (view.led_epoch.load(Ordering::Acquire), view.in_sync_brokers()));
        let own = own.filter(|(epoch, brokers)| *epoch > 0 && !brokers.is_empty());
        let told = self.hints.get(partition).map(|hint| (hint.epoch, hint.in_sync));
        own.into_iter().chain(told).max_by_key(|(epoch, _)| *epoch).map(|(_, brokers)| brokers)
    }

    /// The newest metadata image.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Publishes a newer image; called by the host of the metadata store.
    pub fn publish_image(&self, image: Arc<Image>) {
        self.image.store(image);
    }

    /// The view of a partition hosted here.
    #[must_use]
    pub fn partition(&self, partition: &TopicPartition) -> Option<Arc<PartitionView>> {
        self.partitions.read().get(partition).cloned()
    }

    /// Publishes a replica's view; called by its host when the replica starts.
    pub fn publish(&self, view: Arc<PartitionView>) {
        self.partitions.write().insert(view.partition, view);
    }

    /// Withdraws a replica's view; called by its host when the replica is deleted.
    pub fn withdraw(&self, partition: &TopicPartition) {
        self.partitions.write().remove(partition);
    }

    /// Number of replicas hosted here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.read().len()
    }

    /// Whether no replica is hosted here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_is_one_number() {
        for epoch in [0, 1, 7, i32::MAX] {
            for leader in [None, Some(BrokerId(0)), Some(BrokerId(i32::MAX))] {
                for is_own in [false, true] {
                    let leadership = Leadership { epoch, leader, is_own };
                    assert_eq!(Leadership::unpacked(leadership.packed()), leadership);
                }
            }
        }
    }
}
