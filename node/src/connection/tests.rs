//! The order of requests and responses, bounds, and what closes a connection.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use millrace_types::ErrorCode;

use crate::testing::{World, batch, fetch, produce};

const API_VERSIONS: &[u8] = b"\x00\x12\x00\x00\x00\x00\x00\x09\xff\xff";

fn one_partition() -> World {
    let mut world = World::new(1);
    world.topic("t", 1, &[]);
    world
}

#[test]
fn responses_come_in_the_order_of_the_requests() {
    let mut world = one_partition();
    let connection = world.connect();
    world.hold = true;
    world.send(connection, 9, 1, &produce(-1, "t", &[(0, batch(&["a"]))]));
    world.send(connection, 9, 2, &produce(-1, "nothing", &[(0, batch(&["b"]))]));
    assert!(world.receive_bytes(connection).is_none(), "the second is done and waits for the first");
    world.hold = false;
    world.run();
    let mut received = || world.receive::<ProduceRequest>(connection, 9).expect("a response");
    let (first, second) = (received(), received());
    assert_eq!((first.0, second.0), (1, 2));
    assert_eq!(first.1.responses[0].partition_responses[0].error_code, 0);
    let unknown = second.1.responses[0].partition_responses[0].error_code;
    assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn produce_requests_overlap_and_share_a_flush() {
    let mut world = one_partition();
    let connection = world.connect();
    world.hold = true;
    for correlation in 0..5 {
        world.send(connection, 9, correlation, &produce(-1, "t", &[(0, batch(&["a"]))]));
    }
    assert_eq!(world.take_log(), ["produce 0"; 5], "none waits for the acknowledgement of another");
    world.hold = false;
    world.run();
    for correlation in 0..5 {
        let (got, response) = world.receive::<ProduceRequest>(connection, 9).expect("a response");
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((got, partition.base_offset), (correlation, i64::from(correlation)));
    }
    assert_eq!(world.storage.flushes, 2);
}

#[test]
fn another_request_sees_the_effects_of_those_before_it() {
    let mut world = one_partition();
    let connection = world.connect();
    world.hold = true;
    world.send(connection, 9, 1, &produce(-1, "t", &[(0, batch(&["a"]))]));
    world.send(connection, 12, 2, &fetch("t", &[(0, 0)]));
    world.send(connection, 9, 3, &produce(-1, "t", &[(0, batch(&["b"]))]));
    assert_eq!(world.take_log(), ["produce 0"], "the fetch is held, and what comes behind it");
    world.hold = false;
    world.run();
    assert_eq!(world.receive::<ProduceRequest>(connection, 9).expect("a response").0, 1);
    let (correlation, response) = world.receive::<FetchRequest>(connection, 12).expect("a response");
    assert_eq!(correlation, 2);
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    assert!(!response.responses[0].partitions[0].records.as_ref().expect("records").is_empty());
    assert_eq!(world.receive::<ProduceRequest>(connection, 9).expect("a response").0, 3);
}

#[test]
fn requests_in_flight_are_bounded_by_number() {
    let mut world = World::with_config(1, &[("connection.max.in.flight.requests", "2")]);
    world.topic("t", 1, &[]);
    let connection = world.connect();
    world.hold = true;
    assert_eq!(world.connection(connection).max_in_flight(), 2);
    assert!(world.connection(connection).is_idle());
    for correlation in 0..2 {
        assert!(world.connection(connection).wants_frames());
        world.send(connection, 9, correlation, &produce(-1, "t", &[(0, batch(&["a"]))]));
    }
    assert!(!world.connection(connection).wants_frames());
    world.hold = false;
    world.run();
    assert!(world.connection(connection).wants_frames() && world.connection(connection).is_idle());
}

#[test]
fn requests_in_flight_are_bounded_by_bytes() {
    let mut world = World::with_config(1, &[("message.max.bytes", "50000000")]);
    world.topic("t", 1, &[]);
    let connection = world.connect();
    world.hold = true;
    let large = "x".repeat(20 << 20);
    for correlation in 0..2 {
        assert!(world.connection(connection).wants_frames());
        world.send(connection, 9, correlation, &produce(-1, "t", &[(0, batch(&[&large]))]));
    }
    assert!(!world.connection(connection).wants_frames());
}

#[test]
fn a_newer_client_learns_the_versions_in_the_oldest_one() {
    let mut world = one_partition();
    let connection = world.connect();
    world.frame(connection, Bytes::from_static(b"\x00\x12\x00\x63\x00\x00\x00\x09\xff\xff\x00whatever"));
    let (correlation, body) = world.receive_bytes(connection).expect("a response");
    assert_eq!(correlation, 9);
    assert_eq!(&body[..], b"\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00\x00\x04", "error 35, key 18, versions 0 to 4");
    assert_eq!(world.closed(connection), None);
}

#[test]
fn api_versions_lists_the_table_in_every_version() {
    let mut world = one_partition();
    let connection = world.connect();
    for version in 0..=4 {
        let request = ApiVersionsRequest::default();
        let named = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("kcat"))
            .with_client_software_version(StrBytes::from_static_str("1.7.0"));
        let response = world.request(connection, version, if version >= 3 { &named } else { &request });
        assert_eq!(response.error_code, 0, "version {version}");
        let listed: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let table: Vec<_> = crate::api::APIS.iter().map(|api| (api.key as i16, api.advertised_min, api.max)).collect();
        assert_eq!(listed, table);
        assert!(listed.contains(&(0, 0, 10)), "Produce is advertised from 0 (KAFKA-18659)");
    }
}

#[test]
fn a_client_with_an_impossible_name_is_refused() {
    let mut world = one_partition();
    let connection = world.connect();
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("no spaces"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    assert_eq!(world.request(connection, 3, &request).error_code, ErrorCode::InvalidRequest.code());
}

#[test]
fn what_is_not_served_or_malformed_closes_the_connection() {
    let cases: [(&[u8], &str); 6] = [
        (b"\x7f\xff\x00\x00\x00\x00\x00\x09\xff\xff", "the API key is not served"),
        (b"\x00\x01\x00\x63\x00\x00\x00\x09\xff\xff\x00", "the version of the API is not served"),
        (b"\x00\x01\x00\x03\x00\x00\x00\x09\xff\xff", "the version of the API is not served"),
        (b"\x00\x01\x00", "the request header is malformed"),
        (b"\x00\x02\x00\x01\x00\x00\x00\x09\xff\xff\xff\xff", "the request is malformed"),
        (b"\x00\x02\x00\x01\x00\x00\x00\x09\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff", "the request is malformed"),
    ];
    for (frame, why) in cases {
        let mut world = one_partition();
        let connection = world.connect();
        world.frame(connection, Bytes::copy_from_slice(frame));
        assert_eq!(world.closed(connection), Some(why), "{frame:?}");
        assert!(!world.connection(connection).wants_frames());
        assert!(world.receive_bytes(connection).is_none());
    }
}

#[test]
fn any_bytes_are_answered_or_close_the_connection() {
    proptest::proptest!(proptest::prelude::ProptestConfig::with_cases(300), |(
        key in 0i16..80, version in 0i16..20, body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)
    )| {
        let mut world = one_partition();
        let connection = world.connect();
        let key = if key < 7 { [0, 1, 2, 18, 21, 22, 23][usize::try_from(key).expect("small")] } else { key };
        let mut frame = Vec::from(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend([0, 0, 0, 9, 0xff, 0xff]);
        frame.extend(body);
        world.frame(connection, Bytes::from(frame));
        world.advance(1_000);
        let usable = world.connection(connection).wants_frames();
        proptest::prop_assert_ne!(usable, world.closed(connection).is_some(), "it is closed or goes on");
    });
}

#[test]
fn nothing_comes_of_a_closed_connection() {
    let mut world = one_partition();
    let connection = world.connect();
    world.hold = true;
    world.send(connection, 9, 1, &produce(-1, "t", &[(0, batch(&["a"]))]));
    world.send(connection, 9, 2, &produce(0, "t", &[(0, Bytes::new())]));
    assert!(world.closed(connection).is_some(), "acks 0 and no records");
    world.hold = false;
    world.run();
    assert!(world.receive_bytes(connection).is_none(), "the answer to the first comes too late");
}

#[test]
fn a_connection_that_goes_takes_its_registrations_back() {
    let mut world = one_partition();
    let connection = world.connect();
    world.send(connection, 12, 1, &fetch("t", &[(0, 0)]));
    assert_eq!(world.take_log(), ["watch 0"]);
    world.disconnect(connection);
    assert_eq!(world.take_log(), ["cancel 0"]);
}

#[test]
fn a_request_held_back_is_served_when_its_turn_comes() {
    let mut world = one_partition();
    let connection = world.connect();
    world.send(connection, 12, 1, &fetch("t", &[(0, 0)]));
    world.frame(connection, Bytes::from_static(API_VERSIONS));
    world.send(connection, 5, 3, &InitProducerIdRequest::default().with_transactional_id(None));
    assert!(world.receive_bytes(connection).is_none());
    world.advance(500);
    let order: Vec<i32> = std::iter::from_fn(|| world.receive_bytes(connection)).map(|(id, _)| id).collect();
    assert_eq!(order, [1, 9, 3]);
}

#[test]
fn a_response_of_an_old_version_has_no_tagged_fields() {
    let mut world = one_partition();
    let connection = world.connect();
    world.send(connection, 1, 5, &ListOffsetsRequest::default());
    let (correlation, mut body) = world.receive_bytes(connection).expect("a response");
    assert_eq!(correlation, 5);
    let decoded = kafka_protocol::messages::ListOffsetsResponse::decode(&mut body, 1).expect("decoded");
    assert!(decoded.topics.is_empty() && body.is_empty());
}
