//! Layers, synonyms and what DescribeConfigs shows of them.

use std::collections::BTreeMap;

use millrace_types::BrokerId;

use super::*;

fn map(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn fixed(values: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::new(values.iter().copied()).unwrap()
}

fn find<'a>(rows: &'a [Described], name: &str) -> &'a Described {
    rows.iter().find(|row| row.key.name == name).unwrap()
}

#[test]
fn a_start_configuration_names_everything_that_is_wrong() {
    let errors = BrokerConfig::new([("num.partition", "3"), ("num.partitions", "0"), ("node.id", "3")]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "Unknown config name: num.partition; Invalid value 0 for configuration num.partitions: Value must be at \
         least 1"
    );
    let timeouts = [("group.min.session.timeout.ms", "10"), ("group.max.session.timeout.ms", "9")];
    let nobody = BrokerConfig::new(timeouts).unwrap_err().to_string();
    assert_eq!(
        nobody.split(':').next(),
        Some("group.min.session.timeout.ms is 10, more than the 9 of group.max.session.timeout.ms")
    );
    let equal = [("group.min.session.timeout.ms", "9"), ("group.max.session.timeout.ms", "9")];
    assert!(BrokerConfig::new(equal).is_ok());
    let compact = BrokerConfig::new([("log.cleanup.policy", "compact")]).unwrap_err();
    assert!(compact.to_string().contains("compaction"), "{compact}");
}

#[test]
fn the_brokers_number_has_two_names() {
    assert_eq!(fixed(&[]).number("node.id"), 1);
    assert_eq!(fixed(&[("broker.id", "4")]).number("node.id"), 4);
    assert_eq!(fixed(&[("broker.id", "4"), ("node.id", "5")]).number("node.id"), 5);
}

#[test]
fn coarser_units_give_way_to_finer_ones() {
    let retention = |values: &[(&str, &str)]| {
        let config = fixed(values);
        let dynamic = DynamicConfigs::default();
        TopicSettings::resolve(&BTreeMap::new(), &Layers::of(&dynamic, BrokerId(1), &config)).retention_ms
    };
    assert_eq!(retention(&[]), 7 * 24 * 3_600_000);
    assert_eq!(retention(&[("log.retention.hours", "2")]), 7_200_000);
    assert_eq!(retention(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), 180_000);
    assert_eq!(retention(&[("log.retention.minutes", "3"), ("log.retention.ms", "4")]), 4);
    assert_eq!(retention(&[("log.retention.hours", "-1")]), -1, "no limit in any unit");
}

#[test]
fn a_topic_shows_every_layer_below_it() {
    let config = fixed(&[("log.retention.hours", "2")]);
    let dynamic = DynamicConfigs {
        default: map(&[("log.retention.ms", "30")]),
        brokers: BTreeMap::from([(BrokerId(1), map(&[("log.retention.ms", "20")]))]),
    };
    let layers = Layers::of(&dynamic, BrokerId(1), &config);
    let rows = describe_topic(&map(&[("retention.ms", "10")]), &layers);
    assert_eq!(rows.len(), TOPIC_KEYS.len());
    let row = find(&rows, "retention.ms");
    assert_eq!((row.value.as_deref(), row.source, row.read_only), (Some("10"), Source::Topic, false));
    let shown: Vec<_> = row.synonyms.iter().map(|one| (one.name, one.value.as_deref().unwrap(), one.source)).collect();
    let expected = [
        ("retention.ms", "10", Source::Topic),
        ("log.retention.ms", "20", Source::DynamicBroker),
        ("log.retention.ms", "30", Source::DynamicDefault),
        ("log.retention.hours", "2", Source::Static),
        ("log.retention.hours", "168", Source::Default),
    ];
    assert_eq!(shown, expected);
    let plain = describe_topic(&BTreeMap::new(), &layers);
    assert_eq!(find(&plain, "retention.ms").source, Source::DynamicBroker);
    assert_eq!(find(&plain, "flush.ms").value.as_deref(), Some("9223372036854775807"), "the broker's key is unset");
    assert_eq!(find(&plain, "flush.messages").value.as_deref(), Some("1"));
    assert_eq!(find(&plain, "flush.messages").source, Source::Default);
}

#[test]
fn a_broker_shows_what_can_be_changed() {
    let config = fixed(&[("num.partitions", "3")]);
    let dynamic = DynamicConfigs { default: map(&[("max.connections", "9")]), ..DynamicConfigs::default() };
    let rows = describe_broker(&Layers::of(&dynamic, BrokerId(1), &config));
    let partitions = find(&rows, "num.partitions");
    assert_eq!(
        (partitions.value.as_deref(), partitions.source, partitions.read_only),
        (Some("3"), Source::Static, true)
    );
    let connections = find(&rows, "max.connections");
    assert_eq!(
        (connections.value.as_deref(), connections.source, connections.read_only),
        (Some("9"), Source::DynamicDefault, false)
    );
    assert_eq!(find(&rows, "log.retention.ms").value, None, "a null is shown as one");
    let set = describe_cluster_default(&dynamic);
    assert_eq!(set.len(), 1);
    assert_eq!(set[0].key.name, "max.connections");
}

#[test]
fn what_a_process_decides_at_its_start_is_never_a_default() {
    let config = fixed(&[("broker.id", "4")]);
    let rows = describe_broker(&Layers::of(&DynamicConfigs::default(), BrokerId(4), &config));
    for name in ["advertised.listeners", "listener.security.protocol.map", "listeners", "log.dir", "node.id"] {
        assert_eq!((find(&rows, name).source, find(&rows, name).read_only), (Source::Static, true), "{name}");
    }
    let shown = |name: &str| find(&rows, name).synonyms.iter().map(|one| one.source).collect::<Vec<_>>();
    assert_eq!(shown("log.dir"), [Source::Static, Source::Default]);
    assert_eq!(shown("node.id"), [Source::Static, Source::Default], "the other name of the same number");
    assert_eq!(find(&rows, "node.id").value.as_deref(), Some("4"));
    assert_eq!(find(&rows, "num.partitions").source, Source::Default);
}

#[test]
fn a_subscription_shows_every_key() {
    let rows = describe_client_metrics(&map(&[("interval.ms", "100")]));
    assert_eq!(rows.len(), CLIENT_METRICS_KEYS.len());
    let interval = find(&rows, "interval.ms");
    assert_eq!(
        (interval.value.as_deref(), interval.source, interval.read_only),
        (Some("100"), Source::ClientMetrics, false)
    );
    assert_eq!(interval.synonyms.len(), 2);
    assert_eq!((find(&rows, "match").value.as_deref(), find(&rows, "match").source), (Some(""), Source::Default));
}

#[test]
fn a_topics_default_is_the_brokers_default() {
    let config = fixed(&[]);
    let dynamic = DynamicConfigs::default();
    let layers = Layers::of(&dynamic, BrokerId(1), &config);
    for key in TOPIC_KEYS {
        let value = layers.topic_value(&BTreeMap::new(), key.name);
        assert_eq!(value, key.default_text(), "{}", key.name);
    }
}

#[test]
fn the_documentation_lists_every_key() {
    let text = markdown();
    for key in TOPIC_KEYS.iter().chain(broker_keys()) {
        assert!(text.contains(&format!("| `{}` |", key.name)), "{}", key.name);
    }
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.matches(" | ").count() == 5), "{text}");
}
