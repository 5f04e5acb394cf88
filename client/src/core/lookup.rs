//! Questions that go to the leaders of partitions: offsets by time, ends of leader epochs, deletion of records.
//!
//! The partitions are grouped by leader, and each is asked again after a change of leaders until a deadline.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, RequestKind, ResponseKind, TopicName,
};
use millrace_types::{ErrorCode, Instant, LeaderEpoch, Offset};

use super::backoff::Backoff;
use super::cluster::{Cluster, RequestId, Target};
use crate::config::Isolation;
use crate::error::{ClientError, Result};
use crate::model::{FoundOffset, TopicPartition};
use crate::wire::text;

/// Metadata answers that must deny a topic before a lookup believes that it does not exist.
const DENIALS: u64 = 3;

/// Identity of a lookup within one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What is asked of a partition's leader. All partitions of one lookup ask the same kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The offset that a timestamp of ListOffsets stands for.
    Offset(i64),
    /// The end of this leader epoch (KIP-320).
    EpochEnd(LeaderEpoch),
    /// Delete the records below this offset (KIP-107).
    Delete(Offset),
}

/// What a leader answered: for [`Ask::Delete`] the offset is the log start offset afterwards, for [`Ask::EpochEnd`]
/// the end offset with the epoch it belongs to.
pub(crate) type Told = BTreeMap<TopicPartition, Result<FoundOffset>>;

#[derive(Debug)]
struct Item {
    ask: Ask,
    running: Option<RequestId>,
    retry_at: Instant,
    attempts: u32,
    last_error: Option<ClientError>,
}

#[derive(Debug)]
struct Lookup {
    items: BTreeMap<TopicPartition, Item>,
    told: Told,
    isolation: Isolation,
    deadline: Instant,
    /// Version of the metadata when the lookup began.
    metadata_version: u64,
}

/// Lookups under way.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    lookups: BTreeMap<LookupId, Lookup>,
    running: BTreeMap<RequestId, LookupId>,
    done: VecDeque<(LookupId, Told)>,
    next_id: u64,
}

impl Lookups {
    /// Begins a lookup that is repeated until `deadline`.
    pub(crate) fn begin(
        &mut self,
        cluster: &Cluster,
        asks: impl IntoIterator<Item = (TopicPartition, Ask)>,
        isolation: Isolation,
        deadline: Instant,
    ) -> LookupId {
        self.next_id += 1;
        let id = LookupId(self.next_id);
        let item = |ask| Item { ask, running: None, retry_at: Instant::ZERO, attempts: 0, last_error: None };
        let items = asks.into_iter().map(|(partition, ask)| (partition, item(ask))).collect();
        let metadata_version = cluster.metadata.version;
        self.lookups.insert(id, Lookup { items, told: Told::new(), isolation, deadline, metadata_version });
        id
    }

    /// Forgets a lookup.
    pub(crate) fn cancel(&mut self, id: LookupId) {
        self.lookups.remove(&id);
    }

    /// The next lookup that ended.
    pub(crate) fn poll(&mut self) -> Option<(LookupId, Told)> {
        self.done.pop_front()
    }

    /// When [`Lookups::advance`] has to be called at the latest. What is due already waits for metadata, whose answer
    /// brings the owner back here.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let times = self.lookups.values().flat_map(|lookup| {
            let retries = lookup.items.values().filter(|item| item.running.is_none()).map(|item| item.retry_at);
            retries.filter(move |at| *at > now).chain([lookup.deadline])
        });
        times.min().unwrap_or(Instant::NEVER)
    }

    /// Sends what can be sent and ends what is complete or late.
    pub(crate) fn advance(&mut self, now: Instant, cluster: &mut Cluster) {
        let ids: Vec<LookupId> = self.lookups.keys().copied().collect();
        for id in ids {
            let Some(lookup) = self.lookups.get_mut(&id) else { continue };
            for (leader, partitions) in lookup.by_leader(now, cluster) {
                let Some(request) = lookup.request(cluster, &partitions) else { continue };
                let timeout = lookup.deadline.since(now).min(cluster.config.request_timeout);
                let request = cluster.send(now, Target::Broker(leader), request, timeout);
                self.running.insert(request, id);
                for partition in &partitions {
                    if let Some(item) = lookup.items.get_mut(partition) {
                        item.running = Some(request);
                    }
                }
            }
            if lookup.deadline <= now {
                lookup.give_up();
            }
            if lookup.items.is_empty()
                && let Some(lookup) = self.lookups.remove(&id)
            {
                self.done.push_back((id, lookup.told));
            }
        }
    }

    /// Takes an answer in; gives it back when it belongs to no lookup.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        request: RequestId,
        result: Result<ResponseKind>,
    ) -> Option<Result<ResponseKind>> {
        let Some(id) = self.running.remove(&request) else { return Some(result) };
        let lookup = self.lookups.get_mut(&id)?;
        let (rows, missing) = match result {
            Ok(response) => (read(response), ClientError::protocol("response", "a partition is missing")),
            Err(error) => (Vec::new(), error),
        };
        for (partition, row) in rows {
            lookup.settle(now, cluster, request, &partition, row);
        }
        let left: Vec<TopicPartition> = lookup
            .items
            .iter()
            .filter(|(_, item)| item.running == Some(request))
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in left {
            lookup.settle(now, cluster, request, &partition, Err(missing.clone()));
        }
        None
    }
}

impl Lookup {
    /// The partitions to ask at `now`, by leader. Those that cannot exist are settled.
    fn by_leader(&mut self, now: Instant, cluster: &mut Cluster) -> BTreeMap<i32, Vec<TopicPartition>> {
        let mut leaders: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        let mut impossible = Vec::new();
        for (partition, item) in &mut self.items {
            if item.running.is_some() || item.retry_at > now {
                continue;
            }
            cluster.metadata.want(now, &partition.topic);
            match locate(cluster, partition, cluster.metadata.version >= self.metadata_version + DENIALS) {
                Ok(Some(leader)) => leaders.entry(leader).or_default().push(partition.clone()),
                // The next answer about metadata brings the owner back here.
                Ok(None) => {}
                Err(error) => impossible.push((partition.clone(), error)),
            }
        }
        for (partition, error) in impossible {
            self.items.remove(&partition);
            self.told.insert(partition, Err(error));
        }
        leaders
    }

    /// One request for `partitions`, which share a leader.
    fn request(&self, cluster: &Cluster, partitions: &[TopicPartition]) -> Option<RequestKind> {
        let mut topics: BTreeMap<&Arc<str>, Vec<(i32, LeaderEpoch, Ask)>> = BTreeMap::new();
        for partition in partitions {
            let epoch = cluster.metadata.leader(&partition.topic, partition.partition).map_or(-1, |(_, epoch)| epoch);
            let ask = self.items.get(partition)?.ask;
            topics.entry(&partition.topic).or_default().push((partition.partition, epoch, ask));
        }
        let name = |topic: &Arc<str>| TopicName(text(topic));
        let first = self.items.get(partitions.first()?)?.ask;
        Some(match first {
            Ask::Offset(_) => {
                let row = |(partition, epoch, ask)| {
                    let timestamp = if let Ask::Offset(timestamp) = ask { timestamp } else { -1 };
                    ListOffsetsPartition::default()
                        .with_partition_index(partition)
                        .with_current_leader_epoch(epoch)
                        .with_timestamp(timestamp)
                };
                let topics = topics.into_iter().map(|(topic, rows)| {
                    ListOffsetsTopic::default()
                        .with_name(name(topic))
                        .with_partitions(rows.into_iter().map(row).collect())
                });
                RequestKind::ListOffsets(
                    ListOffsetsRequest::default()
                        .with_replica_id((-1).into())
                        .with_isolation_level(i8::from(self.isolation == Isolation::ReadCommitted))
                        .with_topics(topics.collect()),
                )
            }
            Ask::EpochEnd(_) => {
                let row = |(partition, epoch, ask)| {
                    let asked = if let Ask::EpochEnd(asked) = ask { asked } else { -1 };
                    OffsetForLeaderPartition::default()
                        .with_partition(partition)
                        .with_current_leader_epoch(epoch)
                        .with_leader_epoch(asked)
                };
                let topics = topics.into_iter().map(|(topic, rows)| {
                    let rows = rows.into_iter().map(row).collect();
                    OffsetForLeaderTopic::default().with_topic(name(topic)).with_partitions(rows)
                });
                let request = OffsetForLeaderEpochRequest::default().with_replica_id((-1).into());
                RequestKind::OffsetForLeaderEpoch(request.with_topics(topics.collect()))
            }
            Ask::Delete(_) => {
                let row = |(partition, _, ask)| {
                    let offset = if let Ask::Delete(offset) = ask { offset } else { 0 };
                    DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset)
                };
                let topics = topics.into_iter().map(|(topic, rows)| {
                    DeleteRecordsTopic::default()
                        .with_name(name(topic))
                        .with_partitions(rows.into_iter().map(row).collect())
                });
                let timeout = i32::try_from(cluster.config.request_timeout.as_millis()).unwrap_or(i32::MAX);
                let request = DeleteRecordsRequest::default().with_timeout_ms(timeout);
                RequestKind::DeleteRecords(request.with_topics(topics.collect()))
            }
        })
    }

    fn settle(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        request: RequestId,
        partition: &TopicPartition,
        row: Result<FoundOffset>,
    ) {
        let Some(item) = self.items.get_mut(partition).filter(|item| item.running == Some(request)) else { return };
        item.running = None;
        match row {
            Err(error) if error.is_retriable() => {
                cluster.metadata.invalidate();
                let (first, longest) = (cluster.config.retry_backoff, cluster.config.retry_backoff_max);
                item.retry_at = now.after(cluster.random.backoff(first, longest, item.attempts));
                item.attempts = item.attempts.saturating_add(1);
                item.last_error = Some(error);
            }
            row => {
                self.items.remove(partition);
                self.told.insert(partition.clone(), row);
            }
        }
    }

    fn give_up(&mut self) {
        for (partition, item) in std::mem::take(&mut self.items) {
            let what = match item.ask {
                Ask::Offset(_) => "ListOffsets",
                Ask::EpochEnd(_) => "OffsetForLeaderEpoch",
                Ask::Delete(_) => "DeleteRecords",
            };
            self.told.insert(partition, Err(ClientError::timeout(what, item.last_error)));
        }
    }
}

/// The leader of `partition`; `Ok(None)` while it is not known, an error when it cannot become known.
pub(crate) fn locate(cluster: &Cluster, partition: &TopicPartition, believe_denial: bool) -> Result<Option<i32>> {
    let Some(topic) = cluster.metadata.topics.get(&partition.topic) else { return Ok(None) };
    match topic.error {
        ErrorCode::None => {}
        code => {
            let error = ClientError::broker("Metadata", code);
            let retry = error.is_retriable() && !(believe_denial && code == ErrorCode::UnknownTopicOrPartition);
            return if retry { Ok(None) } else { Err(error) };
        }
    }
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if partition.partition < 0 || (partition.partition >= count && believe_denial) {
        let topic = Arc::clone(&partition.topic);
        return Err(ClientError::UnknownPartition { topic, partition: partition.partition, count });
    }
    Ok(cluster.metadata.leader(&partition.topic, partition.partition).map(|(leader, _)| leader))
}

/// The rows of an answer.
fn read(response: ResponseKind) -> Vec<(TopicPartition, Result<FoundOffset>)> {
    let check = |api, code, found| match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(found),
        code => Err(ClientError::broker(api, code)),
    };
    let mut rows = Vec::new();
    match response {
        ResponseKind::ListOffsets(response) => {
            for topic in response.topics {
                let name: Arc<str> = Arc::from(topic.name.0.as_str());
                for row in topic.partitions {
                    let found =
                        FoundOffset { offset: row.offset, timestamp: row.timestamp, leader_epoch: row.leader_epoch };
                    let partition = TopicPartition::new(Arc::clone(&name), row.partition_index);
                    rows.push((partition, check("ListOffsets", row.error_code, found)));
                }
            }
        }
        ResponseKind::OffsetForLeaderEpoch(response) => {
            for topic in response.topics {
                let name: Arc<str> = Arc::from(topic.topic.0.as_str());
                for row in topic.partitions {
                    let found = FoundOffset { offset: row.end_offset, timestamp: -1, leader_epoch: row.leader_epoch };
                    let partition = TopicPartition::new(Arc::clone(&name), row.partition);
                    rows.push((partition, check("OffsetForLeaderEpoch", row.error_code, found)));
                }
            }
        }
        ResponseKind::DeleteRecords(response) => {
            for topic in response.topics {
                let name: Arc<str> = Arc::from(topic.name.0.as_str());
                for row in topic.partitions {
                    let found = FoundOffset { offset: row.low_watermark, timestamp: -1, leader_epoch: -1 };
                    let partition = TopicPartition::new(Arc::clone(&name), row.partition_index);
                    rows.push((partition, check("DeleteRecords", row.error_code, found)));
                }
            }
        }
        _ => {}
    }
    rows
}
