//! Settings of topics.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::ApiError;

/// Kafka's number for topics among the kinds of resources.
const TOPIC: i8 = 2;
/// Kafka's numbers of what can happen to a key.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// One setting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigValue {
    /// The key.
    key: String,
    /// The value in effect; `null` for a secret or a null.
    value: Option<String>,
    /// Where the value comes from: `topic`, `broker`, `cluster`, `static` or `default`.
    source: &'static str,
    /// Whether it can only be changed by a restart.
    read_only: bool,
}

/// Every setting of a topic.
pub(super) async fn of_topic(state: &State, name: &str) -> Result<Vec<ConfigValue>, ApiError> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = state.client.call(&request, 4).await?;
    let mut values = Vec::new();
    for result in response.results {
        ApiError::check(result.error_code, result.error_message.as_deref())?;
        values.extend(result.configs.into_iter().map(|config| ConfigValue {
            key: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            source: source(config.config_source),
            read_only: config.read_only,
        }));
    }
    values.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(values)
}

/// Sets and takes back settings of a topic.
pub(super) async fn alter_topic(
    state: &State,
    name: &str,
    changes: BTreeMap<String, Option<String>>,
) -> Result<(), ApiError> {
    let change = |(key, value): (String, Option<String>)| {
        AlterableConfig::default()
            .with_name(StrBytes::from_string(key))
            .with_config_operation(if value.is_some() { SET } else { DELETE })
            .with_value(value.map(StrBytes::from_string))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configs(changes.into_iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = state.client.call(&request, 1).await?;
    for result in &response.responses {
        ApiError::check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

/// The name of a layer (KIP-226).
fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "broker",
        3 => "cluster",
        4 => "static",
        _ => "default",
    }
}
