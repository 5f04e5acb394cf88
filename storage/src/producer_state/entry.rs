//! What is remembered of one producer.

use std::collections::VecDeque;

use bytes::Buf;
use millrace_types::{Offset, Timestamp};

use super::Sequence;
use crate::log::AppendError;
use crate::record_batch::{BatchHeader, Frame};

/// How many batches of a producer are remembered, as in Kafka: a producer has at most five requests in flight.
pub(super) const WINDOW: usize = 5;

/// A batch of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) timestamp: Timestamp,
}

/// One producer. All batches of the window are of its current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) epoch: i16,
    pub(super) window: VecDeque<Batch>,
    pub(super) last_timestamp: Timestamp,
    /// Offset of its latest record, -1 before the first.
    pub(super) last_offset: Offset,
    pub(super) coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub(super) transaction_start: Option<Offset>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            epoch: -1,
            window: VecDeque::new(),
            last_timestamp: -1,
            last_offset: -1,
            coordinator_epoch: -1,
            transaction_start: None,
        }
    }
}

impl Entry {
    /// The last sequence of the current epoch, -1 without one.
    pub(super) fn last_sequence(&self) -> i32 {
        self.window.back().map_or(-1, |batch| batch.last_sequence)
    }

    /// Whether the batch may follow. The order of the tests is Kafka's: duplicate, epoch, sequence, transaction.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Sequence, AppendError> {
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let sequences = (header.base_sequence, header.last_sequence());
        let same = |batch: &&Batch| (batch.first_sequence, batch.last_sequence) == sequences;
        if let Some(batch) = self.window.iter().find(same).filter(|_| epoch == self.epoch) {
            let Batch { base_offset, last_offset, timestamp, .. } = *batch;
            return Ok(Sequence::Duplicate { base_offset, last_offset, timestamp });
        }
        if epoch < self.epoch {
            return Err(AppendError::InvalidProducerEpoch { producer_id, epoch, current: self.epoch });
        }
        // The broker's own batches carry a producer but no sequence.
        if header.base_sequence >= 0 && !header.is_control() {
            let expected = if epoch == self.epoch { self.due() } else { 0 };
            if header.base_sequence != expected {
                let sequence = header.base_sequence;
                return Err(AppendError::OutOfOrderSequence { producer_id, epoch, sequence, expected });
            }
        }
        if self.transaction_start.is_some() && !header.is_transactional() {
            return Err(AppendError::InvalidTransactionState(producer_id));
        }
        Ok(Sequence::Due)
    }

    /// The sequence that is due in the current epoch; 0 follows `i32::MAX`.
    fn due(&self) -> i32 {
        self.last_sequence().checked_add(1).unwrap_or(0)
    }

    /// Notes a data batch.
    pub(super) fn add(&mut self, header: &BatchHeader) {
        self.enter(header.producer_epoch);
        if header.base_sequence >= 0 {
            if self.window.len() == WINDOW {
                self.window.pop_front();
            }
            self.window.push_back(Batch {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                timestamp: header.max_timestamp,
            });
        }
        self.last_timestamp = header.max_timestamp;
        if header.is_transactional() {
            self.transaction_start.get_or_insert(header.base_offset);
        }
    }

    /// Notes the marker that ends a transaction.
    pub(super) fn end_transaction(&mut self, header: &BatchHeader, coordinator_epoch: Option<i32>) {
        self.enter(header.producer_epoch);
        self.coordinator_epoch = coordinator_epoch.unwrap_or(self.coordinator_epoch);
        self.last_timestamp = header.max_timestamp;
        self.transaction_start = None;
    }

    fn enter(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.window.clear();
        }
    }
}

/// The coordinator epoch in an end-of-transaction marker: the key is `version i16, type i16`, the value
/// `version i16, coordinator epoch i32`.
pub(super) fn end_marker(payload: &[u8]) -> Option<i32> {
    let frame = Frame::take(&mut &*payload)?;
    let mut value = frame.value?;
    if value.len() < 6 {
        return None;
    }
    value.advance(2);
    Some(value.get_i32())
}
