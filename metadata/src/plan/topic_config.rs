//! The configuration of one topic: every key in the table, every value valid, and all of them together.

use std::collections::BTreeMap;

use millrace_types::ErrorCode;

use crate::config::{ConfigError, list, topic_key};
use crate::name::is_internal;
use crate::outcome::ItemError;

/// Checks the whole configuration of the topic `name` and brings its values into their normal form.
pub(super) fn check(name: &str, overrides: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ItemError> {
    let mut checked = BTreeMap::new();
    for (key, value) in overrides {
        let Some(row) = topic_key(&key) else {
            return Err(invalid(&format!("Unknown topic config name: {key}")));
        };
        let value = row.normalize(&value).map_err(|error: ConfigError| invalid(&error.to_string()))?;
        checked.insert(key, value);
    }
    if let Some(policy) = checked.get("cleanup.policy") {
        check_policy(name, policy)?;
    }
    Ok(checked)
}

fn check_policy(name: &str, policy: &str) -> Result<(), ItemError> {
    let value =
        |reason: &str| Err(invalid(&format!("Invalid value {policy} for configuration cleanup.policy: {reason}")));
    if policy.is_empty() {
        return value("one of delete, compact is needed");
    }
    if list(policy).contains(&"compact") && !is_internal(name) {
        return value("compaction is supported for the cluster's internal topics only");
    }
    Ok(())
}

fn invalid(message: &str) -> ItemError {
    ItemError::new(ErrorCode::InvalidConfig, message)
}
