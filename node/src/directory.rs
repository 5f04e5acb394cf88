//! What every connection of a broker reads without asking an actor: the metadata image and the partitions' views.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use millrace_metadata::Image;
use millrace_storage::LogView;
use millrace_types::{LeaderEpoch, Offset, TopicPartition};
use parking_lot::RwLock;

/// The published side of one replica: its readers never enter the replica's mailbox.
#[derive(Debug)]
pub struct PartitionView {
    /// The partition.
    pub partition: TopicPartition,
    /// Segments, offsets and high watermark.
    pub log: LogView,
    /// Epoch of the leader this replica knows; 0 until it has one. Leadership is published after its epoch is durable.
    leader_epoch: AtomicI32,
    /// Offsets from here on are not served: the end of what is durable when a flush has failed, else `i64::MAX`.
    readable_end: AtomicI64,
    /// Whether acknowledged records from `readable_end` on have rotted away: the end of the log is then none.
    damaged: AtomicBool,
}

impl PartitionView {
    /// The view of a replica that has no leader yet.
    #[must_use]
    pub fn new(partition: TopicPartition, log: LogView) -> Self {
        Self {
            partition,
            log,
            leader_epoch: AtomicI32::new(0),
            readable_end: AtomicI64::new(i64::MAX),
            damaged: AtomicBool::new(false),
        }
    }

    /// The current leader epoch; `None` while the replica has no leader.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        match self.leader_epoch.load(Ordering::Acquire) {
            0 => None,
            epoch => Some(epoch),
        }
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

    /// Says that the records from `end` on have rotted away; called by the replica's core alone.
    pub(crate) fn set_damaged(&self, end: Offset) {
        self.limit_reads(end);
        self.damaged.store(true, Ordering::Release);
    }

    /// Limits reads to the offsets below `end`; called by the replica's core alone.
    pub(crate) fn limit_reads(&self, end: Offset) {
        self.readable_end.store(end, Ordering::Release);
    }

    /// Publishes the leader epoch; called by the replica's core alone.
    pub(crate) fn set_leader_epoch(&self, epoch: LeaderEpoch) {
        debug_assert!(epoch > 0, "epochs start at 1");
        self.leader_epoch.store(epoch, Ordering::Release);
    }
}

/// The image of the metadata and the views of all replicas hosted here.
#[derive(Debug)]
pub struct Directory {
    image: ArcSwap<Image>,
    partitions: RwLock<HashMap<TopicPartition, Arc<PartitionView>>>,
}

impl Directory {
    /// A directory with no partition.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { image: ArcSwap::from_pointee(image), partitions: RwLock::default() }
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
