//! What a request may be so that the shard takes it: lengths, ranges, and the shard's bounds.

use std::sync::Arc;

use millrace_types::ErrorCode;

use super::GroupShard;
use crate::group::protocol_bytes;
use crate::record::MAX_STRING_BYTES;
use crate::request::{CommitOffsets, GroupRequest, JoinGroup};

/// What the record of an offset has besides its strings, at most.
const OFFSET_BYTES: usize = 64;

impl GroupShard {
    /// What speaks against a member joining, before its group is looked at.
    pub(super) fn check_join(&self, request: &JoinGroup) -> Result<(), ErrorCode> {
        if request.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let sessions = self.config.min_session_timeout..=self.config.max_session_timeout;
        if !sessions.contains(&request.session_timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        let is_new = request.member_id.is_empty();
        if is_new && self.weight.members >= self.config.max_members {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let member_bytes = self.weight.member_bytes.saturating_add(protocol_bytes(&request.protocols));
        if member_bytes > self.config.max_member_bytes {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if self.groups.contains_key(&request.group) {
            Ok(())
        } else if !is_new {
            Err(ErrorCode::UnknownMemberId)
        } else {
            self.check_new_group()
        }
    }

    /// Whether the shard has room for another group. The client's application is told that it is a limit; were the
    /// code one to try again on, it would do so for ever.
    pub(super) fn check_new_group(&self) -> Result<(), ErrorCode> {
        if self.groups.len() < self.config.max_groups { Ok(()) } else { Err(ErrorCode::GroupMaxSizeReached) }
    }

    /// Whether the shard has room for the offsets of the request, should all of them be new.
    pub(super) fn check_commit(&self, request: &CommitOffsets) -> Result<(), ErrorCode> {
        let mut offsets = self.weight.offsets;
        let mut live_bytes = self.weight.record_bytes;
        for topic in &request.topics {
            offsets = offsets.saturating_add(topic.partitions.len());
            for offset in &topic.partitions {
                let size = OFFSET_BYTES + request.group.len() + topic.name.len() + offset.metadata.len();
                live_bytes = live_bytes.saturating_add(size);
            }
        }
        if offsets > self.config.max_offsets || live_bytes > self.config.max_live_bytes {
            return Err(ErrorCode::PolicyViolation);
        }
        Ok(())
    }
}

/// Whether every string that may get into a record is short enough for one (KIP-482 lets requests have longer ones).
pub(super) fn fits_records(request: &GroupRequest) -> bool {
    let fits = |text: &Arc<str>| text.len() <= MAX_STRING_BYTES;
    let option = |text: &Option<Arc<str>>| text.as_ref().is_none_or(fits);
    match request {
        GroupRequest::Join(request) => {
            [&request.group, &request.member_id, &request.client_id, &request.client_host, &request.protocol_type]
                .into_iter()
                .all(fits)
                && option(&request.instance_id)
                && request.protocols.iter().all(|protocol| fits(&protocol.name))
        }
        GroupRequest::Sync(request) => fits(&request.group) && fits(&request.member_id) && option(&request.instance_id),
        GroupRequest::Heartbeat(request) => fits(&request.group) && fits(&request.member_id),
        GroupRequest::Leave(request) => fits(&request.group),
        GroupRequest::Commit(request) => fits(&request.group) && request.topics.iter().all(|topic| fits(&topic.name)),
        GroupRequest::Fetch(request) => fits(&request.group),
        GroupRequest::DeleteOffsets(request) => fits(&request.group),
        // These ask for groups by names; one that is too long is the name of none.
        GroupRequest::DeleteGroups(_) | GroupRequest::Describe(_) | GroupRequest::List { .. } => true,
    }
}
