//! Finding what a request names: the topic in the metadata image, the partition's view among those hosted here.

use std::sync::Arc;

use millrace_metadata::{Image, Topic};
use millrace_types::{BrokerId, ErrorCode, LeaderEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use crate::directory::{Directory, Leader, PartitionView};

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

/// The epoch that the view's replica leads, after [`known`].
pub(super) fn led(view: &PartitionView, epoch: LeaderEpoch) -> Result<LeaderEpoch, ErrorCode> {
    known(view, epoch)?;
    view.leader_epoch().ok_or(ErrorCode::NotLeaderOrFollower)
}

/// Checks the leader epoch that the client knows against that of the replica, whether it leads or not (KIP-320); `-1`
/// means that the client does not say. A replica that has not met any epoch yet can tell nothing.
pub(super) fn known(view: &PartitionView, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
    match view.epoch() {
        0 => Err(ErrorCode::NotLeaderOrFollower),
        _ if epoch == -1 => Ok(()),
        current if epoch < current => Err(ErrorCode::FencedLeaderEpoch),
        current if epoch > current => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// The replicas of an assignment that are in sync with the leader, in the assignment's order. While nobody leads they
/// are those of which the last leader said so and that are heard; of all that are heard, where no leader has told.
pub(super) fn in_sync(
    directory: &Directory,
    at: &TopicPartition,
    leader: Option<&Leader>,
    replicas: &[BrokerId],
) -> Vec<BrokerId> {
    let of = |brokers: &[BrokerId]| replicas.iter().copied().filter(|id| brokers.contains(id)).collect();
    if let Some(leader) = leader {
        return of(&leader.in_sync);
    }
    let last = directory.last_in_sync(at);
    let last = last.as_deref().map_or_else(|| replicas.to_vec(), of);
    last.into_iter().filter(|id| directory.is_heard(*id)).collect()
}
