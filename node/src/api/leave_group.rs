//! `LeaveGroup` (key 13): members leave, from version 3 on several at once (KIP-345).

use bytes::Bytes;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{ApiKey, LeaveGroupRequest, LeaveGroupResponse};
use millrace_coordinator::{GroupRequest, GroupResponse, LeaveGroup, LeavingMember, LeftGroup};
use millrace_types::ErrorCode;

use super::groups::{self, Answered, string};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `LeaveGroup`.
pub(super) const API: Api = Api { key: ApiKey::LeaveGroup, min: 0, advertised_min: 0, max: 5, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: LeaveGroupRequest = wire::decode(body, cx.version)?;
    let members = if cx.version >= 3 {
        let leaving = request.members.iter().map(|member| LeavingMember {
            member_id: groups::text(&member.member_id),
            instance_id: groups::optional(member.group_instance_id.as_ref()),
        });
        leaving.collect()
    } else {
        vec![LeavingMember { member_id: groups::text(&request.member_id), instance_id: None }]
    };
    let leave = LeaveGroup { group: groups::text(&request.group_id), members };
    groups::ask(cx, &leave.group.clone(), GroupRequest::Leave(leave), finish)
}

fn finish(version: i16, answer: Answered) -> Result<Frame, WireError> {
    let left = match answer {
        Ok(GroupResponse::Leave(left)) => left,
        Ok(_) => LeftGroup { error: ErrorCode::UnknownServerError, members: Vec::new() },
        Err(error) => LeftGroup { error, members: Vec::new() },
    };
    let response = LeaveGroupResponse::default();
    if version < 3 {
        // One member: its error is that of the response.
        let of_member = left.members.first().map_or(ErrorCode::None, |member| member.error);
        let error = if left.error == ErrorCode::None { of_member } else { left.error };
        return wire::encode_body(&response.with_error_code(error.code()), version);
    }
    let members = left.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(string(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(string))
            .with_error_code(member.error.code())
    });
    let members = members.collect();
    wire::encode_body(&response.with_error_code(left.error.code()).with_members(members), version)
}
