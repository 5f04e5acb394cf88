//! AlterConfigs and IncrementalAlterConfigs over the wire, at every version.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use millrace_types::ErrorCode;

use super::*;
use crate::api::config_resource::{BROKER, CLIENT_METRICS, TOPIC};
use crate::api::metadata_call::testing::{Admin, Store, text};

fn replace(kind: i8, name: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsResource {
    let configs = configs
        .iter()
        .map(|(key, value)| AlterableConfig::default().with_name(text(key)).with_value(value.map(text)))
        .collect();
    AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(name)).with_configs(configs)
}

fn step(kind: i8, name: &str, configs: &[(&str, i8, Option<&str>)]) -> incremental::AlterConfigsResource {
    let configs = configs
        .iter()
        .map(|(key, operation, value)| {
            incremental::AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(*operation)
                .with_value(value.map(text))
        })
        .collect();
    incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs)
}

fn steps(resources: Vec<incremental::AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest::default().with_resources(resources)
}

fn codes(response: &IncrementalAlterConfigsResponse) -> Vec<i16> {
    response.responses.iter().map(|one| one.error_code).collect()
}

fn retention(admin: &Admin) -> i64 {
    admin.image().topic("a").unwrap().settings.retention_ms
}

#[test]
fn every_version_replaces_a_configuration() {
    for version in API.min..=API.max {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 1, &[("segment.ms", "9")]);
        let request = |validate_only| {
            AlterConfigsRequest::default()
                .with_resources(vec![
                    replace(9, "a", &[]),
                    replace(TOPIC, "a", &[("retention.ms", Some("5"))]),
                    replace(TOPIC, "b", &[]),
                ])
                .with_validate_only(validate_only)
        };
        for validate_only in [true, false] {
            let response = admin.request(version, &request(validate_only));
            let shown: Vec<_> = response
                .responses
                .iter()
                .map(|one| (one.resource_type, one.resource_name.as_str(), one.error_code))
                .collect();
            let expected = [
                (9, "a", ErrorCode::InvalidRequest.code()),
                (TOPIC, "a", 0),
                (TOPIC, "b", ErrorCode::UnknownTopicOrPartition.code()),
            ];
            assert_eq!(shown, expected);
            assert_eq!(retention(&admin) == 5, !validate_only);
        }
        assert_eq!(admin.image().topic("a").unwrap().overrides.len(), 1);
    }
}

#[test]
fn single_keys_change() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 1, &[]);
    for version in 0..=1 {
        let set = admin.request(version, &steps(vec![step(TOPIC, "a", &[("retention.ms", 0, Some("5"))])]));
        assert_eq!((codes(&set), retention(&admin)), (vec![0], 5));
        let delete = admin.request(version, &steps(vec![step(TOPIC, "a", &[("retention.ms", 1, None)])]));
        assert_eq!((codes(&delete), retention(&admin)), (vec![0], 604_800_000));
    }
    let compact = admin.request(1, &steps(vec![step(TOPIC, "a", &[("cleanup.policy", 2, Some("compact"))])]));
    assert_eq!(codes(&compact), [ErrorCode::InvalidConfig.code()]);
    assert!(compact.responses[0].error_message.as_ref().unwrap().contains("compaction"));
}

#[test]
fn client_metrics_subscriptions_are_kept() {
    let mut admin = Admin::new(&[]);
    for version in 0..=1 {
        let set = steps(vec![step(CLIENT_METRICS, "s", &[("metrics", 0, Some("*")), ("interval.ms", 0, Some("100"))])]);
        assert_eq!(codes(&admin.request(version, &set)), [0]);
        assert_eq!(admin.image().client_metrics()["s"].len(), 2);
        let delete = steps(vec![step(CLIENT_METRICS, "s", &[("metrics", 1, None), ("interval.ms", 1, None)])]);
        assert_eq!(codes(&admin.request(version, &delete)), [0]);
        assert!(admin.image().client_metrics().is_empty());
    }
    for version in API.min..=API.max {
        let replaced = vec![replace(CLIENT_METRICS, "t", &[("interval.ms", Some("100"))])];
        let response = admin.request(version, &AlterConfigsRequest::default().with_resources(replaced));
        assert_eq!(response.responses[0].error_code, 0);
    }
    assert_eq!(admin.image().client_metrics()["t"]["interval.ms"], "100");
    let nameless = steps(vec![step(CLIENT_METRICS, "", &[("metrics", 0, Some("*"))])]);
    assert_eq!(codes(&admin.request(1, &nameless)), [ErrorCode::InvalidRequest.code()]);
}

#[test]
fn errors_keep_the_order_of_the_request() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 1, &[]);
    let resources = vec![
        step(TOPIC, "a", &[("retention.ms", 7, Some("5"))]),
        step(TOPIC, "a", &[("retention.ms", 0, Some("5"))]),
        step(8, "1", &[("root", 0, Some("DEBUG"))]),
        step(BROKER, "", &[("log.retention.ms", 0, Some("6"))]),
        step(BROKER, "1", &[("node.id", 0, Some("6"))]),
        step(TOPIC, "", &[]),
    ];
    let response = admin.request(1, &steps(resources));
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes(&response), [invalid, 0, invalid, 0, invalid, invalid]);
    assert_eq!(response.responses[0].error_message.as_deref(), Some("Unknown operations type 7"));
    assert_eq!(admin.image().defaults().topic.retention_ms, 6);
}

#[test]
fn a_store_that_does_not_answer_fails_what_was_sent() {
    let mut admin = Admin::new(&[]);
    admin.store = Store::Silent;
    let resources = vec![step(9, "x", &[]), step(TOPIC, "a", &[]), step(TOPIC, "b", &[])];
    let response = admin.request(1, &steps(resources));
    let timed_out = ErrorCode::RequestTimedOut.code();
    assert_eq!(codes(&response), [ErrorCode::InvalidRequest.code(), timed_out, timed_out]);
    let nothing = admin.request(1, &steps(vec![step(9, "x", &[])]));
    assert_eq!(codes(&nothing), [ErrorCode::InvalidRequest.code()]);
    assert_eq!(admin.commands, 1, "what cannot be sent asks nobody");
}
