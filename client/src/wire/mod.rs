//! Kafka's requests and responses on the wire: framing, versions, encoding and decoding. No I/O.

mod bounds;
mod decode;
mod encode;
mod fit;
mod frame;
mod schema;
mod version;

pub(crate) use decode::decode_response;
pub(crate) use encode::encode_request;
pub use frame::FrameReader;
pub(crate) use version::ApiVersions;
#[cfg(test)]
pub(crate) use version::supported;

use kafka_protocol::messages::{ApiKey, RequestKind};
use kafka_protocol::protocol::StrBytes;

/// The API a request belongs to, with the name used in error messages; `None` for what this client never sends.
pub(crate) fn api_of(request: &RequestKind) -> Option<(ApiKey, &'static str)> {
    Some(match request {
        RequestKind::Produce(_) => (ApiKey::Produce, "Produce"),
        RequestKind::Fetch(_) => (ApiKey::Fetch, "Fetch"),
        RequestKind::ListOffsets(_) => (ApiKey::ListOffsets, "ListOffsets"),
        RequestKind::Metadata(_) => (ApiKey::Metadata, "Metadata"),
        RequestKind::OffsetCommit(_) => (ApiKey::OffsetCommit, "OffsetCommit"),
        RequestKind::OffsetFetch(_) => (ApiKey::OffsetFetch, "OffsetFetch"),
        RequestKind::FindCoordinator(_) => (ApiKey::FindCoordinator, "FindCoordinator"),
        RequestKind::JoinGroup(_) => (ApiKey::JoinGroup, "JoinGroup"),
        RequestKind::Heartbeat(_) => (ApiKey::Heartbeat, "Heartbeat"),
        RequestKind::LeaveGroup(_) => (ApiKey::LeaveGroup, "LeaveGroup"),
        RequestKind::SyncGroup(_) => (ApiKey::SyncGroup, "SyncGroup"),
        RequestKind::DescribeGroups(_) => (ApiKey::DescribeGroups, "DescribeGroups"),
        RequestKind::ListGroups(_) => (ApiKey::ListGroups, "ListGroups"),
        RequestKind::ApiVersions(_) => (ApiKey::ApiVersions, "ApiVersions"),
        RequestKind::CreateTopics(_) => (ApiKey::CreateTopics, "CreateTopics"),
        RequestKind::DeleteTopics(_) => (ApiKey::DeleteTopics, "DeleteTopics"),
        RequestKind::DeleteRecords(_) => (ApiKey::DeleteRecords, "DeleteRecords"),
        RequestKind::InitProducerId(_) => (ApiKey::InitProducerId, "InitProducerId"),
        RequestKind::OffsetForLeaderEpoch(_) => (ApiKey::OffsetForLeaderEpoch, "OffsetForLeaderEpoch"),
        RequestKind::DescribeConfigs(_) => (ApiKey::DescribeConfigs, "DescribeConfigs"),
        RequestKind::IncrementalAlterConfigs(_) => (ApiKey::IncrementalAlterConfigs, "IncrementalAlterConfigs"),
        RequestKind::CreatePartitions(_) => (ApiKey::CreatePartitions, "CreatePartitions"),
        RequestKind::DeleteGroups(_) => (ApiKey::DeleteGroups, "DeleteGroups"),
        RequestKind::OffsetDelete(_) => (ApiKey::OffsetDelete, "OffsetDelete"),
        _ => return None,
    })
}

/// A string for the wire.
pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

#[cfg(test)]
mod tests;
