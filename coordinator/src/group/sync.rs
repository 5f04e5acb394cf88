//! `SyncGroup`: the leader brings the assignment, everyone takes theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::ErrorCode;

use super::membership::refuse_sync;
use super::{Group, GroupState, Work};
use crate::request::SyncGroup;
use crate::response::{GroupResponse, SyncedGroup};

impl Group {
    /// Takes a `SyncGroup`; it waits while the leader's has not come.
    pub(crate) fn sync(&mut self, token: u64, request: SyncGroup, work: &mut Work<'_>) {
        if let Err(error) = self.validate_sync(&request) {
            work.reply(token, refuse_sync(error));
            return;
        }
        self.has_synced(&request.member_id, work);
        if self.state == GroupState::Stable {
            work.reply(token, self.synced(&request.member_id));
            self.restart_session(&request.member_id, work);
            return;
        }
        if let Some(member) = self.members.get_mut(&request.member_id)
            && let Some(earlier) = member.sync.replace(token)
        {
            // The client has given up on its earlier request; nobody reads this answer.
            work.reply(earlier, refuse_sync(ErrorCode::RebalanceInProgress));
        }
        if self.is_leader(&request.member_id) {
            self.assign(request.assignments, work);
        }
    }

    fn validate_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.instance_id.as_ref())?;
        let differs =
            |asked: &Option<Arc<str>>, own: &Option<Arc<str>>| asked.is_some() && own.is_some() && asked != own;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// Puts the leader's assignments in force. Members that it has left out get an empty one.
    fn assign(&mut self, assignments: Vec<(Arc<str>, Bytes)>, work: &mut Work<'_>) {
        let mut assignments: BTreeMap<_, _> = assignments.into_iter().collect();
        let members: Vec<_> = self.members.keys().cloned().collect();
        for member_id in &members {
            let assignment = assignments.remove(member_id).unwrap_or_default();
            self.set_assignment(member_id, Bytes::copy_from_slice(&assignment));
        }
        if !self.write(work) {
            // Kafka's answer to a group whose record fits no batch.
            self.refuse_waiting_syncs(ErrorCode::UnknownServerError, work);
            self.prepare_rebalance(work);
            return;
        }
        self.become_state(GroupState::Stable, work);
        for member_id in &members {
            if let Some(token) = self.members.get_mut(member_id).and_then(|member| member.sync.take()) {
                work.reply(token, self.synced(member_id));
                self.restart_session(member_id, work);
            }
        }
    }

    fn synced(&self, member_id: &str) -> GroupResponse {
        GroupResponse::Sync(SyncedGroup {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default(),
        })
    }
}
