//! What a broker of several tells of leaders, and what it answers for partitions that it does not lead.

use std::sync::Arc;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, DescribeClusterRequest, DescribeTopicPartitionsRequest, FindCoordinatorRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
};
use kafka_protocol::protocol::StrBytes;
use millrace_types::{ErrorCode, TopicPartition};

use crate::call::ConnectionId;
use crate::testing::{World, batch, fetch, produce, topic_name};

/// Partition 0 is led by broker 2 and followed here, partition 1 is led here, partition 2 is not hosted here.
fn scene() -> (World, ConnectionId, [TopicPartition; 3]) {
    let mut world = World::new(1);
    world.neighbour(2, None);
    world.neighbour(3, None);
    world.neighbour(4, None);
    let id = world.placed("t", &[&[1, 2, 3], &[1, 2, 3], &[2, 3, 4]]);
    let at = [0, 1, 2].map(|number| TopicPartition::new(id, number));
    world.follow(at[0], 5, Some(2));
    world.hint(at[0], 5, 2, &[3, 2]);
    world.lead(at[1], 7, &[1, 3]);
    world.hint(at[2], 4, 3, &[3]);
    let connection = world.connect();
    (world, connection, at)
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

fn metadata(world: &mut World, connection: ConnectionId) -> Vec<MetadataResponsePartition> {
    let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
    let response = world.request(connection, 12, &request);
    assert_eq!(response.controller_id.0, 1, "every broker is as good as a controller");
    assert_eq!(ids(&response.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>()), [1, 2, 3, 4]);
    response.topics.into_iter().flat_map(|topic| topic.partitions).collect()
}

#[test]
fn metadata_tells_the_best_that_is_known() {
    let (mut world, connection, at) = scene();
    let told = |partition: &MetadataResponsePartition| {
        let leader = (partition.error_code, partition.leader_id.0, partition.leader_epoch);
        (leader, ids(&partition.replica_nodes), ids(&partition.isr_nodes), ids(&partition.offline_replicas))
    };
    let rows: Vec<_> = metadata(&mut world, connection).iter().map(told).collect();
    assert_eq!(rows[0], ((0, 2, 5), vec![1, 2, 3], vec![2, 3], vec![]));
    assert_eq!(rows[1], ((0, 1, 7), vec![1, 2, 3], vec![1, 3], vec![]));
    assert_eq!(rows[2], ((0, 3, 4), vec![2, 3, 4], vec![3], vec![]));
    // Another broker leads a later epoch than this one knows of.
    world.hint(at[1], 8, 2, &[2]);
    assert_eq!(told(&metadata(&mut world, connection)[1]), ((0, 2, 8), vec![1, 2, 3], vec![2], vec![]));
}

#[test]
fn a_leader_that_is_not_known_or_not_heard_is_not_available() {
    let (mut world, connection, at) = scene();
    let unavailable = ErrorCode::LeaderNotAvailable.code();
    world.follow(at[0], 6, None);
    world.hear(3, false);
    let rows = metadata(&mut world, connection);
    for row in [&rows[0], &rows[2]] {
        assert_eq!((row.error_code, row.leader_id.0, row.leader_epoch), (unavailable, -1, -1));
        assert_eq!(ids(&row.offline_replicas), [3]);
    }
    assert!(rows[2].isr_nodes.is_empty(), "its leader told last of itself, and is not heard");
    assert_eq!(rows[1].error_code, 0);
}

#[test]
fn who_is_not_heard_is_not_in_sync_with_nobody() {
    let (mut world, connection, at) = scene();
    let in_sync = |world: &mut World| -> Vec<_> {
        metadata(world, connection).iter().map(|row| (row.leader_id.0, ids(&row.isr_nodes))).collect()
    };
    world.lead(at[1], 7, &[1, 2, 3]);
    assert_eq!(in_sync(&mut world)[1], (1, vec![1, 2, 3]));
    // Brokers 2 and 3 are killed: the one that led last is this one, and it leads no longer.
    world.hear(2, false);
    world.hear(3, false);
    world.follow(at[0], 5, Some(2));
    world.follow(at[1], 7, None);
    world.view(at[1]).set_in_sync(Arc::from([]));
    assert_eq!(in_sync(&mut world), [(-1, vec![]), (-1, vec![1]), (-1, vec![])]);
    world.hear(2, true);
    world.follow(at[0], 6, None);
    assert_eq!(in_sync(&mut world), [(-1, vec![2]), (-1, vec![1, 2]), (-1, vec![])]);
    // What was told of an earlier epoch than the one led here says nothing any more, that of a later one does.
    world.hint(at[1], 6, 3, &[2, 3]);
    assert_eq!(in_sync(&mut world)[1], (-1, vec![1, 2]));
    world.hint(at[1], 8, 3, &[2, 3]);
    assert_eq!(in_sync(&mut world)[1], (-1, vec![2]));
}

#[test]
fn where_no_leader_has_told_all_that_are_heard_count_as_in_sync() {
    let mut world = World::new(1);
    world.neighbour(2, None);
    world.neighbour(3, None);
    world.neighbour(4, None);
    world.placed("t", &[&[2, 3, 4]]);
    world.hear(3, false);
    let connection = world.connect();
    assert_eq!(ids(&metadata(&mut world, connection)[0].isr_nodes), [2, 4]);
}

#[test]
fn descriptions_tell_the_same() {
    let (mut world, connection, _) = scene();
    world.hear(3, false);
    let wanted = vec![TopicRequest::default().with_name(topic_name("t"))];
    let request = DescribeTopicPartitionsRequest::default().with_topics(wanted).with_response_partition_limit(10);
    let response = world.request(connection, 0, &request.with_cursor(None));
    let rows = &response.topics[0].partitions;
    let told: Vec<_> = rows.iter().map(|row| (row.leader_id.0, row.leader_epoch, ids(&row.isr_nodes))).collect();
    assert_eq!(told, [(2, 5, vec![2, 3]), (1, 7, vec![1, 3]), (-1, -1, vec![])]);
    assert!(rows.iter().all(|row| ids(&row.offline_replicas) == [3] && row.error_code == 0));
    let cluster = world.request(connection, 1, &DescribeClusterRequest::default());
    assert_eq!((cluster.brokers.len(), cluster.controller_id.0), (4, 1));
}

#[test]
fn a_produce_to_another_broker_is_told_where_to_go() {
    let (mut world, connection, at) = scene();
    let request = produce(-1, "t", &[(0, batch(&["a"])), (2, batch(&["a"]))]);
    for version in 3..=10 {
        let response = world.request(connection, version, &request);
        let rows = &response.responses[0].partition_responses;
        assert!(rows.iter().all(|row| row.error_code == ErrorCode::NotLeaderOrFollower.code()), "version {version}");
        let leaders: Vec<_> =
            rows.iter().map(|row| (row.current_leader.leader_id.0, row.current_leader.leader_epoch)).collect();
        let endpoints: Vec<_> = response.node_endpoints.iter().map(|node| (node.node_id.0, &*node.host)).collect();
        if version == 10 {
            assert_eq!(leaders, [(2, 5), (3, 4)]);
            assert_eq!(endpoints, [(2, "broker-2.test"), (3, "broker-3.test")]);
        } else {
            assert_eq!((leaders, endpoints), (vec![(-1, -1); 2], vec![]));
        }
    }
    world.hear(2, false);
    let response = world.request(connection, 10, &produce(-1, "t", &[(0, batch(&["a"]))]));
    assert_eq!(response.responses[0].partition_responses[0].current_leader.leader_id.0, -1, "nobody to go to");
    assert_eq!(world.view(at[0]).log.log_end(), 0, "nothing was written");
}

#[test]
fn acks_all_needs_enough_in_sync() {
    let mut world = World::new(1);
    world.neighbour(2, None);
    let id = world.placed("t", &[&[1, 2]]);
    let configs = [("min.insync.replicas".to_owned(), Some("2".to_owned()))];
    let mut topic = millrace_metadata::NewTopic::with_defaults("u");
    topic.assignments = vec![(0, vec![millrace_types::BrokerId(1), millrace_types::BrokerId(2)])];
    topic.configs = configs.to_vec();
    let create = millrace_metadata::CreateTopics { topics: vec![topic], validate_only: false };
    world.change(millrace_metadata::Command::CreateTopics(create));
    let other = world.shared.directory.image().topic("u").expect("created").id;
    world.shared.directory.publish(std::sync::Arc::new(crate::directory::PartitionView::new(
        TopicPartition::new(other, 0),
        world.view(TopicPartition::new(id, 0)).log.clone(),
    )));
    world.lead(TopicPartition::new(other, 0), 3, &[1]);
    let connection = world.connect();
    let response = world.request(connection, 9, &produce(-1, "u", &[(0, batch(&["a"]))]));
    let error = response.responses[0].partition_responses[0].error_code;
    assert_eq!(error, ErrorCode::NotEnoughReplicas.code());
}

#[test]
fn old_fetches_go_to_the_leader_alone() {
    let (mut world, connection, _) = scene();
    for version in [4, 10] {
        let response = world.request(connection, version, &fetch("t", &[(0, 0)]));
        let row = &response.responses[0].partitions[0];
        assert_eq!(row.error_code, ErrorCode::NotLeaderOrFollower.code(), "version {version}");
    }
    let response = world.request(connection, 12, &fetch("t", &[(2, 0)]));
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::NotLeaderOrFollower.code(), "not hosted");
}

#[test]
fn epochs_of_a_fetch_are_compared_at_leader_and_follower() {
    let (mut world, connection, at) = scene();
    let (fenced, unknown) = (ErrorCode::FencedLeaderEpoch.code(), ErrorCode::UnknownLeaderEpoch.code());
    for (partition, known, error) in [(0, 4, fenced), (0, 6, unknown), (1, 6, fenced), (1, 8, unknown)] {
        let mut request = fetch("t", &[(partition, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = known;
        request.topics[0].topic = Default::default();
        request.topics[0].topic_id = at[0].topic.0;
        let response = world.request(connection, 16, &request);
        let row = &response.responses[0].partitions[0];
        assert_eq!(row.error_code, error, "partition {partition}, epoch {known}");
        let leader = (row.current_leader.leader_id.0, row.current_leader.leader_epoch);
        let newer = [(2, 5), (1, 7)][usize::try_from(partition).expect("small")];
        assert_eq!(leader, if error == fenced { newer } else { (-1, -1) });
        assert_eq!(response.node_endpoints.len(), usize::from(error == fenced));
    }
}

#[test]
fn questions_about_offsets_go_to_the_leader() {
    let (mut world, connection, at) = scene();
    let codes = [
        (0, -1, ErrorCode::NotLeaderOrFollower),
        (0, 4, ErrorCode::FencedLeaderEpoch),
        (0, 6, ErrorCode::UnknownLeaderEpoch),
        (1, 7, ErrorCode::None),
        (1, 6, ErrorCode::FencedLeaderEpoch),
        (2, -1, ErrorCode::NotLeaderOrFollower),
    ];
    world.view(at[1]).set_tells_latest(true);
    for (partition, epoch, error) in codes {
        let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
        let wanted = vec![wanted.with_current_leader_epoch(epoch)];
        let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(wanted);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let response = world.request(connection, 6, &request);
        assert_eq!(response.topics[0].partitions[0].error_code, error.code(), "{partition} {epoch}");

        let wanted = OffsetForLeaderPartition::default().with_partition(partition).with_leader_epoch(1);
        let wanted = vec![wanted.with_current_leader_epoch(epoch)];
        let topic = OffsetForLeaderTopic::default().with_topic(topic_name("t")).with_partitions(wanted);
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-2)).with_topics(vec![topic]);
        let response = world.request(connection, 4, &request);
        assert_eq!(response.topics[0].partitions[0].error_code, error.code(), "{partition} {epoch}");
    }
    for (partition, error) in [(0, ErrorCode::NotLeaderOrFollower), (2, ErrorCode::NotLeaderOrFollower)] {
        let wanted = vec![DeleteRecordsPartition::default().with_partition_index(partition).with_offset(0)];
        let topic = DeleteRecordsTopic::default().with_name(topic_name("t")).with_partitions(wanted);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(100);
        let response = world.request(connection, 2, &request);
        assert_eq!(response.topics[0].partitions[0].error_code, error.code());
    }
}

#[test]
fn the_coordinator_of_a_group_is_who_leads_its_partition() {
    let (mut world, connection, _) = scene();
    let name = millrace_metadata::CONSUMER_OFFSETS.to_owned();
    world.change(millrace_metadata::Command::EnsureInternalTopic { name: name.clone() });
    let topic = Arc::clone(world.shared.directory.image().topic(&name).expect("it is created"));
    assert_eq!(topic.replication_factor(), 3, "as many as are registered, at least");
    for number in 0..topic.partition_count() {
        world.hint(TopicPartition::new(topic.id, number), 3, 4, &[4]);
    }
    let requests = || {
        let key = StrBytes::from_static_str("group");
        let one = FindCoordinatorRequest::default().with_key(key.clone());
        [(3, one), (4, FindCoordinatorRequest::default().with_coordinator_keys(vec![key]))]
    };
    let found = |world: &mut World, (version, request): (i16, FindCoordinatorRequest)| {
        let response = world.request(connection, version, &request);
        match response.coordinators.first() {
            Some(row) => (row.error_code, row.node_id.0, row.host.to_string()),
            None => (response.error_code, response.node_id.0, response.host.to_string()),
        }
    };
    for request in requests() {
        assert_eq!(found(&mut world, request), (0, 4, "broker-4.test".to_owned()));
    }
    world.hear(4, false);
    for request in requests() {
        let unavailable = ErrorCode::CoordinatorNotAvailable.code();
        assert_eq!(found(&mut world, request), (unavailable, -1, String::new()), "nobody who is heard leads");
    }
}

#[test]
fn the_latest_offset_waits_for_the_start_of_the_epoch() {
    let (mut world, connection, at) = scene();
    world.view(at[1]).set_tells_latest(false);
    for (version, error) in [(4, ErrorCode::LeaderNotAvailable), (5, ErrorCode::OffsetNotAvailable)] {
        for (timestamp, error) in [(-1, error), (0, error), (-2, ErrorCode::None)] {
            let wanted = ListOffsetsPartition::default().with_partition_index(1).with_timestamp(timestamp);
            let wanted = vec![wanted.with_current_leader_epoch(-1)];
            let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(wanted);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
            let response = world.request(connection, version, &request);
            assert_eq!(response.topics[0].partitions[0].error_code, error.code(), "v{version}, {timestamp}");
        }
    }
}
