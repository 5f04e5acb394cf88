//! Consumer groups, with the lag of what they have committed.

use std::collections::BTreeMap;

use actix_web::get;
use actix_web::web::{Data, Json, Path};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::CONSUMER_OFFSETS;
use millrace_types::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, ErrorBody};
use super::partitions::{LATEST, offsets};

/// A group in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupSummary {
    /// Its identity.
    id: String,
    /// Its state, as `Stable`.
    state: String,
    /// The kind of its members, `consumer` for consumers.
    protocol_type: String,
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupDescription {
    /// What a list shows.
    #[serde(flatten)]
    summary: GroupSummary,
    /// The assignor its members agreed on.
    assignor: String,
    /// Its members.
    members: Vec<Member>,
    /// What it has committed.
    offsets: Vec<CommittedOffset>,
    /// Records behind all committed offsets together.
    total_lag: i64,
}

/// A member of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Member {
    /// Its identity, given by the coordinator.
    id: String,
    /// Its own lasting name, for a static member.
    instance_id: Option<String>,
    /// The name its client gives itself.
    client_id: String,
    /// Where it connects from.
    client_host: String,
}

/// An offset committed by a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommittedOffset {
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// The offset of the next record to read.
    offset: i64,
    /// The text kept with it.
    metadata: Option<String>,
    /// The offset behind the last record; `null` while the partition has no leader.
    high_watermark: Option<i64>,
    /// Records between the two; `null` while the partition has no leader.
    lag: Option<i64>,
}

/// The groups, in the order of their names.
#[utoipa::path(context_path = "/api/v1", tag = "groups",
    responses((status = 200, body = [GroupSummary]), (status = "default", body = ErrorBody)))]
#[get("/groups")]
pub(crate) async fn list(state: Data<State>) -> Result<Json<Vec<GroupSummary>>, ApiError> {
    let response = state.client.call(&ListGroupsRequest::default(), 4).await?;
    ApiError::check(response.error_code, None)?;
    let mut groups: Vec<GroupSummary> = response
        .groups
        .into_iter()
        .map(|group| GroupSummary {
            id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            protocol_type: group.protocol_type.to_string(),
        })
        .collect();
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Json(groups))
}

/// A group with its members, its offsets and its lag.
#[utoipa::path(context_path = "/api/v1", tag = "groups", params(("id", description = "The group's identity")),
    responses((status = 200, body = GroupDescription), (status = "default", body = ErrorBody)))]
#[get("/groups/{id}")]
pub(crate) async fn describe(state: Data<State>, id: Path<String>) -> Result<Json<GroupDescription>, ApiError> {
    let group_id = GroupId(StrBytes::from_string(id.into_inner()));
    let missing = || {
        let message = format!("there is no group {}", group_id.as_str());
        ApiError::missing(ErrorCode::GroupIdNotFound, message)
    };
    if state.shared.node.directory.image().topic(CONSUMER_OFFSETS).is_none() {
        // Before the first group there is no coordinator to ask.
        return Err(missing());
    }
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id.clone()]);
    let response = state.client.call(&request, 5).await?;
    let group = response.groups.into_iter().next();
    let group = group.ok_or_else(|| ApiError::bad(&"the broker answered for no group"))?;
    ApiError::check(group.error_code, None)?;
    let offsets = committed(&state, group_id.clone()).await?;
    if group.group_state.as_str() == "Dead" && offsets.is_empty() {
        return Err(missing());
    }
    let member = |member: kafka_protocol::messages::describe_groups_response::DescribedGroupMember| Member {
        id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
    };
    Ok(Json(GroupDescription {
        summary: GroupSummary {
            id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            protocol_type: group.protocol_type.to_string(),
        },
        assignor: group.protocol_data.to_string(),
        members: group.members.into_iter().map(member).collect(),
        total_lag: offsets.iter().filter_map(|offset| offset.lag).sum(),
        offsets,
    }))
}

/// Every offset the group has committed, by topic and partition.
async fn committed(state: &State, group: GroupId) -> Result<Vec<CommittedOffset>, ApiError> {
    let group = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(None);
    let response = state.client.call(&OffsetFetchRequest::default().with_groups(vec![group]), 8).await?;
    let mut topics: BTreeMap<String, Vec<(i32, i64, Option<String>)>> = BTreeMap::new();
    for group in response.groups {
        ApiError::check(group.error_code, None)?;
        for topic in group.topics {
            let known = topic.partitions.into_iter().filter(|partition| partition.committed_offset >= 0);
            topics.entry(topic.name.to_string()).or_default().extend(known.map(|partition| {
                let metadata = partition.metadata.map(|text| text.to_string()).filter(|text| !text.is_empty());
                (partition.partition_index, partition.committed_offset, metadata)
            }));
        }
    }
    let mut committed = Vec::new();
    for (topic, mut partitions) in topics {
        partitions.sort_unstable_by_key(|(partition, ..)| *partition);
        let numbers: Vec<i32> = partitions.iter().map(|(partition, ..)| *partition).collect();
        let ends = offsets(state, &topic, &numbers, LATEST).await?;
        committed.extend(partitions.into_iter().map(|(partition, offset, metadata)| {
            let high_watermark = ends.get(&partition).copied();
            let lag = high_watermark.map(|end| end.saturating_sub(offset).max(0));
            CommittedOffset { topic: topic.clone(), partition, offset, metadata, high_watermark, lag }
        }));
    }
    Ok(committed)
}
