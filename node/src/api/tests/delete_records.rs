//! DeleteRecords over the wire.

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use millrace_types::ErrorCode;

use crate::testing::{World, batch, produce, topic_name};

fn request(topic: &str, wanted: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partitions = wanted.iter().map(|(partition, offset)| {
        DeleteRecordsPartition::default().with_partition_index(*partition).with_offset(*offset)
    });
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(partitions.collect());
    DeleteRecordsRequest::default().with_timeout_ms(1_000).with_topics(vec![topic])
}

#[test]
fn each_partition_has_its_own_answer() {
    let mut world = World::new(1);
    world.topic("t", 4, &[]);
    let connection = world.connect();
    for partition in 0..3 {
        world.request(connection, 9, &produce(-1, "t", &[(partition, batch(&["a", "b", "c"]))]));
    }
    for version in 0..=2 {
        let response =
            world.request(connection, version, &request("t", &[(0, 2), (1, -1), (2, 4), (3, -1), (8, 0), (2, -2)]));
        let answers: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|answer| (answer.partition_index, ErrorCode::from_code(answer.error_code), answer.low_watermark))
            .collect();
        assert_eq!(
            answers,
            [
                (0, ErrorCode::None, 2),
                (1, ErrorCode::None, 3),
                (2, ErrorCode::OffsetOutOfRange, -1),
                (3, ErrorCode::None, 0),
                (8, ErrorCode::UnknownTopicOrPartition, -1),
                (2, ErrorCode::OffsetOutOfRange, -1),
            ],
            "version {version}"
        );
    }
}

#[test]
fn internal_topics_keep_their_records() {
    let mut world = World::new(1);
    let name = millrace_metadata::CONSUMER_OFFSETS;
    world.change(millrace_metadata::Command::EnsureInternalTopic { name: name.to_owned() });
    let connection = world.connect();
    let response = world.request(connection, 2, &request(name, &[(0, 0)]));
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::InvalidTopicException.code());
}
