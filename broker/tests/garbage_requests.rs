//! Requests with lengths that lie, cut at every byte, answer or close, and cost bounded memory.
//!
//! Each request is valid but for one place, where a length of 2^31-1 (in either of the protocol's forms) is written over
//! what stood there, or where it ends.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::io::Write;
use std::net::Shutdown;

use bytes::Bytes;
use common::{Broker, fetch_request, frame, produce_request, text};
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, BrokerId, CreateTopicsRequest, DeleteRecordsRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, InitProducerIdRequest,
    JoinGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, SyncGroupRequest, TopicName,
};
use tempfile::tempdir;

/// Bytes of memory a broker may use at once, whatever it is sent.
const MEMORY: u64 = 300 << 20;

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// Requests about records and metadata: in a version with fixed lengths, and in one with compact ones.
fn records_and_metadata() -> Vec<Bytes> {
    let produce = produce_request("t", 0, &["value"], -1);
    let fetch = fetch_request("t", 0, 0, 0);
    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let list_offsets = ListOffsetsRequest::default().with_topics(vec![topic]);
    let metadata =
        MetadataRequest::default().with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name("t")))]));
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000")));
    let topic = CreatableTopic::default()
        .with_name(name("never"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment])
        .with_configs(vec![config]);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(true);
    let partition = DeleteRecordsPartition::default().with_offset(0);
    let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let delete_records = DeleteRecordsRequest::default().with_topics(vec![topic]);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(Some(vec![text("retention.ms")]));
    let describe = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000")));
    let resource =
        AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t")).with_configs(vec![config]);
    let alter = AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(true);
    let partition = OffsetForLeaderPartition::default().with_leader_epoch(1);
    let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let epochs = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    let versions: ApiVersionsRequest = common::api_versions();
    vec![
        frame(&produce, 3, 1),
        frame(&produce, 9, 1),
        frame(&fetch, 4, 1),
        frame(&fetch, 12, 1),
        frame(&list_offsets, 2, 1),
        frame(&list_offsets, 7, 1),
        frame(&metadata, 4, 1),
        frame(&metadata, 12, 1),
        frame(&create, 4, 1),
        frame(&create, 7, 1),
        frame(&delete_records, 1, 1),
        frame(&delete_records, 2, 1),
        frame(&describe, 1, 1),
        frame(&describe, 4, 1),
        frame(&alter, 1, 1),
        frame(&alter, 2, 1),
        frame(&epochs, 3, 1),
        frame(&epochs, 4, 1),
        frame(&versions, 3, 1),
        frame(&InitProducerIdRequest::default(), 1, 1),
        frame(&InitProducerIdRequest::default(), 4, 1),
    ]
}

/// Requests about groups.
fn groups() -> Vec<Bytes> {
    let partition = OffsetCommitRequestPartition::default().with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let topics = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let of_group = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![topics]));
    let fetch = OffsetFetchRequest::default().with_groups(vec![of_group]);
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(vec![0; 8].into());
    let join = JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let assignment = SyncGroupRequestAssignment::default().with_member_id(text("m")).with_assignment(vec![0; 8].into());
    let sync = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text("m"))
        .with_assignments(vec![assignment]);
    let describe = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
    vec![
        frame(&commit, 6, 1),
        frame(&commit, 8, 1),
        frame(&fetch, 8, 1),
        frame(&find, 4, 1),
        frame(&join, 2, 1),
        frame(&join, 7, 1),
        frame(&sync, 2, 1),
        frame(&sync, 4, 1),
        frame(&describe, 4, 1),
        frame(&describe, 5, 1),
        frame(&ListGroupsRequest::default(), 4, 1),
    ]
}

/// The valid frame with one lie at `at`, or cut there.
fn lies(whole: &[u8], at: usize) -> [Vec<u8>; 3] {
    let over = |bytes: &[u8]| {
        let mut lie = whole.to_vec();
        lie.iter_mut().skip(at).zip(bytes).for_each(|(byte, other)| *byte = *other);
        lie
    };
    let mut cut = whole[..at].to_vec();
    cut[..4].copy_from_slice(&i32::try_from(at - 4).expect("fits").to_be_bytes());
    // 2^31-1 in four bytes; 2^31 as a varint, which stands for a length of 2^31-1; a frame that ends here.
    [over(&i32::MAX.to_be_bytes()), over(&[0x80, 0x80, 0x80, 0x80, 0x08]), cut]
}

#[test]
fn lying_lengths_and_cut_requests_cost_nothing() {
    let directory = tempdir().expect("a directory");
    let settings = ["auto.create.topics.enable=false", "offsets.topic.num.partitions=1"];
    let mut broker = Broker::start(directory.path(), &settings);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    common::commit(&mut client, "g", "t", 0, 0);
    let mut tried = 0;
    for whole in records_and_metadata().into_iter().chain(groups()) {
        // What is tried is a request that is understood when it is left alone.
        client.stream.write_all(&whole).expect("sent");
        assert!(client.receive_frame().is_some(), "no answer to {whole:?}");
        for at in 8..whole.len() {
            for lie in lies(&whole, at) {
                let mut liar = broker.connect();
                let _reset = liar.stream.write_all(&lie);
                let _reset = liar.stream.shutdown(Shutdown::Write);
                // An answer or none, but an end.
                while liar.receive_frame().is_some() {}
                tried += 1;
            }
        }
    }
    assert!(tried > 3_000, "{tried}");
    broker.is_sound(MEMORY);
    assert!(client.produce("t", 0, &["served"]).is_ok());
}
