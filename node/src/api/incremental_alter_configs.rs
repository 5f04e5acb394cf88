//! `IncrementalAlterConfigs` (key 44): single keys of a resource (KIP-339).

use bytes::Bytes;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{ApiKey, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{
    Command, CommandResult, ConfigOperation, ConfigOperationKind, ItemError, Outcome, ResourceChange, SetConfigs,
};

use super::alter_configs::TIMEOUT_MS;
use super::config_resource::{Named, invalid, merge, parse};
use super::{Api, Context, Step, metadata_call};
use crate::wire::{self, WireError};

/// The API `IncrementalAlterConfigs`.
pub(super) const API: Api = Api { key: ApiKey::IncrementalAlterConfigs, min: 0, advertised_min: 0, max: 1, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: IncrementalAlterConfigsRequest = wire::decode(body, cx.version)?;
    let mut slots = Vec::with_capacity(request.resources.len());
    let mut resources = Vec::new();
    for resource in request.resources {
        let refused = match change(&resource) {
            Err(error) => Some(error),
            Ok(change) => {
                resources.push(change);
                None
            }
        };
        slots.push((Named { kind: resource.resource_type, name: resource.resource_name }, refused));
    }
    if resources.is_empty() {
        return cx.reply(&response(merge(slots, CommandResult::SetConfigs(Vec::new()))));
    }
    let command = Command::SetConfigs(SetConfigs { resources, validate_only: request.validate_only });
    let finish = move |cx: &Context<'_>, result| wire::encode_body(&response(merge(slots, result)), cx.version);
    Ok(metadata_call::send(cx, command, TIMEOUT_MS, Box::new(finish)))
}

fn change(resource: &AlterConfigsResource) -> Result<ResourceChange, ItemError> {
    let parsed = parse(resource.resource_type, &resource.resource_name)?;
    let mut operations = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let kind = match config.config_operation {
            0 => ConfigOperationKind::Set,
            1 => ConfigOperationKind::Delete,
            2 => ConfigOperationKind::Append,
            3 => ConfigOperationKind::Subtract,
            other => return Err(invalid(format!("Unknown operations type {other}"))),
        };
        operations.push((config.name.to_string(), kind, config.value.as_ref().map(ToString::to_string)));
    }
    Ok(ResourceChange { resource: parsed, operation: ConfigOperation::Incremental(operations) })
}

fn response(outcomes: Vec<(Named, Outcome<()>)>) -> IncrementalAlterConfigsResponse {
    let one = |(named, outcome): (Named, Outcome<()>)| {
        let response =
            AlterConfigsResourceResponse::default().with_resource_type(named.kind).with_resource_name(named.name);
        match outcome {
            Ok(()) => response.with_error_message(None),
            Err(ItemError { code, message }) => {
                response.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
            }
        }
    };
    IncrementalAlterConfigsResponse::default().with_responses(outcomes.into_iter().map(one).collect())
}
