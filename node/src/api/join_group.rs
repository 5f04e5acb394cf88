//! `JoinGroup` (key 11): a member joins its group and waits for the rebalance.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{ApiKey, JoinGroupRequest, JoinGroupResponse};
use millrace_coordinator::{GroupRequest, GroupResponse, JoinGroup, JoinProtocol, JoinedGroup};
use millrace_types::ErrorCode;

use super::groups::{self, Answered, string};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `JoinGroup`.
pub(super) const API: Api = Api { key: ApiKey::JoinGroup, min: 0, advertised_min: 0, max: 9, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: JoinGroupRequest = wire::decode(body, cx.version)?;
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    // Version 0 has one time-out for both.
    let rebalance_timeout_ms = if cx.version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let join = JoinGroup {
        group: groups::text(&request.group_id),
        member_id: groups::text(&request.member_id),
        instance_id: groups::optional(request.group_instance_id.as_ref()),
        client_id: cx.client_id.into(),
        // As Java prints an address.
        client_host: format!("/{}", cx.session.origin.client_host).into(),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(rebalance_timeout_ms),
        protocol_type: groups::text(&request.protocol_type),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| JoinProtocol { name: groups::text(&protocol.name), metadata: protocol.metadata })
            .collect(),
        requires_known_member_id: cx.version >= 4,
        supports_skipping_assignment: cx.version >= 9,
    };
    let member_id = request.member_id;
    groups::ask(cx, &join.group.clone(), GroupRequest::Join(join), move |version, answer| {
        finish(version, answer, member_id)
    })
}

fn finish(version: i16, answer: Answered, member_id: kafka_protocol::protocol::StrBytes) -> Result<Frame, WireError> {
    let response = match answer {
        Ok(GroupResponse::Join(joined)) => joined_response(version, joined),
        Ok(_) => failed(version, ErrorCode::UnknownServerError).with_member_id(member_id),
        Err(error) => failed(version, error).with_member_id(member_id),
    };
    wire::encode_body(&response, version)
}

fn failed(version: i16, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name((version < 7).then(|| string("")))
}

fn joined_response(version: i16, joined: JoinedGroup) -> JoinGroupResponse {
    let members = joined.members.iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(string(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().filter(|_| version >= 5).map(string))
            .with_metadata(member.metadata.clone())
    });
    let protocol = joined.protocol.as_deref().map(string);
    JoinGroupResponse::default()
        .with_error_code(joined.error.code())
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.as_deref().filter(|_| version >= 7).map(string))
        .with_protocol_name(if version >= 7 { protocol } else { Some(protocol.unwrap_or_default()) })
        .with_leader(string(&joined.leader))
        .with_skip_assignment(joined.skip_assignment && version >= 9)
        .with_member_id(string(&joined.member_id))
        .with_members(members.collect())
}
