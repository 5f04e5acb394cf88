//! What an alteration makes of the configuration of one resource, whatever its kind.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::ErrorCode;

use crate::command::{ConfigOperation, ConfigOperationKind};
use crate::config::{Key, list};
use crate::outcome::ItemError;

/// Keys that are set, with their values.
pub(super) type Configs = BTreeMap<String, String>;

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
