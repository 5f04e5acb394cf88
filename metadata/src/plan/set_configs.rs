//! `AlterConfigs` and `IncrementalAlterConfigs` (KIP-133, KIP-226, KIP-339).

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::{BrokerId, ErrorCode};

use super::{Planned, client_metrics, duplicates, topic_config};
use crate::command::{ConfigOperation, ConfigOperationKind, ConfigResource, ResourceChange, SetConfigs};
use crate::config::{Key, broker_key, list, topic_key};
use crate::entry::Change;
use crate::image::Image;
use crate::outcome::{CommandResult, ItemError};

pub(super) type Configs = BTreeMap<String, String>;

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

/// What a resource would hold after the operation.
pub(super) fn changed(
    current: &Configs,
    operation: &ConfigOperation,
    key_of: fn(&str) -> Option<&'static Key>,
) -> Result<Configs, ItemError> {
    match operation {
        ConfigOperation::Replace(values) => {
            let mut names = BTreeSet::new();
            check_keys(values.iter().map(|(key, value)| (key.as_str(), value.is_none())), &mut names)?;
            Ok(values.iter().map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())).collect())
        }
        ConfigOperation::Incremental(operations) => {
            let mut names = BTreeSet::new();
            let keys = operations
                .iter()
                .map(|(key, kind, value)| (key.as_str(), value.is_none() && *kind != ConfigOperationKind::Delete));
            check_keys(keys, &mut names)?;
            let mut configs = current.clone();
            for (key, kind, value) in operations {
                step(&mut configs, key, *kind, value.as_deref().unwrap_or_default(), key_of)?;
            }
            Ok(configs)
        }
    }
}

/// Refuses a key that appears twice or comes without a value.
fn check_keys<'a>(keys: impl Iterator<Item = (&'a str, bool)>, names: &mut BTreeSet<&'a str>) -> Result<(), ItemError> {
    let mut nulls = Vec::new();
    for (key, null) in keys {
        if !names.insert(key) {
            return Err(ItemError::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
        }
        if null {
            nulls.push(key);
        }
    }
    if nulls.is_empty() {
        return Ok(());
    }
    let text = format!("Null value not supported for : {}", nulls.join(", "));
    Err(ItemError::new(ErrorCode::InvalidRequest, text))
}

/// One incremental operation.
fn step(
    configs: &mut Configs,
    key: &str,
    kind: ConfigOperationKind,
    value: &str,
    key_of: fn(&str) -> Option<&'static Key>,
) -> Result<(), ItemError> {
    match kind {
        ConfigOperationKind::Set => {
            configs.insert(key.to_owned(), value.to_owned());
        }
        ConfigOperationKind::Delete => {
            configs.remove(key);
        }
        ConfigOperationKind::Append | ConfigOperationKind::Subtract => {
            let row = key_of(key).filter(|row| row.is_list());
            let Some(row) = row else {
                let name = if kind == ConfigOperationKind::Append { "APPEND" } else { "SUBTRACT" };
                let text = format!("Can't {name} to key {key} because its type is not LIST.");
                return Err(ItemError::new(ErrorCode::InvalidConfig, text));
            };
            let old = configs.get(key).cloned().or_else(|| row.default_text()).unwrap_or_default();
            let mut elements = list(&old);
            if kind == ConfigOperationKind::Append {
                let fresh: Vec<&str> = list(value).into_iter().filter(|new| !elements.contains(new)).collect();
                elements.extend(fresh);
            } else {
                let gone = list(value);
                elements.retain(|element| !gone.contains(element));
            }
            configs.insert(key.to_owned(), elements.join(","));
        }
    }
    Ok(())
}
