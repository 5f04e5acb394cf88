//! `Heartbeat`, and what happens when it does not come.

use std::sync::Arc;

use millrace_types::ErrorCode;

use super::{Group, GroupState, Work};
use crate::request::Heartbeat;

impl Group {
    /// Takes a `Heartbeat`.
    pub(crate) fn heartbeat(&mut self, request: &Heartbeat, work: &mut Work<'_>) -> ErrorCode {
        if let Err(error) = self.validate_member(&request.member_id, request.instance_id.as_ref()) {
            return error;
        }
        if request.generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => {
                self.restart_session(&request.member_id, work);
                ErrorCode::RebalanceInProgress
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.restart_session(&request.member_id, work);
                ErrorCode::None
            }
        }
    }

    /// A session has ended without a heartbeat.
    pub(crate) fn on_session_timer(&mut self, member_id: &Arc<str>, work: &mut Work<'_>) {
        if self.remove_pending(member_id) {
            self.complete_join_if_all_joined(work);
            return;
        }
        // A member that waits for an answer gets a session again with that answer.
        if !self.members.get(member_id).is_some_and(super::Member::is_expected_to_heartbeat) {
            return;
        }
        self.remove_member(member_id, work);
        self.rebalance(work);
    }
}
