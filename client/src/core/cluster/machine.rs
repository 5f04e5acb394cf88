//! The cluster itself: its state, the requests put to it, and its turn in the host's loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use millrace_types::Instant;

use super::coordinators::{self, Coordinators};
use super::doubt::Doubt;
use super::link::{Link, LinkKey, Queued, take_expired};
use super::{Answer, ConnectionId, Metadata, NetOutput, Own, QUEUE_MAX, RequestId, Target};
use crate::config::ClientConfig;
use crate::core::Random;
use crate::core::backoff::Backoff;
use crate::core::connection::{Arrival, Connection};
use crate::error::{ClientError, Result};
use crate::wire::text;

/// The connections of one client and what it knows of the cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) config: ClientConfig,
    pub(crate) random: Random,
    pub(crate) metadata: Metadata,
    pub(super) max_in_flight: usize,
    pub(super) client_id: StrBytes,
    pub(super) next_id: u64,
    pub(super) connections: BTreeMap<ConnectionId, (LinkKey, Connection)>,
    pub(super) links: BTreeMap<LinkKey, Link>,
    pub(super) any: VecDeque<Queued>,
    pub(super) bootstrap_at: usize,
    pub(super) coordinators: Coordinators,
    pub(super) own: BTreeMap<RequestId, Own>,
    pub(super) last_error: Option<ClientError>,
    pub(super) outputs: VecDeque<NetOutput>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) stopped: bool,
    pub(super) doubt: Doubt,
}

impl Cluster {
    /// A cluster found by the configuration's bootstrap addresses, with so many requests per connection at most.
    #[must_use]
    pub fn new(config: ClientConfig, random: Random, max_in_flight: usize, auto_create: bool) -> Self {
        let mut random = random;
        let bootstrap_at = random.below(config.bootstrap.len());
        Self {
            client_id: text(&config.client_id),
            config,
            random,
            metadata: Metadata::new(auto_create),
            max_in_flight,
            next_id: 0,
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            any: VecDeque::new(),
            bootstrap_at,
            coordinators: Coordinators::default(),
            own: BTreeMap::new(),
            last_error: None,
            outputs: VecDeque::new(),
            answers: VecDeque::new(),
            stopped: false,
            doubt: Doubt::default(),
        }
    }

    /// Sends `request` as soon as its target is connected. The answer, or why there is none, comes from
    /// [`Cluster::poll_answer`] within `timeout` of waiting plus `timeout` of flight.
    pub(crate) fn send(&mut self, now: Instant, target: Target, request: RequestKind, timeout: Duration) -> RequestId {
        let id = self.allocate();
        let queued = Queued { id, request, queued_at: now, timeout, expects_answer: true };
        if self.stopped {
            self.answer(id, Err(ClientError::Closed));
            return id;
        }
        let refused = match target {
            Target::Any if self.any.len() < QUEUE_MAX => {
                self.any.push_back(queued);
                None
            }
            Target::Any => Some(queued),
            Target::Broker(broker) => self.enqueue(LinkKey::Data(broker), queued),
            Target::Coordinator(group) => match self.coordinators.known(&group) {
                Some(broker) => self.enqueue(LinkKey::Group(broker), queued),
                None => self.coordinators.wait(now, group, queued),
            },
        };
        if let Some(refused) = refused {
            self.answer(refused.id, Err(ClientError::State { reason: "too many requests wait for a connection" }));
        }
        id
    }

    /// Sends `request` to a broker that [`Cluster::ready`] has just reported, without waiting. Without a timeout no
    /// answer is expected.
    pub(crate) fn send_ready(
        &mut self,
        now: Instant,
        broker: i32,
        request: RequestKind,
        timeout: Option<Duration>,
    ) -> RequestId {
        let id = self.allocate();
        let connection = self.links.get(&LinkKey::Data(broker)).and_then(|link| link.connection);
        let Some(connection) = connection else {
            self.answer(id, Err(ClientError::State { reason: "the broker is not connected" }));
            return id;
        };
        let queued = Queued {
            id,
            request,
            queued_at: now,
            timeout: timeout.unwrap_or(self.config.request_timeout),
            expects_answer: timeout.is_some(),
        };
        self.write(now, connection, queued);
        id
    }

    /// Whether `broker` can take one more data request at once; begins to connect when it is not connected.
    pub(crate) fn ready(&mut self, now: Instant, broker: i32) -> bool {
        let key = LinkKey::Data(broker);
        if let Some((_, connection)) =
            self.links.get(&key).and_then(|link| link.connection).and_then(|id| self.connections.get(&id))
        {
            return connection.has_room(now, self.max_in_flight);
        }
        self.connect(now, key);
        false
    }

    /// Forgets who coordinates `group`.
    pub(crate) fn forget_coordinator(&mut self, group: &str) {
        self.coordinators.forget(group);
    }

    /// The coordinator of `group`, when it is known.
    pub(crate) fn coordinator(&self, group: &str) -> Option<i32> {
        self.coordinators.known(group)
    }

    /// Holds back what would go to `broker` on its data lane (KIP-219).
    pub(crate) fn throttle(&mut self, now: Instant, broker: i32, millis: i32) {
        let pause = Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(self.config.request_timeout);
        let connection = self.links.get(&LinkKey::Data(broker)).and_then(|link| link.connection);
        if let Some((_, connection)) = connection.and_then(|id| self.connections.get_mut(&id))
            && !pause.is_zero()
        {
            connection.throttle(now, pause);
        }
    }

    /// The next answer.
    pub(crate) fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// The next thing for the host to do.
    pub(crate) fn poll_output(&mut self) -> Option<NetOutput> {
        self.outputs.pop_front()
    }

    pub(crate) fn opened(&mut self, now: Instant, id: ConnectionId) {
        let Some((_, connection)) = self.connections.get_mut(&id) else { return };
        match connection.opened(now) {
            Ok(frame) => self.outputs.push_back(NetOutput::Write { connection: id, frame }),
            Err(error) => self.close(now, id, &error),
        }
    }

    pub(crate) fn frame(&mut self, now: Instant, id: ConnectionId, frame: Bytes) {
        let Some((key, connection)) = self.connections.get_mut(&id) else { return };
        match connection.frame(now, frame) {
            Ok(Arrival::Ready) => {
                if let Some(link) = self.links.get_mut(key) {
                    link.failures = 0;
                }
            }
            Ok(Arrival::Renegotiate(frame)) => self.outputs.push_back(NetOutput::Write { connection: id, frame }),
            Ok(Arrival::Answer(request, result)) => {
                let broken = (*result).as_ref().err().cloned();
                self.answer(request, *result);
                if let Some(error) = broken {
                    self.close(now, id, &error);
                }
            }
            Err(error) => self.close(now, id, &error),
        }
    }

    /// The host reports the end of a connection.
    pub(crate) fn closed(&mut self, now: Instant, id: ConnectionId, reason: &ClientError) {
        let Some((key, mut connection)) = self.connections.remove(&id) else { return };
        let lost = connection.abandon();
        self.last_error = Some(reason.clone());
        tracing::debug!(address = %connection.address, %reason, "connection ended");
        let mut failed = Vec::new();
        if let Some(link) = self.links.get_mut(&key) {
            let (first, longest) = (self.config.reconnect_backoff, self.config.reconnect_backoff_max);
            link.connection = None;
            link.retry_at = now.after(self.random.backoff(first, longest, link.failures));
            link.failures = link.failures.saturating_add(1);
            failed.extend(link.queue.drain(..).map(|queued| queued.id));
        }
        if let LinkKey::Group(broker) = key {
            self.coordinators.forget_broker(broker);
        }
        // A connection that ends is often the first sign that a leader moved.
        if connection.is_ready() && self.metadata.asking.is_none() {
            self.metadata.invalidate_now(now);
        } else {
            self.metadata.invalidate();
        }
        let error = if lost.is_empty() && !connection.is_ready() {
            reason.clone()
        } else {
            ClientError::Disconnected { address: Arc::clone(&connection.address) }
        };
        for request in lost.into_iter().chain(failed) {
            self.answer(request, Err(error.clone()));
        }
    }

    /// Closes a connection from this side.
    pub(super) fn close(&mut self, now: Instant, id: ConnectionId, reason: &ClientError) {
        self.outputs.push_back(NetOutput::Close { connection: id });
        self.closed(now, id, reason);
    }

    /// Closes everything; whatever is asked from here on fails.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.stopped = true;
        let open: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in open {
            self.close(now, id, &ClientError::Closed);
        }
        let waiting: Vec<Queued> = self.any.drain(..).chain(self.coordinators.drain()).collect();
        for queued in waiting {
            self.answer(queued.id, Err(ClientError::Closed));
        }
    }

    /// Does what is due: time-outs, metadata, coordinators, connects, queued requests.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.settle(now);
        self.expire(now);
        self.settle(now);
        self.look_for_silence(now);
        self.settle(now);
        if self.metadata.is_due(now) {
            let request = RequestKind::Metadata(self.metadata.request(now));
            let id = self.send(now, Target::Any, request, self.config.request_timeout);
            self.metadata.asking = Some(id);
            self.own.insert(id, Own::Metadata);
        }
        for group in self.coordinators.due(now) {
            let request = coordinators::request(&group);
            let id = self.send(now, Target::Any, request, self.config.request_timeout);
            self.own.insert(id, Own::FindCoordinator(group));
        }
        self.route_any(now);
        let waiting: Vec<LinkKey> =
            self.links.iter().filter(|(_, link)| !link.queue.is_empty()).map(|(key, _)| *key).collect();
        for key in waiting {
            self.flush(now, key);
        }
    }

    /// When [`Cluster::advance`] has to be called at the latest.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        if self.stopped {
            return Instant::NEVER;
        }
        let idle = self.config.connections_max_idle;
        let connections = self.connections.values().map(|(_, connection)| connection.deadline(now, idle));
        let queues = self.links.values().map(|link| link.deadline(now));
        let any = self.any.iter().map(Queued::deadline).chain(self.any_retry_at(now));
        let own = [self.metadata.deadline(), self.coordinators.deadline(), self.doubt_deadline(now)];
        connections.chain(queues).chain(any).chain(own).min().unwrap_or(Instant::NEVER)
    }

    fn expire(&mut self, now: Instant) {
        let idle = self.config.connections_max_idle;
        let expired: Vec<(ConnectionId, &'static str)> = self
            .connections
            .iter()
            .filter_map(|(id, (_, connection))| Some((*id, connection.expired(now, idle)?)))
            .collect();
        for (id, what) in expired {
            self.close(now, id, &ClientError::timeout(what, None));
        }
        let mut late: Vec<RequestId> = self.coordinators.expire(now);
        late.extend(take_expired(&mut self.any, now));
        for link in self.links.values_mut() {
            late.extend(take_expired(&mut link.queue, now));
        }
        let error = self.unreachable();
        for id in late {
            self.answer(id, Err(error.clone()));
        }
    }

    /// Why nothing could be sent.
    fn unreachable(&self) -> ClientError {
        let reason =
            self.last_error.as_ref().map_or_else(|| "no connection was made in time".to_owned(), |e| e.to_string());
        ClientError::NoBroker { addresses: Arc::from(self.config.bootstrap.join(",")), reason: Arc::from(reason) }
    }

    /// Why nothing goes on, when no broker is connected and one could not be.
    pub(crate) fn trouble(&self) -> Option<ClientError> {
        let connected = self.connections.values().any(|(_, connection)| connection.is_ready());
        (!connected && self.last_error.is_some()).then(|| self.unreachable())
    }

    /// Gives an answer to whoever asked: the cluster itself or its owner.
    pub(super) fn answer(&mut self, id: RequestId, result: Result<ResponseKind>) {
        match self.own.remove(&id) {
            None => self.answers.push_back(Answer { id, result }),
            // Taken in by the next advance, which knows the time.
            Some(own) => self.coordinators.answered.push_back((own, result)),
        }
    }

    /// Takes in the answers to the cluster's own requests.
    fn settle(&mut self, now: Instant) {
        while let Some((own, result)) = self.coordinators.answered.pop_front() {
            match own {
                Own::Metadata => self.metadata_answer(now, result),
                Own::FindCoordinator(group) => self.coordinator_answer(now, &group, result),
                Own::Probe(group) => self.probe_answer(now, &group, result),
            }
        }
        self.give_up_left(now);
    }

    fn metadata_answer(&mut self, now: Instant, result: Result<ResponseKind>) {
        let (first, longest) = (self.config.retry_backoff, self.config.retry_backoff_max);
        match result {
            Ok(ResponseKind::Metadata(response)) => {
                self.metadata.apply(now, response, first, self.config.metadata_max_age);
                let nodes: BTreeSet<i32> = self.metadata.nodes.keys().copied().collect();
                self.links.retain(|key, link| {
                    key.broker().is_none_or(|id| nodes.contains(&id))
                        || link.connection.is_some()
                        || !link.queue.is_empty()
                });
            }
            _ => {
                let pause = self.random.backoff(first, longest, self.metadata.failures());
                self.metadata.failed(now, pause);
            }
        }
    }

    fn coordinator_answer(&mut self, now: Instant, group: &Arc<str>, result: Result<ResponseKind>) {
        let (first, longest) = (self.config.retry_backoff, self.config.retry_backoff_max);
        let pause = self.random.backoff(first, longest, self.coordinators.failures(group));
        let found = coordinators::read(result);
        if let Ok(node) = &found {
            self.metadata.add_node(node.id, &node.host, node.port, None);
        }
        let broker = found.as_ref().ok().map(|node| node.id);
        let fatal = found.err().filter(|error| !error.is_retriable());
        for queued in self.coordinators.found(now, group, broker, pause, fatal.is_some()) {
            match (&fatal, broker) {
                (Some(error), _) => self.answers.push_back(Answer { id: queued.id, result: Err(error.clone()) }),
                (None, Some(broker)) => {
                    if let Some(refused) = self.enqueue(LinkKey::Group(broker), queued) {
                        let error = ClientError::State { reason: "too many requests wait for a connection" };
                        self.answer(refused.id, Err(error));
                    }
                }
                (None, None) => {}
            }
        }
    }

    pub(super) fn allocate(&mut self) -> RequestId {
        self.next_id += 1;
        RequestId(self.next_id)
    }
}
