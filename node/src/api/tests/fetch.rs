//! Fetch outside sessions: what is read, how much of it, and how long it waits.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest};
use millrace_storage::BatchHeader;
use millrace_types::{ErrorCode, Offset, TopicId, TopicPartition};

use crate::call::ConnectionId;
use crate::testing::{World, batch, fetch, produce};

fn scene(partitions: i32) -> (World, ConnectionId, TopicId) {
    let mut world = World::new(1);
    let topic = world.topic("t", partitions, &[]);
    let connection = world.connect();
    (world, connection, topic)
}

fn write(world: &mut World, partition: i32, values: &[&str]) {
    let writer = world.connect();
    let response = world.request(writer, 9, &produce(-1, "t", &[(partition, batch(values))]));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

/// The partitions of the next response, which must be there.
fn received(world: &mut World, connection: ConnectionId, version: i16) -> Vec<PartitionData> {
    let (_, response) = world.receive::<FetchRequest>(connection, version).expect("a response");
    assert_eq!(response.error_code, 0);
    response.responses.into_iter().flat_map(|topic| topic.partitions).collect()
}

/// Base offsets of the batches.
fn bases(data: &PartitionData) -> Vec<Offset> {
    let mut rest = data.records.clone().expect("never null");
    let mut bases = Vec::new();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest).expect("a batch");
        bases.push(header.base_offset);
        drop(rest.split_to(header.size()));
    }
    bases
}

/// The request in the form of versions that name topics by id.
fn by_id(mut request: FetchRequest, topic: TopicId) -> FetchRequest {
    for wanted in &mut request.topics {
        wanted.topic = Default::default();
        wanted.topic_id = topic.0;
    }
    request
}

#[test]
fn every_version_reads() {
    let (mut world, connection, topic) = scene(1);
    write(&mut world, 0, &["a", "b"]);
    write(&mut world, 0, &["c"]);
    for version in 4..=16 {
        let request = fetch("t", &[(0, 0)]);
        let request = if version >= 13 { by_id(request, topic) } else { request };
        let response = world.request(connection, version, &request);
        assert_eq!(response.session_id, 0);
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, 3, 3), "version {version}");
        assert_eq!(bases(data), [0, 2]);
        assert_eq!(data.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(data.aborted_transactions, None);
    }
}

#[test]
fn batches_are_served_as_they_were_written_but_for_offset_and_epoch() {
    let (mut world, connection, _) = scene(1);
    write(&mut world, 0, &["a"]);
    write(&mut world, 0, &["b"]);
    let sent = batch(&["b"]);
    let response = world.request(connection, 12, &fetch("t", &[(0, 1)]));
    let got = response.responses[0].partitions[0].records.clone().expect("records");
    assert_eq!(&got[..8], 1i64.to_be_bytes(), "base offset");
    assert_eq!(&got[8..12], &sent[8..12]);
    assert_eq!(&got[12..16], 1i32.to_be_bytes(), "leader epoch");
    assert_eq!(&got[16..], &sent[16..]);
}

#[test]
fn the_middle_of_a_batch_returns_the_whole_batch() {
    let (mut world, connection, _) = scene(1);
    write(&mut world, 0, &["a", "b", "c"]);
    let response = world.request(connection, 12, &fetch("t", &[(0, 1)]));
    assert_eq!(bases(&response.responses[0].partitions[0]), [0]);
}

#[test]
fn what_is_not_committed_is_not_read() {
    let (mut world, connection, _) = scene(1);
    write(&mut world, 0, &["a"]);
    let writer = world.connect();
    world.hold = true;
    world.send(writer, 9, 1, &produce(-1, "t", &[(0, batch(&["b"]))]));
    let response = world.request(connection, 12, &fetch("t", &[(0, 0)]));
    assert_eq!(bases(&response.responses[0].partitions[0]), [0]);
    world.send(connection, 12, 2, &fetch("t", &[(0, 1)]));
    assert!(world.receive_bytes(connection).is_none());
    world.hold = false;
    world.run();
    assert_eq!(bases(&received(&mut world, connection, 12)[0]), [1]);
}

#[test]
fn refusals_have_kafkas_codes() {
    let (mut world, connection, topic) = scene(2);
    write(&mut world, 0, &["a"]);
    let mut code = |version, request: &FetchRequest| {
        let response = world.request(connection, version, request);
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.records, Some(Bytes::new()), "empty, never null");
        ErrorCode::from_code(data.error_code)
    };
    assert_eq!(code(12, &fetch("t", &[(0, 2)])), ErrorCode::OffsetOutOfRange);
    assert_eq!(code(12, &fetch("t", &[(0, -1)])), ErrorCode::OffsetOutOfRange);
    assert_eq!(code(12, &fetch("t", &[(0, i64::MAX)])), ErrorCode::OffsetOutOfRange);
    assert_eq!(code(12, &fetch("t", &[(5, 0)])), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(12, &fetch("none", &[(0, 0)])), ErrorCode::UnknownTopicOrPartition);
    let unknown = TopicId(uuid::Uuid::from_u128(99));
    assert_eq!(code(13, &by_id(fetch("t", &[(0, 0)]), unknown)), ErrorCode::UnknownTopicId);
    assert_eq!(code(13, &by_id(fetch("t", &[(5, 0)]), topic)), ErrorCode::UnknownTopicOrPartition);
    let mut epoch = fetch("t", &[(0, 0)]);
    epoch.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(code(12, &epoch), ErrorCode::FencedLeaderEpoch);
    epoch.topics[0].partitions[0].current_leader_epoch = 2;
    assert_eq!(code(12, &epoch), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(code(12, &fetch("t", &[(0, 0)]).with_replica_id(BrokerId(2))), ErrorCode::InvalidRequest);
}

#[test]
fn a_fenced_client_is_told_the_leader() {
    let (mut world, connection, topic) = scene(1);
    let mut request = by_id(fetch("t", &[(0, 0)]), topic);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let response = world.request(connection, 16, &request);
    let leader = &response.responses[0].partitions[0].current_leader;
    assert_eq!((leader.leader_id.0, leader.leader_epoch), (1, 1));
    let node = &response.node_endpoints[0];
    assert_eq!((node.node_id.0, &node.host[..], node.port), (1, "broker.test", 9092));
    let older = world.request(connection, 15, &request);
    assert!(older.node_endpoints.is_empty());
}

#[test]
fn records_of_open_transactions_are_hidden_from_who_asks_for_it() {
    let (mut world, connection, _) = scene(1);
    write(&mut world, 0, &["a"]);
    let response = world.request(connection, 12, &fetch("t", &[(0, 0)]).with_isolation_level(1));
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.aborted_transactions, Some(Vec::new()), "none, which is not the same as not asked");
    assert_eq!(bases(data), [0]);
}

#[test]
fn limits_hold_but_the_first_batch_is_always_returned() {
    let (mut world, connection, _) = scene(3);
    let value = "x".repeat(1_000);
    for partition in 0..3 {
        write(&mut world, partition, &[&value]);
        write(&mut world, partition, &[&value]);
    }
    let sizes =
        |response: Vec<PartitionData>| -> Vec<usize> { response.iter().map(|data| bases(data).len()).collect() };
    let mut request = fetch("t", &[(0, 0), (1, 0), (2, 0)]);
    request.max_bytes = 10;
    world.send(connection, 12, 1, &request);
    assert_eq!(sizes(received(&mut world, connection, 12)), [1, 0, 0], "one batch, then nothing");
    request.max_bytes = 3_500;
    world.send(connection, 12, 1, &request);
    assert_eq!(sizes(received(&mut world, connection, 12)), [2, 1, 0]);
    request.max_bytes = 1 << 20;
    request.topics[0].partitions.iter_mut().for_each(|partition| partition.partition_max_bytes = 1_500);
    world.send(connection, 12, 1, &request);
    assert_eq!(sizes(received(&mut world, connection, 12)), [1, 1, 1]);
    request.topics[0].partitions.iter_mut().for_each(|partition| partition.partition_max_bytes = 5);
    world.send(connection, 12, 1, &request);
    assert_eq!(sizes(received(&mut world, connection, 12)), [1, 0, 0], "only the first batch may exceed a limit");
}

#[test]
fn an_empty_fetch_waits_for_a_record() {
    let (mut world, connection, _) = scene(2);
    world.send(connection, 12, 1, &fetch("t", &[(0, 0), (1, 0)]));
    assert!(world.receive_bytes(connection).is_none());
    assert_eq!(world.take_log(), ["watch 0", "watch 1"]);
    world.advance(200);
    write(&mut world, 1, &["a"]);
    let data = received(&mut world, connection, 12);
    assert_eq!(bases(&data[1]), [0]);
    assert_eq!((data[0].partition_index, bases(&data[0]).len()), (0, 0));
}

#[test]
fn an_empty_fetch_waits_no_longer_than_it_says() {
    let (mut world, connection, _) = scene(1);
    world.send(connection, 12, 1, &fetch("t", &[(0, 0)]));
    world.advance(499);
    assert!(world.receive_bytes(connection).is_none());
    world.advance(1);
    let data = received(&mut world, connection, 12);
    assert_eq!((data[0].error_code, bases(&data[0]).len()), (0, 0));
    let at_once = world.request(connection, 12, &fetch("t", &[(0, 0)]).with_max_wait_ms(0));
    assert_eq!(at_once.responses[0].partitions[0].error_code, 0);
    let negative = world.request(connection, 12, &fetch("t", &[(0, 0)]).with_max_wait_ms(-1));
    assert_eq!(negative.responses[0].partitions[0].error_code, 0);
}

#[test]
fn a_fetch_waits_for_its_least_bytes() {
    let (mut world, connection, _) = scene(2);
    let size = i32::try_from(batch(&["a"]).len()).expect("small");
    write(&mut world, 0, &["a"]);
    world.send(connection, 12, 1, &fetch("t", &[(0, 0), (1, 0)]).with_min_bytes(3 * size));
    assert!(world.receive_bytes(connection).is_none());
    write(&mut world, 1, &["a"]);
    assert!(world.receive_bytes(connection).is_none());
    write(&mut world, 0, &["a"]);
    let data = received(&mut world, connection, 12);
    assert_eq!((bases(&data[0]), bases(&data[1])), (vec![0, 1], vec![0]));
    world.send(connection, 12, 2, &fetch("t", &[(0, 0)]).with_min_bytes(i32::MAX));
    world.advance(500);
    assert_eq!(bases(&received(&mut world, connection, 12)[0]), [0, 1], "after the wait with what there is");
}

#[test]
fn an_error_does_not_wait() {
    let (mut world, connection, _) = scene(1);
    let response = world.request(connection, 12, &fetch("t", &[(0, 0), (9, 0)]));
    assert_eq!(response.responses[0].partitions[1].error_code, ErrorCode::UnknownTopicOrPartition.code());
    let nothing = world.request(connection, 12, &fetch("t", &[]).with_topics(Vec::new()));
    assert!(nothing.responses.is_empty());
}

#[test]
fn a_partition_that_stops_ends_the_wait() {
    let (mut world, connection, topic) = scene(1);
    world.send(connection, 12, 1, &fetch("t", &[(0, 0)]));
    let partition = TopicPartition::new(topic, 0);
    world.shared.directory.withdraw(&partition);
    world.event(partition, crate::replica::ReplicaEvent::Stop);
    assert_eq!(received(&mut world, connection, 12)[0].error_code, ErrorCode::NotLeaderOrFollower.code());
}

#[test]
fn registrations_outlive_a_fetch_and_follow_the_next() {
    let (mut world, connection, _) = scene(3);
    world.send(connection, 12, 1, &fetch("t", &[(0, 0), (1, 0)]));
    world.advance(500);
    assert_eq!(world.take_log(), ["watch 0", "watch 1"]);
    world.send(connection, 12, 2, &fetch("t", &[(1, 0), (2, 0)]));
    assert_eq!(world.take_log(), ["cancel 0", "watch 2"], "1 is still watched, 0 no longer wanted");
}

/// A world whose partition has sealed segments that are out of memory.
fn cold(keeps: bool) -> (World, ConnectionId) {
    let mut world = World::new(1);
    world.topic("t", 2, &[("segment.bytes", "1048576")]);
    let connection = world.connect();
    let value = "x".repeat(700_000);
    for partition in 0..2 {
        for _ in 0..3 {
            write(&mut world, partition, &[&value]);
        }
    }
    world.storage.memory.cold.store(true, Ordering::Relaxed);
    world.storage.memory.keeps.store(keeps, Ordering::Relaxed);
    (world, connection)
}

#[test]
fn cold_batches_are_read_in_before_they_are_sent() {
    let (mut world, connection) = cold(true);
    world.hold = true;
    world.send(connection, 12, 1, &fetch("t", &[(0, 0), (1, 0)]));
    world.advance(10_000);
    assert!(world.receive_bytes(connection).is_none(), "no wait of the client's cuts the disk's work short");
    assert!(world.work_once());
    assert!(world.receive_bytes(connection).is_none(), "the other partition is still being read in");
    assert!(world.work_once());
    let data = received(&mut world, connection, 12);
    assert_eq!((bases(&data[0]), bases(&data[1])), (vec![0], vec![0]));
}

#[test]
fn memory_that_forgets_at_once_does_not_hold_a_fetch_for_ever() {
    let (mut world, connection) = cold(false);
    world.send(connection, 12, 1, &fetch("t", &[(0, 0)]));
    let data = received(&mut world, connection, 12);
    assert_eq!((data[0].error_code, bases(&data[0]).len()), (0, 0), "the client asks again");
    assert_eq!(world.storage.memory.warmed.load(Ordering::Relaxed), 3);
}

#[test]
fn a_session_does_not_take_a_cold_partition_for_an_idle_one() {
    let (mut world, connection) = cold(false);
    let full = fetch("t", &[(0, 0), (1, 3)]).with_session_epoch(0);
    let session = world.request(connection, 12, &full).session_id;
    world.storage.memory.cold.store(false, Ordering::Relaxed);
    let request = fetch("t", &[]).with_topics(Vec::new()).with_session_id(session).with_session_epoch(1);
    let response = world.request(connection, 12, &request);
    assert_eq!(bases(&response.responses[0].partitions[0]), [0]);
}
