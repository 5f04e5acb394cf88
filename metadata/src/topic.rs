//! A topic: its identity, where its replicas shall be, and its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{BrokerId, DirectoryId, TopicId, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::config::TopicSettings;

/// One topic of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its identity, never used twice.
    pub id: TopicId,
    /// Its name, unique among the topics of an image.
    pub name: Arc<str>,
    /// Whether the cluster keeps its own state in it; clients cannot delete or reshape it.
    pub internal: bool,
    /// Target of each partition; the position is the partition's number.
    pub partitions: Vec<Assignment>,
    /// Configuration set on the topic itself, by key.
    pub overrides: BTreeMap<String, String>,
    /// What `overrides` and the broker's own layers come to, typed.
    pub settings: TopicSettings,
}

/// The replicas a partition shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AssignmentForm", into = "AssignmentForm")]
pub struct Assignment {
    /// The brokers, the preferred leader first; never empty, none twice.
    pub replicas: Vec<BrokerId>,
    /// The data directory of each broker when the partition was created: these are its first voters. A broker whose disk
    /// was wiped since comes back with another directory, and is none of them. Empty with a single replica.
    pub directories: Vec<DirectoryId>,
}

/// An assignment as it is written: entries name brokers alone, snapshots their directories as well.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AssignmentForm {
    Brokers(Vec<BrokerId>),
    Voters { replicas: Vec<BrokerId>, directories: Vec<DirectoryId> },
}

impl From<AssignmentForm> for Assignment {
    fn from(form: AssignmentForm) -> Self {
        match form {
            AssignmentForm::Brokers(replicas) => Self::new(replicas),
            AssignmentForm::Voters { replicas, directories } => Self { replicas, directories },
        }
    }
}

impl From<Assignment> for AssignmentForm {
    fn from(assignment: Assignment) -> Self {
        let Assignment { replicas, directories } = assignment;
        if directories.is_empty() { Self::Brokers(replicas) } else { Self::Voters { replicas, directories } }
    }
}

impl Assignment {
    /// Replicas on these brokers, of which it is not said yet in which directories.
    #[must_use]
    pub const fn new(replicas: Vec<BrokerId>) -> Self {
        Self { replicas, directories: Vec::new() }
    }
}

impl Topic {
    /// The number of partitions. A topic never has more than `i32::MAX`.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The target of partition `number`; `None` when the topic has no such partition.
    #[must_use]
    pub fn assignment(&self, number: i32) -> Option<&Assignment> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    /// The number of replicas of the first partition, as Kafka answers it for the topic.
    #[must_use]
    pub fn replication_factor(&self) -> i16 {
        let count = self.partitions.first().map_or(0, |first| first.replicas.len());
        i16::try_from(count).unwrap_or(i16::MAX)
    }

    /// The partitions that have a replica on `broker`, in order of their numbers.
    pub fn partitions_on(&self, broker: BrokerId) -> impl Iterator<Item = TopicPartition> + '_ {
        (0..).zip(&self.partitions).filter_map(move |(number, assignment)| {
            assignment.replicas.contains(&broker).then_some(TopicPartition::new(self.id, number))
        })
    }
}
