//! The replicas of this broker follow the image.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_metadata::{Change, Entry, Image, Topic};
use millrace_raft::ReplicaKey;
use millrace_types::{BrokerId, TopicId, TopicPartition};

use super::event::MetadataEffect;
use crate::settings::log_config;

/// Starts every replica of `broker`.
pub(super) fn create_all(image: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    for topic in image.topics() {
        create(topic, topic.partitions_on(broker), image, out);
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
    for change in entries.iter().flat_map(|entry| &entry.changes) {
        match change {
            Change::Genesis { .. }
            | Change::Proposed(_)
            | Change::SetAcceptors { .. }
            | Change::RegisterBroker(_)
            | Change::SetClientMetrics { .. } => {}
            Change::CreateTopic(topic) => {
                touched.insert(topic.id);
            }
            Change::CreatePartitions(added) => {
                touched.insert(added.id);
            }
            Change::DeleteTopic { id } | Change::SetTopicConfig { id, .. } => {
                touched.insert(*id);
            }
            Change::SetBrokerConfig { .. } => everything = true,
        }
    }
    if everything {
        touched.extend(after.topics().map(|topic| topic.id));
    }
    for id in touched {
        follow_topic(before, after, id, broker, out);
    }
}

fn follow_topic(before: &Image, after: &Image, id: TopicId, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    let had: BTreeSet<TopicPartition> = replicas(before.topic_by_id(id), broker);
    let has: BTreeSet<TopicPartition> = replicas(after.topic_by_id(id), broker);
    out.extend(had.difference(&has).map(|partition| MetadataEffect::DeleteReplica { partition: *partition }));
    let Some(topic) = after.topic_by_id(id) else { return };
    create(topic, has.difference(&had).copied(), after, out);
    let same = before.topic_by_id(id).is_none_or(|old| old.settings == topic.settings)
        && before.defaults().producer_expiration_ms == after.defaults().producer_expiration_ms;
    if !same {
        let config = log_config(&topic.settings, after);
        out.extend(
            had.intersection(&has)
                .map(|partition| MetadataEffect::ConfigureReplica { partition: *partition, config: config.clone() }),
        );
    }
}

fn replicas(topic: Option<&Arc<Topic>>, broker: BrokerId) -> BTreeSet<TopicPartition> {
    topic.into_iter().flat_map(|topic| topic.partitions_on(broker)).collect()
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

/// The replicas of a partition under the directories that their brokers have registered.
fn voters(topic: &Topic, partition: i32, image: &Image) -> Vec<ReplicaKey> {
    let replicas = topic.assignment(partition).map_or(&[][..], |assignment| &assignment.replicas);
    let registered = replicas.iter().filter_map(|id| image.broker(*id));
    registered.map(|broker| ReplicaKey { broker: broker.id, directory: broker.directory }).collect()
}

/// Carries out on the replicas of `broker` whatever differs between two images, of which the second came as a snapshot.
pub(super) fn follow_snapshot(before: &Image, after: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
    let all: BTreeSet<TopicId> = before.topics().chain(after.topics()).map(|topic| topic.id).collect();
    for id in all {
        follow_topic(before, after, id, broker, out);
    }
}
