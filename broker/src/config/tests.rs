//! Tests of the layers of configuration.

use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, StartError> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = file.map(|text| {
        let path = directory.path().join("m.toml");
        std::fs::write(&path, text).expect("written");
        path
    });
    let values = flags.iter().map(|(key, value)| ("--set", (*key).to_owned(), (*value).to_owned())).collect();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&Flags { config, values }, environment)
}

fn error(file: Option<&str>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    crate::error::chain(&load(file, environment, flags).expect_err("must be refused"))
}

#[test]
fn a_broker_that_is_told_nothing_listens_on_this_machine_only() {
    let config = load(None, &[], &[]).expect("the defaults are valid");
    assert_eq!(config.listeners, ["PLAINTEXT://127.0.0.1:9092".parse().expect("valid")]);
    assert_eq!(config.admin, Some("127.0.0.1:9644".parse().expect("valid")));
    assert_eq!(config.data_dir, Path::new("millrace-data"));
    assert!(config.arbiters >= 1);
}

#[test]
fn each_layer_stands_over_the_one_before() {
    let file = "num.partitions = 2\n[log.retention]\nms = 5_000\n[auto.create.topics]\nenable = false\n";
    let number = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        load(Some(file), environment, flags).expect("valid").broker.number("num.partitions")
    };
    assert_eq!(number(&[], &[]), 2);
    assert_eq!(number(&[("MILLRACE_NUM_PARTITIONS", "3")], &[]), 3);
    assert_eq!(number(&[("MILLRACE_NUM_PARTITIONS", "3")], &[("num.partitions", "4")]), 4);
    let config = load(Some(file), &[("PATH", "/bin"), ("MILLRACE_CONFIG", "x")], &[]).expect("valid");
    assert_eq!(config.broker.get("log.retention.ms"), Some("5000"));
    assert!(!config.broker.flag("auto.create.topics.enable"));
}

#[test]
fn what_no_key_takes_is_refused_by_name_and_place() {
    let text = error(Some("num.partitions = 1\n\n[log]\nretension.ms = 1\n"), &[], &[]);
    assert!(text.contains("m.toml:4:11: there is no configuration key `log.retension.ms`"), "{text}");
    assert!(text.contains("did you mean `log.retention.ms`?"), "{text}");
    let text = error(Some("num.partitions = 0"), &[], &[]);
    assert!(text.contains("m.toml:1:5") && text.contains("Value must be at least 1"), "{text}");
    let text = error(Some("num.partitions = \n"), &[], &[]);
    assert!(text.contains("m.toml:1:18"), "{text}");
    let text = error(Some("num.partitions = 1.5"), &[], &[]);
    assert!(text.contains("`num.partitions` is a float, which no key takes"), "{text}");
    let text = error(None, &[("MILLRACE_NUM_PARTITION", "1")], &[]);
    assert!(text.contains("environment variable MILLRACE_NUM_PARTITION: there is no"), "{text}");
    assert!(text.contains("did you mean `num.partitions`?"), "{text}");
    let text = error(None, &[], &[("x", "1")]);
    assert!(text.contains("flag --set: there is no configuration key `x`"), "{text}");
}

#[test]
fn values_that_contradict_each_other_are_refused_once_all_are_known() {
    let (shortest, longest) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
    let text = error(Some("group.max.session.timeout.ms = 5000"), &[], &[]);
    assert!(text.contains("more than the 5000 of group.max.session.timeout.ms"), "{text}");
    let lower = format!("{longest} = 5000\n{shortest} = 1000\n");
    assert!(load(Some(&lower), &[], &[]).is_ok(), "each of them alone would contradict the other's default");
}

#[test]
fn the_admin_interface_stays_on_this_machine() {
    for outside in ["0.0.0.0:9644", "192.0.2.1:9644", "[::]:9644"] {
        let text = error(None, &[], &[("admin.listener", outside)]);
        assert!(text.contains("loopback addresses only"), "{outside}: {text}");
    }
    assert_eq!(load(None, &[], &[("admin.listener", "")]).expect("none").admin, None);
    assert!(load(None, &[], &[("admin.listener", "[::1]:0")]).expect("loopback").admin.is_some());
}

#[test]
fn clients_are_told_the_advertised_address_or_the_bound_one() {
    let endpoints = |listeners: &str, advertised: &str| {
        let config = load(None, &[], &[("listeners", listeners), ("advertised.listeners", advertised)]).expect("valid");
        let bound: Vec<_> = config
            .listeners
            .iter()
            .map(|address| ListenerAddress {
                port: if address.port == 0 { 4711 } else { address.port },
                ..address.clone()
            })
            .collect();
        let endpoints = config.advertised.endpoints(&bound, "this-host");
        endpoints.iter().map(|e| format!("{}={}:{}", e.listener, e.host, e.port)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(endpoints("127.0.0.1:0", ""), "PLAINTEXT=127.0.0.1:4711");
    assert_eq!(endpoints(":9092", ""), "PLAINTEXT=this-host:9092");
    assert_eq!(endpoints("INSIDE://0.0.0.0:9092", "example.org:19092"), "INSIDE=example.org:19092");
    assert_eq!(endpoints("A://127.0.0.1:1,B://[::1]:2", "B://b.example:0"), "A=127.0.0.1:1 B=b.example:2");
    assert_eq!(endpoints("127.0.0.1:9092,[::1]:9092", ""), "PLAINTEXT=127.0.0.1:9092");
}

#[test]
fn listeners_that_contradict_each_other_are_refused() {
    let text = error(None, &[], &[("advertised.listeners", "OTHER://x:1")]);
    assert!(text.contains("names OTHER"), "{text}");
    let text = error(None, &[], &[("listener.security.protocol.map", "A:SSL")]);
    assert!(text.contains("PLAINTEXT is the only"), "{text}");
    let text = error(None, &[], &[("listener.security.protocol.map", "SSL:SSL"), ("listeners", "SSL://:9092")]);
    assert!(text.contains("PLAINTEXT is the only"), "{text}");
    let text = error(None, &[], &[("listeners", "nonsense")]);
    assert!(text.contains("has no port"), "{text}");
}

#[test]
fn a_listener_named_after_a_protocol_is_not_silently_without_it() {
    for name in ["SSL", "sasl_ssl", "SASL_PLAINTEXT"] {
        let listeners = format!("PLAINTEXT://127.0.0.1:9092,{name}://127.0.0.1:9093");
        let text = error(None, &[], &[("listeners", &listeners)]);
        let upper = name.to_uppercase();
        assert!(text.contains("PLAINTEXT is the only protocol"), "{text}");
        assert!(text.contains(&format!("{upper}:PLAINTEXT in `listener.security.protocol.map`")), "{text}");
        let map = format!("PLAINTEXT:PLAINTEXT, {name}:plaintext");
        let knowingly = [("listeners", listeners.as_str()), ("listener.security.protocol.map", &map)];
        assert!(load(None, &[], &knowingly).is_ok(), "{name}");
    }
    assert!(load(None, &[], &[("listeners", "INSIDE://127.0.0.1:9092")]).is_ok());
}

#[test]
fn clients_are_not_told_an_address_that_stands_for_every_interface() {
    for wildcard in ["0.0.0.0:9092", "[::]:9092", "PLAINTEXT://[::ffff:0.0.0.0]:9092"] {
        let text = error(None, &[], &[("listeners", ":9092"), ("advertised.listeners", wildcard)]);
        assert!(text.contains("`advertised.listeners`") && text.contains("every interface"), "{text}");
    }
    let config = load(None, &[], &[("listeners", "0.0.0.0:9092"), ("advertised.listeners", "127.0.0.1:9092")]);
    assert!(config.is_ok(), "what is bound may stand for every interface");
}

#[test]
fn arbiters_leave_room_on_larger_machines() {
    assert_eq!([1, 2, 4, 8, 16, 64].map(default_arbiters), [1, 2, 3, 7, 14, 60]);
}
