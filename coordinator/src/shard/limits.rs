//! What a request may be so that the shard takes it: lengths, ranges, and the shard's bounds.

use std::sync::Arc;

use millrace_types::ErrorCode;

use super::GroupShard;
use crate::group::{Group, join_bytes};
use crate::record::MAX_STRING_BYTES;
use crate::request::{CommitOffsets, GroupRequest, JoinGroup, SyncGroup};

/// What the record of an offset, or of a group without members, has besides its strings, at most.
const OFFSET_BYTES: usize = 64;

/// The longest protocol type; those that are in use have a word. A group keeps it as long as it is in memory.
const MAX_PROTOCOL_TYPE_BYTES: usize = 1_024;

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
        let group = self.groups.get(&request.group);
        // The member whose place this one takes: itself, or a static member's earlier self.
        let earlier = group.and_then(|group| group.predecessor(request));
        let is_new = request.member_id.is_empty();
        if is_new && earlier.is_none() && self.weight.members >= self.config.max_members {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        // What it offered so far goes with what it offers from here on.
        let name = request.group.len();
        let replaced = earlier.map_or(0, |member| member.joined_bytes() + name);
        let others = self.weight.member_bytes.saturating_sub(replaced);
        let member_bytes = others.saturating_add(join_bytes(request) + name);
        if member_bytes > self.config.max_member_bytes {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if group.is_some() {
            Ok(())
        } else if !is_new {
            Err(ErrorCode::UnknownMemberId)
        } else {
            // Its name stays in a record when its members are gone.
            let record_bytes = self.weight.record_bytes.saturating_add(OFFSET_BYTES + name);
            if record_bytes > self.config.max_live_bytes {
                return Err(ErrorCode::GroupMaxSizeReached);
            }
            self.check_new_group()
        }
    }

    /// Whether the shard has room for the assignments that a leader brings, instead of those its group has.
    pub(super) fn check_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        let brought: usize = request.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        let replaced = self.groups.get(&request.group).map_or(0, Group::assignment_bytes);
        let others = self.weight.member_bytes.saturating_sub(replaced);
        if brought > replaced && others.saturating_add(brought) > self.config.max_member_bytes {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        Ok(())
    }

    /// Whether the shard has room for another group. The client's application is told that it is a limit; were the
    /// code one to try again on, it would do so for ever.
    pub(super) fn check_new_group(&self) -> Result<(), ErrorCode> {
        if self.groups.len() < self.config.max_groups { Ok(()) } else { Err(ErrorCode::GroupMaxSizeReached) }
    }

    /// Whether the shard has room for the offsets of the request. One that takes the place of another needs no room of
    /// its own, but for what it is longer: a group that has committed once can go on when others have filled the shard.
    pub(super) fn check_commit(&self, request: &CommitOffsets) -> Result<(), ErrorCode> {
        let group = self.groups.get(&request.group);
        let mut offsets = self.weight.offsets;
        let mut live_bytes = self.weight.record_bytes;
        for topic in &request.topics {
            for offset in &topic.partitions {
                let old = group.and_then(|group| group.metadata_len(&topic.name, offset.partition));
                let size = OFFSET_BYTES + request.group.len() + topic.name.len() + offset.metadata.len();
                offsets += usize::from(old.is_none());
                live_bytes = live_bytes.saturating_add(match old {
                    Some(old) => offset.metadata.len().saturating_sub(old),
                    None => size,
                });
            }
        }
        let (max_offsets, max_bytes) = (self.config.max_offsets, self.config.max_live_bytes);
        if offsets > max_offsets.max(self.weight.offsets) || live_bytes > max_bytes.max(self.weight.record_bytes) {
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
            [&request.group, &request.member_id, &request.client_id, &request.client_host].into_iter().all(fits)
                && option(&request.instance_id)
                && request.protocol_type.len() <= MAX_PROTOCOL_TYPE_BYTES
                && request.protocols.iter().all(|protocol| fits(&protocol.name))
        }
        GroupRequest::Sync(request) => fits(&request.group) && fits(&request.member_id) && option(&request.instance_id),
        GroupRequest::Heartbeat(request) => fits(&request.group) && fits(&request.member_id),
        GroupRequest::Leave(request) => fits(&request.group),
        GroupRequest::Commit(request) => fits(&request.group) && request.topics.iter().all(|topic| fits(&topic.name)),
        GroupRequest::Fetch(request) => fits(&request.group),
        GroupRequest::DeleteOffsets(request) => fits(&request.group),
        // These look for groups and topics by names; one that is too long is the name of none.
        GroupRequest::DeleteGroups(_)
        | GroupRequest::Describe(_)
        | GroupRequest::List { .. }
        | GroupRequest::ForgetTopics(_) => true,
    }
}
