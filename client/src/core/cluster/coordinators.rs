//! Which broker coordinates which group, and the requests that wait until that is known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{FindCoordinatorRequest, RequestKind, ResponseKind};
use millrace_types::{ErrorCode, Instant};

use super::link::Queued;
use super::{Own, QUEUE_MAX, RequestId};
use crate::error::{ClientError, Result};
use crate::wire::text;

/// Groups remembered at most; an administrative client may ask about many.
const GROUPS_MAX: usize = 10_000;

/// A broker as FindCoordinator names it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: i32,
}

#[derive(Debug, Default)]
struct Group {
    broker: Option<i32>,
    asking: bool,
    next_try: Instant,
    failures: u32,
    waiting: VecDeque<Queued>,
}

/// The coordinators known or looked for.
#[derive(Debug, Default)]
pub(super) struct Coordinators {
    groups: BTreeMap<Arc<str>, Group>,
    /// Answers to the cluster's own requests.
    pub(super) answered: VecDeque<(Own, Result<ResponseKind>)>,
}

impl Coordinators {
    pub(super) fn known(&self, group: &str) -> Option<i32> {
        self.groups.get(group)?.broker
    }

    pub(super) fn failures(&self, group: &str) -> u32 {
        self.groups.get(group).map_or(0, |group| group.failures)
    }

    /// Keeps `queued` until the coordinator of `group` is found; gives it back when too many wait.
    pub(super) fn wait(&mut self, now: Instant, group: Arc<str>, queued: Queued) -> Option<Queued> {
        if !self.groups.contains_key(&group) && self.groups.len() >= GROUPS_MAX {
            self.groups.retain(|_, group| group.asking || !group.waiting.is_empty());
            if self.groups.len() >= GROUPS_MAX {
                return Some(queued);
            }
        }
        let group = self.groups.entry(group).or_default();
        if group.waiting.len() >= QUEUE_MAX {
            return Some(queued);
        }
        if group.waiting.is_empty() && group.failures == 0 {
            group.next_try = now;
        }
        group.waiting.push_back(queued);
        None
    }

    pub(super) fn forget(&mut self, group: &str) {
        if let Some(group) = self.groups.get_mut(group) {
            group.broker = None;
        }
    }

    pub(super) fn forget_broker(&mut self, broker: i32) {
        for group in self.groups.values_mut().filter(|group| group.broker == Some(broker)) {
            group.broker = None;
        }
    }

    /// The groups that `broker` coordinates.
    pub(super) fn of_broker(&self, broker: i32) -> Vec<Arc<str>> {
        let own = self.groups.iter().filter(|(_, group)| group.broker == Some(broker));
        own.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The groups to ask about at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let due = |group: &Group| group.broker.is_none() && !group.asking && !group.waiting.is_empty();
        let mut names = Vec::new();
        for (name, group) in self.groups.iter_mut().filter(|(_, group)| due(group) && group.next_try <= now) {
            group.asking = true;
            names.push(Arc::clone(name));
        }
        names
    }

    pub(super) fn deadline(&self) -> Instant {
        let groups = self.groups.values().filter(|group| !group.waiting.is_empty());
        let times = groups.flat_map(|group| {
            let retry = if group.asking { Instant::NEVER } else { group.next_try };
            group.waiting.iter().map(Queued::deadline).chain([retry])
        });
        times.min().unwrap_or(Instant::NEVER)
    }

    /// Takes out the requests that have waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<RequestId> {
        self.groups.values_mut().flat_map(|group| super::link::take_expired(&mut group.waiting, now)).collect()
    }

    /// Takes an answer in and returns the requests that wait no longer: all of them when the coordinator is known or
    /// the error is `fatal`, none when the question is to be asked again after `pause`.
    pub(super) fn found(
        &mut self,
        now: Instant,
        group: &str,
        broker: Option<i32>,
        pause: Duration,
        fatal: bool,
    ) -> Vec<Queued> {
        let Some(group) = self.groups.get_mut(group) else { return Vec::new() };
        group.asking = false;
        group.broker = broker;
        group.next_try = now.after(pause);
        group.failures = if broker.is_some() { 0 } else { group.failures.saturating_add(1) };
        if broker.is_some() || fatal { group.waiting.drain(..).collect() } else { Vec::new() }
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Queued> {
        self.groups.values_mut().flat_map(|group| group.waiting.drain(..)).collect()
    }
}

/// The question for the coordinator of `group`.
pub(super) fn request(group: &str) -> RequestKind {
    RequestKind::FindCoordinator(FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]))
}

/// The broker that an answer names.
pub(super) fn read(result: Result<ResponseKind>) -> Result<Found> {
    let ResponseKind::FindCoordinator(response) = result? else {
        return Err(ClientError::protocol("FindCoordinator", "an answer to something else"));
    };
    // Version 4 answers for several keys, older ones in the fields of the response itself.
    let (code, message, found) = match response.coordinators.into_iter().next() {
        Some(row) => {
            (row.error_code, row.error_message, Found { id: row.node_id.0, host: row.host.to_string(), port: row.port })
        }
        None => (
            response.error_code,
            response.error_message,
            Found { id: response.node_id.0, host: response.host.to_string(), port: response.port },
        ),
    };
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(found),
        code => Err(ClientError::broker_with("FindCoordinator", code, message.as_deref())),
    }
}
