//! Incremental fetch sessions (KIP-227).

use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use millrace_types::{ErrorCode, Offset};

use crate::call::ConnectionId;
use crate::testing::{World, batch, fetch, produce, topic_name};

const VERSION: i16 = 12;

fn scene(partitions: i32) -> (World, ConnectionId) {
    let mut world = World::new(1);
    world.topic("t", partitions, &[]);
    let connection = world.connect();
    (world, connection)
}

fn write(world: &mut World, partition: i32) {
    let writer = world.connect();
    let response = world.request(writer, 9, &produce(-1, "t", &[(partition, batch(&["a"]))]));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    world.take_log();
}

fn all(partitions: i32) -> Vec<(i32, Offset)> {
    (0..partitions).map(|partition| (partition, 0)).collect()
}

/// A fetch of a session that changes these partitions.
fn incremental(session: i32, epoch: i32, changes: &[(i32, Offset)]) -> FetchRequest {
    let request = fetch("t", changes).with_session_id(session).with_session_epoch(epoch);
    if changes.is_empty() { request.with_topics(Vec::new()) } else { request }
}

/// Begins a session over partitions that are all empty; returns its id.
fn begin(world: &mut World, connection: ConnectionId, partitions: i32) -> i32 {
    let request = incremental(0, 0, &all(partitions)).with_max_wait_ms(0);
    let response = world.request(connection, VERSION, &request);
    assert_eq!(response.error_code, 0);
    assert_eq!(numbers(&response).len(), usize::try_from(partitions).expect("positive"), "a full response");
    assert!(response.session_id > 0);
    response.session_id
}

/// The partitions of a response.
fn numbers(response: &FetchResponse) -> Vec<i32> {
    response.responses.iter().flat_map(|topic| &topic.partitions).map(|data| data.partition_index).collect()
}

fn code(response: &FetchResponse) -> ErrorCode {
    ErrorCode::from_code(response.error_code)
}

#[test]
fn only_news_is_sent() {
    let (mut world, connection) = scene(3);
    let session = begin(&mut world, connection, 3);
    let quiet = world.request(connection, VERSION, &incremental(session, 1, &[]).with_max_wait_ms(0));
    assert_eq!((code(&quiet), numbers(&quiet)), (ErrorCode::None, vec![]));
    assert_eq!(quiet.session_id, session);
    write(&mut world, 1);
    let news = world.request(connection, VERSION, &incremental(session, 2, &[]));
    assert_eq!(numbers(&news), [1]);
    let again = world.request(connection, VERSION, &incremental(session, 3, &[]));
    assert_eq!(numbers(&again), [1], "the client has not moved on");
    let moved = world.request(connection, VERSION, &incremental(session, 4, &[(1, 1)]).with_max_wait_ms(0));
    assert_eq!(numbers(&moved), [0; 0]);
}

#[test]
fn an_idle_partition_costs_a_fetch_nothing() {
    let (mut world, connection) = scene(50);
    let session = begin(&mut world, connection, 50);
    assert_eq!(world.take_log().len(), 50, "each is registered once");
    for epoch in 1..5 {
        world.send(connection, VERSION, epoch, &incremental(session, epoch, &[]));
        assert!(world.receive_bytes(connection).is_none());
        assert_eq!(world.take_log(), [""; 0], "and stays so");
        world.advance(500);
        assert!(world.receive_bytes(connection).is_some());
    }
    world.send(connection, VERSION, 5, &incremental(session, 5, &[]));
    write(&mut world, 7);
    let (_, response) = world.receive::<FetchRequest>(connection, VERSION).expect("a response");
    assert_eq!(numbers(&response), [7]);
    world.send(connection, VERSION, 6, &incremental(session, 6, &[(7, 1)]));
    assert_eq!(world.take_log(), ["watch 7"], "only what fired is registered again");
}

#[test]
fn what_fires_between_two_fetches_is_found_by_the_second() {
    let (mut world, connection) = scene(5);
    let session = begin(&mut world, connection, 5);
    write(&mut world, 3);
    write(&mut world, 1);
    let response = world.request(connection, VERSION, &incremental(session, 1, &[]));
    assert_eq!(numbers(&response), [1, 3]);
}

#[test]
fn partitions_that_were_served_come_last() {
    let (mut world, connection) = scene(3);
    for partition in 0..3 {
        write(&mut world, partition);
    }
    let full = world.request(connection, VERSION, &incremental(0, 0, &all(3)).with_max_bytes(10));
    let first = |response: &FetchResponse| {
        let mut data = response.responses.iter().flat_map(|topic| &topic.partitions);
        data.find(|data| data.records.as_ref().is_some_and(|records| !records.is_empty()))
            .map(|data| data.partition_index)
    };
    assert_eq!(first(&full), Some(0));
    for (epoch, expected) in [(1, 1), (2, 2), (3, 0)] {
        let next = world.request(connection, VERSION, &incremental(full.session_id, epoch, &[]).with_max_bytes(10));
        assert_eq!(first(&next), Some(expected), "each in its turn");
    }
}

#[test]
fn partitions_join_and_leave() {
    let (mut world, connection) = scene(3);
    let session = begin(&mut world, connection, 2);
    write(&mut world, 2);
    let joined = world.request(connection, VERSION, &incremental(session, 1, &[(2, 0)]));
    assert_eq!(numbers(&joined), [2]);
    let forgotten = ForgottenTopic::default().with_topic(topic_name("t")).with_partitions(vec![0, 2, 9]);
    let request = incremental(session, 2, &[]).with_forgotten_topics_data(vec![forgotten]).with_max_wait_ms(0);
    let response = world.request(connection, VERSION, &request);
    assert_eq!(numbers(&response), [0; 0]);
    assert!(world.take_log().contains(&"cancel 0".to_owned()));
    write(&mut world, 0);
    let response = world.request(connection, VERSION, &incremental(session, 3, &[]).with_max_wait_ms(0));
    assert_eq!(numbers(&response), [0; 0], "nobody asks for it any more");
}

#[test]
fn a_session_without_partitions_ends() {
    let (mut world, connection) = scene(1);
    let session = begin(&mut world, connection, 1);
    let forgotten = ForgottenTopic::default().with_topic(topic_name("t")).with_partitions(vec![0]);
    let request = incremental(session, 1, &[]).with_forgotten_topics_data(vec![forgotten]);
    let response = world.request(connection, VERSION, &request);
    assert_eq!((code(&response), response.session_id), (ErrorCode::None, 0));
    assert!(world.shared.fetch_sessions.is_empty());
}

#[test]
fn epochs_and_ids_are_checked() {
    let (mut world, connection) = scene(1);
    let session = begin(&mut world, connection, 1);
    let mut ask = |session, epoch, version| {
        let response = world.request(connection, version, &incremental(session, epoch, &[]).with_max_wait_ms(0));
        assert!(response.responses.is_empty());
        (code(&response), response.session_id)
    };
    assert_eq!(ask(session, 2, VERSION), (ErrorCode::InvalidFetchSessionEpoch, 0));
    assert_eq!(ask(session ^ 1, 1, VERSION), (ErrorCode::FetchSessionIdNotFound, 0));
    assert_eq!(ask(session, 1, 13), (ErrorCode::FetchSessionTopicIdError, 0));
    assert_eq!(ask(session, 1, VERSION), (ErrorCode::None, session), "the refused ones changed nothing");
    assert_eq!(ask(session, 1, VERSION), (ErrorCode::InvalidFetchSessionEpoch, 0), "an epoch is used once");
}

#[test]
fn a_full_fetch_closes_the_session_it_names() {
    let (mut world, connection) = scene(2);
    let session = begin(&mut world, connection, 2);
    let closing = incremental(session, -1, &all(2)).with_max_wait_ms(0);
    let response = world.request(connection, VERSION, &closing);
    assert_eq!((response.session_id, numbers(&response)), (0, vec![0, 1]));
    assert!(world.shared.fetch_sessions.is_empty());
    let session = begin(&mut world, connection, 2);
    let renewed = world.request(connection, VERSION, &incremental(session, 0, &all(2)).with_max_wait_ms(0));
    assert!(renewed.session_id > 0 && renewed.session_id != session);
    assert_eq!(world.shared.fetch_sessions.len(), 1);
}

#[test]
fn a_session_may_move_to_another_connection() {
    let (mut world, connection) = scene(2);
    let session = begin(&mut world, connection, 2);
    let other = world.connect();
    world.take_log();
    world.send(other, VERSION, 1, &incremental(session, 1, &[]));
    assert_eq!(world.take_log(), ["watch 0", "watch 1"], "registrations belong to a connection");
    write(&mut world, 1);
    let (_, response) = world.receive::<FetchRequest>(other, VERSION).expect("a response");
    assert_eq!(numbers(&response), [1]);
    let back = world.request(connection, VERSION, &incremental(session, 2, &[]));
    assert_eq!(numbers(&back), [1]);
}

#[test]
fn a_fetch_that_was_overtaken_ends_with_an_error() {
    let (mut world, connection) = scene(1);
    let session = begin(&mut world, connection, 1);
    world.send(connection, VERSION, 1, &incremental(session, 1, &[]));
    let other = world.connect();
    world.request(other, VERSION, &incremental(session, 2, &[]).with_max_wait_ms(0));
    world.advance(500);
    let (_, response) = world.receive::<FetchRequest>(connection, VERSION).expect("a response");
    assert_eq!(code(&response), ErrorCode::InvalidFetchSessionEpoch);
}

#[test]
fn without_room_a_client_is_served_outside_a_session() {
    let mut world = World::with_config(1, &[("max.incremental.fetch.session.cache.slots", "1")]);
    world.topic("t", 1, &[]);
    let first = world.connect();
    begin(&mut world, first, 1);
    let second = world.connect();
    let response = world.request(second, VERSION, &incremental(0, 0, &all(1)).with_max_wait_ms(0));
    assert_eq!((code(&response), response.session_id, numbers(&response)), (ErrorCode::None, 0, vec![0]));
}

#[test]
fn a_replica_that_refuses_to_be_watched_is_looked_at_by_every_fetch() {
    let (mut world, connection) = scene(1);
    world.refuse_calls = true;
    let session = begin(&mut world, connection, 1);
    world.send(connection, VERSION, 1, &incremental(session, 1, &[]));
    assert!(world.take_log().len() <= 2, "it is asked once per fetch, not again and again");
    world.refuse_calls = false;
    write(&mut world, 0);
    world.advance(500);
    let (_, response) = world.receive::<FetchRequest>(connection, VERSION).expect("a response");
    assert_eq!(numbers(&response), [0], "found when the wait is over");
}
