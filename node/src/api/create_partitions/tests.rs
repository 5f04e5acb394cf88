//! CreatePartitions over the wire, at every version.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsAssignment;
use millrace_types::ErrorCode;

use super::*;
use crate::api::metadata_call::testing::{Admin, Store, topic};

fn wanted(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default().with_name(topic(name)).with_count(count).with_assignments(None)
}

fn request(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(1_000)
}

#[test]
fn every_version_answers_per_topic() {
    for version in API.min..=API.max {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 1, &[]);
        let response = admin.request(version, &request(vec![wanted("a", 4), wanted("b", 4)]));
        let [grown, unknown] = &response.results[..] else { panic!("{response:?}") };
        assert_eq!((grown.error_code, grown.error_message.is_none()), (0, true));
        assert_eq!(unknown.error_code, ErrorCode::UnknownTopicOrPartition.code());
        assert_eq!(admin.image().topic("a").unwrap().partition_count(), 4);
        let again = admin.request(version, &request(vec![wanted("a", 2)]));
        assert_eq!(again.results[0].error_code, ErrorCode::InvalidPartitions.code());
    }
}

#[test]
fn the_client_chooses_the_replicas() {
    let mut admin = Admin::new(&[]);
    admin.broker(2);
    admin.world.topic("a", 1, &[]);
    let to = |id| CreatePartitionsAssignment::default().with_broker_ids(vec![kafka_protocol::messages::BrokerId(id)]);
    let chosen =
        |ids: &[i32]| request(vec![wanted("a", 2).with_assignments(Some(ids.iter().map(|id| to(*id)).collect()))]);
    let code = |response: CreatePartitionsResponse| response.results[0].error_code;
    let invalid = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(code(admin.request(3, &chosen(&[]))), invalid);
    assert_eq!(code(admin.request(3, &chosen(&[9]))), invalid);
    assert_eq!(code(admin.request(3, &chosen(&[2]).with_validate_only(true))), 0);
    assert_eq!(admin.image().topic("a").unwrap().partition_count(), 1);
    assert_eq!(code(admin.request(3, &chosen(&[2]))), 0);
    assert_eq!(admin.image().topic("a").unwrap().partitions[1].replicas, [BrokerId(2)]);
}

#[test]
fn a_store_that_does_not_answer_fails_every_topic() {
    let mut admin = Admin::new(&[]);
    admin.store = Store::Gone(ErrorCode::RequestTimedOut);
    let response = admin.request(3, &request(vec![wanted("a", 2), wanted("b", 2)]));
    assert_eq!(response.results.len(), 2);
    assert!(response.results.iter().all(|one| one.error_code == ErrorCode::RequestTimedOut.code()));
}
