//! One page of topics and partitions, and where the next one begins.

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsResponse};
use millrace_metadata::{Assignment, Image, Topic, check_topic_name, is_internal};
use millrace_types::{ErrorCode, TopicPartition};

use super::{failed, topic_name};
use crate::api::{Context, authorized, lookup};

/// A response that grows topic by topic until it is full.
///
/// Invariant: the partitions in `response` and `room` together are the limit.
pub(super) struct Page<'a> {
    cx: &'a Context<'a>,
    image: &'a Image,
    room: usize,
    response: DescribeTopicPartitionsResponse,
}

impl<'a> Page<'a> {
    /// An empty page for `limit` partitions.
    pub(super) fn new(cx: &'a Context<'a>, image: &'a Image, limit: usize) -> Self {
        Self { cx, image, room: limit, response: DescribeTopicPartitionsResponse::default().with_next_cursor(None) }
    }

    /// Adds the topic `name` from its partition `first` on; `false` when the page is full and nothing more is to be
    /// added. Topics must come in the order of their names, since the next page begins at one.
    pub(super) fn add(&mut self, name: &str, first: i32) -> bool {
        if self.room == 0 {
            self.next(name, 0);
            return false;
        }
        let Some(topic) = self.image.topic(name) else {
            let valid = check_topic_name(name).is_ok();
            let error = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
            self.response.topics.push(failed(topic_name(name), error).with_is_internal(is_internal(name)));
            return true;
        };
        let partitions: Vec<_> = (0..)
            .zip(&topic.partitions)
            .skip(usize::try_from(first).unwrap_or(0))
            .take(self.room)
            .map(|(number, assignment)| self.partition(topic, number, assignment))
            .collect();
        self.room -= partitions.len();
        let next = partitions.last().map(|last| last.partition_index + 1);
        let found = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_topic_id(topic.id.0)
            .with_is_internal(topic.internal)
            .with_partitions(partitions)
            .with_topic_authorized_operations(authorized::TOPIC);
        self.response.topics.push(found);
        match next.filter(|next| *next < topic.partition_count()) {
            Some(next) => {
                self.next(name, next);
                false
            }
            None => true,
        }
    }

    /// The response.
    pub(super) fn finish(self) -> DescribeTopicPartitionsResponse {
        self.response
    }

    fn next(&mut self, topic: &str, partition: i32) {
        let cursor = Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition);
        self.response.next_cursor = Some(cursor);
    }

    fn partition(
        &self,
        topic: &Topic,
        number: i32,
        assignment: &Assignment,
    ) -> DescribeTopicPartitionsResponsePartition {
        let listener = &self.cx.session.origin.listener;
        let reachable = |id| self.image.broker(id).is_some_and(|broker| broker.endpoint(listener).is_some());
        let at = TopicPartition::new(topic.id, number);
        let leader = self.cx.directory.leader(&at);
        let ids = |brokers: &[millrace_types::BrokerId]| brokers.iter().map(|id| BrokerId(id.0)).collect::<Vec<_>>();
        let replicas = assignment.present_replicas();
        let in_sync = lookup::in_sync(self.cx.directory, &at, leader.as_ref(), &replicas);
        let leader = leader.filter(|leader| reachable(leader.broker));
        let is_offline = |id: &&millrace_types::BrokerId| !reachable(**id) || !self.cx.directory.is_heard(**id);
        let offline = replicas.iter().filter(is_offline).map(|id| BrokerId(id.0));
        // Without a leader there is no error here, unlike in Metadata. Replicas that may lead although they are not in
        // sync (KIP-966) do not exist; the lists are empty and not null, which clients up to Kafka 3.9 cannot read.
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(BrokerId(leader.as_ref().map_or(-1, |leader| leader.broker.0)))
            .with_leader_epoch(leader.map_or(-1, |leader| leader.epoch))
            .with_replica_nodes(ids(&replicas))
            .with_isr_nodes(ids(&in_sync))
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
            .with_offline_replicas(offline.collect())
    }
}
