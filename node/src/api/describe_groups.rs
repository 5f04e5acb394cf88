//! `DescribeGroups` (key 15): state and members of groups, of whichever coordinators have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{ApiKey, DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_types::ErrorCode;

use super::groups::{self, Answered, string};
use super::{Api, Context, Step, authorized};
use crate::wire::{self, WireError};

/// The API `DescribeGroups`.
pub(super) const API: Api = Api { key: ApiKey::DescribeGroups, min: 0, advertised_min: 0, max: 5, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DescribeGroupsRequest = wire::decode(body, cx.version)?;
    let operations = if request.include_authorized_operations { authorized::GROUP } else { authorized::UNKNOWN };
    let plan = Plan::new(cx, groups::distinct(request.groups));
    let calls = plan.calls(GroupRequest::Describe);
    groups::gather(cx, calls, move |version, answers| {
        let described = plan.finish(answers, operations);
        wire::encode_body(&DescribeGroupsResponse::default().with_groups(described), version)
    })
}

/// Which coordinator is asked for which of the request's groups.
struct Plan {
    groups: Vec<GroupId>,
    /// By partition of `__consumer_offsets`, the positions of its groups in the request.
    asked: BTreeMap<i32, Vec<usize>>,
    /// Positions whose groups have no coordinator.
    refused: Vec<(usize, ErrorCode)>,
}

impl Plan {
    fn new(cx: &Context<'_>, groups: Vec<GroupId>) -> Self {
        let image = cx.directory.image();
        let mut plan = Self { groups: Vec::new(), asked: BTreeMap::new(), refused: Vec::new() };
        for (at, group) in groups.iter().enumerate() {
            match groups::partition_of(&image, group) {
                Ok(partition) => plan.asked.entry(partition).or_default().push(at),
                Err(error) => plan.refused.push((at, error)),
            }
        }
        plan.groups = groups;
        plan
    }

    fn calls(&self, request: fn(Vec<Arc<str>>) -> GroupRequest) -> Vec<(i32, GroupRequest)> {
        let ids = |positions: &Vec<usize>| {
            positions.iter().filter_map(|at| self.groups.get(*at)).map(|group| groups::text(group)).collect()
        };
        self.asked.iter().map(|(partition, positions)| (*partition, request(ids(positions)))).collect()
    }

    /// The groups in the order of the request.
    fn finish(self, answers: Vec<Answered>, operations: i32) -> Vec<DescribedGroup> {
        let failed = |group: &GroupId, error: ErrorCode| {
            DescribedGroup::default()
                .with_error_code(error.code())
                .with_group_id(group.clone())
                .with_authorized_operations(authorized::UNKNOWN)
        };
        let unasked = self.groups.iter().map(|group| failed(group, ErrorCode::UnknownServerError));
        let mut described: Vec<_> = unasked.collect();
        let mut put = |at: usize, group: DescribedGroup| {
            if let Some(slot) = described.get_mut(at) {
                *slot = group;
            }
        };
        for (at, error) in self.refused {
            self.groups.get(at).into_iter().for_each(|group| put(at, failed(group, error)));
        }
        for (positions, answer) in self.asked.into_values().zip(answers) {
            match answer {
                Ok(GroupResponse::Describe(found)) => {
                    for (at, group) in positions.into_iter().zip(found) {
                        put(at, describe(&group, operations));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    for at in positions {
                        self.groups.get(at).into_iter().for_each(|group| put(at, failed(group, error)));
                    }
                }
            }
        }
        described
    }
}

fn describe(group: &millrace_coordinator::DescribedGroup, operations: i32) -> DescribedGroup {
    let members = group.members.iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(string(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(string))
            .with_client_id(string(&member.client_id))
            .with_client_host(string(&member.client_host))
            .with_member_metadata(member.metadata.clone())
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_id(GroupId(string(&group.group)))
        .with_group_state(string(group.state.name()))
        .with_protocol_type(string(&group.protocol_type))
        .with_protocol_data(string(&group.protocol))
        .with_members(members.collect())
        .with_authorized_operations(operations)
}
