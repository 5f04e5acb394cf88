//! The groups of one partition of `__consumer_offsets`.

mod checkpoint;
mod due;
mod limits;
mod replay;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{Instant, Now};

pub use checkpoint::CheckpointCursor;
pub use replay::ReplayError;

use crate::config::GroupConfig;
use crate::group::{Group, GroupState, Timer, Weight, Work};
use crate::member_id::MemberIds;
use crate::outcome::Outcome;
use crate::timers::Timers;

/// The groups of one partition of `__consumer_offsets`; the crate's head says how a host drives it.
#[derive(Debug)]
pub struct GroupShard {
    config: GroupConfig,
    ids: MemberIds,
    groups: BTreeMap<Arc<str>, Group>,
    timers: Timers<Timer>,
    /// Sum over all groups.
    weight: Weight,
    /// The group at which the search for expired offsets goes on.
    expiry_from: Option<Arc<str>>,
}

impl GroupShard {
    /// A shard without groups. `seed` draws the member ids and must differ at each start.
    #[must_use]
    pub fn new(config: GroupConfig, seed: u64) -> Self {
        Self {
            config,
            ids: MemberIds::new(seed),
            groups: BTreeMap::new(),
            timers: Timers::new(),
            weight: Weight::default(),
            expiry_from: None,
        }
    }

    /// When [`GroupShard::on_timer`] is to be called; [`Instant::NEVER`] for not at all.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.timers.next()
    }

    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Number of members of all groups, those that only have been given a member id included.
    #[must_use]
    pub fn members(&self) -> usize {
        self.weight.members
    }

    /// Number of committed offsets of all groups.
    #[must_use]
    pub fn offsets(&self) -> usize {
        self.weight.offsets
    }

    /// Does something with a group; `None` when it does not exist. Afterwards a group that is nothing is forgotten.
    fn visit<R>(
        &mut self,
        now: Now,
        id: &str,
        out: &mut Outcome,
        act: impl FnOnce(&mut Group, &mut Work<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let before = group.weight();
        let mut work = Work { now, config: &self.config, timers: &mut self.timers, out };
        let result = act(group, &mut work);
        self.weight.change(before, group.weight());
        debug_assert_ne!(group.state(), GroupState::Dead, "dead groups are forgotten");
        if group.is_nothing() {
            self.groups.remove(id);
        }
        Some(result)
    }
}
