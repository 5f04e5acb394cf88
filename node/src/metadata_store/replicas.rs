//! The replicas and witnesses of this broker follow the image.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_metadata::{Assignment, Broker, Change, Entry, Image, TargetReached, Topic, TopicTargets};
use millrace_raft::{ReplicaKey, Voter, VoterRole};
use millrace_types::{BrokerId, DirectoryId, TopicId, TopicPartition};

use super::event::MetadataEffect;
use crate::replica::TargetVoters;
use crate::replica::mutation::{Mutation, broken};
use crate::settings::log_config;

/// Starts every replica and every witness of `broker`.
pub(super) fn create_all(image: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    for topic in image.topics() {
        create(topic, topic.partitions_on(broker), image, out);
        witness(topic, topic.witnessed_on(broker), image, out);
    }
}

/// Carries out on the replicas of `broker` what `entries` changed between two images.
pub(super) fn follow(
    before: &Image,
    after: &Image,
    entries: &[Entry],
    broker: BrokerId,
    out: &mut Vec<MetadataEffect>,
) {
    let mut touched = BTreeSet::new();
    let mut everything = false;
    let mut moved = BTreeSet::new();
    for change in entries.iter().flat_map(|entry| &entry.changes) {
        match change {
            Change::Genesis { .. }
            | Change::Proposed(_)
            | Change::SetAcceptors { .. }
            | Change::BrokerStarts(_)
            | Change::SetClientMetrics { .. } => {}
            Change::CreateTopic(topic) => {
                touched.insert(topic.id);
            }
            Change::CreatePartitions(added) => {
                touched.insert(added.id);
            }
            Change::DeleteTopic { id }
            | Change::SetTopicConfig { id, .. }
            | Change::SetTarget(TopicTargets { id, .. })
            | Change::TargetDone(TargetReached { id, .. }) => {
                touched.insert(*id);
            }
            Change::SetBrokerConfig { .. } => everything = true,
            Change::RegisterBroker(registered) => {
                moved.extend(
                    before
                        .broker(registered.id)
                        .filter(|known| known.directory != registered.directory)
                        .map(|one| one.id),
                );
            }
        }
    }
    if everything {
        touched.extend(after.topics().map(|topic| topic.id));
    }
    for id in touched {
        follow_topic(before, after, id, broker, out);
    }
    retarget(after, &moved, broker, out);
}

/// The replicas here learn that some of those they have beside them are on another directory.
fn retarget(image: &Image, moved: &BTreeSet<BrokerId>, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    if moved.is_empty() || broken(Mutation::RetargetNobody) {
        return;
    }
    for topic in image.topics() {
        let concerned = |partition: &TopicPartition| {
            let assignment = topic.assignment(partition.partition);
            assignment.is_some_and(|assignment| assignment.concerned().any(|host| moved.contains(&host)))
        };
        let partitions = topic.partitions_on(broker).filter(concerned);
        out.extend(partitions.map(|partition| MetadataEffect::RetargetReplica { partition }));
    }
}

fn follow_topic(before: &Image, after: &Image, id: TopicId, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    let (had, witnessed) = hosted(before.topic_by_id(id), broker);
    let (has, witnesses) = hosted(after.topic_by_id(id), broker);
    let gone = had.difference(&has).chain(witnessed.difference(&witnesses)).copied();
    let Some(topic) = after.topic_by_id(id) else {
        return out.extend(gone.map(|partition| MetadataEffect::DeleteReplica { partition }));
    };
    out.extend(gone.map(|partition| MetadataEffect::RetireReplica { partition, retire: true }));
    create(topic, has.difference(&had).copied(), after, out);
    witness(topic, witnesses.difference(&witnessed).copied(), after, out);
    let same = before.topic_by_id(id).is_none_or(|old| old.settings == topic.settings)
        && before.defaults().producer_expiration_ms == after.defaults().producer_expiration_ms
        && before.defaults().replica_lag_max_ms == after.defaults().replica_lag_max_ms;
    let other = |partition: &TopicPartition| assignment(before, *partition) != assignment(after, *partition);
    let retargeted = had.intersection(&has).copied().filter(other);
    out.extend(retargeted.map(|partition| MetadataEffect::RetargetReplica { partition }));
    if !same {
        let config = log_config(&topic.settings, after);
        out.extend(
            had.intersection(&has)
                .map(|partition| MetadataEffect::ConfigureReplica { partition: *partition, config: config.clone() }),
        );
    }
}

/// The partitions of a topic that have a replica, and those that have their witness, on `broker`.
fn hosted(topic: Option<&Arc<Topic>>, broker: BrokerId) -> (BTreeSet<TopicPartition>, BTreeSet<TopicPartition>) {
    topic.map_or_else(Default::default, |topic| {
        if broken(Mutation::RetireBeforeDone) {
            let stays = |partition: &TopicPartition| {
                let assignment = topic.assignment(partition.partition);
                assignment.is_some_and(|one| one.target_hosts().any(|host| host == broker))
            };
            return (topic.partitions_on(broker).filter(stays).collect(), BTreeSet::new());
        }
        (topic.partitions_on(broker).collect(), topic.witnessed_on(broker).collect())
    })
}

fn witness(
    topic: &Topic,
    partitions: impl Iterator<Item = TopicPartition>,
    image: &Image,
    out: &mut Vec<MetadataEffect>,
) {
    out.extend(partitions.map(|partition| {
        let voters = voters(topic, partition.partition, image);
        MetadataEffect::CreateWitness { partition, voters }
    }));
}

fn create(
    topic: &Topic,
    partitions: impl Iterator<Item = TopicPartition>,
    image: &Image,
    out: &mut Vec<MetadataEffect>,
) {
    let config = log_config(&topic.settings, image);
    out.extend(partitions.map(|partition| {
        let voters = voters(topic, partition.partition, image);
        MetadataEffect::CreateReplica { partition, config: config.clone(), voters }
    }));
}

/// The first voters of a partition: its replicas and its witness under the directories that their brokers had when it was
/// created, or when they were last moved. A single replica has whatever directory its broker has: there is no other copy. For
/// a broker that is none of them they are nobody: the replica is told who they are when it becomes a member.
fn voters(topic: &Topic, partition: i32, image: &Image) -> Vec<Voter> {
    let Some(assignment) = topic.assignment(partition) else { return Vec::new() };
    if image.local().broker.is_some_and(|here| assignment.hosts().all(|host| host != here)) {
        return Vec::new();
    }
    let voter = |(broker, directory): (BrokerId, DirectoryId)| {
        let role = if assignment.witness == Some(broker) { VoterRole::Witness } else { VoterRole::Data };
        Voter { key: ReplicaKey { broker, directory }, role }
    };
    if assignment.directories.is_empty() {
        let registered = assignment.hosts().filter_map(|id| image.broker(id));
        return registered.map(|broker| voter((broker.id, broker.directory))).collect();
    }
    assignment.hosts().zip(assignment.directories.iter().copied()).map(voter).collect()
}

/// Carries out on the replicas of `broker` whatever differs between two images, of which the second came as a snapshot.
pub(super) fn follow_snapshot(before: &Image, after: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    let all: BTreeSet<TopicId> = before.topics().chain(after.topics()).map(|topic| topic.id).collect();
    for id in all {
        follow_topic(before, after, id, broker, out);
    }
    let is_moved = |known: &&Broker| after.broker(known.id).is_some_and(|now| now.directory != known.directory);
    let moved = before.brokers().values().filter(is_moved).map(|known| known.id).collect();
    retarget(after, &moved, broker, out);
}

/// The voters that a partition shall have: its replicas and its witness under the directories that their brokers have
/// registered last. Empty when a broker or the partition is not known.
#[must_use]
pub fn target(topic: &Topic, partition: i32, image: &Image) -> TargetVoters {
    let Some(assignment) = topic.assignment(partition) else { return TargetVoters::default() };
    if broken(Mutation::TargetOfFirstDirectories) {
        return voters(topic, partition, image).into();
    }
    let voter = |host: BrokerId| {
        let directory = image.broker(host)?.directory;
        let role = if assignment.target_witness() == Some(host) { VoterRole::Witness } else { VoterRole::Data };
        Some(Voter { key: ReplicaKey { broker: host, directory }, role })
    };
    let voters = assignment.target_hosts().map(voter).collect::<Option<Vec<_>>>().unwrap_or_default();
    TargetVoters { voters, epoch: assignment.reassignment.as_ref().map(|under_way| under_way.epoch) }
}

fn assignment(image: &Image, partition: TopicPartition) -> Option<&Assignment> {
    image.topic_by_id(partition.topic)?.assignment(partition.partition)
}

/// What a broker has of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A replica.
    Replica,
    /// The witness.
    Witness,
}

/// What the broker has of the partition by the image; `None` for nothing.
#[must_use]
pub fn part(image: &Image, partition: TopicPartition, broker: BrokerId) -> Option<Part> {
    let assignment = assignment(image, partition)?;
    if assignment.has_replica(broker) {
        Some(Part::Replica)
    } else {
        assignment.has_witness(broker).then_some(Part::Witness)
    }
}

/// Starts one replica, or witness.
pub(super) fn create_one(image: &Image, partition: TopicPartition, part: Part, out: &mut Vec<MetadataEffect>) {
    let Some(topic) = image.topic_by_id(partition.topic) else { return };
    let partitions = std::iter::once(partition);
    match part {
        Part::Replica => create(topic, partitions, image, out),
        Part::Witness => witness(topic, partitions, image, out),
    }
}
