//! Fetch requests, one at a time per leader, and what their answers mean for each partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, RequestKind, ResponseKind, TopicName};
use millrace_types::{ErrorCode, Instant};
use uuid::Uuid;

use super::ConsumerCore;
use super::reader::{Stage, corrupt};
use crate::config::{Isolation, OffsetReset};
use crate::core::backoff::Backoff;
use crate::core::cluster::RequestId;
use crate::error::{ClientError, Result};
use crate::model::{OffsetSpec, TopicPartition};
use crate::wire::text;

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Fetch {
    broker: i32,
    partitions: Vec<TopicPartition>,
    /// The topics by their ids, for answers that name ids alone.
    topics: BTreeMap<Uuid, Arc<str>>,
}

impl ConsumerCore {
    /// Sends a fetch to every broker that has none under way and something worth fetching: the leader's, or that of the
    /// follower it has named.
    pub(super) fn fetch(&mut self, now: Instant) {
        self.leave_silent_followers(now);
        self.pause_after_corruption(now);
        if self.buffered() >= self.config.prefetch_max_bytes {
            return;
        }
        let mut leaders: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, reader) in &self.readers {
            let metadata = self.cluster.metadata.version;
            if !reader.wants_fetch(now, &self.config) || reader.wrong_metadata.is_some_and(|wrong| wrong >= metadata) {
                continue;
            }
            let nodes = &self.cluster.metadata.nodes;
            let preferred = reader.preferred.filter(|(broker, until)| *until > now && nodes.contains_key(broker));
            let leader = self.cluster.metadata.leader(&partition.topic, partition.partition).map(|(leader, _)| leader);
            match leader.map(|leader| preferred.map_or(leader, |(broker, _)| broker)) {
                Some(broker) => leaders.entry(broker).or_default().push(partition.clone()),
                None => self.cluster.metadata.invalidate(),
            }
        }
        for (leader, mut partitions) in leaders {
            let busy = self.fetches.values().any(|fetch| fetch.broker == leader);
            if busy || !self.cluster.ready(now, leader) {
                continue;
            }
            // The answer is filled in the order of the request: everybody is first at times.
            let first = self.cluster.random.below(partitions.len());
            partitions.rotate_left(first);
            self.send_fetch(now, leader, partitions);
        }
    }

    /// A follower that says nothing is not waited for: the leader has all that it has.
    fn leave_silent_followers(&mut self, now: Instant) {
        for (partition, reader) in &mut self.readers {
            let leader = self.cluster.metadata.leader(&partition.topic, partition.partition).map(|(leader, _)| leader);
            let follower = reader.preferred.map(|(broker, _)| broker).filter(|broker| Some(*broker) != leader);
            if follower.is_some_and(|broker| self.cluster.is_broker_silent(now, broker)) {
                reader.preferred = None;
                reader.fetching = None;
            }
        }
    }

    fn pause_after_corruption(&mut self, now: Instant) {
        for reader in self.readers.values_mut() {
            if reader.take_stumble() {
                reader.pause(now, &self.config.client, &mut self.cluster.random);
            }
        }
    }

    fn send_fetch(&mut self, now: Instant, leader: i32, partitions: Vec<TopicPartition>) {
        let mut rows: Vec<FetchTopic> = Vec::new();
        let mut topics = BTreeMap::new();
        let mut places: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for partition in &partitions {
            let Some(reader) = self.readers.get(partition) else { continue };
            let epoch = self.cluster.metadata.leader(&partition.topic, partition.partition).map_or(-1, |(_, e)| e);
            let row = FetchPartition::default()
                .with_partition(partition.partition)
                .with_current_leader_epoch(epoch)
                .with_fetch_offset(reader.next_fetch)
                .with_partition_max_bytes(self.config.max_partition_fetch_bytes);
            let at = *places.entry(&partition.topic).or_insert_with(|| {
                let id = self.cluster.metadata.topic(&partition.topic).map_or(Uuid::nil(), |topic| topic.id);
                topics.insert(id, Arc::clone(&partition.topic));
                rows.push(FetchTopic::default().with_topic(TopicName(text(&partition.topic))).with_topic_id(id));
                rows.len() - 1
            });
            if let Some(topic) = rows.get_mut(at) {
                topic.partitions.push(row);
            }
        }
        let wait = self.config.fetch_max_wait;
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.config.fetch_min_bytes)
            .with_max_bytes(self.config.fetch_max_bytes)
            .with_isolation_level(i8::from(self.config.isolation == Isolation::ReadCommitted))
            .with_rack_id(text(self.config.client_rack.as_deref().unwrap_or_default()))
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(rows);
        let timeout = self.config.client.request_timeout;
        let id = self.cluster.send_ready(now, leader, RequestKind::Fetch(request), Some(timeout));
        for partition in &partitions {
            if let Some(reader) = self.readers.get_mut(partition) {
                reader.fetching = Some(id);
            }
        }
        self.fetches.insert(id, Fetch { broker: leader, partitions, topics });
    }

    /// Takes an answer in.
    pub(super) fn fetch_answered(&mut self, now: Instant, id: RequestId, result: Result<ResponseKind>) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        let outcome = match result {
            Ok(ResponseKind::Fetch(response)) => match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => Ok(response),
                code => Err(ClientError::broker("Fetch", code)),
            },
            Ok(_) => Err(ClientError::protocol("Fetch", "an answer to something else")),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(response) => self.fetch_rows(now, id, &fetch, response),
            Err(error) => {
                self.cluster.metadata.invalidate();
                for partition in &fetch.partitions {
                    self.fetch_failed(now, id, partition, error.clone());
                }
            }
        }
        for partition in &fetch.partitions {
            if let Some(reader) = self.readers.get_mut(partition).filter(|reader| reader.fetching == Some(id)) {
                reader.fetching = None;
            }
        }
    }

    fn fetch_rows(&mut self, now: Instant, id: RequestId, fetch: &Fetch, response: FetchResponse) {
        self.cluster.throttle(now, fetch.broker, response.throttle_time_ms);
        for node in &response.node_endpoints {
            self.cluster.metadata.add_node(node.node_id.0, &node.host, node.port, node.rack.as_deref());
        }
        for topic in response.responses {
            let named = Some(topic.topic.0.as_str()).filter(|name| !name.is_empty()).map(Arc::from);
            let Some(name) = named.or_else(|| fetch.topics.get(&topic.topic_id).cloned()) else { continue };
            for row in topic.partitions {
                let partition = TopicPartition::new(Arc::clone(&name), row.partition_index);
                let hint = &row.current_leader;
                self.cluster.metadata.hint(&name, row.partition_index, hint.leader_id.0, hint.leader_epoch);
                self.fetch_row(now, id, &partition, row);
            }
        }
    }

    fn fetch_row(&mut self, now: Instant, id: RequestId, partition: &TopicPartition, row: PartitionData) {
        let Some(reader) = self.readers.get_mut(partition) else { return };
        // After a seek, or a change of leaders, the answer is for another place or from another time.
        if reader.fetching != Some(id) || reader.stage != Stage::Reading {
            return;
        }
        let code = ErrorCode::from_code(row.error_code);
        if code != ErrorCode::None {
            self.fetch_failed(now, id, partition, ClientError::broker("Fetch", code));
            return;
        }
        if row.preferred_read_replica.0 >= 0 {
            let until = now.after(self.config.client.metadata_max_age);
            reader.preferred = Some((row.preferred_read_replica.0, until));
            return;
        }
        reader.high_watermark = row.high_watermark;
        let aborted = row.aborted_transactions.unwrap_or_default();
        let aborted = aborted.into_iter().map(|aborted| (aborted.first_offset, aborted.producer_id.0)).collect();
        match reader.fetched(row.records.unwrap_or_default(), aborted) {
            Ok(()) => reader.fetch_succeeded(),
            Err(error) => {
                let error = corrupt(partition, reader.next_fetch, &error);
                self.fetch_failed(now, id, partition, error);
            }
        }
        self.changed = true;
    }

    /// A partition could not be fetched: is tried again, finds another position, or tells the application.
    fn fetch_failed(&mut self, now: Instant, id: RequestId, partition: &TopicPartition, error: ClientError) {
        let client = &self.config.client;
        let Some(reader) = self.readers.get_mut(partition).filter(|reader| reader.fetching == Some(id)) else { return };
        reader.fetching = None;
        // What a follower cannot answer the leader is asked, which also says what is out of range.
        let from_follower = reader.preferred.take().is_some();
        if from_follower && error.is_retriable() | (error.code() == Some(ErrorCode::OffsetOutOfRange)) {
            // The leader may go on to name it.
            if reader.failures > 0 {
                let attempt = reader.failures - 1;
                let pause = self.cluster.random.backoff(client.retry_backoff, client.retry_backoff_max, attempt);
                reader.retry_at = now.after(pause);
            }
            reader.failures = reader.failures.saturating_add(1);
            self.cluster.metadata.invalidate();
            return;
        }
        if error.code() == Some(ErrorCode::OffsetOutOfRange) {
            // Records before are returned first: the reset is for what comes after them.
            if reader.has_records() {
                reader.retry_at = now.after(Duration::from_millis(10));
                return;
            }
            let stage = reset_stage(self.config.offset_reset, partition);
            reader.find(stage);
            self.changed = true;
            return;
        }
        reader.pause(now, client, &mut self.cluster.random);
        let silent = error.is_retriable() && !matches!(error, ClientError::Corrupt { .. });
        if silent {
            reader.wrong_metadata = error.code().map(|_| self.cluster.metadata.version);
            self.cluster.metadata.invalidate();
        } else {
            self.errors.push_back(error);
            self.errors.truncate(super::ERRORS_MAX);
            self.changed = true;
        }
    }

    /// Does not wait for leaders that are none any more, and has positions checked against the new ones.
    pub(super) fn abandon_moved(&mut self) {
        for moved in std::mem::take(&mut self.cluster.metadata.moved) {
            if let Some(reader) = self.readers.get_mut(&moved) {
                reader.fetching = None;
                reader.preferred = None;
                reader.retry_at = Instant::ZERO;
                reader.wrong_metadata = None;
            }
        }
    }

    /// Bytes fetched and not yet returned.
    pub(super) fn buffered(&self) -> usize {
        self.readers.values().map(|reader| reader.buffered).sum()
    }
}

/// What a partition without a valid position does.
pub(super) fn reset_stage(reset: OffsetReset, partition: &TopicPartition) -> Stage {
    match reset {
        OffsetReset::Earliest => Stage::Reset(OffsetSpec::Earliest, None),
        OffsetReset::Latest => Stage::Reset(OffsetSpec::Latest, None),
        OffsetReset::None => Stage::Failed(ClientError::NoPosition {
            topic: Arc::clone(&partition.topic),
            partition: partition.partition,
        }),
    }
}
