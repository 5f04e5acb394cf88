//! The producer itself: its state, the calls of the application, and its turn in the host's loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use millrace_types::{ErrorCode, Instant, Now};

use super::ProducerEvent;
use super::accumulator::{Accumulator, Appended, Place};
use super::identity::Identities;
use super::queue::BatchId;
use crate::config::ProducerConfig;
use crate::core::call::Calls;
use crate::core::cluster::{RequestId, metadata::Partition};
use crate::core::{Cluster, Machine, Random};
use crate::error::{ClientError, Result};
use crate::model::ProducerRecord;

/// The producer.
#[derive(Debug)]
pub struct ProducerCore {
    pub(super) config: ProducerConfig,
    pub(super) cluster: Cluster,
    pub(super) calls: Calls,
    pub(super) accumulator: Accumulator,
    pub(super) identities: Identities,
    /// What each request in flight carries.
    pub(super) requests: BTreeMap<RequestId, (i32, Vec<Place>)>,
    /// Flushes not done: each waits for the batches below its id.
    pub(super) flushes: Vec<(u64, BatchId)>,
    pub(super) next_flush: u64,
    /// Batches below are sent without waiting for more records.
    pub(super) flush_below: BatchId,
    /// Partitions served last, per broker: the next request begins behind them.
    pub(super) turn: BTreeMap<i32, Place>,
    pub(super) metadata_version: u64,
    /// Why the producer is of no use any more.
    pub(super) fatal: Option<ClientError>,
    pub(super) events: VecDeque<ProducerEvent>,
}

impl ProducerCore {
    /// A producer with this configuration.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: ProducerConfig, random: Random) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            cluster: Cluster::new(config.client.clone(), random, config.max_in_flight, true),
            calls: Calls::default(),
            accumulator: Accumulator::default(),
            identities: Identities::new(config.idempotence),
            requests: BTreeMap::new(),
            flushes: Vec::new(),
            next_flush: 0,
            flush_below: BatchId(0),
            turn: BTreeMap::new(),
            metadata_version: 0,
            fatal: None,
            events: VecDeque::new(),
            config,
        })
    }

    /// Puts a record into the buffer; `Ok(None)` while the topic's metadata is not known.
    ///
    /// # Errors
    /// The record cannot be sent at all, or the buffer is full ([`ClientError::BufferFull`]).
    pub fn append(&mut self, now: Now, record: &ProducerRecord) -> Result<Option<Appended>> {
        if let Some(error) = &self.fatal {
            return Err(error.clone());
        }
        self.cluster.metadata.want(now.instant, &record.topic);
        let Some(topic) = self.cluster.metadata.topics.get(&record.topic) else { return Ok(None) };
        match topic.error {
            ErrorCode::None if !topic.partitions.is_empty() => {}
            code => {
                let error = ClientError::broker("Metadata", code);
                return if code == ErrorCode::None || error.is_retriable() { Ok(None) } else { Err(error) };
            }
        }
        let timestamp = record.timestamp.unwrap_or(now.wall);
        let random = &mut self.cluster.random;
        self.accumulator.append(now.instant, &self.config, random, (record, timestamp), topic).map(Some)
    }

    /// Why the topic is not usable yet, for the message of a time-out.
    #[must_use]
    pub fn topic_error(&self, topic: &str) -> Option<ClientError> {
        let code = self.cluster.metadata.topics.get(topic).map(|topic| topic.error);
        let refused = code.filter(|code| *code != ErrorCode::None).map(|code| ClientError::broker("Metadata", code));
        refused.or_else(|| self.cluster.trouble())
    }

    /// The partitions of `topic`, once they are known.
    pub(crate) fn partitions(&mut self, now: Now, topic: &Arc<str>) -> Result<Option<Vec<Partition>>> {
        self.cluster.metadata.want(now.instant, topic);
        let Some(known) = self.cluster.metadata.topics.get(topic) else { return Ok(None) };
        match known.error {
            ErrorCode::None => Ok(Some(known.partitions.clone())),
            code => {
                let error = ClientError::broker("Metadata", code);
                if error.is_retriable() { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Sends what waits without lingering; [`ProducerEvent::Flushed`] with the returned number says when it is done.
    pub fn flush(&mut self) -> u64 {
        self.next_flush += 1;
        self.flush_below = self.accumulator.next_batch();
        self.flushes.push((self.next_flush, self.flush_below));
        self.next_flush
    }

    /// Bytes of the buffer in use.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.accumulator.used
    }

    /// Gives up what is not acknowledged and closes the connections.
    pub fn close(&mut self, now: Now) {
        self.fail_everything(now.instant, &ClientError::Closed);
        self.cluster.stop(now.instant);
    }

    /// Nothing can be sent any more: everything that waits is given up, and so is what comes.
    pub(super) fn fail_everything(&mut self, now: Instant, error: &ClientError) {
        self.fatal = Some(error.clone());
        let places: Vec<Place> = self.accumulator.active.iter().copied().collect();
        for place in places {
            let Some(queue) = self.accumulator.queue(place) else { continue };
            let mut batches = queue.drain();
            batches.extend(queue.expire(Instant::NEVER));
            for batch in batches {
                self.give_up(batch, error.clone());
            }
        }
        self.finish_flushes();
        let _unused = now;
    }

    pub(super) fn finish_flushes(&mut self) {
        let oldest = self.accumulator.outstanding.first().copied();
        let done = |below: BatchId| oldest.is_none_or(|oldest| oldest >= below);
        for (flush, _) in self.flushes.iter().filter(|(_, below)| done(*below)) {
            self.events.push_back(ProducerEvent::Flushed(*flush));
        }
        self.flushes.retain(|(_, below)| !done(*below));
    }

    pub(super) fn active(&self) -> BTreeSet<Place> {
        self.accumulator.active.clone()
    }
}

impl Machine for ProducerCore {
    type Event = ProducerEvent;

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn advance(&mut self, now: Now) {
        let instant = now.instant;
        loop {
            self.cluster.advance(instant);
            self.calls.advance(instant, &mut self.cluster);
            let Some(answer) = self.cluster.poll_answer() else { break };
            if let Some(result) = self.calls.answered(instant, &mut self.cluster, answer.id, answer.result) {
                self.produced(instant, answer.id, result);
            }
        }
        while let Some((_, result)) = self.calls.poll() {
            self.identified(instant, result);
        }
        if self.cluster.metadata.version != self.metadata_version {
            self.metadata_version = self.cluster.metadata.version;
            self.events.push_back(ProducerEvent::Changed);
        }
        self.abandon_moved();
        self.expire(instant);
        self.identify(instant);
        self.drain(instant);
        self.finish_flushes();
        self.cluster.advance(instant);
    }

    fn deadline(&self, now: Now) -> Instant {
        self.cluster.deadline(now.instant).min(self.calls.deadline()).min(self.batch_deadline(now.instant))
    }

    fn poll_event(&mut self) -> Option<ProducerEvent> {
        self.events.pop_front()
    }
}
