//! A topic that is deleted while its logs are being opened leaves no replica behind.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::path::Path;

use common::{Broker, until};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, TopicName};
use millrace_storage::{QState, RealDisk};
use tempfile::tempdir;

fn create(name: &str) -> CreateTopicsRequest {
    let topic = CreatableTopic::default()
        .with_name(TopicName(common::text(name)))
        .with_num_partitions(40)
        .with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

fn delete(name: &str) -> DeleteTopicsRequest {
    let topic = DeleteTopicState::default().with_name(Some(TopicName(common::text(name))));
    DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

#[test]
fn it_is_neither_served_nor_remembered() {
    let root = tempdir().expect("a directory");
    let broker = Broker::start(root.path(), &[]);
    let (mut one, mut other) = (broker.connect(), broker.connect());
    for round in 0..30 {
        let name = format!("t{round}");
        one.send(&create(&name), 7);
        // The creation is answered when the logs are open; until then the deletion finds them anywhere on their way.
        while other.call(&delete(&name), 6).responses[0].error_code != 0 {}
        one.receive::<CreateTopicsRequest>(7);
    }
    let disk = RealDisk::open(root.path()).expect("opens");
    until("the write-ahead store to forget all partitions", || {
        let left = QState::inspect(&disk, Path::new("qstate")).ok()?.partitions;
        left.is_empty().then_some(())
    });
    assert!(broker.stop().success());
    assert!(root.path().join("clean").exists(), "nothing is missing");
}
