//! The rebalance: everyone joins again, a protocol and a leader are chosen, a generation begins.

use std::cmp::min;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_types::ErrorCode;

use super::membership::refuse_sync;
use super::{Group, GroupState, InitialDelay, Timer, Work};
use crate::response::{GroupResponse, JoinedGroup};

/// Shortest time between two looks for a member that has joined, whatever the members call their rebalance timeout:
/// with zero the group would do nothing else.
const MIN_WAIT: Duration = Duration::from_secs(1);

impl Group {
    /// The members, or what they offer, have changed: begin a rebalance, or see whether the one in progress is done.
    pub(super) fn rebalance(&mut self, work: &mut Work<'_>) {
        match self.state {
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(work),
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => self.prepare_rebalance(work),
            GroupState::Dead => {}
        }
    }

    /// Completes the rebalance in progress when nobody is missing. The initial delay of a group that was empty is
    /// waited for even so: it is there for members that nobody knows of yet.
    pub(super) fn complete_join_if_all_joined(&mut self, work: &mut Work<'_>) {
        if self.state == GroupState::PreparingRebalance && self.initial.is_none() && self.has_all_joined() {
            self.complete_join(work);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, work: &mut Work<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.refuse_waiting_syncs(ErrorCode::RebalanceInProgress, work);
        }
        work.cancel(&Timer::Sync(self.id.clone()));
        let was_empty = self.state == GroupState::Empty;
        self.become_state(GroupState::PreparingRebalance, work);
        if was_empty {
            let delay = work.config.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            self.initial = Some(InitialDelay { delay, remaining, extended: false });
            work.set_timer(Timer::Join(self.id.clone()), delay);
        } else if self.has_all_joined() {
            self.complete_join(work);
        } else {
            work.set_timer(Timer::Join(self.id.clone()), self.rebalance_timeout());
        }
    }

    /// The group has waited long enough for members to join.
    pub(crate) fn on_join_timer(&mut self, work: &mut Work<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        match self.initial {
            Some(InitialDelay { delay, remaining, extended: true }) if !remaining.is_zero() => {
                let next = min(work.config.initial_rebalance_delay, remaining);
                self.initial =
                    Some(InitialDelay { delay: next, remaining: remaining.saturating_sub(delay), extended: false });
                work.set_timer(Timer::Join(self.id.clone()), next);
            }
            _ => self.complete_join(work),
        }
    }

    /// Members of the generation have had their time to ask for their assignments: those that did not are removed.
    pub(crate) fn on_sync_timer(&mut self, work: &mut Work<'_>) {
        let completing = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !completing || self.unsynced.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.unsynced) {
            self.remove_member(&member_id, work);
        }
        self.prepare_rebalance(work);
    }

    /// A member asks for its assignment.
    pub(super) fn has_synced(&mut self, member_id: &str, work: &mut Work<'_>) {
        if self.unsynced.remove(member_id) && self.unsynced.is_empty() {
            work.cancel(&Timer::Sync(self.id.clone()));
        }
    }

    fn has_all_joined(&self) -> bool {
        self.awaiting_join == self.members.len() && self.pending.is_empty()
    }

    /// Nobody is waited for any longer: dynamic members that did not join are removed, a generation begins.
    fn complete_join(&mut self, work: &mut Work<'_>) {
        debug_assert_eq!(self.state, GroupState::PreparingRebalance);
        work.cancel(&Timer::Join(self.id.clone()));
        let is_gone = |member: &&super::Member| !member.is_awaiting_join() && member.instance_id.is_none();
        let gone: Vec<_> = self.members.values().filter(is_gone).map(|member| member.id.clone()).collect();
        for member_id in gone {
            self.remove_member(&member_id, work);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            // Static members alone are left and none has joined: wait until one does or their sessions end.
            self.initial = None;
            work.set_timer(Timer::Join(self.id.clone()), self.rebalance_timeout().max(MIN_WAIT));
            return;
        }
        self.initial = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.become_state(GroupState::Empty, work);
            // An empty group's record is small. Were it not written, an earlier generation would come back with a
            // restart and end by its members' sessions.
            self.write(work);
        } else {
            self.protocol = self.select_protocol();
            self.become_state(GroupState::CompletingRebalance, work);
            self.answer_all_joins(work);
        }
    }

    /// Makes a member that has joined the leader; false when there is none.
    fn elect_joined_leader(&mut self) -> bool {
        let leads = |id: &Arc<str>| self.members.get(id).is_some_and(super::Member::is_awaiting_join);
        if self.leader.as_ref().is_some_and(leads) {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.is_awaiting_join()) else { return false };
        self.leader = Some(joined.id.clone());
        true
    }

    fn answer_all_joins(&mut self, work: &mut Work<'_>) {
        let members: Vec<_> = self.members.keys().cloned().collect();
        for member_id in &members {
            let response = self.joined(member_id, self.is_leader(member_id), false);
            self.answer_join(member_id, response, work);
            if let Some(member) = self.members.get_mut(member_id) {
                member.is_new = false;
            }
            self.restart_session(member_id, work);
        }
        self.unsynced.extend(members);
        work.set_timer(Timer::Sync(self.id.clone()), self.rebalance_timeout());
    }

    /// What a member is told that has joined the generation.
    pub(super) fn joined(&self, member_id: &Arc<str>, with_members: bool, skip_assignment: bool) -> GroupResponse {
        let protocol = self.protocol.as_deref();
        let members = if with_members {
            self.members.values().map(|member| member.to_joined(protocol)).collect()
        } else {
            Vec::new()
        };
        GroupResponse::Join(JoinedGroup {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            member_id: member_id.clone(),
            members,
        })
    }

    /// Whether a member with these protocols fits the others.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[crate::request::JoinProtocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.supported.get(&protocol.name) == Some(&self.members.len()))
    }

    /// The protocol with the most votes among those that all members offer: each member votes for the first of its
    /// list. Of protocols with equal votes the one that the leader prefers wins.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let offered_by_all = |name: &Arc<str>| self.supported.get(name) == Some(&self.members.len());
        let mut votes = BTreeMap::<&Arc<str>, usize>::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().map(|protocol| &protocol.name).find(|name| offered_by_all(name))
            {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader))?;
        let candidates = leader.protocols.iter().map(|protocol| &protocol.name).filter(|name| offered_by_all(name));
        let most = candidates.rev().max_by_key(|name| votes.get(*name).copied().unwrap_or(0));
        most.cloned()
    }

    /// Answers every waiting `SyncGroup` with `error` and forgets the assignments.
    pub(super) fn refuse_waiting_syncs(&mut self, error: ErrorCode, work: &mut Work<'_>) {
        let members: Vec<_> = self.members.keys().cloned().collect();
        for member_id in members {
            self.set_assignment(&member_id, Bytes::new());
            if let Some(token) = self.members.get_mut(&member_id).and_then(|member| member.sync.take()) {
                work.reply(token, refuse_sync(error));
                self.restart_session(&member_id, work);
            }
        }
    }
}
