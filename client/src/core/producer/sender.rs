//! Draining the accumulator into produce requests, and what their answers mean for each batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, RequestKind, ResponseKind, TopicName};
use millrace_types::{ErrorCode, Instant};

use super::accumulator::Place;
use super::queue::{Batch, PartitionQueue, Taken};
use super::{ProducerCore, ProducerEvent, Written};
use crate::config::Acks;
use crate::core::backoff::Backoff;
use crate::core::cluster::RequestId;
use crate::error::{ClientError, Result};
use crate::wire::text;

/// A batch on its way into a request.
struct Loaded {
    place: Place,
    batch: Batch,
    bytes: Bytes,
}

impl ProducerCore {
    /// Sends what can be sent.
    pub(super) fn drain(&mut self, now: Instant) {
        let Some(_) = self.identities.stamp() else { return };
        let mut brokers: BTreeMap<i32, (bool, Vec<Place>)> = BTreeMap::new();
        for place in self.active() {
            self.start_over(place);
            let idempotent = self.identities.enabled();
            let Some(queue) = self.accumulator.peek(place).filter(|queue| queue.may_send(now, idempotent)) else {
                continue;
            };
            let due = self.is_due(now, queue);
            let topic = self.accumulator.topic(place);
            match self.cluster.metadata.leader(&topic, place.1) {
                Some((leader, _)) => {
                    let (any_due, places) = brokers.entry(leader).or_default();
                    *any_due |= due;
                    places.push(place);
                }
                None => {
                    self.cluster.metadata.want(now, &topic);
                    self.cluster.metadata.invalidate();
                }
            }
        }
        for (broker, (_, places)) in brokers.into_iter().filter(|(_, (due, _))| *due) {
            self.drain_broker(now, broker, places);
        }
    }

    /// Sends requests to `broker` while it takes them. What lingers goes along with what is due in the first one.
    fn drain_broker(&mut self, now: Instant, broker: i32, mut places: Vec<Place>) {
        if let Some(last) = self.turn.get(&broker) {
            let behind = places.partition_point(|place| place <= last).min(places.len());
            places.rotate_left(behind);
        }
        let idempotent = self.identities.enabled();
        while !places.is_empty() && self.cluster.ready(now, broker) {
            let (loaded, left) = self.load(now, &places);
            if loaded.is_empty() {
                return;
            }
            if let Some(last) = loaded.last() {
                self.turn.insert(broker, last.place);
            }
            self.send(now, broker, loaded);
            // Partitions that did not fit come first; those with more to send that is due come again.
            let mut next = left;
            for place in places {
                let again = self
                    .accumulator
                    .peek(place)
                    .is_some_and(|queue| queue.may_send(now, idempotent) && self.is_due(now, queue));
                if again && !next.contains(&place) {
                    next.push(place);
                }
            }
            places = next;
        }
    }

    /// Takes one batch of each place as far as they fit into a request; the places that did not fit come back too.
    fn load(&mut self, now: Instant, places: &[Place]) -> (Vec<Loaded>, Vec<Place>) {
        let (mut loaded, mut left, mut bytes_used) = (Vec::new(), Vec::new(), 512);
        let identity = self.identities.stamp().flatten();
        let (codec, limit) = (self.config.codec, self.config.max_request_size);
        for place in places {
            let Some(queue) = self.accumulator.queue(*place) else { continue };
            if !queue.may_send(now, identity.is_some()) {
                continue;
            }
            let Some(head) = queue.waiting.front_mut() else { continue };
            head.seal(codec);
            let size = head.bytes() + 32;
            if bytes_used + size > limit && !loaded.is_empty() {
                left.push(*place);
                continue;
            }
            match queue.take(codec, identity) {
                Some(Taken::Send(batch, bytes)) => {
                    bytes_used += size;
                    loaded.push(Loaded { place: *place, batch, bytes });
                }
                Some(Taken::Failed(batch, error)) => {
                    queue.gave_up(&batch);
                    self.give_up(batch, error);
                }
                None => {}
            }
        }
        (loaded, left)
    }

    fn send(&mut self, now: Instant, broker: i32, loaded: Vec<Loaded>) {
        let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
        for item in &loaded {
            let data = PartitionProduceData::default().with_index(item.place.1).with_records(Some(item.bytes.clone()));
            topics.entry(self.accumulator.topic(item.place)).or_default().push(data);
        }
        let topic = |(name, data): (Arc<str>, Vec<PartitionProduceData>)| {
            TopicProduceData::default().with_name(TopicName(text(&name))).with_partition_data(data)
        };
        let timeout = self.config.client.request_timeout;
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(self.config.acks.wire())
            .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(topics.into_iter().map(topic).collect());
        let answered = self.config.acks != Acks::None;
        let expected = answered.then_some(timeout);
        let id = self.cluster.send_ready(now, broker, RequestKind::Produce(request), expected);
        let places = loaded.iter().map(|item| item.place).collect();
        for item in loaded {
            if !answered {
                // Nobody will ever know more about it than that it went out.
                self.acknowledged(&item.batch, Written { base_offset: -1, log_append_time: -1 });
                continue;
            }
            let topic = self.accumulator.topic(item.place);
            let epoch = self.cluster.metadata.leader(&topic, item.place.1).map_or(-1, |(_, epoch)| epoch);
            if let Some(queue) = self.accumulator.queue(item.place) {
                queue.sent(item.batch, id, epoch);
            }
        }
        if answered {
            self.requests.insert(id, (broker, places));
        }
    }

    /// Takes the answer to a produce request in.
    pub(super) fn produced(&mut self, now: Instant, id: RequestId, result: Result<ResponseKind>) {
        let Some((broker, places)) = self.requests.remove(&id) else { return };
        let mut rows: BTreeMap<(String, i32), PartitionProduceResponse> = BTreeMap::new();
        let missing = match result {
            Ok(ResponseKind::Produce(response)) => {
                self.cluster.throttle(now, broker, response.throttle_time_ms);
                self.hints(&response);
                for topic in response.responses {
                    let name = topic.name.to_string();
                    rows.extend(topic.partition_responses.into_iter().map(|row| ((name.clone(), row.index), row)));
                }
                ClientError::protocol("Produce", "a partition is missing")
            }
            Ok(_) => ClientError::protocol("Produce", "an answer to something else"),
            Err(error) => error,
        };
        for place in places {
            let topic = self.accumulator.topic(place);
            let row = rows.remove(&(topic.to_string(), place.1));
            // A batch abandoned because its leader moved is not in flight any more: the answer came too late.
            let Some(landed) = self.accumulator.queue(place).and_then(|queue| queue.landed(id)) else { continue };
            let Some(batch) = landed else { continue };
            match row {
                Some(row) => self.answered(now, place, batch, &row),
                None => self.lost(now, place, batch, missing.clone()),
            }
        }
    }

    /// New leaders that the answer names (KIP-951).
    fn hints(&mut self, response: &ProduceResponse) {
        for node in &response.node_endpoints {
            self.cluster.metadata.add_node(node.node_id.0, &node.host, node.port, node.rack.as_deref());
        }
        for topic in &response.responses {
            for row in &topic.partition_responses {
                let leader = &row.current_leader;
                self.cluster.metadata.hint(&topic.name.0, row.index, leader.leader_id.0, leader.leader_epoch);
            }
        }
    }

    /// A partition's row of an answer.
    fn answered(&mut self, now: Instant, place: Place, mut batch: Batch, row: &PartitionProduceResponse) {
        let code = ErrorCode::from_code(row.error_code);
        let message = row.error_message.as_deref();
        let error = ClientError::broker_with("Produce", code, message);
        let idempotent = self.identities.enabled();
        match code {
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                let written = Written { base_offset: row.base_offset, log_append_time: row.log_append_time_ms };
                if let Some(queue) = self.accumulator.queue(place) {
                    queue.acknowledged(&batch);
                }
                self.acknowledged(&batch, written);
            }
            ErrorCode::OutOfOrderSequenceNumber if idempotent => {
                let Some(queue) = self.accumulator.queue(place) else { return };
                // A batch behind one that failed is refused until that one is in.
                if queue.has_older(batch.id) {
                    return self.retry(now, place, batch, error);
                }
                // The first in line has an excuse when one before it was given up. Otherwise the leader lost what it
                // had acknowledged, and the application must know.
                let excused = queue.needs_reset;
                queue.settle(&mut batch);
                if excused { self.retry(now, place, batch, error) } else { self.refused(place, batch, error) }
            }
            ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch if idempotent => {
                // The leader has forgotten the producer, or knows a later epoch: the batch was not written.
                if code == ErrorCode::InvalidProducerEpoch {
                    self.identities.renew();
                }
                if let Some(queue) = self.accumulator.queue(place) {
                    queue.settle(&mut batch);
                }
                self.retry(now, place, batch, error);
            }
            _ if error.is_retriable() => {
                // A leader that steps down says so for what it has appended too, and the next leader may keep that.
                batch.possibly_written |= matches!(
                    code,
                    ErrorCode::NotLeaderOrFollower
                        | ErrorCode::RequestTimedOut
                        | ErrorCode::NotEnoughReplicasAfterAppend
                        | ErrorCode::NetworkException
                        | ErrorCode::KafkaStorageError
                );
                self.cluster.metadata.invalidate();
                self.retry(now, place, batch, error);
            }
            _ => self.refused(place, batch, error),
        }
    }

    /// No answer will come: the batch may have been written.
    fn lost(&mut self, now: Instant, place: Place, mut batch: Batch, error: ClientError) {
        let never_sent = matches!(error, ClientError::UnsupportedVersion { .. } | ClientError::State { .. });
        batch.possibly_written |= !never_sent;
        let retry = error.is_retriable() || matches!(error, ClientError::State { .. } | ClientError::Protocol { .. });
        if retry { self.retry(now, place, batch, error) } else { self.refused(place, batch, error) }
    }

    fn retry(&mut self, now: Instant, place: Place, mut batch: Batch, error: ClientError) {
        let client = &self.config.client;
        let attempt = batch.attempts.saturating_sub(1);
        let pause = self.cluster.random.backoff(client.retry_backoff, client.retry_backoff_max, attempt);
        batch.last_error = Some(error);
        if let Some(queue) = self.accumulator.queue(place) {
            queue.requeue(batch, now.after(pause));
        }
    }

    fn refused(&mut self, place: Place, batch: Batch, error: ClientError) {
        if let Some(queue) = self.accumulator.queue(place) {
            queue.gave_up(&batch);
        }
        self.give_up(batch, error);
    }

    fn acknowledged(&mut self, batch: &Batch, written: Written) {
        self.accumulator.release(batch);
        self.events.push_back(ProducerEvent::Batch(batch.id, Ok(written)));
        self.events.push_back(ProducerEvent::Changed);
    }

    /// Tells that a batch failed. Its queue has been told already.
    pub(super) fn give_up(&mut self, batch: Batch, error: ClientError) {
        self.accumulator.release(&batch);
        let error = ClientError::NotDelivered { cause: Box::new(error), possibly_written: batch.possibly_written };
        self.events.push_back(ProducerEvent::Batch(batch.id, Err(error)));
        self.events.push_back(ProducerEvent::Changed);
    }

    /// Does not wait for leaders that are none any more.
    pub(super) fn abandon_moved(&mut self) {
        for moved in std::mem::take(&mut self.cluster.metadata.moved) {
            let epoch = self.cluster.metadata.leader(&moved.topic, moved.partition).map_or(-1, |(_, epoch)| epoch);
            let place = self.accumulator.find(&moved.topic, moved.partition);
            if let Some(queue) = place.and_then(|place| self.accumulator.queue(place)) {
                queue.abandon(epoch);
                queue.retry_at = Instant::ZERO;
            }
        }
    }

    /// Gives up what was not delivered in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let timeout = self.config.delivery_timeout;
        for place in self.active() {
            let Some(queue) = self.accumulator.queue(place) else { continue };
            if queue.oldest().is_some_and(|oldest| oldest.after(timeout) <= now) {
                // The moment `timeout` ago exists, because something was created before it.
                let before = Instant::from_micros(now.as_micros().saturating_sub(timeout.as_micros() as u64));
                for mut batch in queue.expire(before) {
                    let cause = batch.last_error.take().or_else(|| self.cluster_error());
                    self.give_up(batch, ClientError::timeout("delivery", cause));
                }
            }
            if self.accumulator.peek(place).is_some_and(PartitionQueue::is_idle) {
                self.accumulator.active.remove(&place);
            }
        }
    }

    /// Starts the sequence numbers of a partition over when that is due.
    fn start_over(&mut self, place: Place) {
        if let Some(queue) = self.accumulator.queue(place)
            && queue.needs_reset
        {
            let spent = queue.reset();
            self.identities.raise(spent);
        }
    }

    /// Whether the first batch of a queue is to be sent without waiting for more records.
    fn is_due(&self, now: Instant, queue: &PartitionQueue) -> bool {
        let Some(head) = queue.waiting.front() else { return false };
        head.attempts > 0
            || queue.waiting.len() > 1
            || !head.is_open()
            || head.bytes() >= self.batch_bytes()
            || head.created.after(self.config.linger) <= now
            || head.id < self.flush_below
            // Others wait for the memory that this batch would free.
            || self.accumulator.used.saturating_mul(2) > self.config.buffer_memory
    }

    fn batch_bytes(&self) -> usize {
        self.config.batch_size.min(self.config.max_request_size - 512)
    }

    /// When a batch becomes due, may be tried again or expires.
    pub(super) fn batch_deadline(&self, now: Instant) -> Instant {
        let times = self.accumulator.active.iter().filter_map(|place| self.accumulator.peek(*place)).map(|queue| {
            let expiry = queue.oldest().map_or(Instant::NEVER, |oldest| oldest.after(self.config.delivery_timeout));
            let linger = queue.waiting.front().map_or(Instant::NEVER, |head| head.created.after(self.config.linger));
            // What is due already waits for a connection, an answer or metadata, which call `advance` themselves.
            [queue.retry_at, linger].into_iter().filter(|at| *at > now).fold(expiry, Instant::min)
        });
        times.min().unwrap_or(Instant::NEVER)
    }

    /// Why batches could not even be sent, as far as that is known.
    fn cluster_error(&self) -> Option<ClientError> {
        let topics: BTreeSet<ErrorCode> = self.cluster.metadata.topics.values().map(|topic| topic.error).collect();
        let code = topics.into_iter().find(|code| *code != ErrorCode::None);
        code.map(|code| ClientError::broker("Metadata", code)).or_else(|| self.cluster.trouble())
    }
}
