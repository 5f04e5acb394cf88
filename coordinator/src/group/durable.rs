//! What the log holds of a group: its newest metadata record and its offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Group, GroupState, Member, Work};
use crate::outcome::Record;
use crate::record::{GroupValue, OffsetValue, group_key, offset_key};

/// What a record costs in a batch beyond its key and value, at most; close enough to compare sizes of logs.
const RECORD_OVERHEAD_BYTES: usize = 16;

impl Group {
    /// Appends the group's metadata record; false, and nothing is appended, when it would fit no batch.
    pub(super) fn write(&mut self, work: &mut Work<'_>) -> bool {
        let protocol = self.protocol.as_deref();
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp: work.now.wall,
            members: self.members.values().map(|member| member.to_value(protocol)).collect(),
        };
        let key = group_key(&self.id);
        if key.len() + value.encoded_len() > work.config.max_record_bytes {
            return false;
        }
        let value = value.encode();
        self.set_persisted(Some(value.clone()));
        work.append(key, Some(value));
        true
    }

    /// Appends tombstones for everything the log has of the group, the offsets first: a crash in between leaves a group
    /// with fewer offsets, never offsets that come back under a new group of that name.
    pub(crate) fn delete(&mut self, work: &mut Work<'_>) {
        debug_assert!(self.members.is_empty(), "only empty groups are deleted");
        for (topic, partitions) in std::mem::take(&mut self.offsets) {
            for (partition, value) in partitions {
                self.weigh_offset(&topic, Some(&value), None);
                work.append(offset_key(&self.id, &topic, partition), None);
            }
        }
        if self.persisted.is_some() {
            self.set_persisted(None);
            work.append(group_key(&self.id), None);
        }
        self.reset();
    }

    /// Takes over the group's record of the log. A group with members was stable when it was written.
    pub(crate) fn apply_metadata(&mut self, raw: &[u8], value: GroupValue) {
        self.reset();
        self.set_persisted(Some(Bytes::copy_from_slice(raw)));
        self.state = if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        self.state_since = Some(value.state_timestamp).filter(|at| *at >= 0);
        self.generation = value.generation;
        self.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        self.protocol = value.protocol;
        for member in value.members {
            let is_taken = member.instance_id.as_ref().is_some_and(|id| self.statics.contains_key(id));
            if !is_taken && !self.members.contains_key(&member.member_id) {
                self.insert(Member::from_value(member, self.protocol.as_ref()));
            }
        }
        if let Some(leader) = value.leader.filter(|leader| self.members.contains_key(leader)) {
            self.leader = Some(leader);
        }
    }

    /// The group's record of the log is deleted; its offsets have records of their own.
    pub(crate) fn apply_deletion(&mut self) {
        self.reset();
        self.set_persisted(None);
    }

    /// Makes it a group without members, of which only offsets and the newest record are left.
    fn reset(&mut self) {
        let fresh = Self::new(self.id.clone());
        let old = std::mem::replace(self, fresh);
        self.offsets = old.offsets;
        self.persisted = old.persisted;
        self.weight = old.weight;
        self.weight.members = 0;
        self.weight.member_bytes = 0;
    }

    /// Takes over a committed offset, or its deletion.
    pub(crate) fn apply_offset(&mut self, topic: &Arc<str>, partition: i32, value: Option<OffsetValue>) {
        let old = match &value {
            Some(value) => self.offsets.entry(topic.clone()).or_default().insert(partition, value.clone()),
            None => self.remove_offset(topic, partition),
        };
        self.weigh_offset(topic, old.as_ref(), value.as_ref());
    }

    fn remove_offset(&mut self, topic: &str, partition: i32) -> Option<OffsetValue> {
        let partitions: &mut BTreeMap<_, _> = self.offsets.get_mut(topic)?;
        let old = partitions.remove(&partition);
        if partitions.is_empty() {
            self.offsets.remove(topic);
        }
        old
    }

    fn weigh_offset(&mut self, topic: &str, old: Option<&OffsetValue>, new: Option<&OffsetValue>) {
        let key = 2 + 2 + self.id.len() + 2 + topic.len() + 4;
        let size = |value: &OffsetValue| RECORD_OVERHEAD_BYTES + key + value.encoded_len();
        self.weight.offsets = self.weight.offsets + usize::from(new.is_some()) - usize::from(old.is_some());
        self.weight.record_bytes = self.weight.record_bytes + new.map_or(0, size) - old.map_or(0, size);
    }

    fn set_persisted(&mut self, value: Option<Bytes>) {
        let key = 2 + 2 + self.id.len();
        let size = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| RECORD_OVERHEAD_BYTES + key + value.len());
        self.weight.record_bytes = self.weight.record_bytes + size(&value) - size(&self.persisted);
        self.persisted = value;
    }

    /// The group's metadata record.
    pub(crate) fn metadata_record(&self) -> Option<Record> {
        let value = self.persisted.clone()?;
        Some(Record { key: group_key(&self.id), value: Some(value) })
    }

    /// The records of the group's offsets behind `after`, in the order of topic and partition.
    pub(crate) fn offset_records<'a>(
        &'a self,
        after: Option<&'a (Arc<str>, i32)>,
    ) -> impl Iterator<Item = ((Arc<str>, i32), Record)> + 'a {
        let from = after.map_or_else(|| Arc::from(""), |(topic, _)| topic.clone());
        let topics = self.offsets.range(from..);
        let all = topics.flat_map(|(topic, partitions)| partitions.iter().map(move |offset| (topic, offset)));
        let rest = all.filter(move |(topic, (partition, _))| {
            after.is_none_or(|(last_topic, last)| (*topic, *partition) > (last_topic, last))
        });
        rest.map(|(topic, (partition, value))| {
            let key = offset_key(&self.id, topic, *partition);
            ((topic.clone(), *partition), Record { key, value: Some(value.encode()) })
        })
    }
}
