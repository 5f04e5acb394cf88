//! `AlterConfigs` and `IncrementalAlterConfigs` (KIP-133, KIP-226, KIP-339).

use millrace_types::{BrokerId, ErrorCode};

use super::edit::{Configs, changed};
use super::{Planned, client_metrics, duplicates, topic_config};
use crate::command::{ConfigOperation, ConfigResource, ResourceChange, SetConfigs};
use crate::config::{broker_key, topic_key};
use crate::entry::Change;
use crate::image::Image;
use crate::outcome::{CommandResult, ItemError};

pub(super) fn plan(image: &Image, request: SetConfigs) -> Planned {
    let twice = duplicates(request.resources.iter().map(|change| &change.resource));
    let mut changes = Vec::new();
    let mut results = Vec::with_capacity(request.resources.len());
    let mut subscriptions = image.client_metrics().len();
    for change in &request.resources {
        let planned = if twice.contains(&change.resource) {
            Err(ItemError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            one(image, change, &mut subscriptions)
        };
        let outcome = planned.map(|change| changes.extend(change));
        results.push((change.resource.clone(), outcome));
    }
    if request.validate_only {
        changes.clear();
    }
    Planned::new(changes, CommandResult::SetConfigs(results))
}

/// The change of one resource; `None` when it is what the image has. `subscriptions` counts the client metrics
/// subscriptions there are with those of the same command.
fn one(image: &Image, change: &ResourceChange, subscriptions: &mut usize) -> Result<Option<Change>, ItemError> {
    match &change.resource {
        ConfigResource::Topic(name) => topic(image, name, &change.operation),
        ConfigResource::Broker(id) => broker(image, *id, &change.operation),
        ConfigResource::ClientMetrics(name) => client_metrics::plan(image, name, &change.operation, subscriptions),
    }
}

fn topic(image: &Image, name: &str, operation: &ConfigOperation) -> Result<Option<Change>, ItemError> {
    if name.is_empty() {
        let text = "Default topic resources are not allowed.";
        return Err(ItemError::new(ErrorCode::InvalidRequest, text));
    }
    let Some(topic) = image.topic(name) else {
        let text = format!("The topic '{name}' does not exist.");
        return Err(ItemError::new(ErrorCode::UnknownTopicOrPartition, text));
    };
    let wanted = changed(&topic.overrides, operation, topic_key)?;
    let overrides = topic_config::check(name, wanted)?;
    if topic.internal && overrides.get("cleanup.policy").map(String::as_str) != Some("compact") {
        let text = format!("The internal topic '{name}' must keep cleanup.policy=compact.");
        return Err(ItemError::new(ErrorCode::InvalidConfig, text));
    }
    Ok((overrides != topic.overrides).then(|| Change::SetTopicConfig { id: topic.id, overrides }))
}

fn broker(image: &Image, id: Option<BrokerId>, operation: &ConfigOperation) -> Result<Option<Change>, ItemError> {
    if let Some(id) = id
        && image.broker(id).is_none()
    {
        let text = format!("Unexpected broker id {id}: no such broker is registered.");
        return Err(ItemError::new(ErrorCode::InvalidRequest, text));
    }
    let configs = image.broker_configs();
    let none = Configs::new();
    let current = match id {
        None => &configs.default,
        Some(id) => configs.brokers.get(&id).unwrap_or(&none),
    };
    let mut overrides = Configs::new();
    for (key, value) in changed(current, operation, broker_key)? {
        overrides.insert(key.clone(), broker_value(&key, &value)?);
    }
    Ok((overrides != *current).then_some(Change::SetBrokerConfig { broker: id, overrides }))
}

/// Checks one value that shall be set on a broker while it runs. Kafka answers INVALID_REQUEST here (KAFKA-13609).
fn broker_value(key: &str, value: &str) -> Result<String, ItemError> {
    let Some(row) = broker_key(key) else {
        return Err(ItemError::new(ErrorCode::InvalidConfig, format!("Unknown broker config name: {key}")));
    };
    if !row.is_dynamic() {
        let text = format!("Cannot update these configs dynamically: Set({key})");
        return Err(ItemError::new(ErrorCode::InvalidRequest, text));
    }
    let value = row.normalize(value).map_err(|error| ItemError::new(ErrorCode::InvalidRequest, error.to_string()))?;
    if key == "log.cleanup.policy" && value != "delete" {
        let text = "log.cleanup.policy: compaction is supported for the cluster's internal topics only";
        return Err(ItemError::new(ErrorCode::InvalidRequest, text));
    }
    Ok(value)
}
