//! Replicas that move: what a partition had, what it shall have, and who may hold something of it meanwhile (KIP-455).
//!
//! The log names the target alone. The partition's own leader walks there; when the members are the target, its broker has
//! that noted, and only then the target is the assignment (consensus rules, 8.3).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use millrace_types::{BrokerId, DirectoryId, TopicId};
use serde::{Deserialize, Serialize};

use crate::topic::{Assignment, Topic};

/// A reassignment that is under way.
///
/// Invariants: no broker is named by two of the lists; a witness is none of the brokers that may hold records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reassignment {
    /// The metadata epoch that has set the target: who has reached an earlier one has not reached this.
    pub epoch: u64,
    /// The brokers that shall have the replicas, the preferred leader first; never empty, none twice.
    pub replicas: Vec<BrokerId>,
    /// The broker that shall vote beside them and hold no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<BrokerId>,
    /// Brokers that may have a replica since an earlier target named them, and that neither the assignment nor the target
    /// does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<BrokerId>,
    /// The same of witnesses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving_witnesses: Vec<BrokerId>,
}

/// The targets of partitions of one topic, as they are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicTargets {
    /// The topic.
    pub id: TopicId,
    /// Its partitions that get a target, none twice.
    pub targets: Vec<PartitionTarget>,
}

/// The target of one partition, as it is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionTarget {
    /// The partition.
    pub partition: i32,
    /// The brokers that shall have its replicas.
    pub replicas: Vec<BrokerId>,
    /// The broker that shall be its witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<BrokerId>,
}

/// A partition has reached its target, as it is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReached {
    /// The topic.
    pub id: TopicId,
    /// The partition.
    pub partition: i32,
    /// The metadata epoch that has set the target.
    pub epoch: u64,
    /// The data directory of each of its brokers, the witness behind the replicas, as they vote now.
    pub directories: Vec<DirectoryId>,
}

impl Assignment {
    /// The brokers that shall have the replicas when nothing is under way any more.
    #[must_use]
    pub fn target_replicas(&self) -> &[BrokerId] {
        self.reassignment.as_ref().map_or(&self.replicas, |under_way| &under_way.replicas)
    }

    /// The broker that shall be the witness when nothing is under way any more.
    #[must_use]
    pub fn target_witness(&self) -> Option<BrokerId> {
        self.reassignment.as_ref().map_or(self.witness, |under_way| under_way.witness)
    }

    /// The brokers that shall vote when nothing is under way any more.
    pub fn target_hosts(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.target_replicas().iter().copied().chain(self.target_witness())
    }

    /// The brokers that have a replica or may have one: those of the target first, as Kafka orders them, then those that
    /// shall have none, by number.
    #[must_use]
    pub fn present_replicas(&self) -> Cow<'_, [BrokerId]> {
        let (target, removing) = (self.target_replicas(), self.removing());
        if removing.is_empty() { Cow::Borrowed(target) } else { Cow::Owned([target, &removing].concat()) }
    }

    /// The brokers that a reassignment gives a replica, by number.
    #[must_use]
    pub fn adding(&self) -> Vec<BrokerId> {
        let added = self.target_replicas().iter().filter(|id| !self.replicas.contains(id));
        added.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The brokers whose replica a reassignment takes away, by number.
    #[must_use]
    pub fn removing(&self) -> Vec<BrokerId> {
        let Some(under_way) = &self.reassignment else { return Vec::new() };
        let before = self.replicas.iter().chain(&under_way.leaving);
        let removed = before.filter(|id| !under_way.replicas.contains(id));
        removed.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the broker has, or may have, a replica.
    #[must_use]
    pub fn has_replica(&self, broker: BrokerId) -> bool {
        let moving = self.reassignment.as_ref();
        self.replicas.contains(&broker)
            || moving.is_some_and(|one| one.replicas.contains(&broker) || one.leaving.contains(&broker))
    }

    /// Whether the broker is, or may be, the witness. One that gets a replica is none any more.
    #[must_use]
    pub fn has_witness(&self, broker: BrokerId) -> bool {
        let moving = self.reassignment.as_ref();
        let named = self.witness == Some(broker)
            || moving.is_some_and(|one| one.witness == Some(broker) || one.leaving_witnesses.contains(&broker));
        named && !self.has_replica(broker)
    }

    /// Every broker that has something of the partition, or may have.
    pub fn concerned(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let moving = self.reassignment.iter().flat_map(|one| {
            one.replicas.iter().chain(&one.witness).chain(&one.leaving).chain(&one.leaving_witnesses).copied()
        });
        self.hosts().chain(moving)
    }

    /// The assignment with another target, set by the entry of `epoch`. `founded` are the directories of its hosts if it
    /// names none: a single replica has whatever its broker has, until it is one of several.
    pub(crate) fn retargeted(&self, target: &PartitionTarget, epoch: u64, founded: Vec<DirectoryId>) -> Self {
        let PartitionTarget { replicas, witness, .. } = target;
        let named = |id: &BrokerId| replicas.contains(id);
        let (mut leaving, mut leaving_witnesses) = (BTreeSet::new(), BTreeSet::new());
        if let Some(under_way) = &self.reassignment {
            leaving.extend(under_way.replicas.iter().chain(&under_way.leaving).copied());
            leaving_witnesses.extend(under_way.witness.iter().chain(&under_way.leaving_witnesses).copied());
        }
        leaving.retain(|id| !named(id) && !self.replicas.contains(id));
        let holds = |id: &BrokerId| named(id) || self.replicas.contains(id) || leaving.contains(id);
        leaving_witnesses.retain(|id| !holds(id) && *witness != Some(*id) && self.witness != Some(*id));
        let reassignment = Reassignment {
            epoch,
            replicas: replicas.clone(),
            witness: *witness,
            leaving: leaving.into_iter().collect(),
            leaving_witnesses: leaving_witnesses.into_iter().collect(),
        };
        let directories = if self.directories.is_empty() { founded } else { self.directories.clone() };
        let moved = Self { directories, reassignment: Some(reassignment), ..self.clone() };
        if moved.is_only_ordered() { moved.reordered() } else { moved }
    }

    /// Whether the target has the same brokers in the same roles as the assignment has: then there is nothing to move.
    fn is_only_ordered(&self) -> bool {
        let set = |ids: &[BrokerId]| ids.iter().copied().collect::<BTreeSet<_>>();
        self.reassignment.as_ref().is_some_and(|target| {
            set(&target.replicas) == set(&self.replicas)
                && target.witness == self.witness
                && target.leaving.is_empty()
                && target.leaving_witnesses.is_empty()
        })
    }

    /// The assignment in the order of its target.
    fn reordered(&self) -> Self {
        let of_host: BTreeMap<BrokerId, DirectoryId> = self.hosts().zip(self.directories.iter().copied()).collect();
        let ordered = Self { replicas: self.target_replicas().to_vec(), reassignment: None, ..self.clone() };
        let directories = ordered.hosts().filter_map(|id| of_host.get(&id).copied()).collect();
        ordered.with_directories(directories)
    }

    /// The assignment when its target is reached.
    pub(crate) fn completed(&self, directories: Vec<DirectoryId>) -> Self {
        let (replicas, witness) = (self.target_replicas().to_vec(), self.target_witness());
        Self { replicas, witness, directories: Vec::new(), reassignment: None }.with_directories(directories)
    }

    fn with_directories(self, directories: Vec<DirectoryId>) -> Self {
        let alone = self.hosts().count() == 1;
        Self { directories: if alone { Vec::new() } else { directories }, ..self }
    }
}

impl Topic {
    /// Whether replicas of any of its partitions are being moved.
    #[must_use]
    pub fn is_reassigned(&self) -> bool {
        self.partitions.iter().any(|assignment| assignment.reassignment.is_some())
    }
}
