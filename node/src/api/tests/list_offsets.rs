//! ListOffsets and OffsetForLeaderEpoch.

use std::path::Path;
use std::sync::atomic::Ordering;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, OffsetForLeaderEpochRequest};
use millrace_storage::{BatchBuilder, Codec, CrashKind, partition_dir};
use millrace_types::{ErrorCode, TopicPartition};

use crate::call::ConnectionId;
use crate::testing::{START_WALL, World, fetch, produce, topic_name};

/// Three batches of two records, whose timestamps are 10 ms apart from batch to batch and 1 ms within.
fn scene() -> (World, ConnectionId) {
    let mut world = World::new(1);
    world.topic("t", 2, &[]);
    let connection = world.connect();
    for n in 0..3 {
        let at = START_WALL + n * 10;
        let batch = BatchBuilder::new(at, Codec::None).push_at(at, None, Some(b"a")).push_at(at + 1, None, Some(b"b"));
        world.request(connection, 9, &produce(-1, "t", &[(0, batch.build().expect("a batch"))]));
    }
    (world, connection)
}

fn request(wanted: &[(i32, i64, i32)]) -> ListOffsetsRequest {
    let partitions = wanted.iter().map(|(partition, timestamp, epoch)| {
        ListOffsetsPartition::default()
            .with_partition_index(*partition)
            .with_timestamp(*timestamp)
            .with_current_leader_epoch(*epoch)
    });
    let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(partitions.collect());
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

/// Error, timestamp, offset and epoch of the only answer.
fn list(world: &mut World, connection: ConnectionId, version: i16, timestamp: i64) -> (ErrorCode, i64, i64, i32) {
    let epoch = if version >= 4 { -1 } else { 0 };
    let mut wanted = request(&[(0, timestamp, epoch)]);
    wanted.topics[0].partitions[0].current_leader_epoch = -1;
    let response = world.request(connection, version, &wanted);
    let answer = &response.topics[0].partitions[0];
    (ErrorCode::from_code(answer.error_code), answer.timestamp, answer.offset, answer.leader_epoch)
}

#[test]
fn the_special_timestamps() {
    let (mut world, connection) = scene();
    for version in 1..=8 {
        let epoch = if version >= 4 { 1 } else { -1 };
        assert_eq!(list(&mut world, connection, version, -1), (ErrorCode::None, -1, 6, epoch), "latest, v{version}");
        assert_eq!(list(&mut world, connection, version, -2), (ErrorCode::None, -1, 0, epoch), "earliest, v{version}");
    }
    assert_eq!(list(&mut world, connection, 7, -3), (ErrorCode::None, START_WALL + 21, 5, 1), "max timestamp");
    assert_eq!(list(&mut world, connection, 8, -4), (ErrorCode::None, -1, 0, 1), "earliest local");
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (8, i64::MIN)] {
        let answer = list(&mut world, connection, version, timestamp);
        assert_eq!(answer, (ErrorCode::UnsupportedVersion, -1, -1, -1), "{timestamp} in v{version}");
    }
}

#[test]
fn a_timestamp_finds_the_first_record_at_or_after_it() {
    let (mut world, connection) = scene();
    for (ms, timestamp, offset) in [(-100, 0, 0), (0, 0, 0), (1, 1, 1), (2, 10, 2), (11, 11, 3), (21, 21, 5)] {
        let found = list(&mut world, connection, 8, START_WALL + ms);
        assert_eq!(found, (ErrorCode::None, START_WALL + timestamp, offset, 1), "{ms} ms");
    }
    assert_eq!(list(&mut world, connection, 8, START_WALL + 22), (ErrorCode::None, -1, -1, -1), "after the last");
}

#[test]
fn the_latest_offset_is_the_high_watermark() {
    let (mut world, connection) = scene();
    let other = world.connect();
    world.hold = true;
    let batch = BatchBuilder::new(START_WALL, Codec::None).push(None, Some(b"c")).build().expect("a batch");
    world.send(other, 9, 1, &produce(-1, "t", &[(0, batch)]));
    assert_eq!(list(&mut world, connection, 8, -1).2, 6, "what is not flushed is not there");
    world.hold = false;
    world.run();
    assert_eq!(list(&mut world, connection, 8, -1).2, 7);
}

#[test]
fn leader_epochs_are_checked() {
    let (mut world, connection) = scene();
    for (epoch, expected) in
        [(0, ErrorCode::FencedLeaderEpoch), (1, ErrorCode::None), (2, ErrorCode::UnknownLeaderEpoch)]
    {
        let response = world.request(connection, 8, &request(&[(0, -1, epoch)]));
        assert_eq!(ErrorCode::from_code(response.topics[0].partitions[0].error_code), expected, "epoch {epoch}");
    }
}

#[test]
fn a_partition_named_twice_is_an_invalid_request() {
    let (mut world, connection) = scene();
    let response = world.request(connection, 8, &request(&[(0, -1, -1), (1, -1, -1), (0, -2, -1)]));
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|answer| answer.error_code).collect();
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes, [invalid, 0, invalid]);
}

#[test]
fn an_unknown_partition_is_said_to_be_unknown() {
    let (mut world, connection) = scene();
    let response = world.request(connection, 8, &request(&[(9, -1, -1)]));
    let answer = &response.topics[0].partitions[0];
    assert_eq!(answer.error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!((answer.timestamp, answer.offset), (-1, -1));
}

fn epoch_end(world: &mut World, connection: ConnectionId, current: i32, epoch: i32) -> (ErrorCode, i32, i64) {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(topic_name("t")).with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let response = world.request(connection, 4, &request);
    let answer = &response.topics[0].partitions[0];
    (ErrorCode::from_code(answer.error_code), answer.leader_epoch, answer.end_offset)
}

#[test]
fn epochs_end_where_the_next_begins() {
    let (world, _) = scene();
    let mut world = world.crash(CrashKind::Process);
    let connection = world.connect();
    assert_eq!(epoch_end(&mut world, connection, 2, 1), (ErrorCode::None, 1, 6));
    assert_eq!(epoch_end(&mut world, connection, -1, 2), (ErrorCode::None, 2, 6));
    assert_eq!(epoch_end(&mut world, connection, -1, 0), (ErrorCode::None, 0, 0), "before the first epoch");
    assert_eq!(epoch_end(&mut world, connection, -1, 3), (ErrorCode::None, -1, -1), "after the last epoch");
    assert_eq!(epoch_end(&mut world, connection, 1, 1), (ErrorCode::FencedLeaderEpoch, -1, -1));
    assert_eq!(epoch_end(&mut world, connection, 3, 1), (ErrorCode::UnknownLeaderEpoch, -1, -1));
}

#[test]
fn the_gap_left_by_rot_is_never_taken_for_the_end_of_the_log() {
    let (mut world, _) = scene();
    let topic = world.shared.directory.image().topic("t").expect("the topic").id;
    let file = partition_dir(TopicPartition::new(topic, 0)).join(format!("{:020}.log", 0));
    // What was flushed is noted durably with the next put.
    world.topic("other", 1, &[]);
    // The length in the second batch's header: the batches are equally long.
    let second = batch_size();
    let mut world = world.crash_after(CrashKind::Power, |disk| {
        disk.flip_bit(Path::new(&file), second + 9, 0).expect("the file is there");
    });
    let connection = world.connect();
    let storage = ErrorCode::KafkaStorageError;
    let failed = (storage, -1, -1, -1);
    assert_eq!(list(&mut world, connection, 8, -1), failed, "latest");
    assert_eq!(list(&mut world, connection, 8, -3), failed, "max timestamp");
    assert_eq!(list(&mut world, connection, 8, START_WALL + 10), failed, "may be a record that cannot be read");
    assert_eq!(list(&mut world, connection, 8, START_WALL + 1).2, 1, "what lies below is found");
    assert_eq!(list(&mut world, connection, 8, -2).2, 0, "earliest");
    assert_eq!(epoch_end(&mut world, connection, -1, 1), (storage, -1, -1));
    for (offset, expected) in [(0, ErrorCode::None), (2, storage), (3, storage), (5, storage), (6, storage)] {
        let response = world.request(connection, 12, &fetch("t", &[(0, offset)]));
        let answer = &response.responses[0].partitions[0];
        assert_eq!(ErrorCode::from_code(answer.error_code), expected, "fetch from {offset}");
    }
}

/// Bytes of each batch of [`scene`].
fn batch_size() -> u64 {
    let at = START_WALL;
    let batch = BatchBuilder::new(at, Codec::None).push_at(at, None, Some(b"a")).push_at(at + 1, None, Some(b"b"));
    batch.build().expect("a batch").len() as u64
}

/// [`scene`] over more than one segment, whose pages are not in memory; `keeps` says whether reading them in helps.
fn cold_scene(keeps: bool) -> (World, ConnectionId) {
    let mut world = World::new(1);
    world.topic("t", 20, &[("segment.bytes", "1048576")]);
    let connection = world.connect();
    for n in 0..3 {
        let at = START_WALL + n * 10;
        let batch = BatchBuilder::new(at, Codec::None).push_at(at, None, Some(&vec![1; 600_000]));
        let batch = batch.build().expect("a batch");
        let partitions: Vec<_> = (0..20).map(|partition| (partition, batch.clone())).collect();
        world.request(connection, 9, &produce(-1, "t", &partitions));
    }
    world.storage.memory.keeps.store(keeps, Ordering::Relaxed);
    world.storage.memory.cold.store(true, Ordering::Relaxed);
    (world, connection)
}

#[test]
fn a_search_by_time_waits_until_cold_pages_are_read_in() {
    let (mut world, connection) = cold_scene(true);
    world.hold = true;
    let wanted: Vec<_> = (0..20).map(|partition| (partition, START_WALL + 5, -1)).collect();
    world.send(connection, 8, 1, &request(&wanted));
    assert!(world.receive::<ListOffsetsRequest>(connection, 8).is_none(), "no page was touched here");
    assert_eq!(world.storage.work.len(), 16, "a few at a time");
    assert_eq!(list_while_waiting(&mut world, connection), None, "answers keep their order");
    world.hold = false;
    world.run();
    let (_, response) = world.receive::<ListOffsetsRequest>(connection, 8).expect("a response");
    let found: Vec<_> = response.topics[0].partitions.iter().map(|answer| (answer.error_code, answer.offset)).collect();
    assert_eq!(found, vec![(0, 1); 20]);
    assert!(world.storage.memory.warmed.load(Ordering::Relaxed) > 0);
}

/// Asks for the latest offset while another request waits.
fn list_while_waiting(world: &mut World, connection: ConnectionId) -> Option<i64> {
    world.send(connection, 8, 2, &request(&[(0, -1, -1)]));
    let (_, response) = world.receive::<ListOffsetsRequest>(connection, 8)?;
    Some(response.topics[0].partitions[0].offset)
}

#[test]
fn pages_that_are_lost_again_are_not_waited_for_without_end() {
    let (mut world, connection) = cold_scene(false);
    let answer = list(&mut world, connection, 8, START_WALL + 5);
    assert_eq!(answer, (ErrorCode::OffsetNotAvailable, -1, -1, -1), "the client comes again");
    let answer = list(&mut world, connection, 4, START_WALL + 5);
    assert_eq!(answer.0, ErrorCode::LeaderNotAvailable);
}
