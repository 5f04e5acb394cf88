//! One way to a broker: its connection, when it may be tried again, and the requests that wait for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use millrace_types::Instant;

use super::{Cluster, ConnectionId, NetOutput, QUEUE_MAX, RequestId};
use crate::core::connection::Connection;
use crate::error::ClientError;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkKey {
    /// An address of the configuration, by its place there.
    Bootstrap(usize),
    /// Produce, fetch and the like.
    Data(i32),
    /// The requests of a group.
    Group(i32),
}

impl LinkKey {
    pub(super) fn broker(self) -> Option<i32> {
        match self {
            Self::Bootstrap(_) => None,
            Self::Data(broker) | Self::Group(broker) => Some(broker),
        }
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: RequestId,
    pub(super) request: RequestKind,
    pub(super) queued_at: Instant,
    pub(super) timeout: Duration,
    pub(super) expects_answer: bool,
}

impl Queued {
    pub(super) fn deadline(&self) -> Instant {
        self.queued_at.after(self.timeout)
    }
}

/// One way to a broker.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Option<ConnectionId>,
    pub(super) failures: u32,
    pub(super) retry_at: Instant,
    pub(super) queue: VecDeque<Queued>,
}

impl Link {
    fn new() -> Self {
        Self { connection: None, failures: 0, retry_at: Instant::ZERO, queue: VecDeque::new() }
    }

    /// When something about the link becomes due by itself. A retry that is due already waits for somebody to want it.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let expiry = self.queue.iter().map(Queued::deadline).min().unwrap_or(Instant::NEVER);
        if self.connection.is_none() && self.retry_at > now { expiry.min(self.retry_at) } else { expiry }
    }
}

impl Cluster {
    /// Puts `queued` behind `key`; gives it back when too many wait there.
    pub(super) fn enqueue(&mut self, key: LinkKey, queued: Queued) -> Option<Queued> {
        let link = self.links.entry(key).or_insert_with(Link::new);
        if link.queue.len() >= QUEUE_MAX {
            return Some(queued);
        }
        link.queue.push_back(queued);
        None
    }

    /// Connects the link unless it is connected, waits for its pause, or has no address.
    pub(super) fn connect(&mut self, now: Instant, key: LinkKey) {
        let Some((host, port)) = self.address(key) else {
            self.metadata.invalidate();
            return;
        };
        let link = self.links.entry(key).or_insert_with(Link::new);
        if link.connection.is_some() || link.retry_at > now {
            return;
        }
        self.next_id += 1;
        let id = ConnectionId(self.next_id);
        link.connection = Some(id);
        let address = Arc::from(format!("{host}:{port}"));
        let connection = Connection::new(now, address, self.client_id.clone(), self.config.connect_timeout);
        self.connections.insert(id, (key, connection));
        self.outputs.push_back(NetOutput::Open { connection: id, host, port });
    }

    fn address(&self, key: LinkKey) -> Option<(Arc<str>, u16)> {
        match key {
            LinkKey::Bootstrap(at) => {
                let (host, port) = self.config.bootstrap.get(at)?.rsplit_once(':')?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Some((Arc::from(host), port.parse().ok()?))
            }
            LinkKey::Data(broker) | LinkKey::Group(broker) => {
                self.metadata.nodes.get(&broker).map(|node| (Arc::clone(&node.host), node.port))
            }
        }
    }

    /// Sends what waits behind `key` as far as there is room, or connects.
    pub(super) fn flush(&mut self, now: Instant, key: LinkKey) {
        let Some(id) = self.links.get(&key).and_then(|link| link.connection) else {
            self.connect(now, key);
            return;
        };
        while self.connections.get(&id).is_some_and(|(_, connection)| connection.has_room(now, self.max_in_flight)) {
            let Some(queued) = self.links.get_mut(&key).and_then(|link| link.queue.pop_front()) else { return };
            self.write(now, id, queued);
        }
    }

    pub(super) fn write(&mut self, now: Instant, id: ConnectionId, queued: Queued) {
        let Some((_, connection)) = self.connections.get_mut(&id) else {
            self.answer(queued.id, Err(ClientError::State { reason: "the broker is not connected" }));
            return;
        };
        let timeout = queued.expects_answer.then_some(queued.timeout);
        match connection.send(now, queued.id, queued.request, timeout) {
            Ok(frame) => self.outputs.push_back(NetOutput::Write { connection: id, frame }),
            Err(error) => self.answer(queued.id, Err(error)),
        }
    }

    /// Sends what any broker may answer on a ready connection with the fewest requests in flight, by chance where several
    /// have as few: a broker that is cut off from the others answers at once and knows nothing new. Connects to another
    /// broker when there is none.
    pub(super) fn route_any(&mut self, now: Instant) {
        while !self.any.is_empty() {
            let ready = self.connections.iter().filter(|(_, (key, connection))| self.may_answer(now, *key, connection));
            let mut ready: Vec<_> = ready.map(|(id, (key, connection))| (connection.in_flight(), *key, *id)).collect();
            let Some(least) = ready.iter().map(|(in_flight, _, _)| *in_flight).min() else { break };
            ready.retain(|(in_flight, _, _)| *in_flight == least);
            ready.sort_unstable_by_key(|(_, key, _)| *key);
            let Some((_, _, id)) = ready.get(self.random.below(ready.len())).copied() else { break };
            let Some(queued) = self.any.pop_front() else { return };
            self.write(now, id, queued);
        }
        let patience = self.config.silence_timeout;
        let opening = |connection: &Connection| !connection.is_ready() && connection.silent_at(patience) > now;
        let opening = self.connections.values().any(|(_, connection)| opening(connection));
        if !self.any.is_empty()
            && !opening
            && let Some(key) = self.any_link(now)
        {
            self.connect(now, key);
        }
    }

    /// A link that may be connected: that of a known broker, else of a bootstrap address (KIP-899).
    fn any_link(&mut self, now: Instant) -> Option<LinkKey> {
        let free =
            |key: &LinkKey| self.links.get(key).is_none_or(|link| link.connection.is_none() && link.retry_at <= now);
        let brokers: Vec<LinkKey> = self.metadata.nodes.keys().map(|id| LinkKey::Data(*id)).filter(free).collect();
        let count = self.config.bootstrap.len();
        let bootstrap =
            (0..count).map(|step| LinkKey::Bootstrap((self.bootstrap_at + step) % count)).find(|key| free(key));
        // A broker that failed may be gone for good: the addresses of the configuration take turns with it.
        let fresh: Vec<LinkKey> = brokers.iter().copied().filter(|key| self.is_promising(now, *key)).collect();
        if let Some(key) = fresh.get(self.random.below(fresh.len())) {
            return Some(*key);
        }
        let key = bootstrap.or_else(|| brokers.get(self.random.below(brokers.len())).copied());
        if let Some(LinkKey::Bootstrap(at)) = key {
            self.bootstrap_at = at + 1;
        }
        key
    }

    /// When another link may be tried for what any broker may answer.
    pub(super) fn any_retry_at(&self, now: Instant) -> Option<Instant> {
        if self.any.is_empty() {
            return None;
        }
        let pauses = self.links.values().filter(|link| link.connection.is_none() && link.retry_at > now);
        pauses.map(|link| link.retry_at).min()
    }
}

/// Takes the requests out of `queue` that have waited too long.
pub(super) fn take_expired(queue: &mut VecDeque<Queued>, now: Instant) -> Vec<RequestId> {
    let late = queue.iter().filter(|queued| queued.deadline() <= now).map(|queued| queued.id).collect::<Vec<_>>();
    if !late.is_empty() {
        queue.retain(|queued| queued.deadline() > now);
    }
    late
}
