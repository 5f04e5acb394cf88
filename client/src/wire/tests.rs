//! The schema walk agrees with the codec, requests fit every version, and hostile bytes are refused.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    self as m, ApiKey, RequestKind, ResponseHeader, ResponseKind, TopicName, api_versions_response::ApiVersion,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn name(value: &str) -> TopicName {
    TopicName(text(value))
}

/// A response of each API with one element in every array.
#[allow(clippy::too_many_lines)]
fn responses(version: i16) -> Vec<(ApiKey, ResponseKind)> {
    use ResponseKind as R;
    let fetch_partition = m::fetch_response::PartitionData::default()
        .with_records(Some(Bytes::from_static(b"records")))
        .with_aborted_transactions(Some(vec![Default::default()]));
    let metadata_partition = m::metadata_response::MetadataResponsePartition::default()
        .with_replica_nodes(vec![1.into(), 2.into()])
        .with_isr_nodes(vec![1.into()]);
    let topic = if version < 13 { name("t") } else { TopicName::default() };
    let topic_id = if version < 13 { Uuid::nil() } else { Uuid::from_u128(7) };
    vec![
        (
            ApiKey::Produce,
            R::Produce(m::ProduceResponse::default().with_responses(vec![
            m::produce_response::TopicProduceResponse::default().with_name(name("t"))
                .with_partition_responses(vec![Default::default()])])),
        ),
        (
            ApiKey::Fetch,
            R::Fetch(m::FetchResponse::default().with_responses(vec![
            m::fetch_response::FetchableTopicResponse::default().with_topic(topic).with_topic_id(topic_id)
                .with_partitions(vec![fetch_partition])])),
        ),
        (
            ApiKey::ListOffsets,
            R::ListOffsets(m::ListOffsetsResponse::default().with_topics(vec![
            m::list_offsets_response::ListOffsetsTopicResponse::default().with_name(name("t"))
                .with_partitions(vec![Default::default()])])),
        ),
        (
            ApiKey::Metadata,
            R::Metadata(
                m::MetadataResponse::default()
                    .with_brokers(vec![m::metadata_response::MetadataResponseBroker::default().with_host(text("h"))])
                    .with_topics(vec![
                        m::metadata_response::MetadataResponseTopic::default()
                            .with_name(Some(name("t")))
                            .with_partitions(vec![metadata_partition]),
                    ]),
            ),
        ),
        (
            ApiKey::OffsetCommit,
            R::OffsetCommit(m::OffsetCommitResponse::default().with_topics(vec![
            m::offset_commit_response::OffsetCommitResponseTopic::default().with_name(name("t"))
                .with_partitions(vec![Default::default()])])),
        ),
        (
            ApiKey::OffsetFetch,
            R::OffsetFetch(if version >= 8 {
                m::OffsetFetchResponse::default().with_groups(vec![
                    m::offset_fetch_response::OffsetFetchResponseGroup::default().with_topics(vec![
                        m::offset_fetch_response::OffsetFetchResponseTopics::default()
                            .with_name(name("t"))
                            .with_partitions(vec![Default::default()]),
                    ]),
                ])
            } else {
                m::OffsetFetchResponse::default().with_topics(vec![
                    m::offset_fetch_response::OffsetFetchResponseTopic::default()
                        .with_name(name("t"))
                        .with_partitions(vec![Default::default()]),
                ])
            }),
        ),
        (
            ApiKey::FindCoordinator,
            R::FindCoordinator(if version >= 4 {
                m::FindCoordinatorResponse::default().with_coordinators(vec![Default::default()])
            } else {
                m::FindCoordinatorResponse::default().with_host(text("h"))
            }),
        ),
        (
            ApiKey::JoinGroup,
            R::JoinGroup(
                m::JoinGroupResponse::default()
                    .with_members(vec![
                        m::join_group_response::JoinGroupResponseMember::default()
                            .with_metadata(Bytes::from_static(b"m")),
                    ])
                    .with_protocol_name(Some(text("range"))),
            ),
        ),
        (ApiKey::Heartbeat, R::Heartbeat(Default::default())),
        (
            ApiKey::LeaveGroup,
            R::LeaveGroup(if version >= 3 {
                m::LeaveGroupResponse::default().with_members(vec![Default::default()])
            } else {
                Default::default()
            }),
        ),
        (ApiKey::SyncGroup, R::SyncGroup(m::SyncGroupResponse::default().with_assignment(Bytes::from_static(b"a")))),
        (
            ApiKey::DescribeGroups,
            R::DescribeGroups(m::DescribeGroupsResponse::default().with_groups(vec![
                m::describe_groups_response::DescribedGroup::default().with_members(vec![Default::default()]),
            ])),
        ),
        (ApiKey::ListGroups, R::ListGroups(m::ListGroupsResponse::default().with_groups(vec![Default::default()]))),
        (
            ApiKey::ApiVersions,
            R::ApiVersions(m::ApiVersionsResponse::default().with_api_keys(vec![ApiVersion::default()])),
        ),
        (
            ApiKey::CreateTopics,
            R::CreateTopics(
                m::CreateTopicsResponse::default()
                    .with_topics(vec![m::create_topics_response::CreatableTopicResult::default().with_name(name("t"))]),
            ),
        ),
        (
            ApiKey::DeleteTopics,
            R::DeleteTopics(m::DeleteTopicsResponse::default().with_responses(vec![
                m::delete_topics_response::DeletableTopicResult::default().with_name(Some(name("t"))),
            ])),
        ),
        (
            ApiKey::DeleteRecords,
            R::DeleteRecords(m::DeleteRecordsResponse::default().with_topics(vec![
            m::delete_records_response::DeleteRecordsTopicResult::default()
                .with_partitions(vec![Default::default()])])),
        ),
        (ApiKey::InitProducerId, R::InitProducerId(Default::default())),
        (
            ApiKey::OffsetForLeaderEpoch,
            R::OffsetForLeaderEpoch(m::OffsetForLeaderEpochResponse::default().with_topics(vec![
                m::offset_for_leader_epoch_response::OffsetForLeaderTopicResult::default()
                    .with_partitions(vec![Default::default()])])),
        ),
        (
            ApiKey::DescribeConfigs,
            R::DescribeConfigs(m::DescribeConfigsResponse::default().with_results(vec![
                m::describe_configs_response::DescribeConfigsResult::default().with_configs(vec![
                m::describe_configs_response::DescribeConfigsResourceResult::default()
                    .with_synonyms(vec![Default::default()])]),
            ])),
        ),
        (
            ApiKey::IncrementalAlterConfigs,
            R::IncrementalAlterConfigs(
                m::IncrementalAlterConfigsResponse::default().with_responses(vec![Default::default()]),
            ),
        ),
        (
            ApiKey::CreatePartitions,
            R::CreatePartitions(m::CreatePartitionsResponse::default().with_results(vec![Default::default()])),
        ),
        (
            ApiKey::DeleteGroups,
            R::DeleteGroups(m::DeleteGroupsResponse::default().with_results(vec![Default::default()])),
        ),
        (
            ApiKey::OffsetDelete,
            R::OffsetDelete(m::OffsetDeleteResponse::default().with_topics(vec![
            m::offset_delete_response::OffsetDeleteResponseTopic::default()
                .with_partitions(vec![Default::default()])])),
        ),
    ]
}

#[test]
fn the_walk_reads_exactly_what_the_codec_wrote() {
    let mut checked = 0;
    for version in 0..=16 {
        for (api, response) in responses(version) {
            if supported(api).is_none_or(|range| version < range.min || version > range.max) {
                continue;
            }
            let mut body = BytesMut::new();
            response.encode(&mut body, version).unwrap_or_else(|error| panic!("{api:?} {version}: {error:#}"));
            assert_eq!(bounds::unread(api, version, &body), Ok(0), "{api:?} version {version}");
            for cut in 0..body.len() {
                assert!(bounds::check(api, version, &body[..cut]).is_err(), "{api:?} {version} cut at {cut}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} pairs of API and version");
}

#[test]
fn a_length_that_the_frame_cannot_hold_is_refused() {
    // Metadata version 1 starts with the number of brokers.
    assert!(bounds::check(ApiKey::Metadata, 1, &i32::MAX.to_be_bytes()).is_err());
    // Version 9: throttle time, then a compact length of nearly 2^32.
    assert!(bounds::check(ApiKey::Metadata, 9, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

#[test]
fn requests_fit_every_version() {
    use m::fetch_request::{FetchPartition, FetchTopic};
    let fetch = m::FetchRequest::default().with_topics(vec![
        FetchTopic::default()
            .with_topic(name("t"))
            .with_topic_id(Uuid::from_u128(1))
            .with_partitions(vec![FetchPartition::default().with_current_leader_epoch(3)]),
    ]);
    let offsets = m::OffsetFetchRequest::default().with_require_stable(true).with_groups(vec![
        m::offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(text("g").into())
            .with_topics(Some(vec![m::offset_fetch_request::OffsetFetchRequestTopics::default().with_name(name("t"))])),
    ]);
    let leave = m::LeaveGroupRequest::default().with_members(vec![
        m::leave_group_request::MemberIdentity::default().with_member_id(text("m")).with_reason(Some(text("why"))),
    ]);
    let join = m::JoinGroupRequest::default()
        .with_reason(Some(text("why")))
        .with_group_instance_id(Some(text("i")))
        .with_rebalance_timeout_ms(5);
    let lookup = m::OffsetForLeaderEpochRequest::default().with_replica_id((-1).into());
    let requests = [
        RequestKind::Fetch(fetch),
        RequestKind::OffsetFetch(offsets),
        RequestKind::LeaveGroup(leave),
        RequestKind::JoinGroup(join),
        RequestKind::OffsetForLeaderEpoch(lookup),
        RequestKind::FindCoordinator(m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")])),
        RequestKind::SyncGroup(m::SyncGroupRequest::default().with_protocol_name(Some(text("range")))),
        RequestKind::Metadata(m::MetadataRequest::default().with_allow_auto_topic_creation(false)),
        RequestKind::DeleteTopics(
            m::DeleteTopicsRequest::default()
                .with_topics(vec![m::delete_topics_request::DeleteTopicState::default().with_name(Some(name("t")))]),
        ),
        RequestKind::ListGroups(m::ListGroupsRequest::default().with_states_filter(vec![text("Stable")])),
    ];
    for request in requests {
        let (api, label) = api_of(&request).expect("known");
        let range = supported(api).expect("supported");
        for version in range.min..=range.max {
            let frame = encode_request(request.clone(), version, 5, &StrBytes::new());
            let frame = frame.unwrap_or_else(|error| panic!("{label} {version}: {error}"));
            assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
            assert_eq!(frame[8..12], 5i32.to_be_bytes(), "correlation id");
        }
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let answer = m::ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![ApiVersion::default()]);
    let mut frame = BytesMut::new();
    ResponseHeader::default().with_correlation_id(1).encode(&mut frame, 0).expect("header");
    answer.encode(&mut frame, 0).expect("body");
    let read = decode_response(ApiKey::ApiVersions, "ApiVersions", 3, frame.freeze()).expect("read");
    assert!(matches!(read, ResponseKind::ApiVersions(read) if read.error_code == 35 && read.api_keys.len() == 1));
}

#[test]
fn the_newest_common_version_is_chosen() {
    let offer = |min, max| ApiVersion::default().with_api_key(1).with_min_version(min).with_max_version(max);
    let versions =
        |min, max| ApiVersions::read(&m::ApiVersionsResponse::default().with_api_keys(vec![offer(min, max)]));
    assert_eq!(versions(0, 11).choose(ApiKey::Fetch, i16::MAX), Some(11));
    assert_eq!(versions(4, 99).choose(ApiKey::Fetch, i16::MAX), Some(16));
    assert_eq!(versions(4, 99).choose(ApiKey::Fetch, 12), Some(12));
    assert_eq!(versions(0, 3).choose(ApiKey::Fetch, i16::MAX), None);
    assert_eq!(versions(0, 11).choose(ApiKey::Produce, i16::MAX), None);
}

proptest! {
    #[test]
    fn no_response_makes_the_decoder_panic(
        api in 0i16..48, version in 0i16..17, bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let Ok(api) = ApiKey::try_from(api) else { return Ok(()) };
        if supported(api).is_some_and(|range| version >= range.min && version <= range.max) {
            let mut frame = BytesMut::new();
            frame.put_i32(1);
            frame.extend_from_slice(&bytes);
            let _ = decode_response(api, "test", version, frame.freeze());
        }
    }
}
