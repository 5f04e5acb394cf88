//! The published side: what connections read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millrace_types::{BrokerId, LeaderEpoch, TopicPartition};
use parking_lot::RwLock;

/// What a broker has told of a partition that it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The broker.
    pub leader: BrokerId,
    /// The epoch that it leads.
    pub epoch: LeaderEpoch,
    /// The in-sync replicas, itself included.
    pub in_sync: Arc<[BrokerId]>,
}

/// The entries that have won, and the brokers that are heard. Any thread reads it; the core alone writes.
#[derive(Debug, Default)]
pub struct Hints {
    entries: RwLock<HashMap<TopicPartition, Hint>>,
    heard: RwLock<BTreeSet<BrokerId>>,
}

impl Hints {
    /// The entry of a partition. Its leader may be a broker that is not heard.
    #[must_use]
    pub fn get(&self, partition: &TopicPartition) -> Option<Hint> {
        self.entries.read().get(partition).cloned()
    }

    /// Whether the broker is heard.
    #[must_use]
    pub fn hears(&self, broker: BrokerId) -> bool {
        self.heard.read().contains(&broker)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Publishes an entry, or that there is none any more; says whether that is news.
    pub(crate) fn put(&self, partition: TopicPartition, hint: Option<Hint>) -> bool {
        let mut entries = self.entries.write();
        match hint {
            Some(hint) if entries.get(&partition) == Some(&hint) => false,
            Some(hint) => {
                entries.insert(partition, hint);
                true
            }
            None => entries.remove(&partition).is_some(),
        }
    }

    /// Publishes whether a broker is heard.
    pub(crate) fn set_heard(&self, broker: BrokerId, is_heard: bool) {
        let mut heard = self.heard.write();
        if is_heard {
            heard.insert(broker);
        } else {
            heard.remove(&broker);
        }
    }
}
