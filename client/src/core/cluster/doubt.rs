//! Brokers that do not answer and whose connection stands: a stopped process, a machine that is gone without a word.
//!
//! Nothing says that such a broker leads no longer but another broker. So when an answer is late by
//! [`ClientConfig::silence_timeout`](crate::ClientConfig::silence_timeout), another broker is asked for the leaders, and
//! for the coordinators of groups, and asked again after pauses while the silence lasts. Only when it names others is the
//! connection given up, with all that is under way on it: a broker that is merely slow is waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::Instant;

use super::link::LinkKey;
use super::{Cluster, ConnectionId, Own, RequestId, Target, coordinators};
use crate::core::backoff::Backoff;
use crate::core::connection::Connection;
use crate::error::{ClientError, Result};

/// How often has been asked since a broker fell silent.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    asked: u32,
    next: Instant,
}

impl Cluster {
    fn is_silent(&self, now: Instant, connection: &Connection) -> bool {
        connection.silent_at(self.config.silence_timeout) <= now
    }

    /// Whether the connection takes what any broker may answer. A broker that is silent on another connection would not
    /// answer here either; and who is behind an address of the configuration is not known, so that while a broker is silent
    /// those that are known by their number come first.
    pub(super) fn may_answer(&self, now: Instant, key: LinkKey, connection: &Connection) -> bool {
        if !connection.has_room(now, self.max_in_flight) {
            return false;
        }
        let silent = self.silent(now);
        if self.is_only() || silent.is_empty() {
            return true;
        }
        let address = |id: &ConnectionId| self.connections.get(id).map(|(_, other)| &other.address);
        let is_silent = silent.iter().any(|(id, _)| address(id) == Some(&connection.address));
        let others = || self.metadata.nodes.keys().any(|broker| self.is_promising(now, LinkKey::Data(*broker)));
        !is_silent && (key.broker().is_some() || !others())
    }

    /// Whether nothing speaks against the broker: it is not silent, and the last connection did not fail.
    pub(super) fn is_promising(&self, now: Instant, key: LinkKey) -> bool {
        let has_failed = self.links.get(&key).is_some_and(|link| link.failures > 0);
        !has_failed && !key.broker().is_some_and(|broker| self.is_broker_silent(now, broker))
    }

    /// Whether a connection to this broker is silent.
    pub(crate) fn is_broker_silent(&self, now: Instant, broker: i32) -> bool {
        let own = self.connections.values().filter(|(key, _)| key.broker() == Some(broker));
        own.map(|(_, connection)| connection).any(|connection| self.is_silent(now, connection))
    }

    /// Whether there is no other broker that could be asked.
    fn is_only(&self) -> bool {
        self.metadata.nodes.len() < 2
    }

    fn silent(&self, now: Instant) -> Vec<(ConnectionId, LinkKey)> {
        let silent = self.connections.iter().filter(|(_, (_, connection))| self.is_silent(now, connection));
        silent.map(|(id, (key, _))| (*id, *key)).collect()
    }

    /// Asks other brokers when one is silent.
    pub(super) fn look_for_silence(&mut self, now: Instant) {
        if self.is_only() {
            return;
        }
        let silent = self.silent(now);
        if silent.is_empty() {
            self.doubt = Doubt::default();
            return;
        }
        // Questions of the cluster itself go elsewhere.
        let stuck = silent.iter().filter_map(|(id, _)| self.connections.get(id));
        let stuck: Vec<RequestId> = stuck.flat_map(|(_, connection)| connection.unanswered()).collect();
        for id in stuck {
            match self.own.remove(&id) {
                Some(Own::Metadata) => self.metadata.invalidate_now(now),
                Some(own @ Own::FindCoordinator(_)) => {
                    let error = ClientError::timeout("FindCoordinator", None);
                    self.coordinators.answered.push_back((own, Err(error)));
                }
                Some(Own::Probe(_)) | None => {}
            }
        }
        if self.doubt.next > now {
            return;
        }
        let (first, longest) = (self.config.retry_backoff, self.config.retry_backoff_max);
        self.doubt.next = now.after(self.random.backoff(first, longest, self.doubt.asked));
        self.doubt.asked = self.doubt.asked.saturating_add(1);
        if self.metadata.asking.is_none() {
            self.metadata.invalidate_now(now);
        }
        let brokers: BTreeSet<i32> = silent.iter().filter_map(|(_, key)| key.broker()).collect();
        for broker in brokers {
            for group in self.coordinators.of_broker(broker) {
                self.probe(now, group);
            }
        }
    }

    fn probe(&mut self, now: Instant, group: Arc<str>) {
        let asked = |own: &Own| matches!(own, Own::Probe(other) if *other == group);
        if !self.own.values().any(asked) {
            let request: RequestKind = coordinators::request(&group);
            let id = self.send(now, Target::Any, request, self.config.request_timeout);
            self.own.insert(id, Own::Probe(group));
        }
    }

    /// Another broker says who coordinates the group of a silent one.
    pub(super) fn probe_answer(&mut self, now: Instant, group: &str, result: Result<ResponseKind>) {
        let (Ok(found), Some(known)) = (coordinators::read(result), self.coordinators.known(group)) else { return };
        if found.id != known {
            self.metadata.add_node(found.id, &found.host, found.port, None);
            self.give_up_link(now, LinkKey::Group(known));
            self.coordinators.forget(group);
        }
    }

    /// Gives up the silent brokers that others lead instead of.
    pub(super) fn give_up_left(&mut self, now: Instant) {
        for broker in std::mem::take(&mut self.metadata.left) {
            self.give_up_link(now, LinkKey::Data(broker));
        }
    }

    fn give_up_link(&mut self, now: Instant, key: LinkKey) {
        let Some(id) = self.links.get(&key).and_then(|link| link.connection) else { return };
        let Some((_, connection)) = self.connections.get(&id) else { return };
        if key.broker().is_some_and(|broker| self.is_broker_silent(now, broker)) {
            tracing::debug!(address = %connection.address, "a silent broker is given up: another has taken over");
            let reason = ClientError::Disconnected { address: Arc::clone(&connection.address) };
            self.close(now, id, &reason);
        }
    }

    /// When a broker falls silent, or others are to be asked again.
    pub(super) fn doubt_deadline(&self, now: Instant) -> Instant {
        if self.is_only() {
            return Instant::NEVER;
        }
        let patience = self.config.silence_timeout;
        let at = |connection: &Connection| match connection.silent_at(patience) {
            at if at <= now => self.doubt.next,
            at => at,
        };
        self.connections.values().map(|(_, connection)| at(connection)).min().unwrap_or(Instant::NEVER)
    }
}
