//! DeleteTopics over the wire, at every version.

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use uuid::Uuid;

use super::*;
use crate::api::metadata_call::testing::{Admin, Store, topic};

fn by_name(version: i16, names: &[&str]) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(1_000);
    if version < 6 {
        return request.with_topic_names(names.iter().map(|name| topic(name)).collect());
    }
    let states = names.iter().map(|name| DeleteTopicState::default().with_name(Some(topic(name))));
    request.with_topics(states.collect())
}

#[test]
fn every_version_deletes_by_name() {
    for version in API.min..=API.max {
        let mut admin = Admin::new(&[]);
        let id = admin.world.topic("a", 1, &[]);
        let response = admin.request(version, &by_name(version, &["a", "b"]));
        let [deleted, unknown] = &response.responses[..] else { panic!("{response:?}") };
        assert_eq!((deleted.error_code, deleted.name.as_ref().unwrap().as_str()), (0, "a"));
        assert_eq!(unknown.error_code, ErrorCode::UnknownTopicOrPartition.code());
        assert_eq!(unknown.error_message.is_some(), version >= 5);
        if version >= 6 {
            assert_eq!(deleted.topic_id, id.0);
        }
        assert!(admin.image().topic("a").is_none());
    }
}

#[test]
fn a_topic_is_deleted_by_its_identity() {
    let mut admin = Admin::new(&[]);
    let id = admin.world.topic("a", 1, &[]);
    let state = |name: Option<&str>, id: Uuid| DeleteTopicState::default().with_name(name.map(topic)).with_topic_id(id);
    let stranger = Uuid::from_u128(42);
    let states = vec![state(None, stranger), state(Some("a"), id.0), state(None, Uuid::nil()), state(None, id.0)];
    let response = admin.request(6, &DeleteTopicsRequest::default().with_topics(states).with_timeout_ms(1_000));
    let code = |wanted: Option<&str>, id: Uuid| {
        let found = response
            .responses
            .iter()
            .find(|one| one.topic_id == id && one.name.as_ref().map(|name| name.as_str()) == wanted);
        found.unwrap_or_else(|| panic!("{wanted:?} {id}: {response:?}")).error_code
    };
    assert_eq!(response.responses.len(), 4);
    assert_eq!(code(None, stranger), ErrorCode::UnknownTopicId.code());
    assert_eq!(code(None, Uuid::nil()), ErrorCode::InvalidRequest.code());
    let both: Vec<i16> = response
        .responses
        .iter()
        .filter(|one| one.name.as_ref().is_some_and(|name| name.as_str() == "a"))
        .map(|one| one.error_code)
        .collect();
    assert_eq!(both, [ErrorCode::InvalidRequest.code(), 0], "both given is refused, the identity alone is not");
    assert!(admin.image().topic("a").is_none());
}

#[test]
fn disabled_deletion_has_the_code_of_the_version() {
    let mut admin = Admin::new(&[("delete.topic.enable", "false")]);
    admin.world.topic("a", 1, &[]);
    let mut code = |version| admin.request(version, &by_name(version, &["a"])).responses[0].error_code;
    assert_eq!(code(2), ErrorCode::InvalidRequest.code());
    assert_eq!(code(3), ErrorCode::TopicDeletionDisabled.code());
}

#[test]
fn a_store_that_does_not_answer_fails_every_topic() {
    let mut admin = Admin::new(&[]);
    admin.store = Store::Silent;
    let response = admin.request(6, &by_name(6, &["a", "b"]));
    assert_eq!(response.responses.len(), 2);
    assert!(response.responses.iter().all(|one| one.error_code == ErrorCode::RequestTimedOut.code()));
    let nothing = admin.request(6, &by_name(6, &[]));
    assert!(nothing.responses.is_empty());
    assert_eq!(admin.commands, 1, "a request for nothing asks nobody");
}
