//! The resources whose configuration can be described and changed, as the wire names them.

use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{CommandResult, ConfigResource, ItemError, Outcome};
use millrace_types::{BrokerId, ErrorCode};

use super::metadata_call::error_of;

/// Number of the resource type "topic" (KIP-133).
pub(super) const TOPIC: i8 = 2;
/// Number of the resource type "broker".
pub(super) const BROKER: i8 = 4;
/// Number of the resource type "broker logger" (KIP-412); no such resource exists here.
pub(super) const BROKER_LOGGER: i8 = 8;
/// Number of the resource type "client metrics" (KIP-714).
pub(super) const CLIENT_METRICS: i8 = 16;
/// Number of the resource type "group" (KIP-848); no group has a configuration here.
pub(super) const GROUP: i8 = 32;

/// The resource of this type and name.
///
/// # Errors
/// `INVALID_REQUEST` for a type that is not supported and a broker that is no number.
pub(super) fn parse(kind: i8, name: &str) -> Result<ConfigResource, ItemError> {
    match kind {
        TOPIC => Ok(ConfigResource::Topic(name.to_owned())),
        BROKER if name.is_empty() => Ok(ConfigResource::Broker(None)),
        BROKER => match name.parse() {
            Ok(id) => Ok(ConfigResource::Broker(Some(BrokerId(id)))),
            Err(_) => Err(invalid(format!("Broker id must be an integer, but it is: {name}"))),
        },
        CLIENT_METRICS => Ok(ConfigResource::ClientMetrics(name.to_owned())),
        other => Err(invalid(format!("Unsupported resource type: {}", type_name(other)))),
    }
}

/// Error `INVALID_REQUEST`.
pub(super) fn invalid(message: String) -> ItemError {
    ItemError::new(ErrorCode::InvalidRequest, message)
}

fn type_name(kind: i8) -> String {
    match kind {
        BROKER_LOGGER => "BROKER_LOGGER".to_owned(),
        GROUP => "GROUP".to_owned(),
        other => other.to_string(),
    }
}

/// A resource as the request named it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// Number of its type.
    pub(super) kind: i8,
    /// Its name.
    pub(super) name: StrBytes,
}

/// Brings the results of a `SetConfigs` command back into the order of the request: `slots` has the error of each
/// resource that was not sent, and `None` for each that was.
pub(super) fn merge(slots: Vec<(Named, Option<ItemError>)>, result: CommandResult) -> Vec<(Named, Outcome<()>)> {
    let (mut outcomes, error) = match result {
        CommandResult::SetConfigs(outcomes) => (outcomes.into_iter(), None),
        other => (Vec::new().into_iter(), Some(error_of(other))),
    };
    let missing = ItemError::new(ErrorCode::UnknownServerError, ErrorCode::UnknownServerError.message());
    let mut next = || match &error {
        Some(error) => Err(error.clone()),
        None => outcomes.next().map_or_else(|| Err(missing.clone()), |(_, outcome)| outcome),
    };
    slots.into_iter().map(|(named, refused)| (named, refused.map_or_else(&mut next, Err))).collect()
}
