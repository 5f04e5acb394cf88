//! A topic: its identity, where its replicas shall be, and its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{BrokerId, DirectoryId, TopicId, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::config::TopicSettings;
use crate::reassignment::Reassignment;

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
    /// The broker that votes beside an even number of replicas and holds no record; none of them.
    pub witness: Option<BrokerId>,
    /// The data directory of each broker, the witness behind the replicas, when the partition was created or its last
    /// reassignment was done: these are its first voters. A broker whose disk was wiped since comes back with another
    /// directory, and is none of them. Empty with a single replica that is not being moved.
    pub directories: Vec<DirectoryId>,
    /// Where the replicas are being moved to; until they are there, `replicas` and `witness` are where they have been.
    pub reassignment: Option<Reassignment>,
}

/// An assignment as it is written: entries name brokers alone, snapshots their directories as well, and what is under way.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AssignmentForm {
    Brokers(Vec<BrokerId>),
    Voters {
        replicas: Vec<BrokerId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        witness: Option<BrokerId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        directories: Vec<DirectoryId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reassignment: Option<Reassignment>,
    },
}

impl From<AssignmentForm> for Assignment {
    fn from(form: AssignmentForm) -> Self {
        match form {
            AssignmentForm::Brokers(replicas) => Self::new(replicas),
            AssignmentForm::Voters { replicas, witness, directories, reassignment } => {
                Self { replicas, witness, directories, reassignment }
            }
        }
    }
}

impl From<Assignment> for AssignmentForm {
    fn from(assignment: Assignment) -> Self {
        let Assignment { replicas, witness, directories, reassignment } = assignment;
        if directories.is_empty() && witness.is_none() && reassignment.is_none() {
            Self::Brokers(replicas)
        } else {
            Self::Voters { replicas, witness, directories, reassignment }
        }
    }
}

impl Assignment {
    /// Replicas on these brokers, of which it is not said yet in which directories.
    #[must_use]
    pub const fn new(replicas: Vec<BrokerId>) -> Self {
        Self { replicas, witness: None, directories: Vec::new(), reassignment: None }
    }

    /// Every broker that votes at first: those of the replicas, and the witness.
    pub fn hosts(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.replicas.iter().copied().chain(self.witness)
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

    /// The partitions that have a replica on `broker`, or may have while they are moved, in order of their numbers.
    pub fn partitions_on(&self, broker: BrokerId) -> impl Iterator<Item = TopicPartition> + '_ {
        self.partitions_where(move |assignment| assignment.has_replica(broker))
    }

    /// The partitions that have their witness on `broker`, or may have, in order of their numbers.
    pub fn witnessed_on(&self, broker: BrokerId) -> impl Iterator<Item = TopicPartition> + '_ {
        self.partitions_where(move |assignment| assignment.has_witness(broker))
    }

    fn partitions_where(&self, is_meant: impl Fn(&Assignment) -> bool) -> impl Iterator<Item = TopicPartition> {
        let numbered = (0..).zip(&self.partitions);
        numbered.filter_map(move |(number, assignment)| {
            is_meant(assignment).then_some(TopicPartition::new(self.id, number))
        })
    }
}
