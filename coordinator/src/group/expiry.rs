//! Committed offsets end when nobody has used them for `offsets.retention.minutes` (KIP-211).

use std::sync::Arc;

use millrace_types::Timestamp;

use super::{Group, GroupState, Work};
use crate::record::OffsetValue;

impl Group {
    /// Forgets what has expired; a group that has neither members nor offsets left is deleted.
    ///
    /// The retention of an offset begins
    /// - when the group became empty, if it has a protocol type;
    /// - with its own commit, if the group is stable and no member subscribes to the topic, or if the group never had
    ///   members.
    ///
    /// An offset whose commit said itself when it ends does so then. In a rebalance nothing expires.
    pub(crate) fn expire_offsets(&mut self, work: &mut Work<'_>) {
        let retention = Timestamp::try_from(work.config.offsets_retention.as_millis()).unwrap_or(Timestamp::MAX);
        let since = match (&self.protocol_type, self.state) {
            (Some(_), GroupState::Empty) => self.state_since,
            (Some(_), GroupState::Stable) if self.is_consumer() => None,
            (None, _) => None,
            (Some(_), _) => return,
        };
        let now = work.now.wall;
        let is_over = |value: &OffsetValue| match value.expire_timestamp {
            Some(at) => now >= at,
            None => now.saturating_sub(since.unwrap_or(value.commit_timestamp)) >= retention,
        };
        for (topic, partition) in self.offsets_that(is_over) {
            self.delete_offset(&topic, partition, work);
        }
        if self.state == GroupState::Empty && self.offsets.is_empty() && self.pending.is_empty() {
            self.delete(work);
        }
    }

    /// The offsets that `is_over` holds of, without those of subscribed topics.
    fn offsets_that(&self, is_over: impl Fn(&OffsetValue) -> bool) -> Vec<(Arc<str>, i32)> {
        let mut over = Vec::new();
        for (topic, partitions) in &self.offsets {
            let expired = partitions.iter().filter(|(_, value)| is_over(value));
            over.extend(expired.map(|(partition, _)| (topic.clone(), *partition)));
        }
        if over.is_empty() || self.state == GroupState::Empty {
            return over;
        }
        match self.subscribed_among(over.iter().map(|(topic, _)| topic)) {
            Some(subscribed) => over.retain(|(topic, _)| !subscribed.contains(topic)),
            None => over.clear(),
        }
        over
    }
}
