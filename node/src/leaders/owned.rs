//! The entries that this broker owns: of the partitions that it leads, or has led and somebody may not know yet.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::TopicPartition;

use super::codec::Entry;

/// The entries, each under the version at which it was last changed.
///
/// Invariant: `by_version` and `entries` hold the same pairs, `left` the versions of those that say that this broker
/// leads no longer, and no version is above `version`.
#[derive(Debug, Default)]
pub(super) struct Owned {
    entries: BTreeMap<TopicPartition, (u64, Entry)>,
    by_version: BTreeMap<u64, TopicPartition>,
    left: BTreeSet<u64>,
    version: u64,
}

impl Owned {
    /// What was told last of a partition.
    pub(super) fn get(&self, partition: TopicPartition) -> Option<&Entry> {
        self.entries.get(&partition).map(|(_, entry)| entry)
    }

    /// Changes an entry; says whether it is another one.
    pub(super) fn put(&mut self, partition: TopicPartition, entry: Entry) -> bool {
        if self.get(partition) == Some(&entry) {
            return false;
        }
        self.version += 1;
        if matches!(entry, Entry::Left { .. }) {
            self.left.insert(self.version);
        }
        if let Some((before, _)) = self.entries.insert(partition, (self.version, entry)) {
            self.by_version.remove(&before);
            self.left.remove(&before);
        }
        self.by_version.insert(self.version, partition);
        true
    }

    /// The entries changed after `version`, `max` at most, and the version of the last of them.
    pub(super) fn since(&self, version: u64, max: usize) -> (Vec<(TopicPartition, Entry)>, u64) {
        let mut upto = version;
        let mut entries = Vec::new();
        for (at, partition) in self.by_version.range(version.saturating_add(1)..).take(max) {
            upto = *at;
            entries.extend(self.get(*partition).map(|entry| (*partition, entry.clone())));
        }
        (entries, upto)
    }

    /// Whether nothing was changed after `version`.
    pub(super) fn is_told(&self, version: u64) -> bool {
        self.by_version.last_key_value().is_none_or(|(last, _)| *last <= version)
    }

    /// Everybody who listens knows what was changed up to `version`: that a partition is led no longer need not be kept.
    /// Who listens later is told all that is led, and takes the rest for over.
    pub(super) fn forget_left(&mut self, version: u64) {
        while let Some(at) = self.left.first().copied().filter(|at| *at <= version) {
            self.left.remove(&at);
            if let Some(partition) = self.by_version.remove(&at) {
                self.entries.remove(&partition);
            }
        }
    }

    /// Number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.entries.len(), self.by_version.len());
        self.entries.len()
    }
}
