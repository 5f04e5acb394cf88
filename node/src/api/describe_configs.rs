//! `DescribeConfigs` (key 32): every key of a topic, a broker or a client metrics subscription with its value, source, synonyms and type.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::config::{
    Described, Key, Kind, describe_broker, describe_client_metrics, describe_cluster_default, describe_topic,
};
use millrace_metadata::{ConfigResource, Endpoint, Image, ItemError, check_topic_name};
use millrace_types::{BrokerId, ErrorCode};

use super::config_resource::{invalid, parse};
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `DescribeConfigs`.
pub(super) const API: Api = Api { key: ApiKey::DescribeConfigs, min: 1, advertised_min: 1, max: 4, handle };

const ADVERTISED: &str = "advertised.listeners";

/// What the client wants to see of each key.
#[derive(Clone, Copy)]
struct Wanted {
    version: i16,
    synonyms: bool,
    documentation: bool,
}

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DescribeConfigsRequest = wire::decode(body, cx.version)?;
    let wanted = Wanted {
        version: cx.version,
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let image = cx.directory.image();
    // A resource that is named again is answered once: what one request costs stays within what it carries.
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for resource in &request.resources {
        if seen.insert((resource.resource_type, resource.resource_name.to_string())) {
            results.push(describe(&image, cx.settings.broker_id, resource, wanted));
        }
    }
    cx.reply(&DescribeConfigsResponse::default().with_results(results))
}

fn describe(
    image: &Image,
    broker: BrokerId,
    resource: &DescribeConfigsResource,
    wanted: Wanted,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    let rows =
        parse(resource.resource_type, &resource.resource_name).and_then(|resource| rows(image, broker, &resource));
    let rows = match rows {
        Ok(rows) => rows,
        Err(ItemError { code, message }) => {
            return result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)));
        }
    };
    let keys: Option<BTreeSet<&str>> = resource
        .configuration_keys
        .as_ref()
        .filter(|keys| !keys.is_empty())
        .map(|keys| keys.iter().map(|key| key.as_str()).collect());
    let configs = rows
        .into_iter()
        .filter(|row| keys.as_ref().is_none_or(|keys| keys.contains(row.key.name)))
        .map(|row| config(row, wanted))
        .collect();
    result.with_error_message(None).with_configs(configs)
}

fn rows(image: &Image, broker: BrokerId, resource: &ConfigResource) -> Result<Vec<Described>, ItemError> {
    match resource {
        ConfigResource::Topic(name) => {
            check_topic_name(name).map_err(|text| ItemError::new(ErrorCode::InvalidTopicException, text))?;
            let code = ErrorCode::UnknownTopicOrPartition;
            let topic = image.topic(name).ok_or_else(|| ItemError::new(code, code.message()))?;
            Ok(describe_topic(&topic.overrides, &image.layers()))
        }
        ConfigResource::Broker(None) => Ok(describe_cluster_default(image.broker_configs())),
        ConfigResource::Broker(Some(id)) if *id == broker => Ok(own(image, broker)),
        ConfigResource::ClientMetrics(name) if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty".to_owned()))
        }
        ConfigResource::ClientMetrics(name) => {
            // A subscription that does not exist is one without a key: Kafka shows the defaults as well.
            Ok(image
                .client_metrics()
                .get(name)
                .map_or_else(|| describe_client_metrics(&BTreeMap::new()), describe_client_metrics))
        }
        // What another broker's process was started with is known to that broker alone.
        ConfigResource::Broker(Some(id)) => {
            Err(invalid(format!("Unexpected broker id, expected {broker} or empty string, but received {id}")))
        }
    }
}

/// The keys of this broker. What it advertises when its configuration leaves that open is what it has registered.
fn own(image: &Image, broker: BrokerId) -> Vec<Described> {
    let mut rows = describe_broker(&image.layers());
    let advertised = rows.iter_mut().find(|row| row.key.name == ADVERTISED);
    if let Some(row) = advertised.filter(|row| row.value.as_deref().is_none_or(str::is_empty)) {
        let endpoints = image.broker(broker).map(|broker| &broker.endpoints[..]).unwrap_or_default();
        let urls: Vec<String> = endpoints.iter().map(url).collect();
        let urls = urls.join(",");
        if let Some(first) = row.synonyms.first_mut() {
            first.value = Some(urls.clone());
        }
        row.value = Some(urls);
    }
    rows
}

/// An endpoint as `advertised.listeners` spells it.
fn url(endpoint: &Endpoint) -> String {
    let Endpoint { listener, host, port } = endpoint;
    if host.contains(':') { format!("{listener}://[{host}]:{port}") } else { format!("{listener}://{host}:{port}") }
}

fn config(row: Described, wanted: Wanted) -> DescribeConfigsResourceResult {
    let synonyms = if wanted.synonyms { row.synonyms } else { Vec::new() };
    let synonyms = synonyms
        .into_iter()
        .map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_static_str(synonym.name))
                .with_value(synonym.value.map(StrBytes::from_string))
                .with_source(synonym.source as i8)
        })
        .collect();
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(row.key.name))
        .with_value(row.value.map(StrBytes::from_string))
        .with_read_only(row.read_only)
        .with_config_source(row.source as i8)
        .with_is_sensitive(row.key.sensitive)
        .with_synonyms(synonyms);
    if wanted.version < 3 {
        return result;
    }
    // KIP-569 added type and documentation.
    let documentation = wanted.documentation.then(|| StrBytes::from_static_str(row.key.doc));
    result.with_config_type(type_number(row.key)).with_documentation(documentation)
}

/// Number of a key's type on the wire (KIP-569).
fn type_number(key: &Key) -> i8 {
    match key.kind {
        Kind::Boolean(_) => 1,
        Kind::Text(..) => 2,
        Kind::Int(_) | Kind::IntOrDefault(_) => 3,
        Kind::Short(_) => 4,
        Kind::Long(_) => 5,
        Kind::List(..) => 7,
    }
}

#[cfg(test)]
mod tests;
