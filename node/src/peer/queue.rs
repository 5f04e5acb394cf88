//! What waits for a connection, in the order of sending: by control what is not of a partition first, then votes, fetches and
//! acknowledgements; by the other shards responses with their records.
//!
//! So two messages of a partition overtake each other only when one of them is a response. Replicas bear that: an answer names
//! the position and the epoch that it answers (R5), or the request of a repair.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_raft::Message;

use super::codec::{Batch, Encoded};
use super::mutation::{Mutation, broken};
use super::{MAX_FRAME, PeerSettings};

/// Memory that a message takes beside its bytes: its place in the queue, and what its allocation adds, rounded up.
const ENTRY: usize = 256;
/// As many messages are too many when [`Mutation::BoundByNumber`] is broken.
const MANY: usize = 65_536;
/// Room that a frame needs beside its messages.
const FRAME_OVERHEAD: usize = 64;

/// Messages that wait. Invariant: `bytes` is the sum of their lengths.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Whole frames, before everything else.
    planes: VecDeque<Bytes>,
    messages: VecDeque<Encoded>,
    bytes: usize,
}

/// There is no room: everything that waits is to be given up, in order, and said to be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Whether the message goes by the shard of its partition, apart from control.
pub(crate) const fn is_response(message: &Message) -> bool {
    matches!(message, Message::FetchResponse(_) | Message::RepairResponse(_))
}

impl Queue {
    /// Puts a message behind the others.
    pub(crate) fn push(&mut self, message: Encoded, settings: &PeerSettings) -> Result<(), Overflow> {
        self.take(message.len(), settings)?;
        self.messages.push_back(message);
        Ok(())
    }

    /// Puts a frame that is not of a partition behind those before it.
    pub(crate) fn push_plane(&mut self, frame: Bytes, settings: &PeerSettings) -> Result<(), Overflow> {
        self.take(frame.len(), settings)?;
        self.planes.push_back(frame);
        Ok(())
    }

    /// The next frame that is not of a partition.
    pub(crate) fn pop_plane(&mut self) -> Option<Bytes> {
        let frame = self.planes.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Makes room for so many bytes. What fills a queue is memory, never a number of messages: a session begins with one of each
    /// partition, and would end with the last that is too many, and so would the next.
    fn take(&mut self, length: usize, settings: &PeerSettings) -> Result<(), Overflow> {
        let is_crowded = broken(Mutation::BoundByNumber) && self.len() >= MANY;
        let takes = self.memory().saturating_add(ENTRY).saturating_add(length);
        let full = is_crowded || (!self.is_empty() && takes > settings.queue_bytes);
        if (full && !broken(Mutation::QueueWithoutBound)) || length > MAX_FRAME - FRAME_OVERHEAD {
            return Err(Overflow);
        }
        self.bytes += length;
        Ok(())
    }

    /// Fills a frame with the first messages; at least one, if there is one.
    pub(crate) fn fill(&mut self, mut batch: Batch, settings: &PeerSettings) -> Option<Batch> {
        let (mut count, mut bytes) = (0, 0);
        while let Some(message) = self.messages.front() {
            let length = message.len();
            if count > 0 && (count >= settings.frame_messages || bytes + length > settings.frame_bytes) {
                break;
            }
            let Some(message) = self.messages.pop_front() else { break };
            (count, bytes) = (count + 1, bytes + length);
            batch.push(message);
        }
        self.bytes -= bytes;
        (count > 0).then_some(batch)
    }

    /// Gives everything up; how many messages.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.len();
        *self = Self::default();
        count
    }

    pub(crate) fn len(&self) -> usize {
        self.planes.len() + self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that is taken by what waits.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.len() * ENTRY
    }
}
