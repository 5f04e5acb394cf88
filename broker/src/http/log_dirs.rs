//! What the data directory holds, in bytes used, not preallocated.

use actix_web::get;
use actix_web::web::{Data, Json};
use kafka_protocol::messages::DescribeLogDirsRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, ErrorBody};

/// A data directory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogDir {
    /// Its path.
    path: String,
    /// Bytes of its disk; `null` while unknown.
    total_bytes: Option<i64>,
    /// Bytes that can still be written; `null` while unknown.
    usable_bytes: Option<i64>,
    /// Bytes of record batches in all partitions.
    used_bytes: i64,
    /// The partitions.
    partitions: Vec<PartitionSize>,
}

/// The size of a partition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartitionSize {
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// Bytes of its record batches.
    bytes: i64,
}

/// The data directories of this broker.
#[utoipa::path(context_path = "/api/v1", tag = "cluster",
    responses((status = 200, body = [LogDir]), (status = "default", body = ErrorBody)))]
#[get("/log-dirs")]
pub(crate) async fn list(state: Data<State>) -> Result<Json<Vec<LogDir>>, ApiError> {
    let response = state.client.call(&DescribeLogDirsRequest::default().with_topics(None), 4).await?;
    ApiError::check(response.error_code, None)?;
    let mut directories = Vec::new();
    for result in response.results {
        ApiError::check(result.error_code, None)?;
        let mut partitions: Vec<PartitionSize> = Vec::new();
        for topic in result.topics {
            partitions.extend(topic.partitions.iter().map(|partition| PartitionSize {
                topic: topic.name.to_string(),
                partition: partition.partition_index,
                bytes: partition.partition_size,
            }));
        }
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        directories.push(LogDir {
            path: result.log_dir.to_string(),
            total_bytes: Some(result.total_bytes).filter(|bytes| *bytes >= 0),
            usable_bytes: Some(result.usable_bytes).filter(|bytes| *bytes >= 0),
            used_bytes: partitions.iter().map(|partition| partition.bytes).sum(),
            partitions,
        });
    }
    Ok(Json(directories))
}
