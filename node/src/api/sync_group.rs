//! `SyncGroup` (key 14): a member takes its assignment; the leader brings everyone's.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, SyncGroupRequest, SyncGroupResponse};
use millrace_coordinator::{GroupRequest, GroupResponse, SyncGroup};
use millrace_types::ErrorCode;

use super::groups::{self, Answered, string};
use super::{Api, Context, Step};
use crate::wire::{self, Frame, WireError};

/// The API `SyncGroup`.
pub(super) const API: Api = Api { key: ApiKey::SyncGroup, min: 0, advertised_min: 0, max: 5, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: SyncGroupRequest = wire::decode(body, cx.version)?;
    if cx.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        // From version 5 on a member must say what it expects (KIP-559).
        return Ok(Step::Reply(finish(cx.version, Err(ErrorCode::InconsistentGroupProtocol))?));
    }
    let sync = SyncGroup {
        group: groups::text(&request.group_id),
        member_id: groups::text(&request.member_id),
        instance_id: groups::optional(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: groups::optional(request.protocol_type.as_ref()),
        protocol: groups::optional(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .into_iter()
            .map(|assignment| (groups::text(&assignment.member_id), assignment.assignment))
            .collect(),
    };
    groups::ask(cx, &sync.group.clone(), GroupRequest::Sync(sync), finish)
}

fn finish(version: i16, answer: Answered) -> Result<Frame, WireError> {
    let response = match answer {
        Ok(GroupResponse::Sync(synced)) => SyncGroupResponse::default()
            .with_error_code(synced.error.code())
            .with_protocol_type(synced.protocol_type.as_deref().filter(|_| version >= 5).map(string))
            .with_protocol_name(synced.protocol.as_deref().filter(|_| version >= 5).map(string))
            .with_assignment(synced.assignment),
        Ok(_) => SyncGroupResponse::default().with_error_code(ErrorCode::UnknownServerError.code()),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    };
    wire::encode_body(&response, version)
}
