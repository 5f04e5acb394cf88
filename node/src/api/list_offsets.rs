//! `ListOffsets` (key 2): the offset for a timestamp, or for one of the special ones.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};
use millrace_metadata::Image;
use millrace_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::{Api, Context, Step, lookup};
use crate::directory::PartitionView;
use crate::wire::{self, WireError};

/// The API `ListOffsets`.
pub(super) const API: Api = Api { key: ApiKey::ListOffsets, min: 1, advertised_min: 1, max: 8, handle };

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

/// First version that knows [`MAX_TIMESTAMP`] (KIP-734).
const MAX_TIMESTAMP_FROM: i16 = 7;
/// First version that knows [`EARLIEST_LOCAL`] (KIP-405).
const EARLIEST_LOCAL_FROM: i16 = 8;
/// First version with leader epochs (KIP-320).
const EPOCH_FROM: i16 = 4;
/// First version that knows `OFFSET_NOT_AVAILABLE` (KIP-207).
const NOT_AVAILABLE_FROM: i16 = 5;

/// `READ_COMMITTED` on the wire.
const READ_COMMITTED: i8 = 1;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ListOffsetsRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let twice = named_twice(&request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let answer = if twice.contains(&(&topic.name[..], wanted.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                find(cx, &image, &topic.name, wanted, request.isolation_level == READ_COMMITTED)
            };
            partitions.push(partition_response(cx.version, wanted.partition_index, answer));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    cx.reply(&ListOffsetsResponse::default().with_topics(topics))
}

/// The partitions that the request names more than once; Kafka answers each of them with `INVALID_REQUEST`.
fn named_twice(request: &ListOffsetsRequest) -> BTreeSet<(&str, i32)> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (&topic.name[..], partition.partition_index);
            if !seen.insert(key) {
                twice.insert(key);
            }
        }
    }
    twice
}

/// What was found: the record's timestamp, its offset and the leader epoch it was written in; `None` when no record
/// fits the timestamp.
type Found = Option<(Timestamp, Offset, LeaderEpoch)>;

fn find(
    cx: &Context<'_>,
    image: &Image,
    topic: &str,
    wanted: &ListOffsetsPartition,
    committed_only: bool,
) -> Result<Found, ErrorCode> {
    let topic = lookup::topic_by_name(image, topic)?;
    let view = lookup::hosted(cx.directory, topic, wanted.partition_index)?;
    let epoch = lookup::led(&view, wanted.current_leader_epoch)?;
    let log = &view.log;
    let end = if committed_only { log.last_stable_offset() } else { log.high_watermark() }.min(view.readable_end());
    let epoch_at = |offset: Offset| log.epoch_at(offset).unwrap_or(epoch);
    match wanted.timestamp {
        LATEST => Ok(Some((-1, end, epoch))),
        EARLIEST => Ok(Some((-1, log.log_start(), epoch_at(log.log_start())))),
        EARLIEST_LOCAL if cx.version >= EARLIEST_LOCAL_FROM => {
            Ok(Some((-1, log.log_start(), epoch_at(log.log_start()))))
        }
        MAX_TIMESTAMP if cx.version >= MAX_TIMESTAMP_FROM => log.max_timestamp(end).map_err(|error| error.error_code()),
        timestamp if timestamp >= 0 => by_timestamp(&view, timestamp, end),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn by_timestamp(view: &PartitionView, timestamp: Timestamp, end: Offset) -> Result<Found, ErrorCode> {
    view.log.offset_for_timestamp(timestamp, end).map_err(|error| error.error_code())
}

fn partition_response(version: i16, partition: i32, answer: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(partition);
    match answer {
        Ok(Some((timestamp, offset, epoch))) => {
            let response = response.with_timestamp(timestamp).with_offset(offset);
            if version >= EPOCH_FROM { response.with_leader_epoch(epoch) } else { response }
        }
        Ok(None) => response.with_timestamp(-1).with_offset(-1),
        Err(ErrorCode::OffsetNotAvailable) if version < NOT_AVAILABLE_FROM => {
            response.with_error_code(ErrorCode::LeaderNotAvailable.code()).with_timestamp(-1).with_offset(-1)
        }
        Err(error) => response.with_error_code(error.code()).with_timestamp(-1).with_offset(-1),
    }
}
