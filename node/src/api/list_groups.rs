//! `ListGroups` (key 16): the groups of all coordinators of this broker.

use bytes::Bytes;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ApiKey, GroupId, ListGroupsRequest, ListGroupsResponse};
use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_metadata::CONSUMER_OFFSETS;
use millrace_types::ErrorCode;

use super::groups::{self, Answered, string};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `ListGroups`.
pub(super) const API: Api = Api { key: ApiKey::ListGroups, min: 0, advertised_min: 0, max: 4, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ListGroupsRequest = wire::decode(body, cx.version)?;
    let states: Vec<String> = request.states_filter.iter().map(|state| state.to_string()).collect();
    let image = cx.directory.image();
    let here = image.topic(CONSUMER_OFFSETS).into_iter().flat_map(|topic| topic.partitions_on(cx.settings.broker_id));
    let calls = here.map(|partition| (partition.partition, GroupRequest::List { states: states.clone() })).collect();
    groups::gather(cx, calls, finish)
}

fn finish(version: i16, answers: Vec<Answered>) -> Result<Frame, WireError> {
    let mut groups = Vec::new();
    let mut error = ErrorCode::None;
    for answer in answers {
        match answer {
            Ok(GroupResponse::List(listed)) => groups.extend(listed),
            Ok(_) => error = ErrorCode::UnknownServerError,
            // The coordinator is another broker's by now, which is asked too.
            Err(ErrorCode::NotCoordinator) => {}
            Err(failure) => error = failure,
        }
    }
    if error != ErrorCode::None {
        // A part of the groups would look like all of them.
        return wire::encode_body(&ListGroupsResponse::default().with_error_code(error.code()), version);
    }
    groups.sort_by(|one, other| one.group.cmp(&other.group));
    let listed = groups.iter().map(|group| {
        ListedGroup::default()
            .with_group_id(GroupId(string(&group.group)))
            .with_protocol_type(string(&group.protocol_type))
            .with_group_state(if version >= 4 { string(group.state.name()) } else { string("") })
    });
    wire::encode_body(&ListGroupsResponse::default().with_groups(listed.collect()), version)
}
