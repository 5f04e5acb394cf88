//! `ListConfigResources` (key 74): the resources that can have a configuration (KIP-714, KIP-1142).

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ApiKey, ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::Image;
use millrace_types::ErrorCode;

use super::config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `ListConfigResources`.
pub(super) const API: Api = Api { key: ApiKey::ListConfigResources, min: 0, advertised_min: 0, max: 1, handle };

/// From this version on the client names the types; before, it means client metrics.
const TYPES_FROM: i16 = 1;
/// The types a client may name, in the order of the answer.
const TYPES: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ListConfigResourcesRequest = wire::decode(body, cx.version)?;
    let types: BTreeSet<i8> = match &request.resource_types[..] {
        _ if cx.version < TYPES_FROM => BTreeSet::from([CLIENT_METRICS]),
        [] => BTreeSet::from(TYPES),
        types => types.iter().copied().collect(),
    };
    if types.iter().any(|kind| !TYPES.contains(kind)) {
        let error = ErrorCode::UnsupportedVersion.code();
        return cx.reply(&ListConfigResourcesResponse::default().with_error_code(error));
    }
    let image = cx.directory.image();
    let listener = &cx.session.origin.listener;
    let resources = types.into_iter().flat_map(|kind| {
        let names = names(&image, listener, kind).into_iter();
        names.map(move |name| (kind, name))
    });
    let resource = |(kind, name): (i8, String)| {
        let resource = ConfigResource::default().with_resource_name(StrBytes::from_string(name));
        if cx.version >= TYPES_FROM { resource.with_resource_type(kind) } else { resource }
    };
    cx.reply(&ListConfigResourcesResponse::default().with_config_resources(resources.map(resource).collect()))
}

/// The resources of one type, in order. No logger and no group has a configuration here.
fn names(image: &Image, listener: &str, kind: i8) -> Vec<String> {
    match kind {
        TOPIC => image.topics().map(|topic| topic.name.to_string()).collect(),
        BROKER => {
            let reachable = image.brokers().values().filter(|broker| broker.endpoint(listener).is_some());
            reachable.map(|broker| broker.id.to_string()).collect()
        }
        CLIENT_METRICS => image.client_metrics().keys().cloned().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_metadata::{Change, Entry};

    use super::*;
    use crate::api::metadata_call::testing::Admin;

    fn admin() -> Admin {
        let mut admin = Admin::new(&[]);
        admin.broker(2);
        admin.world.topic("b", 1, &[]);
        admin.world.topic("a", 1, &[]);
        for name in ["y", "x"] {
            let overrides = BTreeMap::from([("metrics".to_owned(), "*".to_owned())]);
            admin.apply(&Entry::new(vec![Change::SetClientMetrics { name: name.to_owned(), overrides }]));
        }
        admin
    }

    fn list(admin: &mut Admin, types: &[i8]) -> (i16, Vec<(i8, String)>) {
        let response = admin.request(1, &ListConfigResourcesRequest::default().with_resource_types(types.to_vec()));
        let rows = response.config_resources.iter().map(|one| (one.resource_type, one.resource_name.to_string()));
        (response.error_code, rows.collect())
    }

    #[test]
    fn the_first_version_lists_client_metrics() {
        let response = admin().request(0, &ListConfigResourcesRequest::default());
        let names: Vec<_> = response.config_resources.iter().map(|one| one.resource_name.as_str()).collect();
        assert_eq!((response.error_code, names), (0, vec!["x", "y"]));
    }

    #[test]
    fn a_client_names_the_types() {
        let mut admin = admin();
        let named = |kind: i8, names: [&str; 2]| names.map(|name| (kind, name.to_owned())).to_vec();
        let topics = named(TOPIC, ["a", "b"]);
        let brokers = named(BROKER, ["1", "2"]);
        let metrics = named(CLIENT_METRICS, ["x", "y"]);
        assert_eq!(list(&mut admin, &[TOPIC, TOPIC]), (0, topics.clone()));
        assert_eq!(list(&mut admin, &[CLIENT_METRICS, BROKER]), (0, [brokers.clone(), metrics.clone()].concat()));
        assert_eq!(list(&mut admin, &[BROKER_LOGGER, GROUP]), (0, Vec::new()));
        assert_eq!(list(&mut admin, &[]), (0, [topics, brokers, metrics].concat()), "none means all");
        assert_eq!(list(&mut admin, &[TOPIC, 3]), (ErrorCode::UnsupportedVersion.code(), Vec::new()));
        admin.listener = "OTHER";
        assert_eq!(list(&mut admin, &[BROKER]), (0, Vec::new()));
    }
}
