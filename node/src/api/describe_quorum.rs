//! `DescribeQuorum` (key 55): who decides about the cluster's metadata (KIP-595).
//!
//! There is no controller quorum and no topic `__cluster_metadata`. The answer is made up from what there is, so that
//! tools which ask have something to show: the broker that is asked leads, since it answers every admin request; the
//! registered brokers are the voters; an offset of the log is a metadata epoch, of which every entry takes one.

use bytes::Bytes;
use kafka_protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{ApiKey, BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Broker, Image};
use millrace_types::ErrorCode;

use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `DescribeQuorum`.
pub(super) const API: Api = Api { key: ApiKey::DescribeQuorum, min: 0, advertised_min: 0, max: 2, handle };

/// The one topic that can be asked for, and its one partition.
const TOPIC: &str = "__cluster_metadata";
const PARTITION: i32 = 0;
/// From this version on the answer has the time at which a voter was heard of.
const TIMES_FROM: i16 = 1;
/// From this version on the answer has directories, listeners and texts.
const NODES_FROM: i16 = 2;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DescribeQuorumRequest = wire::decode(body, cx.version)?;
    if !asks_for_metadata(&request) {
        return cx.reply(&unknown(request, cx.version));
    }
    let image = cx.directory.image();
    let name = request.topics.into_iter().next().unwrap_or_default().topic_name;
    let topic = TopicData::default().with_topic_name(name).with_partitions(vec![partition(cx, &image)]);
    let mut response = DescribeQuorumResponse::default().with_topics(vec![topic]);
    if cx.version >= NODES_FROM {
        let listener = &cx.session.origin.listener;
        response = response
            .with_error_message(None)
            .with_nodes(image.brokers().values().map(|broker| node(broker, listener)).collect());
    }
    cx.reply(&response)
}

fn asks_for_metadata(request: &DescribeQuorumRequest) -> bool {
    match &request.topics[..] {
        [topic] => match &topic.partitions[..] {
            [partition] => topic.topic_name.as_str() == TOPIC && partition.partition_index == PARTITION,
            _ => false,
        },
        _ => false,
    }
}

/// No other partition has a quorum of its own: the whole request is refused, as in Kafka.
fn unknown(request: DescribeQuorumRequest, version: i16) -> DescribeQuorumResponse {
    let error = ErrorCode::UnknownTopicOrPartition;
    let text = || (version >= NODES_FROM).then(|| StrBytes::from_static_str(error.message()));
    let partition = |number: i32| {
        PartitionData::default()
            .with_partition_index(number)
            .with_error_code(error.code())
            .with_error_message(text().or_else(|| PartitionData::default().error_message))
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| partition(one.partition_index)).collect();
        TopicData::default().with_topic_name(topic.topic_name).with_partitions(partitions)
    });
    DescribeQuorumResponse::default().with_topics(topics.collect())
}

fn partition(cx: &Context<'_>, image: &Image) -> PartitionData {
    let epoch = i64::try_from(image.epoch()).unwrap_or(i64::MAX);
    let voter =
        |broker: &Broker| {
            let own = broker.id == cx.settings.broker_id;
            // What another broker has is not known to this one: -1 says so.
            let mut state = ReplicaState::default()
                .with_replica_id(BrokerId(broker.id.0))
                .with_log_end_offset(if own { epoch } else { -1 });
            if cx.version >= TIMES_FROM {
                let time = if own { cx.now.wall } else { -1 };
                state = state.with_last_fetch_timestamp(time).with_last_caught_up_timestamp(time);
            }
            if cx.version >= NODES_FROM { state.with_replica_directory_id(broker.directory.0) } else { state }
        };
    let data = PartitionData::default()
        .with_partition_index(PARTITION)
        .with_leader_id(BrokerId(cx.settings.broker_id.0))
        // A broker answers for itself from its start on: each start is a leader epoch.
        .with_leader_epoch(i32::try_from(cx.settings.incarnation).unwrap_or(i32::MAX))
        .with_high_watermark(epoch)
        .with_current_voters(image.brokers().values().map(voter).collect());
    if cx.version >= NODES_FROM { data.with_error_message(None) } else { data }
}

fn node(broker: &Broker, listener: &str) -> Node {
    let endpoint = broker.endpoint(listener).map(|endpoint| {
        Listener::default()
            .with_name(StrBytes::from_string(endpoint.listener.clone()))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    Node::default().with_node_id(BrokerId(broker.id.0)).with_listeners(endpoint.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_quorum_request;

    use super::*;
    use crate::api::metadata_call::testing::{Admin, topic};
    use crate::testing::DIRECTORY;

    fn request(wanted: &[(&str, &[i32])]) -> DescribeQuorumRequest {
        let one = |(name, numbers): &(&str, &[i32])| {
            let number = |number: &i32| describe_quorum_request::PartitionData::default().with_partition_index(*number);
            describe_quorum_request::TopicData::default()
                .with_topic_name(topic(name))
                .with_partitions(numbers.iter().map(number).collect())
        };
        DescribeQuorumRequest::default().with_topics(wanted.iter().map(one).collect())
    }

    #[test]
    fn every_version_names_the_brokers_as_voters() {
        let mut admin = Admin::new(&[]);
        admin.broker(2);
        let epoch = i64::try_from(admin.image().epoch()).unwrap();
        for version in API.min..=API.max {
            let response = admin.request(version, &request(&[(TOPIC, &[0])]));
            assert_eq!((response.error_code, response.topics[0].topic_name.as_str()), (0, TOPIC));
            let partition = &response.topics[0].partitions[0];
            assert_eq!((partition.error_code, partition.leader_id.0, partition.leader_epoch), (0, 1, 1));
            assert_eq!(partition.high_watermark, epoch);
            let voters: Vec<_> =
                partition.current_voters.iter().map(|voter| (voter.replica_id.0, voter.log_end_offset)).collect();
            assert_eq!(voters, [(1, epoch), (2, -1)]);
            assert!(partition.observers.is_empty());
            if version >= 1 {
                let wall = admin.world.now.wall;
                let times: Vec<_> = partition.current_voters.iter().map(|voter| voter.last_fetch_timestamp).collect();
                assert_eq!(times, [wall, -1]);
            }
            if version >= 2 {
                assert_eq!(partition.current_voters[0].replica_directory_id, DIRECTORY.0);
                let hosts: Vec<_> =
                    response.nodes.iter().map(|node| (node.node_id.0, node.listeners[0].host.as_str())).collect();
                assert_eq!(hosts, [(1, "broker.test"), (2, "broker-2.test")]);
                assert!(response.error_message.is_none() && partition.error_message.is_none());
            }
        }
        admin.world.topic("a", 1, &[]);
        let grown = admin.request(2, &request(&[(TOPIC, &[0])]));
        assert_eq!(grown.topics[0].partitions[0].high_watermark, epoch + 1, "a change moves the log");
    }

    #[test]
    fn nothing_else_has_a_quorum() {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 1, &[]);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        for version in API.min..=API.max {
            let cases: [&[(&str, &[i32])]; 4] =
                [&[("a", &[0])], &[(TOPIC, &[1])], &[(TOPIC, &[0, 0])], &[(TOPIC, &[0]), ("a", &[0])]];
            for wanted in cases {
                let response = admin.request(version, &request(wanted));
                assert_eq!((response.error_code, response.topics.len()), (0, wanted.len()));
                let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                assert!(partitions.all(|one| one.error_code == unknown && one.current_voters.is_empty()));
            }
            assert!(admin.request(version, &request(&[])).topics.is_empty());
        }
    }
}
