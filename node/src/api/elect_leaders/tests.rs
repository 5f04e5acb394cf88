//! ElectLeaders over the wire.

use kafka_protocol::messages::ElectLeadersResponse;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;

use super::*;
use crate::api::metadata_call::testing::{Admin, topic};
use crate::call::ConnectionId;
use crate::testing::World;

fn request(version: i16, election: i8, topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
    let one = |(name, numbers): &(&str, &[i32])| {
        TopicPartitions::default().with_topic(topic(name)).with_partitions(numbers.to_vec())
    };
    let request = ElectLeadersRequest::default()
        .with_topic_partitions(topics.map(|topics| topics.iter().map(one).collect()))
        .with_timeout_ms(1_000);
    if version > 0 { request.with_election_type(election) } else { request }
}

fn rows(response: &ElectLeadersResponse) -> Vec<(&str, Vec<(i32, i16)>)> {
    let results = response.replica_election_results.iter();
    results
        .map(|topic| {
            let partitions = topic.partition_result.iter().map(|one| (one.partition_id, one.error_code));
            (topic.topic.as_str(), partitions.collect())
        })
        .collect()
}

#[test]
fn a_healthy_partition_needs_no_election() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 2, &[]);
    let (healthy, unknown) = (ErrorCode::ElectionNotNeeded.code(), ErrorCode::UnknownTopicOrPartition.code());
    for version in API.min..=API.max {
        for election in 0..=1 {
            let wanted: &[(&str, &[i32])] = &[("b", &[0]), ("a", &[1, 0, 2, 1])];
            let response = admin.request(version, &request(version, election, Some(wanted)));
            let expected = [("a", vec![(0, healthy), (1, healthy), (2, unknown)]), ("b", vec![(0, unknown)])];
            assert_eq!((response.error_code, rows(&response)), (0, expected.to_vec()));
            assert!(response.replica_election_results[0].partition_result[0].error_message.is_some());
        }
    }
}

#[test]
fn of_all_topics_only_what_failed_is_told() {
    let mut admin = Admin::new(&[]);
    let id = admin.world.topic("a", 2, &[]);
    admin.world.topic("b", 1, &[]);
    for version in API.min..=API.max {
        let response = admin.request(version, &request(version, 0, None));
        assert_eq!(rows(&response), [("a", vec![]), ("b", vec![])]);
    }
    admin.world.shared.directory.withdraw(&TopicPartition::new(id, 1));
    let preferred = admin.request(2, &request(2, 0, None));
    assert_eq!(rows(&preferred)[0], ("a", vec![(1, ErrorCode::PreferredLeaderNotAvailable.code())]));
    let unclean = admin.request(2, &request(2, 1, None));
    assert_eq!(rows(&unclean)[0], ("a", vec![(1, ErrorCode::EligibleLeadersNotAvailable.code())]));
}

#[test]
fn an_unknown_kind_of_election_is_refused() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 1, &[]);
    let invalid = ErrorCode::InvalidRequest.code();
    let response = admin.request(2, &request(2, 7, Some(&[("a", &[0])])));
    assert_eq!((response.error_code, rows(&response)), (invalid, vec![("a", vec![(0, invalid)])]));
    let response = admin.request(1, &request(1, -1, None));
    assert_eq!((response.error_code, rows(&response)), (invalid, vec![]));
}

/// Partition 0 is led here and partition 1 by broker 3; both prefer broker 2.
fn cluster() -> (World, ConnectionId, [TopicPartition; 2]) {
    let mut world = World::new(1);
    world.neighbour(2, None);
    world.neighbour(3, None);
    let id = world.placed("t", &[&[2, 1, 3], &[2, 3, 1]]);
    let at = [0, 1].map(|number| TopicPartition::new(id, number));
    world.lead(at[0], 4, &[1, 2]);
    world.follow(at[1], 6, Some(3));
    world.hint(at[1], 6, 3, &[2, 3]);
    let connection = world.connect();
    (world, connection, at)
}

#[test]
fn the_preferred_replica_leads_wherever_the_leader_is() {
    let (mut world, connection, at) = cluster();
    let preferred = millrace_types::BrokerId(2);
    world.send(connection, 2, 1, &request(2, 0, None));
    assert!(world.receive_bytes(connection).is_none(), "it waits for the elections");
    assert_eq!(world.elected(ErrorCode::None), (at[0], preferred));
    assert_eq!(world.elected(ErrorCode::RequestTimedOut), (at[1], preferred));
    let (_, response) = world.receive::<ElectLeadersRequest>(connection, 2).expect("all have ended");
    assert_eq!(rows(&response), [("t", vec![(0, 0), (1, ErrorCode::RequestTimedOut.code())])]);
    assert_eq!(response.replica_election_results[0].partition_result[0].error_message, None);
}

#[test]
fn an_election_that_does_not_end_is_answered_when_its_time_is_up() {
    let (mut world, connection, _) = cluster();
    world.send(connection, 1, 1, &request(1, 0, Some(&[("t", &[0, 7])])));
    world.advance(999);
    assert!(world.receive_bytes(connection).is_none());
    world.advance(1);
    let (_, response) = world.receive::<ElectLeadersRequest>(connection, 1).expect("the time is up");
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(rows(&response), [("t", vec![(0, ErrorCode::RequestTimedOut.code()), (7, unknown)])]);
}

#[test]
fn a_preferred_replica_that_cannot_lead_is_not_available() {
    let (mut world, connection, at) = cluster();
    let unavailable = ErrorCode::PreferredLeaderNotAvailable.code();
    let ask = |world: &mut World| {
        let response = world.request(connection, 2, &request(2, 0, Some(&[("t", &[0])])));
        response.replica_election_results[0].partition_result[0].error_code
    };
    world.hear(2, false);
    assert_eq!(ask(&mut world), unavailable, "not heard");
    world.hear(2, true);
    world.lead(at[0], 4, &[1, 3]);
    assert_eq!(ask(&mut world), unavailable, "not in sync");
    world.follow(at[0], 5, None);
    assert_eq!(ask(&mut world), unavailable, "nobody could hand over");
    world.follow(at[0], 6, Some(2));
    assert_eq!(ask(&mut world), ErrorCode::ElectionNotNeeded.code());
}

#[test]
fn an_unclean_election_is_refused_with_a_reason() {
    let (mut world, connection, at) = cluster();
    world.follow(at[0], 5, None);
    let response = world.request(connection, 2, &request(2, 1, Some(&[("t", &[0, 1])])));
    let rows = &response.replica_election_results[0].partition_result;
    let codes: Vec<_> = rows.iter().map(|row| row.error_code).collect();
    let expected = [ErrorCode::EligibleLeadersNotAvailable, ErrorCode::ElectionNotNeeded].map(ErrorCode::code);
    assert_eq!(codes, expected);
    assert!(rows[0].error_message.as_ref().expect("a reason").contains("a majority of its replicas"));
}
