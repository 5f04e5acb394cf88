//! `Heartbeat` (key 12): a member is alive, and learns of a rebalance.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, HeartbeatRequest, HeartbeatResponse};
use millrace_coordinator::{GroupRequest, GroupResponse, Heartbeat};
use millrace_types::ErrorCode;

use super::groups;
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `Heartbeat`.
pub(super) const API: Api = Api { key: ApiKey::Heartbeat, min: 0, advertised_min: 0, max: 4, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: HeartbeatRequest = wire::decode(body, cx.version)?;
    let heartbeat = Heartbeat {
        group: groups::text(&request.group_id),
        member_id: groups::text(&request.member_id),
        instance_id: groups::optional(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    groups::ask(cx, &heartbeat.group.clone(), GroupRequest::Heartbeat(heartbeat), |version, answer| {
        let error = match answer {
            // As in Kafka: members are known when their group is loaded, and nobody is expelled before.
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Ok(GroupResponse::Heartbeat(error)) | Err(error) => error,
            Ok(_) => ErrorCode::UnknownServerError,
        };
        wire::encode_body(&HeartbeatResponse::default().with_error_code(error.code()), version)
    })
}
