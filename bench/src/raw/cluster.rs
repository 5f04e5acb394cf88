//! Finding a cluster's brokers, and making and describing the topic under load.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::{ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use kafka_protocol::messages::{BrokerId, ElectLeadersRequest, ListOffsetsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_types::{ErrorCode, Offset};

use super::connection::protocol;
use super::{CREATE_TOPICS, Connection, DELETE_TOPICS, ELECT_LEADERS, LIST_OFFSETS, METADATA, VERSIONS};
use crate::cli::Load;
use crate::clock;
use crate::error::BenchError;

/// How long a new topic may take until every partition has a leader.
const LEADERS_SECONDS: u64 = 60;
const TOPIC_TIMEOUT_MS: i32 = 60_000;

/// The partitions of a topic that one broker leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Led {
    /// The broker's address.
    pub(crate) address: String,
    /// Partition numbers, in order.
    pub(crate) partitions: Vec<i32>,
}

/// Who leads a partition, and how many replicas it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionState {
    /// The leader.
    pub(crate) leader: i32,
    /// Its replicas.
    pub(crate) replicas: usize,
    /// Those of them that are in sync.
    pub(crate) in_sync: usize,
}

/// A cluster, by a connection to one of its brokers.
#[derive(Debug)]
pub(crate) struct Cluster {
    connection: Connection,
}

impl Cluster {
    /// Connects to the first of `bootstrap`'s addresses that answers, and checks that it speaks the versions needed.
    pub(crate) fn open(bootstrap: &str) -> Result<Self, BenchError> {
        let mut last = BenchError::Options("no bootstrap address".to_owned());
        for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            match Connection::open(address) {
                Ok(connection) => {
                    let mut cluster = Self { connection };
                    cluster.check_versions()?;
                    return Ok(cluster);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn check_versions(&mut self) -> Result<(), BenchError> {
        let answer = self.connection.call(&ApiVersionsRequest::default(), 0)?;
        refused("ApiVersions", answer.error_code)?;
        for (key, version, name) in VERSIONS {
            let range = answer.api_keys.iter().find(|range| range.api_key == *key);
            if !range.is_some_and(|range| (range.min_version..=range.max_version).contains(version)) {
                return Err(protocol(self.connection.address(), format!("does not speak {name} {version}")));
            }
        }
        Ok(())
    }

    /// Creates a topic as `load` says; without effect when it is there already.
    pub(crate) fn create_topic(&mut self, name: &str, load: &Load) -> Result<(), BenchError> {
        self.create_plain(name, load.partitions, load.replication_factor, &load.topic_config)
    }

    /// Creates a topic; without effect when it is there already.
    pub(crate) fn create_plain(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(String, String)],
    ) -> Result<(), BenchError> {
        let topic =
            CreatableTopic::default().with_num_partitions(partitions).with_replication_factor(replication_factor);
        self.create(name, topic, configs)
    }

    /// Creates a topic whose partitions have all the same replicas, the preferred leader first; without effect when it is
    /// there already.
    pub(crate) fn create_assigned(
        &mut self,
        name: &str,
        partitions: i32,
        replicas: &[i32],
        configs: &[(String, String)],
    ) -> Result<(), BenchError> {
        let brokers: Vec<BrokerId> = replicas.iter().map(|id| (*id).into()).collect();
        let assigned = (0..partitions).map(|partition| {
            CreatableReplicaAssignment::default().with_partition_index(partition).with_broker_ids(brokers.clone())
        });
        let topic = CreatableTopic::default()
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(assigned.collect());
        self.create(name, topic, configs)
    }

    fn create(&mut self, name: &str, topic: CreatableTopic, configs: &[(String, String)]) -> Result<(), BenchError> {
        let configs = configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value))));
        let topic = topic.with_name(TopicName(text(name))).with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TOPIC_TIMEOUT_MS);
        let answer = self.connection.call(&request, CREATE_TOPICS)?;
        let code = answer.topics.first().map_or(0, |topic| topic.error_code);
        if ErrorCode::from_code(code) == ErrorCode::TopicAlreadyExists {
            return Ok(());
        }
        refused(&format!("creating topic {name}"), code)
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), BenchError> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![TopicName(text(name))])
            .with_timeout_ms(TOPIC_TIMEOUT_MS);
        let answer = self.connection.call(&request, DELETE_TOPICS)?;
        refused(&format!("deleting topic {name}"), answer.responses.first().map_or(0, |topic| topic.error_code))
    }

    /// Whether a topic exists; it is not created by asking.
    pub(crate) fn has_topic(&mut self, name: &str) -> Result<bool, BenchError> {
        let answer = self.metadata(name)?;
        let code = answer.topics.first().map_or(ErrorCode::UnknownTopicOrPartition.code(), |topic| topic.error_code);
        match ErrorCode::from_code(code) {
            ErrorCode::UnknownTopicOrPartition => Ok(false),
            _ => Ok(true),
        }
    }

    /// The partitions of a topic by their leaders, once each has one that serves it: a leader may be named before it knows.
    pub(crate) fn leaders(&mut self, name: &str) -> Result<Vec<Led>, BenchError> {
        let deadline = clock::now_ns() + LEADERS_SECONDS * 1_000_000_000;
        loop {
            let answer = self.metadata(name)?;
            if let Some(leaders) = by_leader(&answer)
                && are_serving(name, &leaders)?
            {
                return Ok(leaders);
            }
            if clock::now_ns() >= deadline {
                let what = format!("a leader for every partition of {name}");
                return Err(BenchError::Timeout { what, seconds: LEADERS_SECONDS });
            }
            clock::sleep_until(clock::now_ns() + 20_000_000);
        }
    }

    /// The state of a partition; none while it has no leader.
    pub(crate) fn state(&mut self, name: &str, partition: i32) -> Result<Option<PartitionState>, BenchError> {
        let answer = self.metadata(name)?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let found = partitions.find(|found| found.partition_index == partition && found.leader_id.0 >= 0);
        Ok(found.map(|found| PartitionState {
            leader: found.leader_id.0,
            replicas: found.replica_nodes.len(),
            in_sync: found.isr_nodes.len(),
        }))
    }

    /// Asks for the election of the first replica as leader, in every partition of a topic. Whether it came to that the
    /// metadata say.
    pub(crate) fn elect_preferred(&mut self, name: &str, partitions: i32) -> Result<(), BenchError> {
        let asked =
            TopicPartitions::default().with_topic(TopicName(text(name))).with_partitions((0..partitions).collect());
        let request = ElectLeadersRequest::default()
            .with_election_type(0)
            .with_topic_partitions(Some(vec![asked]))
            .with_timeout_ms(TOPIC_TIMEOUT_MS);
        let answer = self.connection.call(&request, ELECT_LEADERS)?;
        refused("electing preferred leaders", answer.error_code)
    }

    /// How many partitions of a topic are led by a broker with so many replicas in sync at least.
    pub(crate) fn led_by(&mut self, name: &str, broker: i32, in_sync: usize) -> Result<usize, BenchError> {
        let answer = self.metadata(name)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.filter(|found| found.leader_id.0 == broker && found.isr_nodes.len() >= in_sync).count())
    }

    fn metadata(&mut self, name: &str) -> Result<MetadataResponse, BenchError> {
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        self.connection.call(&request, METADATA)
    }
}

/// The partitions of the answer's only topic by the address of their leader; none while a leader is missing.
fn by_leader(answer: &MetadataResponse) -> Option<Vec<Led>> {
    let topic = answer.topics.first().filter(|topic| topic.error_code == 0 && !topic.partitions.is_empty())?;
    let mut by_address: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in &topic.partitions {
        let broker = answer.brokers.iter().find(|broker| broker.node_id == partition.leader_id)?;
        let host = broker.host.as_str();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        by_address.entry(format!("{host}:{}", broker.port)).or_default().push(partition.partition_index);
    }
    let led = by_address.into_iter().map(|(address, mut partitions)| {
        partitions.sort_unstable();
        Led { address, partitions }
    });
    Some(led.collect())
}

/// Whether every leader answers for its partitions.
fn are_serving(topic: &str, leaders: &[Led]) -> Result<bool, BenchError> {
    for led in leaders {
        match offsets(&mut Connection::open(&led.address)?, topic, &led.partitions, LOG_END) {
            Ok(_) => {}
            Err(BenchError::Refused { code, .. }) if is_passing(code) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Whether a code goes away by itself while a topic is being created.
const fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::OffsetNotAvailable
    )
}

/// The timestamp by which ListOffsets knows the log end offset.
pub(crate) const LOG_END: i64 = -1;
/// The timestamp by which ListOffsets knows the log start offset.
pub(crate) const LOG_START: i64 = -2;

/// Offsets of a topic's partitions by timestamp, [`LOG_END`] or [`LOG_START`], from their leader.
pub(crate) fn offsets(
    connection: &mut Connection,
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
) -> Result<BTreeMap<i32, Offset>, BenchError> {
    let asked = partitions
        .iter()
        .map(|partition| ListOffsetsPartition::default().with_partition_index(*partition).with_timestamp(timestamp));
    let asked = ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(asked.collect());
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![asked]);
    let answer = connection.call(&request, LIST_OFFSETS)?;
    let mut offsets = BTreeMap::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        refused(&format!("offsets of {topic}-{}", partition.partition_index), partition.error_code)?;
        offsets.insert(partition.partition_index, partition.offset);
    }
    Ok(offsets)
}

/// Text as the codec wants it.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn refused(operation: &str, code: i16) -> Result<(), BenchError> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(BenchError::Refused { operation: operation.to_owned(), code }),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    fn answer(leaders: &[i32]) -> MetadataResponse {
        let brokers = [(1, "10.0.0.1"), (2, "::1")].map(|(id, host)| {
            MetadataResponseBroker::default().with_node_id(id.into()).with_host(text(host)).with_port(9092)
        });
        let partitions = leaders.iter().enumerate().map(|(partition, leader)| {
            MetadataResponsePartition::default()
                .with_partition_index(i32::try_from(partition).unwrap())
                .with_leader_id((*leader).into())
        });
        let topic = MetadataResponseTopic::default().with_partitions(partitions.collect());
        MetadataResponse::default().with_brokers(brokers.to_vec()).with_topics(vec![topic])
    }

    #[test]
    fn partitions_are_grouped_by_their_leaders_address() {
        let led = by_leader(&answer(&[1, 2, 1])).unwrap();
        let expected = [("10.0.0.1:9092", vec![0, 2]), ("[::1]:9092", vec![1])];
        assert_eq!(led, expected.map(|(address, partitions)| Led { address: address.to_owned(), partitions }));
    }

    #[test]
    fn a_partition_without_a_leader_is_waited_for() {
        assert_eq!(by_leader(&answer(&[1, -1])), None);
        assert_eq!(by_leader(&answer(&[])), None);
    }
}
