//! Finding what a request names: the topic in the metadata image, the partition's view among those hosted here.

use std::sync::Arc;

use millrace_metadata::{Image, Topic};
use millrace_types::{ErrorCode, LeaderEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use crate::directory::{Directory, PartitionView};

/// The topic of this name.
pub(super) fn topic_by_name<'a>(image: &'a Image, name: &str) -> Result<&'a Topic, ErrorCode> {
    image.topic(name).map(AsRef::as_ref).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// The topic of this id.
pub(super) fn topic_by_id(image: &Image, id: Uuid) -> Result<&Topic, ErrorCode> {
    image.topic_by_id(TopicId(id)).map(AsRef::as_ref).ok_or(ErrorCode::UnknownTopicId)
}

/// The view of a topic's partition: `UNKNOWN_TOPIC_OR_PARTITION` when the topic has no such partition,
/// `NOT_LEADER_OR_FOLLOWER` when it is not hosted here (yet).
pub(super) fn hosted(directory: &Directory, topic: &Topic, partition: i32) -> Result<Arc<PartitionView>, ErrorCode> {
    topic.assignment(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    directory.partition(&TopicPartition::new(topic.id, partition)).ok_or(ErrorCode::NotLeaderOrFollower)
}

/// The epoch of the view's leader, checked against the one the client knows (KIP-320); `-1` means that it does not say.
pub(super) fn led(view: &PartitionView, known: LeaderEpoch) -> Result<LeaderEpoch, ErrorCode> {
    let current = view.leader_epoch().ok_or(ErrorCode::NotLeaderOrFollower)?;
    match known {
        -1 => Ok(current),
        known if known < current => Err(ErrorCode::FencedLeaderEpoch),
        known if known > current => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(current),
    }
}
