//! DescribeConfigs over the wire, at every version.

use millrace_metadata::config::{TOPIC_KEYS, broker_keys};
use millrace_metadata::{Change, Entry};

use super::*;
use crate::api::config_resource::{BROKER, CLIENT_METRICS, TOPIC};
use crate::api::metadata_call::testing::{Admin, text};

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
}

fn request(resources: Vec<DescribeConfigsResource>) -> DescribeConfigsRequest {
    DescribeConfigsRequest::default().with_resources(resources)
}

fn code(response: &DescribeConfigsResponse, at: usize) -> i16 {
    response.results[at].error_code
}

#[test]
fn every_version_lists_every_key_of_a_topic() {
    let mut admin = Admin::new(&[("log.retention.hours", "2")]);
    admin.world.topic("a", 1, &[("retention.ms", "5")]);
    for version in API.min..=API.max {
        let mut wanted = request(vec![resource(TOPIC, "a", None)]).with_include_synonyms(true);
        if version >= 3 {
            wanted = wanted.with_include_documentation(true);
        }
        let response = admin.request(version, &wanted);
        assert_eq!(code(&response, 0), 0);
        let configs = &response.results[0].configs;
        assert_eq!(configs.len(), TOPIC_KEYS.len());
        let retention = configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
        assert!(!retention.read_only && !retention.is_sensitive);
        let synonyms: Vec<_> = retention.synonyms.iter().map(|one| (one.name.as_str(), one.source)).collect();
        assert_eq!(synonyms, [("retention.ms", 1), ("log.retention.hours", 4), ("log.retention.hours", 5)]);
        if version >= 3 {
            assert_eq!(retention.config_type, 5);
            assert!(retention.documentation.as_ref().unwrap().contains("segment"));
        }
    }
}

#[test]
fn what_is_not_asked_for_is_left_out() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 1, &[]);
    let response = admin.request(4, &request(vec![resource(TOPIC, "a", Some(&["retention.ms", "nonsense"]))]));
    let [config] = &response.results[0].configs[..] else { panic!("{response:?}") };
    assert_eq!(config.name.as_str(), "retention.ms");
    assert!(config.synonyms.is_empty() && config.documentation.is_none());
    let all = admin.request(4, &request(vec![resource(TOPIC, "a", Some(&[]))]));
    assert_eq!(all.results[0].configs.len(), TOPIC_KEYS.len(), "an empty list means every key");
}

#[test]
fn a_broker_lists_its_keys() {
    let mut admin = Admin::new(&[("num.partitions", "3")]);
    let response = admin.request(4, &request(vec![resource(BROKER, "1", None), resource(BROKER, "", None)]));
    let [own, all] = &response.results[..] else { panic!("{response:?}") };
    assert_eq!(own.configs.len(), broker_keys().count());
    let find = |name: &str| own.configs.iter().find(|config| config.name.as_str() == name).unwrap();
    let partitions = find("num.partitions");
    assert_eq!((partitions.value.as_deref(), partitions.config_source, partitions.read_only), (Some("3"), 4, true));
    assert!(!find("log.retention.ms").read_only);
    assert_eq!(all.error_code, 0);
    assert!(all.configs.is_empty(), "nothing is set for all brokers");
}

#[test]
fn a_broker_shows_what_it_advertises() {
    for (config, shown) in [(&[][..], "broker.test:9092"), (&[("advertised.listeners", "A://b:1")][..], "A://b:1")] {
        let mut admin = Admin::new(config);
        let wanted = request(vec![resource(BROKER, "1", Some(&["advertised.listeners"]))]);
        let response = admin.request(4, &wanted.with_include_synonyms(true));
        let [row] = &response.results[0].configs[..] else { panic!("{response:?}") };
        assert!(row.value.as_ref().unwrap().ends_with(shown), "{row:?}");
        assert_eq!((row.config_source, row.read_only), (4, true));
        assert_eq!((&row.synonyms[0].value, row.synonyms[0].source), (&row.value, 4));
    }
    let endpoint = Endpoint { listener: "A".to_owned(), host: "::1".to_owned(), port: 7 };
    assert_eq!(url(&endpoint), "A://[::1]:7");
}

#[test]
fn every_version_lists_the_keys_of_a_subscription() {
    let mut admin = Admin::new(&[]);
    let overrides = BTreeMap::from([("interval.ms".to_owned(), "100".to_owned())]);
    admin.apply(&Entry::new(vec![Change::SetClientMetrics { name: "s".to_owned(), overrides }]));
    for version in API.min..=API.max {
        let wanted = ["s", "t", ""].map(|name| resource(CLIENT_METRICS, name, None));
        let response = admin.request(version, &request(wanted.to_vec()));
        let rows = |at: usize| {
            let configs = response.results[at].configs.iter();
            configs.map(|row| (row.name.as_str(), row.value.as_deref(), row.config_source)).collect::<Vec<_>>()
        };
        assert_eq!(rows(0), [("interval.ms", Some("100"), 7), ("match", Some(""), 5), ("metrics", Some(""), 5)]);
        assert_eq!(rows(1)[0], ("interval.ms", Some("300000"), 5), "what does not exist has the defaults");
        assert_eq!(code(&response, 2), ErrorCode::InvalidRequest.code());
    }
}

#[test]
fn other_resources_are_errors() {
    let mut admin = Admin::new(&[]);
    let resources = vec![
        resource(TOPIC, "nope", None),
        resource(TOPIC, "bad name", None),
        resource(BROKER, "2", None),
        resource(BROKER, "x", None),
        resource(8, "1", None),
        resource(32, "group", None),
        resource(0, "", None),
        resource(TOPIC, "nope", None),
    ];
    let response = admin.request(4, &request(resources));
    let codes: Vec<i16> = response.results.iter().map(|result| result.error_code).collect();
    let invalid = ErrorCode::InvalidRequest.code();
    let expected = [
        ErrorCode::UnknownTopicOrPartition.code(),
        ErrorCode::InvalidTopicException.code(),
        invalid,
        invalid,
        invalid,
        invalid,
        invalid,
    ];
    assert_eq!(codes, expected, "a resource named again is answered once");
    assert_eq!(
        response.results[2].error_message.as_deref(),
        Some("Unexpected broker id, expected 1 or empty string, but received 2")
    );
    assert_eq!(response.results[4].error_message.as_deref(), Some("Unsupported resource type: BROKER_LOGGER"));
}
