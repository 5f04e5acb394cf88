//! The batches of one partition: those that wait, those in flight, and the sequence numbers that keep their order.
//!
//! Invariants, with idempotence (KIP-98):
//! - Batches are acknowledged in the order of their ids, because each stamped batch carries the sequence number that
//!   follows on its predecessor's last one, and the leader refuses gaps.
//! - The first batch under an identity is alone in flight until it is acknowledged: a leader takes any number from a
//!   producer that it knows nothing of, so that the second would be taken without the first.
//! - A batch that is sent again is alone in flight. Its successors come back as OUT_OF_ORDER_SEQUENCE_NUMBER, wait
//!   behind it, and follow one by one.
//! - When a stamped batch is given up, nobody knows whether its numbers were used: the partition waits until nothing
//!   is in flight and starts over at 0 under another producer epoch (KIP-360). A batch that may have been written keeps
//!   its stamp until the leader has said which: under another one it would be written twice.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_types::{Instant, LeaderEpoch, ProducerId};

use crate::core::cluster::RequestId;
use crate::error::ClientError;
use crate::record::{BatchBuilder, Codec, ProducerStamp, SealedBatch};

/// Identity of a batch within one producer; grows with the order of `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Producer id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: i16,
}

#[derive(Debug)]
enum Contents {
    Open(BatchBuilder),
    Sealed(SealedBatch),
    /// Sealing failed; the batch is given up when it is taken.
    Broken(ClientError),
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    contents: Contents,
    pub(super) count: i32,
    /// Bytes it takes from the buffer's memory.
    pub(super) charge: usize,
    pub(super) created: Instant,
    /// Times it was sent.
    pub(super) attempts: u32,
    stamp: Option<(Identity, i32)>,
    /// Whether a broker may have written it although no acknowledgement came.
    pub(super) possibly_written: bool,
    pub(super) last_error: Option<ClientError>,
}

impl Batch {
    pub(super) fn new(id: BatchId, capacity: usize, created: Instant) -> Self {
        Self {
            id,
            contents: Contents::Open(BatchBuilder::with_capacity(capacity)),
            count: 0,
            charge: 0,
            created,
            attempts: 0,
            stamp: None,
            possibly_written: false,
            last_error: None,
        }
    }

    /// The builder while the batch takes records.
    pub(super) fn builder(&mut self) -> Option<&mut BatchBuilder> {
        match &mut self.contents {
            Contents::Open(builder) => Some(builder),
            Contents::Sealed(_) | Contents::Broken(_) => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.contents, Contents::Open(_))
    }

    /// Bytes on the wire; before sealing those without compression.
    pub(super) fn bytes(&self) -> usize {
        match &self.contents {
            Contents::Open(builder) => builder.bytes(),
            Contents::Sealed(sealed) => sealed.bytes(),
            Contents::Broken(_) => 0,
        }
    }

    /// Ends the taking of records and compresses them.
    pub(super) fn seal(&mut self, codec: Codec) {
        let contents = std::mem::replace(&mut self.contents, Contents::Broken(ClientError::Closed));
        self.contents = match contents {
            Contents::Open(builder) => match builder.seal(codec) {
                Ok(sealed) => Contents::Sealed(sealed),
                Err(error) => Contents::Broken(ClientError::protocol("record batch", error.to_string())),
            },
            other => other,
        };
    }

    /// The bytes to send.
    fn encode(&mut self) -> Result<Bytes, ClientError> {
        let stamp = self.stamp.map_or(ProducerStamp::NONE, |(identity, sequence)| ProducerStamp {
            id: identity.id,
            epoch: identity.epoch,
            sequence,
        });
        match &mut self.contents {
            Contents::Sealed(sealed) => Ok(sealed.stamp(stamp)),
            Contents::Broken(error) => Err(error.clone()),
            Contents::Open(_) => Err(ClientError::protocol("record batch", "sent before it was sealed")),
        }
    }
}

#[derive(Debug)]
struct InFlight {
    /// None after the batch was given up: its place is kept until the answer comes.
    batch: Option<Batch>,
    request: RequestId,
    leader_epoch: LeaderEpoch,
}

/// A batch taken for sending.
#[derive(Debug)]
pub(super) enum Taken {
    /// These bytes go out; the batch counts as in flight once [`PartitionQueue::sent`] was called.
    Send(Batch, Bytes),
    /// The batch cannot be sent at all.
    Failed(Batch, ClientError),
}

/// The batches of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionQueue {
    pub(super) waiting: VecDeque<Batch>,
    in_flight: VecDeque<InFlight>,
    /// Nothing is sent before, after a failure.
    pub(super) retry_at: Instant,
    identity: Option<Identity>,
    next_sequence: i32,
    /// Whether the leader has acknowledged a batch of `identity`.
    pub(super) known_to_leader: bool,
    /// Whether sequence numbers must start over before anything is sent.
    pub(super) needs_reset: bool,
}

impl PartitionQueue {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty() && !self.needs_reset
    }

    /// Whether the order of batches allows to send the first that waits.
    pub(super) fn may_send(&self, now: Instant, idempotent: bool) -> bool {
        let Some(head) = self.waiting.front() else { return false };
        if self.retry_at > now || (self.needs_reset && !self.is_unsettled()) {
            return false;
        }
        let retrying = head.attempts > 0
            || self.in_flight.iter().any(|sent| sent.batch.as_ref().is_none_or(|batch| batch.attempts > 1));
        self.in_flight.is_empty() || !idempotent || (self.known_to_leader && !retrying)
    }

    /// Takes the first batch for sending, stamped under `identity`.
    pub(super) fn take(&mut self, codec: Codec, identity: Option<Identity>) -> Option<Taken> {
        let head = self.waiting.front()?;
        if let (None, Some(identity)) = (head.stamp, identity)
            && self.identity != Some(identity)
        {
            // Numbers of two epochs must not be in flight together.
            if !self.in_flight.is_empty() {
                return None;
            }
            self.identity = Some(identity);
            self.next_sequence = 0;
            self.known_to_leader = false;
        }
        let mut batch = self.waiting.pop_front()?;
        batch.seal(codec);
        if let (None, Some(identity)) = (batch.stamp, identity) {
            batch.stamp = Some((identity, self.next_sequence));
            self.next_sequence = advance_sequence(self.next_sequence, batch.count);
        }
        Some(match batch.encode() {
            Ok(bytes) => Taken::Send(batch, bytes),
            Err(error) => Taken::Failed(batch, error),
        })
    }

    /// The batch went out.
    pub(super) fn sent(&mut self, mut batch: Batch, request: RequestId, leader_epoch: LeaderEpoch) {
        batch.attempts = batch.attempts.saturating_add(1);
        self.in_flight.push_back(InFlight { batch: Some(batch), request, leader_epoch });
    }

    /// An answer came: takes its batch out of flight. The inner `None` is a batch given up before.
    pub(super) fn landed(&mut self, request: RequestId) -> Option<Option<Batch>> {
        let at = self.in_flight.iter().position(|sent| sent.request == request)?;
        self.in_flight.remove(at).map(|sent| sent.batch)
    }

    /// A batch was acknowledged.
    pub(super) fn acknowledged(&mut self, batch: &Batch) {
        self.known_to_leader |= batch.stamp.is_some_and(|(identity, _)| self.identity == Some(identity));
    }

    /// Whether a batch older than `id` has not been acknowledged.
    pub(super) fn has_older(&self, id: BatchId) -> bool {
        let in_flight = self.in_flight.iter().any(|sent| sent.batch.as_ref().is_none_or(|batch| batch.id < id));
        in_flight || self.waiting.iter().any(|batch| batch.id < id)
    }

    /// Puts a batch back, in its order.
    pub(super) fn requeue(&mut self, batch: Batch, retry_at: Instant) {
        self.retry_at = self.retry_at.max(retry_at);
        let at = self.waiting.iter().position(|other| other.id > batch.id).unwrap_or(self.waiting.len());
        self.waiting.insert(at, batch);
    }

    /// A batch is given up for good: decides what becomes of the sequence numbers.
    pub(super) fn gave_up(&mut self, batch: &Batch) {
        let Some((identity, sequence)) = batch.stamp else { return };
        if self.identity != Some(identity) {
            return;
        }
        let was_last = advance_sequence(sequence, batch.count) == self.next_sequence;
        if was_last && !batch.possibly_written {
            self.next_sequence = sequence;
        } else {
            self.needs_reset = true;
        }
    }

    /// Whether something that waits may have been written under its stamp.
    fn is_unsettled(&self) -> bool {
        self.waiting.iter().any(|batch| batch.possibly_written)
    }

    /// The leader has said that the first in line was not written, under numbers that it will not take any more. What
    /// follows on them was not written either. All of it starts over.
    pub(super) fn settle(&mut self, first: &mut Batch) {
        first.possibly_written = false;
        self.waiting.iter_mut().for_each(|batch| batch.possibly_written = false);
        self.needs_reset = true;
    }

    /// Starts over when it is time to: nothing may be in flight, and nothing that waits may have been written. Returns
    /// the identity whose epoch is used up.
    pub(super) fn reset(&mut self) -> Option<Identity> {
        if !self.needs_reset || !self.in_flight.is_empty() || self.is_unsettled() {
            return None;
        }
        self.needs_reset = false;
        self.waiting.iter_mut().for_each(|batch| batch.stamp = None);
        self.next_sequence = 0;
        self.identity.take()
    }

    /// The leader moved: what is in flight to the old one is not waited for (it may have been written).
    pub(super) fn abandon(&mut self, leader_epoch: LeaderEpoch) {
        let (old, current): (VecDeque<InFlight>, VecDeque<InFlight>) =
            self.in_flight.drain(..).partition(|sent| sent.leader_epoch < leader_epoch);
        self.in_flight = current;
        for mut batch in old.into_iter().filter_map(|sent| sent.batch) {
            batch.possibly_written = true;
            self.requeue(batch, Instant::ZERO);
        }
    }

    /// Takes out the batches created at `before` or earlier.
    pub(super) fn expire(&mut self, before: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        for sent in &mut self.in_flight {
            if sent.batch.as_ref().is_some_and(|batch| batch.created <= before)
                && let Some(mut batch) = sent.batch.take()
            {
                batch.possibly_written = true;
                expired.push(batch);
            }
        }
        while self.waiting.front().is_some_and(|batch| batch.created <= before) {
            expired.extend(self.waiting.pop_front());
        }
        for batch in &expired {
            self.gave_up(batch);
        }
        expired
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Batch> {
        self.waiting.drain(..).collect()
    }

    /// When the oldest batch was created.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let in_flight = self.in_flight.iter().filter_map(|sent| sent.batch.as_ref());
        in_flight.chain(self.waiting.front()).map(|batch| batch.created).min()
    }
}

/// The sequence number after `count` records from `sequence` on; it wraps from 2^31 - 1 to 0.
fn advance_sequence(sequence: i32, count: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1);
    i32::try_from(next).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        assert_eq!(advance_sequence(0, 3), 3);
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn a_batch_comes_back_to_its_place() {
        let mut queue = PartitionQueue::default();
        for id in [1, 4] {
            queue.waiting.push_back(Batch::new(BatchId(id), 0, Instant::ZERO));
        }
        queue.requeue(Batch::new(BatchId(3), 0, Instant::ZERO), Instant::ZERO);
        let ids: Vec<u64> = queue.waiting.iter().map(|batch| batch.id.0).collect();
        assert_eq!(ids, [1, 3, 4]);
        assert!(queue.has_older(BatchId(3)) && !queue.has_older(BatchId(1)));
    }
}
