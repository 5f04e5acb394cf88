//! Membership in a classic group: join, sync, heartbeat, leave, eager or cooperative (KIP-429), static or not (KIP-345).
//!
//! Phases, and what moves from one to the next:
//!
//! ```text
//! Out -- subscribe --> Unjoined -- sent --> Joining -- leader --> Planning -- metadata known --> Syncing
//!                         ^                    '------ follower -------------------------------> Syncing
//!                         |                                                                         |
//!                         |    Stable <-- told -- Assigning <-- nothing given up -- Received <------'
//!                         |      | rejoin                                              | gives up
//!                         |      v                                                     v
//!                         '-- Revoking <-- committed -- Committing <-------------------'
//!                         '-- Losing <-- expelled -- any phase of a member
//! ```
//!
//! `Received`, a rejoin that gives partitions up, and `Losing` wait until the application polls.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::{Instant, Now};

use super::reader::{Reader, Stage};
use super::{ConsumerCore, ConsumerEvent, Selection};
use crate::config::Assignor;
use crate::core::assignor::{Member, PartitionCounts};
use crate::core::backoff::Backoff;
use crate::core::call::CallId;
use crate::core::cluster::{RequestId, Target};
use crate::error::{ClientError, Result};
use crate::model::TopicPartition;
use crate::wire::text;

/// What a rebalance does to this consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These partitions are this consumer's from here on.
    Assigned(Vec<TopicPartition>),
    /// These partitions are about to be given up.
    Revoked(Vec<TopicPartition>),
    /// These partitions belong to somebody else already.
    Lost(Vec<TopicPartition>),
}

/// What follows when partitions were given up.
#[derive(Debug, Clone)]
pub(super) enum Then {
    Join,
    Apply(Vec<TopicPartition>),
}

#[derive(Debug)]
pub(super) enum Phase {
    Out,
    Unjoined,
    Joining(RequestId),
    Planning(Vec<Member>, Assignor),
    Syncing(RequestId),
    Received(Vec<TopicPartition>),
    Committing(CallId, Vec<TopicPartition>, Then),
    Revoking(Vec<TopicPartition>, Then),
    Assigning(Vec<TopicPartition>),
    Losing,
    Stable,
    Leaving(CallId),
}

/// The membership of this consumer.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    pub(super) member_id: String,
    /// Generation of the membership, -1 outside.
    pub(super) generation: i32,
    pub(super) phase: Phase,
    /// Why the group has to be joined again, while [`Phase::Stable`].
    pub(super) rejoin: Option<&'static str>,
    pub(super) rejoin_at: Instant,
    pub(super) failures: u32,
    /// Whether the application has processed all it was given.
    pub(super) polling: bool,
    pub(super) last_poll: Option<Instant>,
    pub(super) heartbeat: Option<RequestId>,
    pub(super) next_heartbeat: Instant,
    pub(super) last_heard: Instant,
    pub(super) protocol: String,
    /// The topics and numbers of partitions that the last plan of this leader was made for.
    pub(super) planned: Option<PartitionCounts>,
    pub(super) fatal: Option<ClientError>,
}

impl Group {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            member_id: String::new(),
            generation: -1,
            phase: Phase::Out,
            rejoin: None,
            rejoin_at: Instant::ZERO,
            failures: 0,
            polling: false,
            last_poll: None,
            heartbeat: None,
            next_heartbeat: Instant::NEVER,
            last_heard: Instant::ZERO,
            protocol: String::new(),
            planned: None,
            fatal: None,
        }
    }

    /// The application subscribed, for the first time or to other topics.
    pub(super) fn want(&mut self, now: Instant) {
        self.fatal = None;
        match self.phase {
            Phase::Out | Phase::Leaving(_) => {
                self.phase = Phase::Unjoined;
                self.rejoin_at = now;
            }
            _ => self.rejoin = Some("the subscription changed"),
        }
    }

    /// Whether heartbeats are due: the coordinator knows the member and does not hear from it otherwise.
    pub(super) fn beats(&self) -> bool {
        let silent =
            matches!(self.phase, Phase::Out | Phase::Unjoined | Phase::Joining(_) | Phase::Losing | Phase::Leaving(_));
        self.generation >= 0 && !silent
    }
}

impl ConsumerCore {
    pub(super) fn group_id(&self) -> Option<Arc<str>> {
        self.group.as_ref().map(|group| Arc::clone(&group.id))
    }

    pub(super) fn is_cooperative(&self) -> bool {
        self.config.assignors.iter().all(|assignor| *assignor == Assignor::CooperativeSticky)
    }

    /// The application polls.
    pub(super) fn group_polled(&mut self, now: Instant) {
        if let Some(group) = &mut self.group {
            group.last_poll = Some(now);
            group.polling = true;
        }
    }

    /// The application was given records: until it polls again they may be in work.
    pub(super) fn group_gave(&mut self) {
        if let Some(group) = &mut self.group {
            group.polling = false;
        }
    }

    /// What the application has to be told before the group goes on.
    pub(super) fn pending_rebalance(&self) -> Option<Rebalance> {
        match &self.group.as_ref()?.phase {
            Phase::Revoking(partitions, _) => Some(Rebalance::Revoked(partitions.clone())),
            Phase::Assigning(partitions) => Some(Rebalance::Assigned(partitions.clone())),
            Phase::Losing => Some(Rebalance::Lost(self.assignment())),
            _ => None,
        }
    }

    /// Whether records wait for the rebalance, because their partitions are about to be given up.
    pub(super) fn holds_records_back(&self) -> bool {
        let phase = self.group.as_ref().map(|group| &group.phase);
        matches!(phase, Some(Phase::Committing(..) | Phase::Revoking(..) | Phase::Losing))
    }

    /// Why the consumer can never be a member again, if so.
    pub(super) fn group_fatal(&self) -> Option<ClientError> {
        self.group.as_ref()?.fatal.clone()
    }

    /// The application has been told what [`Polled::Rebalance`](super::Polled::Rebalance) said.
    pub fn rebalanced(&mut self, now: Now) {
        let Some(group) = &mut self.group else { return };
        match std::mem::replace(&mut group.phase, Phase::Stable) {
            Phase::Revoking(partitions, then) => {
                self.readers.retain(|partition, _| !partitions.contains(partition));
                match then {
                    Then::Join => self.unjoin(now.instant),
                    Then::Apply(assigned) => {
                        if let Some(group) = &mut self.group {
                            group.rejoin = Some("partitions were given up");
                        }
                        self.add(assigned);
                    }
                }
            }
            Phase::Losing => {
                self.readers.clear();
                self.unjoin(now.instant);
            }
            Phase::Assigning(_) => {}
            other => group.phase = other,
        }
        self.changed = true;
    }

    /// Leaves the group and gives all partitions up; [`ConsumerEvent::Left`] tells the end.
    pub fn leave(&mut self, now: Now) {
        self.readers.clear();
        self.selection = Selection::Nothing;
        let is_static = self.config.group_instance_id.is_some();
        let Some(group) = &mut self.group else {
            self.events.push_back(ConsumerEvent::Left);
            return;
        };
        group.rejoin = None;
        let call = if group.member_id.is_empty() || is_static { None } else { self.send_leave(now.instant) };
        let Some(group) = &mut self.group else { return };
        group.generation = -1;
        group.member_id.clear();
        group.phase = call.map_or(Phase::Out, Phase::Leaving);
        if call.is_none() {
            self.events.push_back(ConsumerEvent::Left);
        }
    }

    pub(super) fn send_leave(&mut self, now: Instant) -> Option<CallId> {
        let group = self.group.as_ref()?;
        let member = m::leave_group_request::MemberIdentity::default().with_member_id(text(&group.member_id));
        let request = m::LeaveGroupRequest::default().with_group_id(text(&group.id).into()).with_members(vec![member]);
        let target = Target::Coordinator(Arc::clone(&group.id));
        // The coordinator finds out by itself after the session time-out: not worth a long wait.
        let deadline = now.after(Duration::from_secs(3).min(self.config.client.api_timeout));
        Some(self.calls.begin(&self.cluster, target, RequestKind::LeaveGroup(request), deadline, None))
    }

    /// The group has to be joined (again).
    pub(super) fn unjoin(&mut self, now: Instant) {
        if let Some(group) = &mut self.group {
            group.phase = Phase::Unjoined;
            group.rejoin_at = now;
        }
    }

    /// The same after a failure: with a pause that grows.
    pub(super) fn unjoin_later(&mut self, now: Instant) {
        let client = &self.config.client;
        let Some(group) = &mut self.group else { return };
        let pause = self.cluster.random.backoff(client.retry_backoff, client.retry_backoff_max, group.failures);
        group.failures = group.failures.saturating_add(1);
        group.phase = Phase::Unjoined;
        group.rejoin_at = now.after(pause);
    }

    /// The coordinator does not count this consumer in any more.
    pub(super) fn expelled(&mut self, now: Instant, forget_member: bool) {
        let nothing_owned = self.readers.is_empty();
        let Some(group) = &mut self.group else { return };
        group.generation = -1;
        group.rejoin = None;
        if forget_member {
            group.member_id.clear();
        }
        if matches!(group.phase, Phase::Out | Phase::Leaving(_)) {
            return;
        }
        if nothing_owned {
            self.unjoin(now);
        } else {
            group.phase = Phase::Losing;
            self.changed = true;
        }
    }

    /// Does what is due.
    pub(super) fn group_advance(&mut self, now: Instant) {
        self.check_patience(now);
        self.beat(now);
        let cooperative = self.is_cooperative();
        let Some(group) = &mut self.group else { return };
        let alive = group.last_poll.is_some_and(|at| at.after(self.config.max_poll_interval) > now);
        match &group.phase {
            Phase::Unjoined if alive && group.rejoin_at <= now => self.send_join(now),
            Phase::Planning(..) => self.plan(now),
            Phase::Stable if group.rejoin.is_some() && (cooperative || self.readers.is_empty()) => {
                group.phase = Phase::Unjoined;
                group.rejoin_at = now;
                self.group_advance(now);
            }
            Phase::Stable if group.rejoin.is_some() && group.polling => {
                let all = self.assignment();
                self.give_up(now, all, Then::Join);
            }
            Phase::Received(assigned) if group.polling => {
                let assigned = assigned.clone();
                self.apply(now, assigned);
            }
            _ => {}
        }
    }

    pub(super) fn group_deadline(&self) -> Instant {
        let Some(group) = &self.group else { return Instant::NEVER };
        let beat = if group.beats() && group.heartbeat.is_none() { group.next_heartbeat } else { Instant::NEVER };
        let session = if group.beats() { group.last_heard.after(self.config.session_timeout) } else { Instant::NEVER };
        let join = if matches!(group.phase, Phase::Unjoined) { group.rejoin_at } else { Instant::NEVER };
        let patience = match group.last_poll {
            Some(at) if group.generation >= 0 => at.after(self.config.max_poll_interval),
            // Nobody polls: joining waits for a poll, not for the clock.
            None => return beat.min(session),
            Some(_) => Instant::NEVER,
        };
        beat.min(session).min(join).min(patience)
    }

    /// Commits what is processed, then tells the application that it loses `partitions`.
    fn give_up(&mut self, now: Instant, partitions: Vec<TopicPartition>, then: Then) {
        let call = self.commit_processed(now);
        let Some(group) = &mut self.group else { return };
        group.phase = match call {
            Some(call) => Phase::Committing(call, partitions, then),
            None => Phase::Revoking(partitions, then),
        };
        self.changed = true;
    }

    /// An assignment takes effect: what it leaves out is given up first.
    fn apply(&mut self, now: Instant, assigned: Vec<TopicPartition>) {
        let kept: BTreeSet<&TopicPartition> = assigned.iter().collect();
        let revoked: Vec<TopicPartition> =
            self.readers.keys().filter(|partition| !kept.contains(partition)).cloned().collect();
        if revoked.is_empty() { self.add(assigned) } else { self.give_up(now, revoked, Then::Apply(assigned)) }
    }

    fn add(&mut self, assigned: Vec<TopicPartition>) {
        let added: Vec<TopicPartition> =
            assigned.into_iter().filter(|partition| !self.readers.contains_key(partition)).collect();
        for partition in &added {
            self.readers.insert(partition.clone(), Reader::new(Stage::Committed));
        }
        if let Some(group) = &mut self.group {
            group.phase = if added.is_empty() { Phase::Stable } else { Phase::Assigning(added) };
        }
        self.changed = true;
    }

    /// Takes an answer in; gives back what belongs to somebody else.
    pub(super) fn group_answered(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<ResponseKind>,
    ) -> Option<Result<ResponseKind>> {
        let Some(group) = &mut self.group else { return Some(result) };
        if group.heartbeat == Some(id) {
            group.heartbeat = None;
            self.heartbeat_answered(now, result);
            return None;
        }
        match group.phase {
            Phase::Joining(request) if request == id => self.joined(now, result),
            Phase::Syncing(request) if request == id => self.synced(now, result),
            _ => return Some(result),
        }
        None
    }

    /// A call of the group's has ended; gives back what belongs to the application.
    pub(super) fn group_call(
        &mut self,
        now: Instant,
        id: CallId,
        result: Result<ResponseKind>,
    ) -> Option<Result<ResponseKind>> {
        let Some(group) = &mut self.group else { return Some(result) };
        match std::mem::replace(&mut group.phase, Phase::Out) {
            // Whether the commit succeeded or not: the partitions must go.
            Phase::Committing(call, partitions, then) if call == id => {
                group.phase = Phase::Revoking(partitions, then);
                self.changed = true;
                let _logged = result.as_ref().map_err(|error| tracing::warn!(%error, "offsets were not committed"));
                self.asked_answered(now, id, result);
                None
            }
            Phase::Leaving(call) if call == id => {
                self.events.push_back(ConsumerEvent::Left);
                None
            }
            phase => {
                group.phase = phase;
                Some(result)
            }
        }
    }
}
