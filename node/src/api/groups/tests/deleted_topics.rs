//! What groups have committed of a topic goes with the topic.

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::*;

fn delete(desk: &mut Desk, names: &[&str]) -> DeleteTopicsResponse {
    let states = names.iter().map(|name| DeleteTopicState::default().with_name(Some(topic(name))));
    desk.ask(6, &DeleteTopicsRequest::default().with_topics(states.collect()).with_timeout_ms(1_000))
}

/// The topics that the group has offsets of.
fn committed(desk: &mut Desk, id: &str) -> Vec<String> {
    let fetched = desk.ask(8, &fetch_new(&[id], None));
    fetched.groups[0].topics.iter().map(|topic| topic.name.to_string()).collect()
}

fn desk_with_offsets() -> Desk {
    let mut desk = Desk::with_offsets_topic();
    desk.world.topic("u", 1, &[]);
    // On coordinators of their own: 7 and 8 hash to different partitions.
    for id in ["7", "8"] {
        let mut request = commit(9, &string(""), -1, &[("t", 0), ("u", 0)]);
        request.group_id = group(id);
        let response = desk.ask(9, &request);
        assert!(response.topics.iter().all(|topic| topic.partitions[0].error_code == 0));
    }
    assert_eq!(desk.shards.len(), 2);
    desk
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_by_every_coordinator() {
    let mut desk = desk_with_offsets();
    let deleted = delete(&mut desk, &["t", "none"]);
    let codes: Vec<i16> = deleted.responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    desk.world.topic("t", 1, &[]);
    for id in ["7", "8"] {
        assert_eq!(committed(&mut desk, id), ["u"]);
        let fetched = desk.ask(8, &fetch_new(&[id], Some(&["t"])));
        assert_eq!(
            fetched.groups[0].topics[0].partitions[0].committed_offset, -1,
            "the new topic is read from its start"
        );
    }
}

#[test]
fn a_topic_that_stays_keeps_its_offsets() {
    let mut desk = desk_with_offsets();
    delete(&mut desk, &["none"]);
    assert_eq!(committed(&mut desk, "7"), ["t", "u"]);
}

#[test]
fn a_deletion_is_reported_even_if_no_coordinator_can_forget() {
    let mut desk = desk_with_offsets();
    desk.failure = Some(ErrorCode::CoordinatorLoadInProgress);
    let deleted = delete(&mut desk, &["t"]);
    assert_eq!((deleted.responses.len(), deleted.responses[0].error_code), (1, 0));
}
