//! The partitions of a topic, with their offsets.

use actix_web::get;
use actix_web::web::{Data, Json, Path};
use kafka_protocol::messages::ListOffsetsRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_types::TopicPartition;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, ErrorBody};
use super::topics::{metadata, topic_name};

/// `ListOffsets`' number for the high watermark.
pub(super) const LATEST: i64 = -1;
/// `ListOffsets`' number for the log start offset.
const EARLIEST: i64 = -2;

/// A partition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Partition {
    /// Its number.
    partition: i32,
    /// The broker that leads it; -1 for none.
    leader: i32,
    /// The leader's epoch; -1 while there is no leader.
    leader_epoch: i32,
    /// Its replicas, the preferred leader first.
    replicas: Vec<i32>,
    /// The broker that votes beside an even number of replicas and holds no record; `null` for none.
    witness: Option<i32>,
    /// The replicas that are in sync.
    in_sync_replicas: Vec<i32>,
    /// The first offset; `null` while there is no leader.
    log_start_offset: Option<i64>,
    /// The offset behind the last record that consumers see; `null` while there is no leader.
    high_watermark: Option<i64>,
    /// This broker's own replica, in whatever role; `null` where it has none. By it an operator compares what survives when a
    /// majority is lost.
    replica: Option<LocalReplica>,
    /// Offsets of this broker's replica that are damaged and wait for their repair: the first of each range, and the one
    /// behind its last.
    damaged: Vec<[i64; 2]>,
}

/// What the broker that answers holds of a partition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LocalReplica {
    /// The first offset of its log.
    log_start_offset: i64,
    /// What it knows to be committed.
    high_watermark: i64,
    /// The end of its log.
    log_end_offset: i64,
    /// The leader epoch of its last record; -1 where it has none. Of two logs the one with the greater epoch has more of what
    /// was committed, and with the same epoch the longer one.
    log_end_epoch: i32,
}

/// The partitions of a topic.
#[utoipa::path(context_path = "/api/v1", tag = "topics", params(("name", description = "The topic's name")),
    responses((status = 200, body = [Partition]), (status = "default", body = ErrorBody)))]
#[get("/topics/{name}/partitions")]
pub(crate) async fn list(state: Data<State>, name: Path<String>) -> Result<Json<Vec<Partition>>, ApiError> {
    let topic = metadata(&state, &name).await?;
    let numbers: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
    let earliest = offsets(&state, &name, &numbers, EARLIEST).await?;
    let latest = offsets(&state, &name, &numbers, LATEST).await?;
    let mut partitions: Vec<Partition> = topic
        .partitions
        .iter()
        .map(|partition| Partition {
            partition: partition.partition_index,
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.iter().map(|broker| broker.0).collect(),
            witness: witness(&state, &name, partition.partition_index),
            in_sync_replicas: partition.isr_nodes.iter().map(|broker| broker.0).collect(),
            log_start_offset: earliest.get(&partition.partition_index).copied(),
            high_watermark: latest.get(&partition.partition_index).copied(),
            replica: replica(&state, &name, partition.partition_index),
            damaged: damaged(&state, &name, partition.partition_index),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    Ok(Json(partitions))
}

/// Where the witness of a partition was placed.
fn witness(state: &State, topic: &str, partition: i32) -> Option<i32> {
    let image = state.shared.node.directory.image();
    let witness = image.topic(topic)?.assignment(partition)?.witness?;
    Some(witness.0)
}

/// What this broker's replica holds, if it has one.
fn replica(state: &State, topic: &str, partition: i32) -> Option<LocalReplica> {
    let directory = &state.shared.node.directory;
    let image = directory.image();
    let view = directory.partition(&TopicPartition::new(image.topic(topic)?.id, partition))?;
    Some(LocalReplica {
        log_start_offset: view.log.log_start(),
        high_watermark: view.log.high_watermark(),
        log_end_offset: view.log.log_end(),
        log_end_epoch: view.log.epoch_end_offset(i32::MAX).0,
    })
}

/// What is damaged of this broker's replica, if it has one.
fn damaged(state: &State, topic: &str, partition: i32) -> Vec<[i64; 2]> {
    let directory = &state.shared.node.directory;
    let image = directory.image();
    let view = image.topic(topic).and_then(|topic| directory.partition(&TopicPartition::new(topic.id, partition)));
    view.map_or_else(Vec::new, |view| view.log.damaged().into_iter().map(|range| [range.start, range.end]).collect())
}

/// The offsets at `timestamp` of those partitions that can tell.
pub(super) async fn offsets(
    state: &State,
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
) -> Result<BTreeMap<i32, i64>, ApiError> {
    let wanted =
        |partition: &i32| ListOffsetsPartition::default().with_partition_index(*partition).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.iter().map(wanted).collect());
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let response = state.client.call(&request, 7).await?;
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let known = partitions.filter(|partition| partition.error_code == 0);
    Ok(known.map(|partition| (partition.partition_index, partition.offset)).collect())
}
