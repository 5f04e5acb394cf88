//! One consumer group: its members, the rebalance they are in, and their committed offsets.
//!
//! `membership` adds and removes members, `rebalance` moves the group from state to state, `join`, `sync`, `leave`,
//! `heartbeat`, `commit` and `offsets` answer requests, `durable` is what the log holds of the group.

mod commit;
mod durable;
mod expiry;
mod heartbeat;
mod join;
mod leave;
mod member;
mod membership;
mod offsets;
mod rebalance;
pub(crate) mod state;
mod sync;
mod view;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_types::{ErrorCode, Timestamp};

pub(crate) use member::{Member, join_bytes};
pub(crate) use membership::{refuse_join, refuse_sync};
pub use state::GroupState;
pub(crate) use work::{Timer, Weight, Work};

use crate::record::OffsetValue;

/// The protocol type of Kafka's consumers, the only one whose metadata the coordinator reads.
pub(crate) const CONSUMER: &str = "consumer";

/// One consumer group.
///
/// Invariants: `leader ∈ members` unless there are no members; `awaiting_join = |{m : m.join}|`;
/// `supported[p] = |{m : m offers p}|`; `statics = {(m.instance_id, m.id)}`; `pending ∩ members = ∅`;
/// `unsynced ⊆ members`; the state is Empty only without members;
/// `weight.member_bytes = Σ{m.bytes + |id| : m ∈ members} + Σ{|p| + |id| : p ∈ pending}`.
#[derive(Debug)]
pub(crate) struct Group {
    id: Arc<str>,
    state: GroupState,
    /// When the group came into its state; `None` when the log does not say.
    state_since: Option<Timestamp>,
    generation: i32,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Member ids of the static members, by instance id.
    statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Member ids given out that have not joined with them yet.
    pending: BTreeSet<Arc<str>>,
    /// Members of this generation that have not asked for their assignment yet.
    unsynced: BTreeSet<Arc<str>>,
    /// By protocol, how many members offer it.
    supported: BTreeMap<Arc<str>, usize>,
    awaiting_join: usize,
    /// The wait for more members of a group that was empty; `Some` only in PreparingRebalance.
    initial: Option<InitialDelay>,
    offsets: BTreeMap<Arc<str>, BTreeMap<i32, OffsetValue>>,
    /// The value of the group's newest record, if it has one.
    persisted: Option<Bytes>,
    weight: Weight,
}

/// How an empty group waits for more members (KIP-134).
#[derive(Debug, Clone, Copy)]
struct InitialDelay {
    /// Length of the wait in progress.
    delay: Duration,
    /// How long the group may still wait after it.
    remaining: Duration,
    /// A member has joined during the wait in progress, so it is worth another.
    extended: bool,
}

impl Group {
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_since: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            supported: BTreeMap::new(),
            awaiting_join: 0,
            initial: None,
            offsets: BTreeMap::new(),
            persisted: None,
            weight: Weight::default(),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// Whether the group is nothing but its name, so that forgetting it changes no answer.
    pub(crate) fn is_nothing(&self) -> bool {
        self.state == GroupState::Empty
            && self.pending.is_empty()
            && self.offsets.is_empty()
            && self.persisted.is_none()
    }

    fn become_state(&mut self, next: GroupState, work: &Work<'_>) {
        debug_assert!(self.state.may_become(next), "{} to {next}", self.state);
        self.state = next;
        self.state_since = Some(work.now.wall);
    }

    /// Whether `member_id` is a member, and the one that `instance_id` names.
    fn validate_member(&self, member_id: &str, instance_id: Option<&Arc<str>>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.statics.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// The longest rebalance timeout of the members.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }
}
