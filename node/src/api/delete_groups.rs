//! `DeleteGroups` (key 42): forgets groups without members, and their offsets.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, GroupId};
use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_types::ErrorCode;

use super::groups;
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `DeleteGroups`.
pub(super) const API: Api = Api { key: ApiKey::DeleteGroups, min: 0, advertised_min: 0, max: 2, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DeleteGroupsRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    // A group named twice is deleted and answered once, as by Kafka.
    let mut results = BTreeMap::<GroupId, ErrorCode>::new();
    let mut asked = BTreeMap::<i32, Vec<GroupId>>::new();
    for group in request.groups_names {
        let partition = groups::partition_of(&image, &group);
        let error = partition.err().unwrap_or(ErrorCode::UnknownServerError);
        if results.insert(group.clone(), error).is_none()
            && let Ok(partition) = partition
        {
            asked.entry(partition).or_default().push(group);
        }
    }
    let ids = |groups: &Vec<GroupId>| groups.iter().map(|group| groups::text(group)).collect();
    let calls = asked.iter().map(|(partition, groups)| (*partition, GroupRequest::DeleteGroups(ids(groups)))).collect();
    groups::gather(cx, calls, move |version, answers| {
        for (groups, answer) in asked.into_values().zip(answers) {
            match answer {
                Ok(GroupResponse::DeleteGroups(deleted)) => {
                    results.extend(groups.into_iter().zip(deleted.into_iter().map(|(_, error)| error)));
                }
                Ok(_) => {}
                Err(error) => results.extend(groups.into_iter().map(|group| (group, error))),
            }
        }
        let result = |(group, error): (GroupId, ErrorCode)| {
            DeletableGroupResult::default().with_group_id(group).with_error_code(error.code())
        };
        let results = results.into_iter().map(result).collect();
        wire::encode_body(&DeleteGroupsResponse::default().with_results(results), version)
    })
}
