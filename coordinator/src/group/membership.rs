//! Members come, change and go; everything counted about them is counted here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_types::ErrorCode;

use super::{Group, Member, Timer, Work};
use crate::request::JoinGroup;
use crate::response::{GroupResponse, JoinedGroup, SyncedGroup};

/// How long a member that is not known to itself yet may wait in a rebalance. Its session cannot time out, since it
/// has no id to send heartbeats with; if its client is gone, this removes it (the same five minutes as in Kafka).
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

impl Group {
    /// Gives out `member_id`; it must join with it within `session_timeout` (KIP-394).
    pub(super) fn add_pending(&mut self, member_id: Arc<str>, session_timeout: Duration, work: &mut Work<'_>) {
        debug_assert!(!self.members.contains_key(&member_id), "ids are given out once");
        work.set_timer(Timer::Session(self.id.clone(), member_id.clone()), session_timeout);
        let bytes = member_id.len() + self.id.len();
        if self.pending.insert(member_id) {
            self.weight.members += 1;
            self.weight.member_bytes += bytes;
        }
    }

    pub(super) fn remove_pending(&mut self, member_id: &str) -> bool {
        let removed = self.pending.remove(member_id);
        if removed {
            self.weight.members -= 1;
            self.weight.member_bytes -= member_id.len() + self.id.len();
        }
        removed
    }

    /// Adds a member whose `JoinGroup` waits under `token`.
    pub(super) fn add_member(&mut self, id: Arc<str>, request: &JoinGroup, token: u64, work: &mut Work<'_>) {
        self.remove_pending(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        let mut member = Member::new(id.clone(), request);
        member.join = Some(token);
        self.awaiting_join += 1;
        self.insert(member);
        work.set_timer(Timer::Session(self.id.clone(), id), NEW_MEMBER_TIMEOUT);
    }

    /// Counts a member in; also for a member that the log has.
    pub(super) fn insert(&mut self, member: Member) {
        debug_assert!(!self.pending.contains(&member.id), "a member is no longer pending");
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_protocols(&member);
        self.weight.members += 1;
        self.weight.member_bytes += member.bytes() + self.id.len();
        let replaced = self.members.insert(member.id.clone(), member);
        debug_assert!(replaced.is_none(), "a member is inserted once");
    }

    /// Takes a member out of every count and set but the group's leader.
    fn extract(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.uncount_protocols(&member);
        self.weight.members -= 1;
        self.weight.member_bytes -= member.bytes() + self.id.len();
        self.awaiting_join -= usize::from(member.join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.statics.remove(instance_id);
        }
        self.unsynced.remove(member_id);
        Some(member)
    }

    /// Removes a member; requests of it that wait are answered with `UNKNOWN_MEMBER_ID`, so that a client that is
    /// alive after all joins again.
    pub(super) fn remove_member(&mut self, member_id: &str, work: &mut Work<'_>) {
        let Some(member) = self.extract(member_id) else { return };
        if let Some(token) = member.join {
            work.reply(token, refuse_join("".into(), ErrorCode::UnknownMemberId));
        }
        if let Some(token) = member.sync {
            work.reply(token, refuse_sync(ErrorCode::UnknownMemberId));
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        work.cancel(&Timer::Session(self.id.clone(), member.id));
    }

    /// A static member joins again under a new id: what its earlier id still waits for is fenced (KIP-345).
    pub(super) fn replace_static(&mut self, old_id: &str, new_id: Arc<str>, work: &mut Work<'_>) {
        let was_leader = self.is_leader(old_id);
        let Some(mut member) = self.extract(old_id) else { return };
        if let Some(token) = member.join.take() {
            work.reply(token, refuse_join(old_id.into(), ErrorCode::FencedInstanceId));
        }
        if let Some(token) = member.sync.take() {
            work.reply(token, refuse_sync(ErrorCode::FencedInstanceId));
        }
        work.cancel(&Timer::Session(self.id.clone(), member.id));
        member.id = new_id.clone();
        member.is_new = false;
        self.insert(member);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        self.restart_session(&new_id, work);
    }

    /// Takes over what a member says when it joins again; its `JoinGroup` waits under `token`.
    pub(super) fn update_member(&mut self, member_id: &str, request: &JoinGroup, token: u64, work: &mut Work<'_>) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        self.uncount_protocols(&member);
        self.weight.member_bytes -= member.bytes();
        member.protocols = super::member::own_protocols(&request.protocols);
        member.rebalance_timeout = request.rebalance_timeout;
        member.session_timeout = request.session_timeout;
        self.weight.member_bytes += member.bytes();
        self.count_protocols(&member);
        match member.join.replace(token) {
            None => self.awaiting_join += 1,
            // The client has given up on its earlier request; nobody reads this answer.
            Some(earlier) => work.reply(earlier, refuse_join(member.id.clone(), ErrorCode::RebalanceInProgress)),
        }
        self.members.insert(member.id.clone(), member);
    }

    /// The member that the request comes from, or in whose place a static member joins without an id.
    pub(crate) fn predecessor(&self, request: &JoinGroup) -> Option<&Member> {
        let named = request.instance_id.as_ref().filter(|_| request.member_id.is_empty());
        let id = named.map_or(Some(&request.member_id), |instance_id| self.statics.get(instance_id))?;
        self.members.get(id)
    }

    /// Bytes of the assignments of all members.
    pub(crate) fn assignment_bytes(&self) -> usize {
        self.members.values().map(|member| member.assignment.len()).sum()
    }

    pub(super) fn set_assignment(&mut self, member_id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get_mut(member_id) {
            self.weight.member_bytes = self.weight.member_bytes - member.assignment.len() + assignment.len();
            member.assignment = assignment;
        }
    }

    /// Answers the member's `JoinGroup`, if one waits.
    pub(super) fn answer_join(&mut self, member_id: &str, response: GroupResponse, work: &mut Work<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(token) = member.join.take() {
            self.awaiting_join -= 1;
            work.reply(token, response);
        }
    }

    /// The member has been heard: its session begins anew.
    pub(super) fn restart_session(&self, member_id: &str, work: &mut Work<'_>) {
        if let Some(member) = self.members.get(member_id) {
            work.set_timer(Timer::Session(self.id.clone(), member.id.clone()), member.session_timeout);
        }
    }

    /// The members of a group that comes from the log are given their session timeouts to be heard.
    pub(crate) fn begin_sessions(&mut self, max_group_size: usize, work: &mut Work<'_>) {
        let members: Vec<_> = self.members.keys().cloned().collect();
        for member_id in &members {
            self.restart_session(member_id, work);
        }
        if members.len() > max_group_size {
            self.rebalance(work);
        }
    }

    fn count_protocols(&mut self, member: &Member) {
        for protocol in &member.protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn uncount_protocols(&mut self, member: &Member) {
        for protocol in &member.protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }

    /// Number of requests that wait in the group, for tests.
    #[cfg(test)]
    pub(crate) fn waiting_requests(&self) -> usize {
        self.members
            .values()
            .map(|member| usize::from(member.join.is_some()) + usize::from(member.sync.is_some()))
            .sum()
    }

    /// The invariants of [`Group`], for tests.
    #[cfg(test)]
    pub(crate) fn assert_invariants(&self) {
        use super::GroupState;
        assert_eq!(self.awaiting_join, self.members.values().filter(|member| member.join.is_some()).count());
        assert_eq!(self.weight.members, self.members.len() + self.pending.len());
        let names = self.pending.iter().map(|id| id.len()).sum::<usize>() + self.weight.members * self.id.len();
        assert_eq!(self.weight.member_bytes, self.members.values().map(Member::bytes).sum::<usize>() + names);
        assert_eq!(self.weight.offsets, self.offsets.values().map(std::collections::BTreeMap::len).sum::<usize>());
        assert!(self.pending.iter().all(|id| !self.members.contains_key(id)));
        assert!(self.unsynced.iter().all(|id| self.members.contains_key(id)));
        assert_eq!(self.leader.is_some(), !self.members.is_empty());
        assert!(self.leader.iter().all(|id| self.members.contains_key(id)));
        for (protocol, count) in &self.supported {
            let offers = |member: &&Member| member.protocols.iter().any(|offered| offered.name == *protocol);
            assert_eq!(self.members.values().filter(offers).count(), *count);
        }
        let statics = self.members.values().filter_map(|m| Some((m.instance_id.clone()?, m.id.clone())));
        assert_eq!(self.statics, statics.collect());
        match self.state {
            GroupState::Empty => assert!(self.members.is_empty()),
            GroupState::PreparingRebalance => {}
            GroupState::CompletingRebalance | GroupState::Stable => assert_eq!(self.awaiting_join, 0),
            GroupState::Dead => panic!("a dead group is not kept"),
        }
        assert!(self.initial.is_none() || self.state == GroupState::PreparingRebalance);
    }
}

/// The answer to a member that cannot join.
pub(crate) fn refuse_join(member_id: Arc<str>, error: ErrorCode) -> GroupResponse {
    GroupResponse::Join(JoinedGroup {
        error,
        generation: -1,
        protocol_type: None,
        protocol: None,
        leader: "".into(),
        skip_assignment: false,
        member_id,
        members: Vec::new(),
    })
}

/// The answer to a member that gets no assignment.
pub(crate) fn refuse_sync(error: ErrorCode) -> GroupResponse {
    GroupResponse::Sync(SyncedGroup { error, protocol_type: None, protocol: None, assignment: Bytes::new() })
}
