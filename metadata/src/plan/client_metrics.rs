//! The configuration of client metrics subscriptions (KIP-714): kept and listed; no client is asked to push by it.

use millrace_types::ErrorCode;

use super::edit::{Configs, changed};
use crate::command::ConfigOperation;
use crate::config::{client_metrics_key, list};
use crate::entry::Change;
use crate::image::Image;
use crate::outcome::ItemError;

/// Subscriptions of one cluster. Kafka has no limit; they are part of the state that every broker holds in memory.
const MAX_SUBSCRIPTIONS: usize = 1_000;
/// The clients a subscription can be narrowed down to.
const SELECTORS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];
/// Bytes of one value. Kafka has no limit; subscriptions are part of the state that every broker holds in memory.
const MAX_VALUE_LEN: usize = 4 * 1024;
/// Bytes of a subscription's name.
const MAX_NAME_LEN: usize = 249;

/// The change of the subscription `name`; `None` when it is what the image has. A subscription comes to be with its
/// first key and goes with its last one.
pub(super) fn plan(
    image: &Image,
    name: &str,
    operation: &ConfigOperation,
    subscriptions: &mut usize,
) -> Result<Option<Change>, ItemError> {
    let invalid = |text: String| ItemError::new(ErrorCode::InvalidRequest, text);
    if name.is_empty() {
        return Err(invalid("Subscription name can't be empty".to_owned()));
    }
    if name.len() > MAX_NAME_LEN {
        return Err(invalid(format!("Subscription name is longer than {MAX_NAME_LEN} bytes")));
    }
    let none = Configs::new();
    let current = image.client_metrics().get(name).unwrap_or(&none);
    let overrides = check(changed(current, operation, client_metrics_key)?)?;
    if overrides == *current {
        return Ok(None);
    }
    if current.is_empty() {
        if *subscriptions >= MAX_SUBSCRIPTIONS {
            let text = format!("There are {MAX_SUBSCRIPTIONS} client metrics subscriptions already");
            return Err(ItemError::new(ErrorCode::PolicyViolation, text));
        }
        *subscriptions += 1;
    }
    Ok(Some(Change::SetClientMetrics { name: name.to_owned(), overrides }))
}

/// Checks the whole configuration of a subscription and brings its values into the form in which they are kept.
///
/// # Errors
/// `INVALID_REQUEST` for an unknown key and a number out of range, `INVALID_CONFIG` for what is no value of the key's
/// type: the codes of Kafka.
fn check(wanted: Configs) -> Result<Configs, ItemError> {
    let mut checked = Configs::new();
    for (name, value) in wanted {
        let Some(key) = client_metrics_key(&name) else {
            let text = format!("Unknown client metrics configuration: {name}");
            return Err(ItemError::new(ErrorCode::InvalidRequest, text));
        };
        if value.len() > MAX_VALUE_LEN {
            let text = format!("The value of {name} is longer than {MAX_VALUE_LEN} bytes");
            return Err(ItemError::new(ErrorCode::InvalidConfig, text));
        }
        if name == "match" {
            check_selectors(&value)?;
        }
        let is_number = name == "interval.ms" && value.trim().parse::<i32>().is_ok();
        let code = if is_number { ErrorCode::InvalidRequest } else { ErrorCode::InvalidConfig };
        let normal = key.normalize(&value).map_err(|error| ItemError::new(code, error.to_string()))?;
        checked.insert(name, normal);
    }
    Ok(checked)
}

/// Checks that each element is `selector=pattern`. The pattern itself is a regular expression in Java's dialect, which
/// nothing here evaluates, so it is kept as it is.
fn check_selectors(value: &str) -> Result<(), ItemError> {
    for element in list(value) {
        let well_formed = element.split_once('=').is_some_and(|(selector, pattern)| {
            SELECTORS.contains(&selector.trim()) && !pattern.is_empty() && !pattern.contains('=')
        });
        if !well_formed {
            let text = format!("Illegal client matching pattern: {element}");
            return Err(ItemError::new(ErrorCode::InvalidConfig, text));
        }
    }
    Ok(())
}
