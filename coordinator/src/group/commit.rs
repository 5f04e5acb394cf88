//! `OffsetCommit`: a member, or a consumer without group management, commits offsets.

use std::sync::Arc;

use millrace_types::{ErrorCode, Timestamp};

use super::{Group, GroupState, Work};
use crate::record::{MAX_STRING_BYTES, OffsetValue, offset_key};
use crate::request::{CommitOffset, CommitOffsets, CommitTopic};
use crate::response::CommittedTopic;

impl Group {
    /// Whether the request may commit. Without a generation it may while the group has no members: it comes from an
    /// administrator or from a consumer that assigns partitions to itself.
    pub(crate) fn validate_commit(&self, request: &CommitOffsets) -> Result<(), ErrorCode> {
        if request.generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if request.generation < 0 && request.member_id.is_empty() && request.instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            // The member knows the generation but not its assignment: what it commits belongs to the last one.
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Empty | GroupState::PreparingRebalance | GroupState::Stable | GroupState::Dead => Ok(()),
        }
    }

    /// Commits the offsets of a request that is valid. A commit keeps the session of its member.
    pub(crate) fn commit(&mut self, request: CommitOffsets, work: &mut Work<'_>) -> Vec<CommittedTopic> {
        self.restart_session(&request.member_id, work);
        let expire_timestamp = request.retention.map(|retention| {
            work.now.wall.saturating_add(Timestamp::try_from(retention.as_millis()).unwrap_or(Timestamp::MAX))
        });
        let mut committed = Vec::with_capacity(request.topics.len());
        for CommitTopic { name, partitions } in request.topics {
            let mut results = Vec::with_capacity(partitions.len());
            for offset in partitions {
                let partition = offset.partition;
                let error = self.commit_one(&name, offset, expire_timestamp, work).err().unwrap_or(ErrorCode::None);
                results.push((partition, error));
            }
            committed.push(CommittedTopic { name, partitions: results });
        }
        committed
    }

    fn commit_one(
        &mut self,
        topic: &Arc<str>,
        offset: CommitOffset,
        expire_timestamp: Option<Timestamp>,
        work: &mut Work<'_>,
    ) -> Result<(), ErrorCode> {
        if offset.metadata.len() > work.config.offset_metadata_max_bytes.min(MAX_STRING_BYTES) {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let value = OffsetValue {
            offset: offset.offset,
            leader_epoch: if expire_timestamp.is_some() { -1 } else { offset.leader_epoch },
            metadata: offset.metadata,
            commit_timestamp: offset.commit_timestamp.unwrap_or(work.now.wall),
            expire_timestamp,
        };
        let key = offset_key(&self.id, topic, offset.partition);
        if key.len() + value.encoded_len() > work.config.max_record_bytes {
            return Err(ErrorCode::InvalidCommitOffsetSize);
        }
        work.append(key, Some(value.encode()));
        self.apply_offset(topic, offset.partition, Some(value));
        Ok(())
    }
}
