//! `OffsetFetch` and `OffsetDelete`.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_types::ErrorCode;

use super::{CONSUMER, Group, GroupState, Work};
use crate::record::{OffsetValue, offset_key, visit_topics};
use crate::request::TopicPartitions;
use crate::response::{CommittedTopic, FetchedOffset, FetchedTopic};

impl Group {
    /// The committed offsets of `topics`, `-1` where there is none; without `topics` all there are.
    pub(crate) fn fetch(&self, topics: Option<&[TopicPartitions]>) -> Vec<FetchedTopic> {
        match topics {
            Some(topics) => topics.iter().map(|topic| self.fetch_topic(topic)).collect(),
            None => self.offsets.iter().map(|(name, partitions)| all_of_topic(name, partitions)).collect(),
        }
    }

    fn fetch_topic(&self, topic: &TopicPartitions) -> FetchedTopic {
        let offsets = self.offsets.get(&topic.name);
        let fetched = |partition: &i32| fetched_offset(*partition, offsets.and_then(|offsets| offsets.get(partition)));
        FetchedTopic { name: topic.name.clone(), partitions: topic.partitions.iter().map(fetched).collect() }
    }

    /// Forgets offsets of topics that the group does not subscribe to (KIP-496).
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` when the group has members whose protocol does not tell what they subscribe to.
    pub(crate) fn delete_offsets(
        &mut self,
        topics: Vec<TopicPartitions>,
        work: &mut Work<'_>,
    ) -> Result<Vec<CommittedTopic>, ErrorCode> {
        if self.state != GroupState::Empty && !self.is_consumer() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let subscribed = self.subscribed_among(topics.iter().map(|topic| &topic.name));
        let mut deleted = Vec::with_capacity(topics.len());
        for TopicPartitions { name, partitions } in topics {
            let refused = subscribed.as_ref().map_or_else(|| self.is_consumer(), |topics| topics.contains(&name));
            let error = if refused { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            for &partition in partitions.iter().filter(|_| !refused) {
                self.delete_offset(&name, partition, work);
            }
            deleted.push(CommittedTopic { name, partitions: partitions.into_iter().map(|p| (p, error)).collect() });
        }
        Ok(deleted)
    }

    /// Whether the group has committed an offset of one of `topics`.
    pub(crate) fn has_offsets_of(&self, topics: &BTreeSet<Arc<str>>) -> bool {
        self.offsets.keys().any(|topic| topics.contains(topic))
    }

    /// Forgets every offset of `topics`, whoever subscribes to them: they have been deleted.
    pub(crate) fn forget_topics(&mut self, topics: &BTreeSet<Arc<str>>, work: &mut Work<'_>) {
        let gone = self.offsets.iter().filter(|(topic, _)| topics.contains(*topic));
        let gone: Vec<(Arc<str>, Vec<i32>)> =
            gone.map(|(topic, partitions)| (topic.clone(), partitions.keys().copied().collect())).collect();
        for (topic, partitions) in gone {
            for partition in partitions {
                self.delete_offset(&topic, partition, work);
            }
        }
    }

    /// Length of the text kept with a committed offset; `None` when there is no such offset.
    pub(crate) fn metadata_len(&self, topic: &str, partition: i32) -> Option<usize> {
        Some(self.offsets.get(topic)?.get(&partition)?.metadata.len())
    }

    /// Appends a tombstone for an offset, if there is one.
    pub(super) fn delete_offset(&mut self, topic: &Arc<str>, partition: i32, work: &mut Work<'_>) {
        if self.offsets.get(topic).is_some_and(|partitions| partitions.contains_key(&partition)) {
            work.append(offset_key(&self.id, topic, partition), None);
            self.apply_offset(topic, partition, None);
        }
    }

    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Those of `topics` that members subscribe to; `None` when the members' protocol does not tell, as also while no
    /// protocol is selected.
    pub(super) fn subscribed_among<'a>(
        &self,
        topics: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_consumer() {
            return None;
        }
        let topics: BTreeSet<&Arc<str>> = topics.collect();
        let mut found = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(Some(self.protocol.as_deref()?));
            let visit = |topic: &str| {
                found.extend(topics.get(&Arc::from(topic)).map(|topic| Arc::clone(topic)));
            };
            visit_topics(&metadata, visit).ok()?;
        }
        Some(found)
    }
}

fn all_of_topic(name: &Arc<str>, offsets: &std::collections::BTreeMap<i32, OffsetValue>) -> FetchedTopic {
    let partitions = offsets.iter().map(|(partition, value)| fetched_offset(*partition, Some(value))).collect();
    FetchedTopic { name: name.clone(), partitions }
}

/// One committed offset as `OffsetFetch` shows it.
pub(crate) fn fetched_offset(partition: i32, value: Option<&OffsetValue>) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: value.map_or(-1, |value| value.offset),
        leader_epoch: value.map_or(-1, |value| value.leader_epoch),
        metadata: value.map_or_else(|| "".into(), |value| value.metadata.clone()),
        error: ErrorCode::None,
    }
}
