//! CreateTopics over the wire, at every version.

use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};
use millrace_types::ErrorCode;

use super::*;
use crate::api::metadata_call::testing::{Admin, Store, text, topic};

fn wanted(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default().with_name(topic(name)).with_num_partitions(partitions).with_replication_factor(1)
}

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(1_000)
}

#[test]
fn every_version_answers_what_it_has() {
    for version in API.min..=API.max {
        let mut admin = Admin::new(&[]);
        let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("5")));
        let good = wanted("good", 3).with_configs(vec![config]);
        let response = admin.request(version, &request(vec![good, wanted("bad name", 1)]));
        let [created, refused] = &response.topics[..] else { panic!("{response:?}") };
        assert_eq!((created.error_code, created.name.as_str()), (0, "good"));
        assert_eq!(refused.error_code, ErrorCode::InvalidTopicException.code());
        assert!(refused.error_message.as_ref().unwrap().contains("bad name"));
        let found = admin.image();
        let found = found.topic("good").unwrap();
        assert_eq!(found.partition_count(), 3);
        assert_eq!(found.settings.retention_ms, 5);
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
            let configs = created.configs.as_ref().unwrap();
            let retention = configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
            assert_eq!(configs.len(), millrace_metadata::config::TOPIC_KEYS.len());
            assert_eq!((refused.num_partitions, refused.replication_factor), (-1, -1));
        }
        if version >= 7 {
            assert_eq!(created.topic_id, found.id.0);
        }
    }
}

#[test]
fn validate_only_creates_nothing() {
    let mut admin = Admin::new(&[]);
    let response = admin.request(7, &request(vec![wanted("a", 2)]).with_validate_only(true));
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 2));
    assert!(response.topics[0].topic_id.is_nil());
    assert!(admin.image().topic("a").is_none());
}

#[test]
fn the_client_chooses_the_replicas() {
    let mut admin = Admin::new(&[]);
    admin.broker(2);
    let assignment = |number, ids: &[i32]| {
        let ids = ids.iter().map(|id| kafka_protocol::messages::BrokerId(*id)).collect();
        CreatableReplicaAssignment::default().with_partition_index(number).with_broker_ids(ids)
    };
    let manual = |assignments| {
        CreatableTopic::default()
            .with_name(topic("m"))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(assignments)
    };
    let bad = admin.request(7, &request(vec![manual(vec![assignment(0, &[1, 9])])]));
    assert_eq!(bad.topics[0].error_code, ErrorCode::InvalidReplicaAssignment.code());
    let good = admin.request(7, &request(vec![manual(vec![assignment(1, &[1, 2]), assignment(0, &[2, 1])])]));
    assert_eq!((good.topics[0].num_partitions, good.topics[0].replication_factor), (2, 2));
    let image = admin.image();
    assert_eq!(image.topic("m").unwrap().partitions[0].replicas, [BrokerId(2), BrokerId(1)]);
}

#[test]
fn a_store_that_does_not_answer_fails_every_topic() {
    let mut admin = Admin::new(&[]);
    let cases = [
        (Store::Silent, ErrorCode::RequestTimedOut),
        (Store::Gone(ErrorCode::KafkaStorageError), ErrorCode::KafkaStorageError),
    ];
    for (store, code) in cases {
        admin.store = store;
        let response = admin.request(7, &request(vec![wanted("a", 1), wanted("b", 1)]));
        assert_eq!(response.topics.len(), 2);
        assert!(response.topics.iter().all(|topic| topic.error_code == code.code()), "{response:?}");
    }
}
