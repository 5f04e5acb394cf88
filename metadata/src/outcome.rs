//! The answer to a command: per item either what was done or Kafka's error.

use std::collections::BTreeMap;

use millrace_types::{ErrorCode, TopicId};
use serde::{Deserialize, Serialize};

use crate::command::{ConfigResource, TopicRef};

/// The answer to a [`crate::Command`], given once its entry is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandResult {
    /// Of `CreateTopics`: one item per name, in the order of first appearance.
    CreatedTopics(Vec<(String, Outcome<CreatedTopic>)>),
    /// Of `DeleteTopics`: one item per topic, in the order of first appearance.
    DeletedTopics(Vec<(TopicRef, Outcome<DeletedTopic>)>),
    /// Of `CreatePartitions`: one item per name, in the order of first appearance.
    CreatedPartitions(Vec<(String, Outcome<()>)>),
    /// Of `SetConfigs`: one item per resource, in the order of the request.
    SetConfigs(Vec<(ConfigResource, Outcome<()>)>),
    /// Of `AlterReassignments`: one outcome per partition, in the order of the request.
    AlteredReassignments(Vec<Outcome<()>>),
    /// Of `FinishReassignment`: the target is the assignment.
    FinishedReassignment,
    /// Of `RegisterBroker`.
    Registered,
    /// Of `SetAcceptors`.
    AcceptorsSet,
    /// Of `EnsureInternalTopic`: the topic exists.
    InternalTopic {
        /// Its identity.
        id: TopicId,
        /// Its number of partitions.
        partitions: i32,
    },
    /// The command as a whole failed; nothing changed.
    Failed(ItemError),
}

/// What became of one item of a command.
pub type Outcome<T> = Result<T, ItemError>;

/// Why an item of a command was refused, or a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ItemError {
    /// Kafka's code.
    #[serde(with = "code")]
    pub code: ErrorCode,
    /// What the user is told.
    pub message: String,
}

impl ItemError {
    /// The error `code` with a text for the user.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A topic that was created, or would have been (`validate_only`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its identity; the nil UUID when it was only checked.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
    /// Number of replicas of the first partition.
    pub replication_factor: i16,
    /// The configuration set on the topic.
    pub overrides: BTreeMap<String, String>,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: String,
}

/// An error code as its number.
mod code {
    use millrace_types::ErrorCode;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
    pub(super) fn serialize<S: Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i16(code.code())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
        Ok(ErrorCode::from_code(i16::deserialize(deserializer)?))
    }
}
