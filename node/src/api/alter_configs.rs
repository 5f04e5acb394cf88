//! `AlterConfigs` (key 33): the whole configuration of a resource at once (KIP-133).

use bytes::Bytes;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, ApiKey};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Command, CommandResult, ConfigOperation, ItemError, Outcome, ResourceChange, SetConfigs};

use super::config_resource::{Named, merge, parse};
use super::{Api, Context, Step, metadata_call};
use crate::wire::{self, WireError};

/// The API `AlterConfigs`.
pub(super) const API: Api = Api { key: ApiKey::AlterConfigs, min: 0, advertised_min: 0, max: 2, handle };

/// The request names no time-out; this is the one Kafka's brokers use among themselves, in milliseconds.
pub(super) const TIMEOUT_MS: i32 = 30_000;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: AlterConfigsRequest = wire::decode(body, cx.version)?;
    let mut slots = Vec::with_capacity(request.resources.len());
    let mut resources = Vec::new();
    for resource in request.resources {
        let named = Named { kind: resource.resource_type, name: resource.resource_name };
        let refused = match parse(named.kind, &named.name) {
            Err(error) => Some(error),
            Ok(parsed) => {
                let values = resource
                    .configs
                    .iter()
                    .map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)))
                    .collect();
                resources.push(ResourceChange { resource: parsed, operation: ConfigOperation::Replace(values) });
                None
            }
        };
        slots.push((named, refused));
    }
    if resources.is_empty() {
        return cx.reply(&response(merge(slots, CommandResult::SetConfigs(Vec::new()))));
    }
    let command = Command::SetConfigs(SetConfigs { resources, validate_only: request.validate_only });
    let finish = move |cx: &Context<'_>, result| wire::encode_body(&response(merge(slots, result)), cx.version);
    Ok(metadata_call::send(cx, command, TIMEOUT_MS, Box::new(finish)))
}

fn response(outcomes: Vec<(Named, Outcome<()>)>) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(outcomes.into_iter().map(one).collect())
}

#[cfg(test)]
mod tests;
