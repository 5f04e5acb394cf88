//! The HTTP admin interface.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::io::{Read, Write};

use common::{Broker, until};
use tempfile::tempdir;

#[test]
fn topics_are_created_described_changed_and_deleted() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let (status, created) = broker.json(
        "POST",
        "/api/v1/topics",
        r#"{"name": "web", "partitions": 2, "configs": {"retention.ms": "60000"}}"#,
    );
    assert_eq!((status, &created["name"], &created["partitions"]), (201, &"web".into(), &2.into()), "{created}");
    let (status, list) = broker.json("GET", "/api/v1/topics", "");
    assert_eq!((status, list.as_array().map(Vec::len)), (200, Some(1)), "{list}");
    let config = |topic: &serde_json::Value, key: &str| {
        let configs = topic["configs"].as_array().expect("configs");
        let config = configs.iter().find(|config| config["key"] == key).expect(key);
        (config["value"].as_str().map(str::to_owned), config["source"].as_str().map(str::to_owned))
    };
    let (status, topic) = broker.json("GET", "/api/v1/topics/web", "");
    assert_eq!(status, 200);
    assert_eq!(config(&topic, "retention.ms"), (Some("60000".into()), Some("topic".into())));
    assert_eq!(config(&topic, "flush.messages"), (Some("1".into()), Some("default".into())));

    let change = r#"{"configs": {"retention.ms": null, "flush.messages": "7"}}"#;
    assert_eq!(broker.http("PATCH", "/api/v1/topics/web", change).0, 200);
    let (_, topic) = broker.json("GET", "/api/v1/topics/web", "");
    assert_eq!(config(&topic, "retention.ms").1, Some("default".into()));
    assert_eq!(config(&topic, "flush.messages"), (Some("7".into()), Some("topic".into())));

    let (status, partitions) = broker.json("GET", "/api/v1/topics/web/partitions", "");
    assert_eq!((status, partitions.as_array().map(Vec::len)), (200, Some(2)), "{partitions}");
    assert_eq!(broker.http("DELETE", "/api/v1/topics/web", "").0, 204);
    assert_eq!(broker.http("GET", "/api/v1/topics/web", "").0, 404);
}

#[test]
fn errors_are_json_with_a_name_and_a_message() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let huge = format!(r#"{{"name": "{}"}}"#, "x".repeat(2 << 20));
    for (method, path, body, status, name) in [
        ("GET", "/nothing", "", 404, "NOT_FOUND"),
        ("GET", "/api/v1/topics/", "", 404, "NOT_FOUND"),
        ("PUT", "/api/v1/topics", "", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/topics/none", "", 404, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("DELETE", "/api/v1/topics/none", "", 404, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("GET", "/api/v1/groups/none", "", 404, "GROUP_ID_NOT_FOUND"),
        ("POST", "/api/v1/topics", "{", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/topics", r#"{"name": "a", "colour": 1}"#, 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/topics", r#"{"name": "a b"}"#, 400, "INVALID_TOPIC_EXCEPTION"),
        ("POST", "/api/v1/topics", r#"{"name": "a", "partitions": 0}"#, 400, "INVALID_PARTITIONS"),
        ("POST", "/api/v1/topics", r#"{"name": "a", "configs": {"x": "1"}}"#, 400, "INVALID_CONFIG"),
        ("POST", "/api/v1/topics", huge.as_str(), 400, "INVALID_REQUEST"),
    ] {
        let (found, error) = broker.json(method, path, body);
        assert_eq!((found, error["error"].as_str()), (status, Some(name)), "{method} {path}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 3), "{error}");
    }
}

#[test]
fn a_topic_that_is_only_checked_has_no_identity() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    let body = r#"{"name": "web", "partitions": 2, "validate_only": true}"#;
    let (status, checked) = broker.json("POST", "/api/v1/topics", body);
    assert_eq!((status, &checked["partitions"], checked.get("id")), (200, &2.into(), None), "{checked}");
    assert_eq!(broker.http("GET", "/api/v1/topics/web", "").0, 404);
}

#[test]
fn head_has_no_body_and_what_is_no_request_is_no_error_of_the_broker() {
    let directory = tempdir().expect("a directory");
    let mut broker = Broker::start(directory.path(), &[]);
    assert_eq!(broker.http("HEAD", "/health/ready", ""), (200, String::new()));
    for head in ["GET /health/live HTTP/1.1\r\nHost: localhost\r\nno colon", "GET /health/live HTTP/1.1", "\0\u{1}"] {
        let mut stream = std::net::TcpStream::connect(broker.admin).expect("the admin interface listens");
        stream.set_read_timeout(Some(common::DEADLINE)).expect("set");
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("sent");
        let mut response = Vec::new();
        let _reset = stream.read_to_end(&mut response);
        assert!(response.starts_with(b"HTTP/1.1 400"), "{head:?}: {}", String::from_utf8_lossy(&response));
    }
    broker.is_sound(1 << 30);
}

#[test]
fn groups_show_their_lag() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &["offsets.topic.num.partitions=2"]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    for _ in 0..5 {
        client.produce("t", 0, &["x"]).expect("written");
    }
    common::commit(&mut client, "readers", "t", 0, 2);
    let (status, group) = broker.json("GET", "/api/v1/groups/readers", "");
    assert_eq!((status, &group["total_lag"]), (200, &3.into()), "{group}");
    assert_eq!(group["offsets"][0]["high_watermark"], 5);
    let (_, groups) = broker.json("GET", "/api/v1/groups", "");
    assert_eq!(groups[0]["id"], "readers");
}

#[test]
fn health_metrics_and_the_document_are_there() {
    let directory = tempdir().expect("a directory");
    let broker = Broker::start(directory.path(), &[]);
    assert_eq!(broker.http("GET", "/health/live", "").0, 200);
    assert_eq!(broker.http("GET", "/health/ready", "").0, 200);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    client.produce("t", 0, &["x"]).expect("written");
    until("the metrics show it", || {
        let (status, metrics) = broker.http("GET", "/metrics", "");
        assert_eq!(status, 200);
        let shown = metrics.contains("millrace_request_seconds_count{api=\"Produce\"} 1")
            && metrics.contains("millrace_replicas 1\n")
            && metrics.contains("millrace_storage_queue{queue=\"flush\"} 0\n")
            && metrics.contains("millrace_arbiter_timers{arbiter=\"0\"}")
            && metrics.contains("millrace_requests_in_flight 0\n")
            && metrics.contains("millrace_produce_waiting_bytes 0\n")
            && metrics.contains("millrace_metadata_commands 0\n")
            && metrics.contains("millrace_metadata_commands_bound 4096\n")
            && metrics.contains("millrace_topic_log_bytes{topic=\"t\"}");
        shown.then_some(())
    });
    let mut consumer = broker.connect();
    consumer.send(&common::fetch_request("t", 0, 1, 60_000), 12);
    until("the fetch that waits is counted", || {
        let metrics = broker.http("GET", "/metrics", "").1;
        let shown = metrics.contains("millrace_fetch_waiting_requests 1\n")
            && metrics.contains("millrace_requests_in_flight 1\n");
        shown.then_some(())
    });
    drop(consumer);
    until("it is gone with its connection", || {
        broker.http("GET", "/metrics", "").1.contains("millrace_requests_in_flight 0\n").then_some(())
    });
    let (status, document) = broker.json("GET", "/openapi.json", "");
    assert_eq!((status, &document["info"]["title"]), (200, &"Millrace admin".into()));
    let (_, dirs) = broker.json("GET", "/api/v1/log-dirs", "");
    let used = dirs[0]["used_bytes"].as_i64().expect("a number");
    assert!((1..10_000).contains(&used), "bytes used, not preallocated: {used}");
    let (_, cluster) = broker.json("GET", "/api/v1/cluster", "");
    assert_eq!(cluster["brokers"].as_array().map(Vec::len), Some(1), "{cluster}");
    let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().cloned().collect();
    assert!(paths.contains(&"/api/v1/topics/{name}".to_owned()), "{paths:?}");
}
