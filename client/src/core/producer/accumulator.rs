//! The records that wait: per topic and partition, within the buffer's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::{Instant, Timestamp};

use super::partitioner::{Sticky, partition_of_key};
use super::queue::{Batch, BatchId, PartitionQueue};
use crate::config::ProducerConfig;
use crate::core::Random;
use crate::core::cluster::metadata::Topic;
use crate::error::{ClientError, Result};
use crate::model::ProducerRecord;
use crate::record::{BatchBuilder, HEADER_BYTES, RecordFields};

/// First size of a batch's memory; it grows with its records.
const FIRST_BYTES: usize = 16 << 10;

/// Bytes of a produce request around its batches, generously.
const REQUEST_BYTES: usize = 512;

/// A partition by the place of its topic in the accumulator.
pub(super) type Place = (usize, i32);

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The batch that holds it.
    pub batch: BatchId,
    /// Its place in the batch, from 0.
    pub position: i32,
    /// Number of the partition.
    pub partition: i32,
    /// Its timestamp in milliseconds.
    pub timestamp: Timestamp,
    /// Whether the batch was begun for it or is full with it: the host has to call `advance`.
    pub wake: bool,
    /// Whether the batch was begun for it.
    pub first: bool,
}

#[derive(Debug, Default)]
struct TopicQueues {
    name: Arc<str>,
    partitions: Vec<PartitionQueue>,
    sticky: Sticky,
}

/// The records that wait or are in flight.
#[derive(Debug, Default)]
pub(super) struct Accumulator {
    places: BTreeMap<Arc<str>, usize>,
    topics: Vec<TopicQueues>,
    /// The partitions that are not idle.
    pub(super) active: BTreeSet<Place>,
    /// Batches not yet acknowledged or given up.
    pub(super) outstanding: BTreeSet<BatchId>,
    /// Bytes of the buffer in use.
    pub(super) used: usize,
    next_id: u64,
}

impl Accumulator {
    /// The id the next batch gets.
    pub(super) fn next_batch(&self) -> BatchId {
        BatchId(self.next_id)
    }

    /// Appends `record`, of which `fields` are the parts, to a partition of `topic`.
    ///
    /// # Errors
    /// There is no such partition, the record is too large, or the buffer is full.
    pub(super) fn append(
        &mut self,
        now: Instant,
        config: &ProducerConfig,
        random: &mut Random,
        (record, timestamp): (&ProducerRecord, Timestamp),
        topic: &Topic,
    ) -> Result<Appended> {
        let fields =
            RecordFields { key: record.key.as_deref(), value: record.value.as_deref(), headers: &record.headers };
        let size = BatchBuilder::upper_bound(&fields);
        let limit = config.max_request_size.min(config.buffer_memory);
        if size + HEADER_BYTES + REQUEST_BYTES > limit {
            return Err(ClientError::RecordTooLarge { size: size + HEADER_BYTES + REQUEST_BYTES, limit });
        }
        if self.used + size + HEADER_BYTES > config.buffer_memory {
            return Err(ClientError::BufferFull);
        }
        let place = self.place(&record.topic);
        let partition = self.partition(place, config, random, record, topic)?;
        let topic = self.topics.get_mut(place).ok_or(ClientError::Closed)?;
        let at = usize::try_from(partition).unwrap_or(0);
        if topic.partitions.len() <= at {
            topic.partitions.resize_with(at + 1, PartitionQueue::default);
        }
        let batch_bytes = config.batch_size.min(config.max_request_size - REQUEST_BYTES);
        let queue = topic.partitions.get_mut(at).ok_or(ClientError::Closed)?;
        let fits = |batch: &Batch| batch.is_open() && batch.attempts == 0 && batch.bytes() + size <= batch_bytes;
        let first = !queue.waiting.back().is_some_and(fits);
        if first {
            let id = BatchId(self.next_id);
            self.next_id += 1;
            let mut batch = Batch::new(id, batch_bytes.min(FIRST_BYTES).max(size + HEADER_BYTES), now);
            batch.charge = HEADER_BYTES;
            self.used += HEADER_BYTES;
            queue.waiting.push_back(batch);
            self.outstanding.insert(id);
            self.active.insert((place, partition));
        }
        let batch = queue.waiting.back_mut().ok_or(ClientError::Closed)?;
        let position = batch.builder().ok_or(ClientError::Closed)?.append(timestamp, &fields);
        batch.count += 1;
        batch.charge += size;
        self.used += size;
        topic.sticky.used(size);
        let full = batch.bytes() >= batch_bytes;
        let wake = first || full || queue.waiting.len() > 1;
        let batch = queue.waiting.back().map_or(BatchId(0), |batch| batch.id);
        Ok(Appended { batch, position, partition, timestamp, wake, first })
    }

    fn place(&mut self, topic: &Arc<str>) -> usize {
        if let Some(place) = self.places.get(topic) {
            return *place;
        }
        let place = self.topics.len();
        self.places.insert(Arc::clone(topic), place);
        self.topics.push(TopicQueues { name: Arc::clone(topic), ..TopicQueues::default() });
        place
    }

    fn partition(
        &mut self,
        place: usize,
        config: &ProducerConfig,
        random: &mut Random,
        record: &ProducerRecord,
        topic: &Topic,
    ) -> Result<i32> {
        let count = topic.partitions.len();
        let exists = |partition: i32| usize::try_from(partition).is_ok_and(|at| at < count);
        if let Some(partition) = record.partition {
            let unknown = || ClientError::UnknownPartition {
                topic: Arc::clone(&record.topic),
                partition,
                count: i32::try_from(count).unwrap_or(i32::MAX),
            };
            return exists(partition).then_some(partition).ok_or_else(unknown);
        }
        if let Some(key) = &record.key {
            return Ok(partition_of_key(key, count));
        }
        let Some(queues) = self.topics.get_mut(place) else { return Ok(0) };
        let (lengths, sticky) = (&queues.partitions, &mut queues.sticky);
        let with_leader = || {
            let row = |at: usize| (at as i32, lengths.get(at).map_or(0, |queue| queue.waiting.len()));
            let led: Vec<(i32, usize)> = (0..count)
                .filter(|at| topic.partitions.get(*at).is_some_and(|partition| partition.leader >= 0))
                .map(row)
                .collect();
            // Without any leader all partitions are as good as another.
            if led.is_empty() { (0..count).map(row).collect() } else { led }
        };
        let chosen = sticky.choose(random, config.batch_size, config.adaptive_partitioning, with_leader);
        if topic.partitions.get(usize::try_from(chosen).unwrap_or(0)).is_some_and(|partition| partition.leader >= 0) {
            return Ok(chosen);
        }
        sticky.forget();
        Ok(sticky.choose(random, config.batch_size, config.adaptive_partitioning, with_leader))
    }

    /// The place of a partition, if records ever went there.
    pub(super) fn find(&self, topic: &str, partition: i32) -> Option<Place> {
        self.places.get(topic).map(|place| (*place, partition))
    }

    /// Name of the topic at `place`.
    pub(super) fn topic(&self, place: Place) -> Arc<str> {
        self.topics.get(place.0).map(|topic| Arc::clone(&topic.name)).unwrap_or_default()
    }

    /// The queue at `place`.
    pub(super) fn queue(&mut self, place: Place) -> Option<&mut PartitionQueue> {
        self.topics.get_mut(place.0)?.partitions.get_mut(usize::try_from(place.1).ok()?)
    }

    /// The queue at `place`, to look at.
    pub(super) fn peek(&self, place: Place) -> Option<&PartitionQueue> {
        self.topics.get(place.0)?.partitions.get(usize::try_from(place.1).ok()?)
    }

    /// A batch is acknowledged or given up: its memory is free.
    pub(super) fn release(&mut self, batch: &Batch) {
        self.used = self.used.saturating_sub(batch.charge);
        self.outstanding.remove(&batch.id);
    }
}
