//! State out of the log: each record says all there is to say about its key.

use std::sync::Arc;

use crate::group::Group;
use crate::record::{FormatError, GroupValue, Key, OffsetValue};

use super::GroupShard;

/// Why a record could not be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The key is not in Kafka's format.
    #[error("the key of a record of __consumer_offsets cannot be read")]
    Key(#[source] FormatError),
    /// The value is not in Kafka's format.
    #[error("the value of a record of __consumer_offsets cannot be read: {key:?}")]
    Value {
        /// What the record is about.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
}

impl GroupShard {
    /// Applies a record of the log. Kinds of records that classic groups do not use are skipped.
    ///
    /// # Errors
    /// When the record is not in Kafka's format; the shard is as before.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ReplayError> {
        let key = Key::decode(key).map_err(ReplayError::Key)?;
        let fail = |source| ReplayError::Value { key: key.clone(), source };
        match &key {
            Key::Other(_) => {}
            Key::Offset { group, topic, partition } => {
                let value = value.map(OffsetValue::decode).transpose().map_err(fail)?;
                self.apply(group, value.is_some(), |group| group.apply_offset(topic, *partition, value));
            }
            Key::Group(group) => {
                let decoded = value.map(GroupValue::decode).transpose().map_err(fail)?;
                match (value, decoded) {
                    (Some(raw), Some(value)) => {
                        self.apply(group, true, |group| group.apply_metadata(raw, value));
                    }
                    _ => self.apply(group, false, Group::apply_deletion),
                }
            }
        }
        Ok(())
    }

    /// Applies a change to a group; one that does not exist is made only when the change gives it something.
    fn apply(&mut self, id: &Arc<str>, creates: bool, change: impl FnOnce(&mut Group)) {
        if creates && !self.groups.contains_key(id) {
            self.groups.insert(id.clone(), Group::new(id.clone()));
        }
        let Some(group) = self.groups.get_mut(id) else { return };
        let before = group.weight();
        change(group);
        self.weight.change(before, group.weight());
        if group.is_nothing() {
            self.groups.remove(id);
        }
    }
}
