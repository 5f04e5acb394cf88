//! `OffsetForLeaderEpoch` (key 23): where an epoch ended, for a consumer that checks its position (KIP-101, KIP-320).

use bytes::Bytes;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{ApiKey, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use millrace_metadata::Image;
use millrace_types::{ErrorCode, LeaderEpoch, Offset};

use super::{Api, Context, Step, lookup};
use crate::wire::{self, WireError};

/// The API `OffsetForLeaderEpoch`.
pub(super) const API: Api = Api { key: ApiKey::OffsetForLeaderEpoch, min: 2, advertised_min: 2, max: 4, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: OffsetForLeaderEpochRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let response = EpochEndOffset::default().with_partition(wanted.partition);
            match end_of(cx, &image, &topic.topic, wanted) {
                Ok((epoch, end)) => response.with_leader_epoch(epoch).with_end_offset(end),
                Err(error) => response.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    let topics = topics.collect();
    cx.reply(&OffsetForLeaderEpochResponse::default().with_topics(topics))
}

/// Where the wanted epoch ended, see [`millrace_storage::EpochCache::end_offset`].
fn end_of(
    cx: &Context<'_>,
    image: &Image,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let topic = lookup::topic_by_name(image, topic)?;
    let view = lookup::hosted(cx.directory, topic, wanted.partition)?;
    lookup::led(&view, wanted.current_leader_epoch)?;
    let (epoch, end) = view.log.epoch_end_offset(wanted.leader_epoch);
    if view.hides(end) { Err(ErrorCode::KafkaStorageError) } else { Ok((epoch, end)) }
}
