//! `JoinGroup`: a member comes, or comes again.

use std::sync::Arc;

use millrace_types::ErrorCode;

use super::membership::refuse_join;
use super::{Group, GroupState, Work};
use crate::member_id::MemberIds;
use crate::request::JoinGroup;
use crate::response::GroupResponse;

impl Group {
    /// Takes a `JoinGroup`; session timeout and the shard's bounds have been checked.
    pub(crate) fn join(&mut self, ids: &mut MemberIds, token: u64, request: &JoinGroup, work: &mut Work<'_>) {
        let refusal = if !self.has_room_for(&request.member_id, work) {
            self.remove_surplus(&request.member_id, work);
            Some(("".into(), ErrorCode::GroupMaxSizeReached))
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            Some((request.member_id.clone(), ErrorCode::InconsistentGroupProtocol))
        } else if request.member_id.is_empty() {
            self.join_new(ids, token, request, work);
            None
        } else {
            self.join_known(token, request, work).err().map(|error| (request.member_id.clone(), error))
        };
        if let Some((member_id, error)) = refusal {
            work.reply(token, refuse_join(member_id, error));
        }
    }

    /// Whether `group.max.size` leaves room. In a rebalance those that have joined again count, not all members: so
    /// after the setting was lowered the last ones to come are turned away.
    fn has_room_for(&self, member_id: &str, work: &Work<'_>) -> bool {
        let max = work.config.max_group_size;
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(super::Member::is_awaiting_join) || self.awaiting_join < max
            }
            GroupState::CompletingRebalance | GroupState::Stable => member.is_some() || self.members.len() < max,
        }
    }

    fn remove_surplus(&mut self, member_id: &str, work: &mut Work<'_>) {
        self.remove_pending(member_id);
        self.remove_member(member_id, work);
        self.complete_join_if_all_joined(work);
    }

    fn join_new(&mut self, ids: &mut MemberIds, token: u64, request: &JoinGroup, work: &mut Work<'_>) {
        let Some(instance_id) = &request.instance_id else {
            let member_id = ids.draw(&request.client_id);
            if request.requires_known_member_id {
                self.add_pending(member_id.clone(), request.session_timeout, work);
                work.reply(token, refuse_join(member_id, ErrorCode::MemberIdRequired));
            } else {
                self.add_and_rebalance(member_id, request, token, work);
            }
            return;
        };
        let member_id = ids.draw(instance_id);
        match self.statics.get(instance_id).cloned() {
            Some(old_id) => self.rejoin_static(&old_id, member_id, request, token, work),
            None => self.add_and_rebalance(member_id, request, token, work),
        }
    }

    fn add_and_rebalance(&mut self, member_id: Arc<str>, request: &JoinGroup, token: u64, work: &mut Work<'_>) {
        if let Some(initial) = &mut self.initial {
            initial.extended = true;
        }
        self.add_member(member_id, request, token, work);
        self.rebalance(work);
    }

    /// A static member whose process has started again: it takes the place of its earlier self, and as long as the
    /// group would select the same protocol nobody else notices (KIP-345).
    fn rejoin_static(
        &mut self,
        old_id: &Arc<str>,
        new_id: Arc<str>,
        request: &JoinGroup,
        token: u64,
        work: &mut Work<'_>,
    ) {
        let old_leader = self.leader.clone().unwrap_or_default();
        self.replace_static(old_id, new_id.clone(), work);
        self.update_member(&new_id, request, token, work);
        self.restart_session(&new_id, work);
        let is_as_before = self.state == GroupState::Stable && self.protocol == self.select_protocol();
        if !is_as_before || !self.write(work) {
            self.rebalance(work);
            return;
        }
        let is_leader = self.is_leader(&new_id);
        let skips = request.supports_skipping_assignment;
        let mut response = self.joined(&new_id, is_leader && skips, is_leader && skips);
        if let (GroupResponse::Join(joined), false) = (&mut response, skips) {
            // A leader that cannot skip the assignment must not take itself for the leader: it would assign partitions
            // of a generation that has its assignment (KIP-814).
            joined.leader = old_leader;
        }
        self.answer_join(&new_id, response, work);
    }

    fn join_known(&mut self, token: u64, request: &JoinGroup, work: &mut Work<'_>) -> Result<(), ErrorCode> {
        let member_id = &request.member_id;
        if self.pending.contains(member_id) {
            if request.instance_id.is_some() {
                return Err(ErrorCode::UnknownMemberId);
            }
            self.add_and_rebalance(member_id.clone(), request, token, work);
            return Ok(());
        }
        self.validate_member(member_id, request.instance_id.as_ref())?;
        let unchanged = self.members.get(member_id).is_some_and(|member| member.matches(&request.protocols));
        let is_leader = self.is_leader(member_id);
        match self.state {
            // The member has missed the answer to its earlier request: it gets it again.
            GroupState::CompletingRebalance if unchanged => {
                work.reply(token, self.joined(member_id, is_leader, false));
            }
            // A leader joins again when it wants another assignment, for example since a topic has grown.
            GroupState::Stable if unchanged && !is_leader => {
                work.reply(token, self.joined(member_id, false, false));
            }
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
                self.update_member(member_id, request, token, work);
                self.rebalance(work);
            }
            GroupState::Empty | GroupState::Dead => return Err(ErrorCode::UnknownMemberId),
        }
        Ok(())
    }
}
