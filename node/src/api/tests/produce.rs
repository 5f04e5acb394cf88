//! Produce: what is appended, what is refused, and with which code.

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use millrace_metadata::{Broker, Command};
use millrace_storage::{BatchBuilder, Codec};
use millrace_types::{BrokerId, ErrorCode, Offset};

use crate::call::ConnectionId;
use crate::peer::MAX_BATCH;
use crate::testing::{START_WALL, World, batch, fetch, produce, sequenced};

fn scene(configs: &[(&str, &str)]) -> (World, ConnectionId) {
    let mut world = World::new(1);
    world.topic("t", 3, configs);
    let connection = world.connect();
    (world, connection)
}

/// The response for the only partition of a request.
fn one(
    world: &mut World,
    connection: ConnectionId,
    version: i16,
    request: &ProduceRequest,
) -> PartitionProduceResponse {
    let mut response = world.request(connection, version, request);
    response.responses.remove(0).partition_responses.remove(0)
}

fn code(response: &PartitionProduceResponse) -> ErrorCode {
    ErrorCode::from_code(response.error_code)
}

#[test]
fn the_topics_level_of_compression_is_what_the_broker_compresses_at() {
    let text: String =
        (0..20_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 29) as u8)).collect();
    let stored = |codec: &str, level: &str, value: &str| {
        let (mut world, connection) = scene(&[("compression.type", codec), (level, value)]);
        let response = one(&mut world, connection, 9, &produce(-1, "t", &[(0, batch(&[&text]))]));
        assert_eq!(code(&response), ErrorCode::None);
        let fetched = world.request(connection, 12, &fetch("t", &[(0, 0)]));
        fetched.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len)
    };
    let zstd = |level: &str| stored("zstd", "compression.zstd.level", level);
    assert!(zstd("19") < zstd("-131072"));
    let gzip = |level: &str| stored("gzip", "compression.gzip.level", level);
    assert!(gzip("9") < gzip("1") && gzip("-1") == gzip("6"));
}

#[test]
fn every_version_appends() {
    let (mut world, connection) = scene(&[]);
    for version in 3..=10 {
        let response = one(&mut world, connection, version, &produce(-1, "t", &[(0, batch(&["a", "b"]))]));
        assert_eq!(code(&response), ErrorCode::None, "version {version}");
        assert_eq!(response.base_offset, Offset::from(version - 3) * 2);
        assert_eq!(response.log_append_time_ms, -1);
        assert_eq!(response.log_start_offset, if version >= 5 { 0 } else { -1 });
    }
}

#[test]
fn old_versions_are_told_so_in_their_own_format() {
    let (mut world, connection) = scene(&[]);
    let body: &[u8] = b"\xff\xff\0\0\x03\xe8\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\0\0\0\x03xyz";
    let answer: &[u8] = b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\0\x23\xff\xff\xff\xff\xff\xff\xff\xff";
    for (version, tail) in [(0u8, &b""[..]), (1, b"\0\0\0\0"), (2, b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")] {
        let mut frame = vec![0, 0, 0, version, 0, 0, 0, 5, 0xff, 0xff];
        frame.extend(body);
        world.frame(connection, Bytes::from(frame));
        let (correlation, response) = world.receive_bytes(connection).expect("a response");
        assert_eq!(correlation, 5);
        assert_eq!(&response[..], [answer, tail].concat(), "version {version}");
    }
    for cut in 0..body.len() {
        let (mut world, connection) = scene(&[]);
        let mut frame = vec![0, 0, 0, 1, 0, 0, 0, 5, 0xff, 0xff];
        frame.extend(&body[..cut]);
        world.frame(connection, Bytes::from(frame));
        assert_eq!(world.closed(connection), Some("the request is malformed"), "cut at {cut}");
    }
}

#[test]
fn partitions_answer_one_by_one() {
    let (mut world, connection) = scene(&[]);
    let records = [(0, batch(&["a"])), (7, batch(&["b"])), (2, batch(&["c"])), (0, batch(&["d"]))];
    let response = world.request(connection, 9, &produce(-1, "t", &records));
    let answers: Vec<_> = response.responses[0]
        .partition_responses
        .iter()
        .map(|partition| (partition.index, code(partition), partition.base_offset))
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(answers, [(0, ErrorCode::None, 0), (7, unknown, -1), (2, ErrorCode::None, 0), (0, ErrorCode::None, 1)]);
}

#[test]
fn refusals_have_kafkas_codes() {
    let (mut world, connection) = scene(&[("max.message.bytes", "1000")]);
    let mut corrupt = batch(&["a"]).to_vec();
    *corrupt.last_mut().expect("bytes") ^= 1;
    let old = BatchBuilder::new(START_WALL + 7_200_000, Codec::None).push(None, Some(b"x")).build().expect("a batch");
    let mut transactional = sequenced(1, 0, 0, &["a"]).to_vec();
    transactional[22] |= 0x10;
    let mut control = batch(&["a"]).to_vec();
    control[22] |= 0x20;
    let two = [batch(&["a"]), batch(&["b"])].concat();
    let cases: [(&str, Bytes, ErrorCode); 7] = [
        ("no records", Bytes::new(), ErrorCode::InvalidRecord),
        ("two batches", Bytes::from(two), ErrorCode::InvalidRecord),
        ("a bad checksum", Bytes::from(corrupt), ErrorCode::CorruptMessage),
        ("too large", batch(&[&"x".repeat(1_000)]), ErrorCode::MessageTooLarge),
        ("a time in the future", old, ErrorCode::InvalidTimestamp),
        ("a transaction", Bytes::from(transactional), ErrorCode::InvalidTxnState),
        ("a gap in the sequence", sequenced(5, 0, 3, &["a"]), ErrorCode::OutOfOrderSequenceNumber),
    ];
    let first = one(&mut world, connection, 9, &produce(-1, "t", &[(0, sequenced(5, 0, 0, &["a"]))]));
    assert_eq!(code(&first), ErrorCode::None);
    for (what, records, expected) in cases {
        let response = one(&mut world, connection, 9, &produce(-1, "t", &[(0, records)]));
        assert_eq!(code(&response), expected, "{what}");
        assert_eq!((response.base_offset, response.log_append_time_ms), (-1, -1), "{what}");
    }
    let response = one(&mut world, connection, 9, &produce(-1, "t", &[(0, Bytes::from(control))]));
    assert_ne!(code(&response), ErrorCode::None, "a control batch");
    let missing = one(&mut world, connection, 9, &produce(-1, "none", &[(0, batch(&["a"]))]));
    assert_eq!(code(&missing), ErrorCode::UnknownTopicOrPartition);
}

/// A batch that no frame between brokers takes would be the leader's alone for ever.
#[test]
fn a_batch_that_cannot_be_replicated_is_refused() {
    let (mut world, connection) = scene(&[("max.message.bytes", "2147483647")]);
    let mut produced = |bytes: usize| {
        let records = batch(&[&"x".repeat(bytes)]);
        code(&one(&mut world, connection, 9, &produce(-1, "t", &[(0, records)])))
    };
    assert_eq!(produced(MAX_BATCH), ErrorCode::MessageTooLarge);
    assert_eq!(produced(MAX_BATCH / 50), ErrorCode::None, "what the topic allows is taken");
}

#[test]
fn errors_are_explained_from_version_8() {
    let (mut world, connection) = scene(&[("max.message.bytes", "100")]);
    let request = produce(-1, "t", &[(0, batch(&[&"x".repeat(200)]))]);
    let old = one(&mut world, connection, 7, &request);
    assert_eq!((code(&old), old.error_message), (ErrorCode::MessageTooLarge, None));
    let new = one(&mut world, connection, 8, &request);
    assert!(new.error_message.is_some_and(|message| message.contains("100")));
}

#[test]
fn zstandard_needs_version_7() {
    let (mut world, connection) = scene(&[]);
    let zstd = BatchBuilder::new(START_WALL, Codec::Zstd).push(None, Some(b"x")).build().expect("a batch");
    let old = one(&mut world, connection, 6, &produce(-1, "t", &[(0, zstd.clone())]));
    assert_eq!(code(&old), ErrorCode::UnsupportedCompressionType);
    let new = one(&mut world, connection, 7, &produce(-1, "t", &[(0, zstd)]));
    assert_eq!(code(&new), ErrorCode::None);
}

#[test]
fn acks_are_none_one_or_all() {
    let (mut world, connection) = scene(&[]);
    for bad in [2, -2, i16::MAX] {
        let response = one(&mut world, connection, 9, &produce(bad, "t", &[(0, batch(&["a"]))]));
        assert_eq!(code(&response), ErrorCode::InvalidRequiredAcks);
        let nowhere = one(&mut world, connection, 9, &produce(bad, "nowhere", &[(0, batch(&["a"]))]));
        assert_eq!(code(&nowhere), ErrorCode::UnknownTopicOrPartition, "a client must ask where the topic is");
    }
    for good in [1, -1] {
        let response = one(&mut world, connection, 9, &produce(good, "t", &[(0, batch(&["a"]))]));
        assert_eq!(code(&response), ErrorCode::None);
    }
}

#[test]
fn acks_0_is_silent_and_a_failure_closes() {
    let (mut world, connection) = scene(&[]);
    world.send(connection, 9, 1, &produce(0, "t", &[(0, batch(&["a"]))]));
    assert!(world.receive_bytes(connection).is_none());
    assert!(world.connection(connection).is_idle());
    let next = one(&mut world, connection, 9, &produce(1, "t", &[(0, batch(&["b"]))]));
    assert_eq!(next.base_offset, 1, "the first was appended");
    world.send(connection, 9, 2, &produce(0, "none", &[(0, batch(&["a"]))]));
    assert_eq!(world.closed(connection), Some("a produce request with acks 0 failed"));
}

#[test]
fn only_acks_all_times_out_and_not_while_the_own_flush_may_still_come() {
    let (mut world, connection) = scene(&[]);
    world.hold = true;
    world.send(connection, 9, 1, &produce(-1, "t", &[(0, batch(&["a"]))]).with_timeout_ms(-1));
    world.advance(29_000);
    assert!(world.receive_bytes(connection).is_none(), "the record is in the log: an error would double it");
    world.advance(1_000);
    let (_, response) = world.receive::<ProduceRequest>(connection, 9).expect("a response");
    assert_eq!(code(&response.responses[0].partition_responses[0]), ErrorCode::RequestTimedOut);
    world.send(connection, 9, 2, &produce(1, "t", &[(1, batch(&["a"]))]).with_timeout_ms(0));
    world.advance(60_000);
    assert!(world.receive_bytes(connection).is_none());
    world.hold = false;
    world.run();
    let (_, response) = world.receive::<ProduceRequest>(connection, 9).expect("a response");
    assert_eq!(code(&response.responses[0].partition_responses[0]), ErrorCode::None);
}

#[test]
fn the_brokers_time_is_stamped_where_the_topic_wants_it() {
    let (mut world, connection) = scene(&[("message.timestamp.type", "LogAppendTime")]);
    world.advance(50);
    let response = one(&mut world, connection, 9, &produce(-1, "t", &[(0, batch(&["a"]))]));
    assert_eq!(response.log_append_time_ms, START_WALL + 50);
}

#[test]
fn internal_topics_are_not_for_clients() {
    let (mut world, connection) = scene(&[]);
    let name = millrace_metadata::CONSUMER_OFFSETS;
    world.change(millrace_metadata::Command::EnsureInternalTopic { name: name.to_owned() });
    let response = one(&mut world, connection, 9, &produce(-1, name, &[(0, batch(&["a"]))]));
    assert_eq!(code(&response), ErrorCode::InvalidTopicException);
}

#[test]
fn a_partition_that_is_not_hosted_yet_is_retried_elsewhere() {
    let (mut world, connection) = scene(&[]);
    let topic = world.shared.directory.image().topic("t").expect("the topic").id;
    world.shared.directory.withdraw(&millrace_types::TopicPartition::new(topic, 1));
    let response = one(&mut world, connection, 10, &produce(-1, "t", &[(1, batch(&["a"]))]));
    assert_eq!(code(&response), ErrorCode::NotLeaderOrFollower);
    assert_eq!(response.current_leader.leader_id.0, -1, "nobody is known to lead it");
}

#[test]
fn acks_of_all_need_enough_replicas_in_sync() {
    let mut world = World::with_config(1, &[("default.replication.factor", "2")]);
    let broker = world.shared.directory.image().brokers().values().next().expect("registered").clone();
    world.change(Command::RegisterBroker(Broker { id: BrokerId(2), ..broker }));
    world.topic("t", 1, &[("min.insync.replicas", "2")]);
    let connection = world.connect();
    let too_few = one(&mut world, connection, 9, &produce(-1, "t", &[(0, batch(&["a"]))]));
    assert_eq!((code(&too_few), too_few.base_offset), (ErrorCode::NotEnoughReplicas, -1));
    let leader_alone = one(&mut world, connection, 9, &produce(1, "t", &[(0, batch(&["a"]))]));
    assert_eq!((code(&leader_alone), leader_alone.base_offset), (ErrorCode::None, 0));
}

#[test]
fn more_replicas_than_a_partition_has_are_not_waited_for() {
    let (mut world, connection) = scene(&[("min.insync.replicas", "2")]);
    let response = one(&mut world, connection, 9, &produce(-1, "t", &[(0, batch(&["a"]))]));
    assert_eq!(code(&response), ErrorCode::None, "as in Kafka since 3.7");
}
