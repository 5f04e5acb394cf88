//! What a shard asks of its host after a request or a timer.

use bytes::Bytes;

use crate::response::GroupResponse;

/// One record of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key in Kafka's format, its version first.
    pub key: Bytes,
    /// The value in Kafka's format, `None` for a tombstone.
    pub value: Option<Bytes>,
}

impl Record {
    /// Bytes of key and value.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// Records to append and replies to send once everything appended so far is committed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To append, in this order.
    pub records: Vec<Record>,
    /// Which waiting request gets which response.
    pub replies: Vec<(u64, GroupResponse)>,
}

impl Outcome {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    pub(crate) fn reply(&mut self, token: u64, response: GroupResponse) {
        self.replies.push((token, response));
    }
}
