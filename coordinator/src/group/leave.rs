//! `LeaveGroup`: members go, or are sent away by their instance id.

use millrace_types::ErrorCode;

use super::{Group, GroupState, Timer, Work};
use crate::request::LeavingMember;
use crate::response::LeftMember;

/// Who has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// A member.
    Member,
    /// One that has been given a member id and has not joined with it.
    Pending,
}

impl Group {
    /// Lets members leave, then rebalances once for all of them. One that has only been given an id is nobody's peer:
    /// that it goes may end a rebalance that waits for it, and begins none.
    pub(crate) fn leave(&mut self, members: Vec<LeavingMember>, work: &mut Work<'_>) -> Vec<LeftMember> {
        let mut left = Vec::with_capacity(members.len());
        let mut anybody = false;
        for LeavingMember { member_id, instance_id } in members {
            let result = self.leave_one(&member_id, instance_id.as_ref(), work);
            anybody |= result == Ok(Gone::Member);
            left.push(LeftMember { member_id, instance_id, error: result.err().unwrap_or(ErrorCode::None) });
        }
        if anybody && self.state != GroupState::Empty {
            self.rebalance(work);
        } else {
            self.complete_join_if_all_joined(work);
        }
        left
    }

    fn leave_one(
        &mut self,
        member_id: &std::sync::Arc<str>,
        instance_id: Option<&std::sync::Arc<str>>,
        work: &mut Work<'_>,
    ) -> Result<Gone, ErrorCode> {
        if member_id.is_empty() {
            // An administrator knows a static member by its instance id alone.
            let named = instance_id.and_then(|instance_id| self.statics.get(instance_id)).cloned();
            self.remove_member(&named.ok_or(ErrorCode::UnknownMemberId)?, work);
        } else if self.remove_pending(member_id) {
            work.cancel(&Timer::Session(self.id.clone(), member_id.clone()));
            return Ok(Gone::Pending);
        } else {
            self.validate_member(member_id, instance_id)?;
            self.remove_member(member_id, work);
        }
        Ok(Gone::Member)
    }
}
