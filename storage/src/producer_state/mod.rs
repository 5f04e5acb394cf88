//! What a log remembers of idempotent and transactional producers (KIP-98): the rules are those of Apache Kafka's
//! `ProducerStateManager` and `ProducerAppendInfo`.
//!
//! The state is a function of the batches of the log, so that every replica and every restart derives the same. Only
//! expiry and the bound on the number of producers depend on more: on the clock and on a setting.

mod entry;
mod rebuild;
mod snapshot;
mod summary;

use std::collections::BTreeMap;

use millrace_types::{Offset, ProducerId, Timestamp};

use crate::log::AppendError;
use crate::record_batch::BatchHeader;

use entry::{Entry, end_marker};
pub(crate) use rebuild::{has_snapshot, rebuild};
pub(crate) use snapshot::{decode_snapshot, encode_snapshot};
pub use summary::ProducerSummary;

/// How many of the longest idle producers are looked at for one without an open transaction.
const EVICTION_ROUNDS: usize = 64;

/// What a batch is to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It may be appended.
    Due,
    /// It is in the log already.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its greatest timestamp.
        timestamp: Timestamp,
    },
}

/// Producers by their ids. `entries` and `by_activity` hold the same producers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProducerState {
    entries: BTreeMap<ProducerId, Entry>,
    /// The latest offset of each producer: the first is the longest idle. Offsets of two producers always differ.
    by_activity: BTreeMap<Offset, ProducerId>,
}

impl ProducerState {
    /// Whether the batch of a client may be appended.
    ///
    /// # Errors
    /// The rule it breaks.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Sequence, AppendError> {
        match self.entries.get(&header.producer_id) {
            Some(entry) if header.has_producer() => entry.check(header),
            // Kafka accepts any sequence from a producer it knows nothing of: retention, DeleteRecords or expiry may
            // have taken what it knew (KIP-360).
            _ => Ok(Sequence::Due),
        }
    }

    /// Notes a batch of the log; `payload` is what follows its header.
    pub(crate) fn update(&mut self, header: &BatchHeader, payload: &[u8], max_producers: usize) {
        if !header.has_producer() {
            return;
        }
        let entry = self.entries.entry(header.producer_id).or_default();
        if entry.last_offset >= 0 {
            self.by_activity.remove(&entry.last_offset);
        }
        if header.is_control() {
            entry.end_transaction(header, end_marker(payload));
        } else {
            entry.add(header);
        }
        entry.last_offset = header.last_offset();
        self.by_activity.insert(entry.last_offset, header.producer_id);
        while self.entries.len() > max_producers.max(1) {
            self.evict_one();
        }
    }

    /// Forgets the longest idle producer, one without an open transaction if there is one among the first.
    fn evict_one(&mut self) {
        let idle = |id: &&ProducerId| self.entries.get(id).is_some_and(|entry| entry.transaction_start.is_none());
        let victim =
            self.by_activity.values().take(EVICTION_ROUNDS).find(idle).or_else(|| self.by_activity.values().next());
        if let Some(id) = victim.copied() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ProducerId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.by_activity.remove(&entry.last_offset);
        }
    }

    /// Forgets producers that are idle for `expiration_ms` or longer, but for those with an open transaction.
    pub(crate) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        let expired = |entry: &Entry| {
            entry.transaction_start.is_none() && now.saturating_sub(entry.last_timestamp) >= expiration_ms
        };
        let ids: Vec<_> = self.entries.iter().filter(|(_, entry)| expired(entry)).map(|(id, _)| *id).collect();
        for id in ids {
            self.forget(id);
        }
    }

    /// When the next producer expires, on the wall clock.
    pub(crate) fn next_expiry(&self, expiration_ms: i64) -> Option<Timestamp> {
        let open = self.entries.values().filter(|entry| entry.transaction_start.is_none());
        open.map(|entry| entry.last_timestamp.saturating_add(expiration_ms)).min()
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_undecided(&self) -> Option<Offset> {
        self.entries.values().filter_map(|entry| entry.transaction_start).min()
    }

    /// Number of producers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The producers in the order of their ids.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = ProducerSummary> + '_ {
        self.entries.iter().map(|(id, entry)| ProducerSummary {
            producer_id: *id,
            producer_epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_start: entry.transaction_start.unwrap_or(-1),
        })
    }
}

#[cfg(test)]
mod tests;
