//! What a start finds on the disk beside, or instead of, what the replayed metadata name: what deletions and moves have left
//! behind because the process ended in the middle of them.
//!
//! A deletion is durable in the metadata first, then the write-ahead store forgets the partition, then its directory
//! goes. So of a topic that the replayed metadata do not know, both the memory and the directory may go. What has moved to other
//! brokers goes as well, unless what is known here still says that it counts: then it runs until it does not
//! ([`Orphans::left_behind`]).

use std::collections::{BTreeMap, BTreeSet};

use millrace_metadata::Image;
use millrace_raft::ReplicaKey;
use millrace_storage::QRecord;
use millrace_types::TopicPartition;

use super::replicas::{Part, part};
use crate::replica::Promises;

/// What is on the disk, and shall not be here any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Partitions of topics that do not exist any more, and that the write-ahead store remembers.
    remembered: Vec<TopicPartition>,
    /// Partitions of topics that do not exist any more, and that have a directory.
    directories: Vec<TopicPartition>,
    /// Partitions that this broker shall have nothing of, where what is left here counts no more, with what stays of its
    /// promises.
    retired: Vec<(TopicPartition, Promises)>,
    /// Partitions of which something else is here than this broker shall have, and may count.
    left: Vec<(TopicPartition, Part)>,
}

impl Orphans {
    /// Compares what is here with what `image`, as it was replayed, names here: `remembered` is what the write-ahead store holds,
    /// `directories` are the partitions that have one, and `me` is this broker with the directory of its data.
    #[must_use]
    pub fn find(
        image: &Image,
        remembered: &BTreeMap<TopicPartition, Promises>,
        directories: &BTreeSet<TopicPartition>,
        me: ReplicaKey,
    ) -> Self {
        if image.cluster_id().is_empty() {
            // A journal without a single entry says nothing about what there was.
            return Self::default();
        }
        let is_orphan = |partition: &TopicPartition| image.topic_by_id(partition.topic).is_none();
        let mut orphans = Self {
            remembered: remembered.keys().copied().filter(is_orphan).collect(),
            directories: directories.iter().copied().filter(is_orphan).collect(),
            ..Self::default()
        };
        let known: BTreeSet<TopicPartition> = remembered.keys().chain(directories).copied().collect();
        for partition in known.into_iter().filter(|partition| !is_orphan(partition)) {
            let promises = remembered.get(&partition).cloned().unwrap_or_default();
            orphans.look_at(partition, promises, directories.contains(&partition), image, me);
        }
        orphans
    }

    /// Compares what is here of a partition with what the image names here.
    fn look_at(
        &mut self,
        partition: TopicPartition,
        promises: Promises,
        has_directory: bool,
        image: &Image,
        me: ReplicaKey,
    ) {
        let named = part(image, partition, me.broker);
        let is_here = match promises.part(me) {
            Some(part) => Some(part),
            None => has_directory.then_some(Part::Replica),
        };
        match is_here {
            None => {}
            Some(is_here) if Some(is_here) == named => {}
            Some(_) if promises.are_outside(me) => self.retired.push((partition, promises.retired())),
            Some(is_here) => self.left.push((partition, is_here)),
        }
    }

    /// What runs until it may go, beside or instead of what this broker shall have
    /// ([`super::MetadataStore::with_left_behind`]).
    #[must_use]
    pub fn left_behind(&self) -> Vec<(TopicPartition, Part)> {
        self.left.clone()
    }

    /// What makes the write-ahead store forget them, in one put that is durable before anything is removed: a memory without its
    /// data would be taken for a loss. Of what has moved away its word in elections stays.
    #[must_use]
    pub fn records(&self) -> Vec<QRecord> {
        let forgotten = self.remembered.iter().map(|tp| QRecord::Forget { tp: *tp });
        forgotten.chain(self.retired.iter().flat_map(|(tp, promises)| promises.retirement(*tp))).collect()
    }

    /// What has moved away, with what stays of its promises. Its directories go before anything is served: a replica that came
    /// back would take them for its own.
    #[must_use]
    pub fn retired(&self) -> &[(TopicPartition, Promises)] {
        &self.retired
    }

    /// What was deleted: its directories go while the broker serves.
    #[must_use]
    pub fn deleted(&self) -> &[TopicPartition] {
        &self.directories
    }
}
