//! `Produce` (key 0): appends record batches.
//!
//! The batch of each partition is checked here, where the connection runs; the partition's replica only gives it
//! offsets, writes it, and answers when the acks asked for are met.

mod legacy;
mod respond;
mod waiting;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ProduceRequest};
use millrace_metadata::Topic;
use millrace_metadata::config::{Compression, TimestampType as TopicTimestampType};
use millrace_storage::{BatchHeader, BatchLimits, Codec, Levels, TimestampType, ValidBatches};
use millrace_types::{ErrorCode, Instant, TopicPartition};

use self::respond::Verdict;
use self::waiting::Producing;
use super::{Api, Context, Step, lookup};
use crate::call::{Acks, PartitionOp};
use crate::deadline;
use crate::peer::MAX_BATCH;
use crate::standing::min_in_sync;
use crate::wire::{self, WireError};

/// The API `Produce`. Versions 0 to 2 are advertised, since older librdkafka stops compressing without them
/// (KAFKA-18659), and answered with `UNSUPPORTED_VERSION`.
pub(super) const API: Api = Api { key: ApiKey::Produce, min: 0, advertised_min: 0, max: 10, handle };

/// First version with record batches of format v2.
const SERVED_FROM: i16 = 3;
/// First version that allows Zstandard (KIP-110).
const ZSTD_FROM: i16 = 7;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    if cx.version < SERVED_FROM {
        return legacy::refuse(cx, &body);
    }
    let request: ProduceRequest = wire::decode(body, cx.version)?;
    let acks = match request.acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Leader),
        -1 => Ok(Acks::All),
        _ => Err(ErrorCode::InvalidRequiredAcks),
    };
    // Only acks=all waits for others than the leader; a time-out of 0 must not fail what the leader alone can promise.
    let deadline = match acks {
        Ok(Acks::All) => deadline::after_ms(cx.now, request.timeout_ms),
        _ => Instant::NEVER,
    };
    let image = cx.directory.image();
    let mut producing = Producing::new(acks == Ok(Acks::None));
    for topic in request.topic_data {
        producing.topic(topic.name.clone());
        let found = lookup::topic_by_name(&image, &topic.name);
        for data in topic.partition_data {
            // In Kafka's order: is it there, are the acks valid, may it be written.
            let target = found.and_then(|topic| Ok(Target { acks: acks?, deadline, topic: writable(topic)? }));
            match target.map_err(Verdict::refused).and_then(|target| send(cx, target, data.index, data.records)) {
                Ok((token, partition)) => producing.expect(partition, token),
                Err(verdict) => producing.settle(cx, data.index, verdict),
            }
        }
    }
    producing.begin(cx)
}

/// What a partition's records are to be appended with.
struct Target<'a> {
    acks: Acks,
    deadline: Instant,
    topic: &'a Topic,
}

/// Clients may not write where the cluster keeps its own state.
fn writable(topic: &Topic) -> Result<&Topic, ErrorCode> {
    if topic.internal { Err(ErrorCode::InvalidTopicException) } else { Ok(topic) }
}

/// Checks the records of one partition and sends them to its replica; returns the call's token and the partition.
fn send(
    cx: &mut Context<'_>,
    target: Target<'_>,
    number: i32,
    records: Option<Bytes>,
) -> Result<(u64, TopicPartition), Verdict> {
    let view = lookup::hosted(cx.directory, target.topic, number);
    let partition = TopicPartition::new(target.topic.id, number);
    let view = view.map_err(|error| Verdict::refused(error).at(partition))?;
    // The replica looks again when it appends: leaders change, and replicas may leave in between.
    let leads = view.leader_epoch().is_some();
    if !leads && view.leader().is_some() {
        return Err(Verdict::refused(ErrorCode::NotLeaderOrFollower).at(partition));
    }
    if target.acks == Acks::All && leads && view.in_sync() < min_in_sync(target.topic, number) {
        return Err(Verdict::refused(ErrorCode::NotEnoughReplicas));
    }
    let records = records.unwrap_or_default();
    if BatchHeader::parse(&records).is_ok_and(|header| header.is_transactional()) {
        // No transaction is ever begun here, so no producer has one open.
        return Err(Verdict::refused(ErrorCode::InvalidTxnState));
    }
    let limits = limits(target.topic, cx.version);
    let batches = ValidBatches::check(records, &limits, cx.now.wall).map_err(|error| Verdict::bad_batch(&error))?;
    let op = PartitionOp::Produce { batches, acks: target.acks, deadline: target.deadline };
    Ok((cx.call_partition(partition, op), partition))
}

/// What the topic and the request's version allow of a batch.
fn limits(topic: &Topic, version: i16) -> BatchLimits {
    let settings = &topic.settings;
    BatchLimits {
        // What is taken here has to reach the other replicas.
        max_message_bytes: usize::try_from(settings.max_message_bytes).unwrap_or(0).min(MAX_BATCH),
        timestamp_type: match settings.timestamp_type {
            TopicTimestampType::CreateTime => TimestampType::CreateTime,
            TopicTimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        before_max_ms: settings.timestamp_before_max_ms,
        after_max_ms: settings.timestamp_after_max_ms,
        compression: match settings.compression {
            Compression::Producer => None,
            Compression::Uncompressed => Some(Codec::None),
            Compression::Gzip => Some(Codec::Gzip),
            Compression::Snappy => Some(Codec::Snappy),
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
        },
        levels: Levels { gzip: settings.gzip_level, zstd: settings.zstd_level },
        require_key: settings.compact,
        allow_control: false,
        allow_zstd: version >= ZSTD_FROM,
    }
}
