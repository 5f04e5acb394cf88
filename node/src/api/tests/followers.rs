//! Fetches from followers (KIP-392), and logs that part (KIP-320).

use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{FetchRequest, OffsetForLeaderEpochRequest};
use kafka_protocol::protocol::StrBytes;
use millrace_storage::CrashKind;
use millrace_types::{ErrorCode, Offset, TopicPartition};

use crate::call::ConnectionId;
use crate::testing::{World, batch, fetch, produce, topic_name};

const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// A partition with ten records here and replicas on brokers 2 (rack b) and 3 (rack c); this broker is in rack a.
fn scene(selector: bool) -> (World, ConnectionId, TopicPartition) {
    let config = [("replica.selector.class", RACK_AWARE)];
    let mut world = World::with_config(1, if selector { &config } else { &[] });
    world.neighbour(1, Some("a"));
    world.neighbour(2, Some("b"));
    world.neighbour(3, Some("c"));
    let id = world.placed("t", &[&[1, 2, 3]]);
    let connection = world.connect();
    for _ in 0..10 {
        world.request(connection, 9, &produce(-1, "t", &[(0, batch(&["a"]))]));
    }
    (world, connection, TopicPartition::new(id, 0))
}

fn from(rack: &str, offset: Offset) -> FetchRequest {
    fetch("t", &[(0, offset)]).with_rack_id(StrBytes::from_string(rack.to_owned()))
}

fn read(world: &mut World, connection: ConnectionId, version: i16, request: &FetchRequest) -> PartitionData {
    world.request(connection, version, request).responses[0].partitions[0].clone()
}

fn preferred(world: &mut World, connection: ConnectionId, request: &FetchRequest) -> i32 {
    let data = read(world, connection, 12, request);
    assert_eq!(data.error_code, 0);
    let is_redirected = data.preferred_read_replica.0 >= 0;
    assert_eq!(data.records.expect("never null").is_empty(), is_redirected, "records or a better place");
    assert_eq!(data.high_watermark, 10);
    data.preferred_read_replica.0
}

#[test]
fn a_consumer_is_sent_to_an_in_sync_follower_of_its_rack() {
    let (mut world, connection, at) = scene(true);
    world.lead(at, 1, &[1, 2]);
    assert_eq!(preferred(&mut world, connection, &from("b", 0)), 2);
    assert_eq!(preferred(&mut world, connection, &from("a", 0)), -1, "the leader is there itself");
    assert_eq!(preferred(&mut world, connection, &from("c", 0)), -1, "not in sync");
    assert_eq!(preferred(&mut world, connection, &from("", 0)), -1, "it does not say");
    assert_eq!(preferred(&mut world, connection, &from("x", 0)), -1, "nobody is there");
    world.hear(2, false);
    assert_eq!(preferred(&mut world, connection, &from("b", 0)), -1, "not heard");
    world.hear(2, true);
    let old = read(&mut world, connection, 10, &from("", 0));
    assert!(!old.records.expect("never null").is_empty(), "a version that knows no followers");
    let beyond = read(&mut world, connection, 12, &from("b", 11));
    assert_eq!(beyond.error_code, ErrorCode::OffsetOutOfRange.code(), "what is wrong here is wrong there");
}

#[test]
fn without_a_selector_the_leader_serves() {
    let (mut world, connection, at) = scene(false);
    world.lead(at, 1, &[1, 2]);
    assert_eq!(preferred(&mut world, connection, &from("b", 0)), -1);
}

#[test]
fn a_redirection_does_not_wait_for_records() {
    let (mut world, connection, at) = scene(true);
    world.lead(at, 1, &[1, 2]);
    assert_eq!(read(&mut world, connection, 12, &from("b", 10)).preferred_read_replica.0, 2, "at the end, at once");
}

#[test]
fn a_follower_serves_what_it_knows_to_be_committed() {
    let (mut world, connection, at) = scene(false);
    world.follow(at, 3, Some(2));
    world.view(at).log.set_high_watermark(6);
    for version in [11, 12] {
        let data = read(&mut world, connection, version, &fetch("t", &[(0, 5)]));
        assert_eq!((data.error_code, data.high_watermark), (0, 6));
        let records = data.records.expect("never null");
        assert_eq!(records[..8], 5i64.to_be_bytes());
        let one = batch(&["a"]).len();
        assert_eq!(records.len(), one, "nothing above the high watermark");
    }
    let mut request = fetch("t", &[(0, 11)]);
    let data = read(&mut world, connection, 12, &request);
    assert_eq!(data.error_code, ErrorCode::OffsetNotAvailable.code(), "the leader may have it");
    request = fetch("t", &[(0, 8)]).with_max_wait_ms(0);
    let data = read(&mut world, connection, 12, &request);
    assert_eq!((data.error_code, data.records.expect("never null").len()), (0, 0), "on its way");
    let below = read(&mut world, connection, 12, &fetch("t", &[(0, -1)]));
    assert_eq!(below.error_code, ErrorCode::OffsetOutOfRange.code());
}

#[test]
fn a_follower_without_a_leader_sends_consumers_away() {
    let (mut world, connection, at) = scene(false);
    let not_here = ErrorCode::NotLeaderOrFollower.code();
    world.follow(at, 3, None);
    assert_eq!(read(&mut world, connection, 12, &fetch("t", &[(0, 5)])).error_code, not_here, "an election");
    world.follow(at, 3, Some(2));
    assert_eq!(read(&mut world, connection, 12, &fetch("t", &[(0, 5)])).error_code, 0);
    world.hear(2, false);
    assert_eq!(read(&mut world, connection, 12, &fetch("t", &[(0, 5)])).error_code, not_here, "cut off");
}

#[test]
fn a_replica_that_has_met_no_epoch_serves_nobody() {
    let (mut world, connection, at) = scene(false);
    world.follow(at, 0, None);
    let data = read(&mut world, connection, 12, &fetch("t", &[(0, 0)]));
    assert_eq!(data.error_code, ErrorCode::NotLeaderOrFollower.code());
}

#[test]
fn where_logs_part_is_told_by_leader_and_follower() {
    let (world, _, at) = scene(false);
    // The second start leads epoch 2 from offset 10 on, the third epoch 3 from there, too: epoch 2 has no record.
    let mut world = world.crash(CrashKind::Process).crash(CrashKind::Process);
    world.hear(2, true);
    let connection = world.connect();
    world.request(connection, 9, &produce(-1, "t", &[(0, batch(&["b"]))]));
    let epoch = world.view(at).leader_epoch().expect("it leads");
    assert_eq!(epoch, 3);
    let ask = |world: &mut World, last: i32, offset: Offset| {
        let mut request = fetch("t", &[(0, offset)]).with_max_wait_ms(0);
        request.topics[0].partitions[0].last_fetched_epoch = last;
        let data = read(world, connection, 12, &request);
        (data.error_code, (data.diverging_epoch.epoch, data.diverging_epoch.end_offset))
    };
    for (asked, told) in [(1, (1, 10)), (2, (2, 10)), (3, (3, 11)), (4, (-1, -1))] {
        let wanted = OffsetForLeaderPartition::default().with_leader_epoch(asked).with_current_leader_epoch(-1);
        let topic = OffsetForLeaderTopic::default().with_topic(topic_name("t")).with_partitions(vec![wanted]);
        let request = OffsetForLeaderEpochRequest::default().with_replica_id((-2).into()).with_topics(vec![topic]);
        let response = world.request(connection, 4, &request);
        let row = &response.topics[0].partitions[0];
        assert_eq!((row.error_code, (row.leader_epoch, row.end_offset)), (0, told), "epoch {asked}");
    }
    let out_of_range = ErrorCode::OffsetOutOfRange.code();
    for follows in [false, true] {
        if follows {
            world.follow(at, 4, Some(2));
        }
        assert_eq!(ask(&mut world, 1, 10), (0, (-1, -1)), "the same log");
        assert_eq!(ask(&mut world, 1, 11), (0, (1, 10)), "epoch 1 ended earlier");
        assert_eq!(ask(&mut world, 2, 11), (0, (2, 10)), "an epoch without records ended where it began");
        assert_eq!(ask(&mut world, 3, 11), (0, (-1, -1)));
        assert_eq!(ask(&mut world, 9, 11), (out_of_range, (-1, -1)), "an epoch that is not known");
        assert_eq!(ask(&mut world, 1, -1), (out_of_range, (-1, -1)));
    }
}
