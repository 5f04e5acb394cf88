//! Committing offsets, by order of the application or by the clock, and asking for committed ones.

use std::collections::BTreeMap;

use kafka_protocol::messages::{OffsetCommitRequest, RequestKind, ResponseKind};
use millrace_types::{ErrorCode, Instant, Now};

use super::reader::Stage;
use super::{ConsumerCore, ConsumerEvent, Selection};
use crate::core::admin::read::{committed, partitions};
use crate::core::admin::request::{commit_topics, offset_fetch};
use crate::core::call::CallId;
use crate::core::cluster::Target;
use crate::error::{ClientError, Result};
use crate::model::{OffsetAndMetadata, TopicPartition};
use crate::wire::text;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Commit,
    AutoCommit,
    Committed,
}

impl ConsumerCore {
    /// The positions after the records that polls have returned.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let reading = self.readers.iter().filter(|(_, reader)| reader.stage == Stage::Reading);
        let offset = |(partition, reader): (&TopicPartition, &super::Reader)| {
            let committed = OffsetAndMetadata {
                offset: reader.position,
                leader_epoch: reader.leader_epoch,
                metadata: String::new(),
            };
            (partition.clone(), committed)
        };
        reading.map(offset).collect()
    }

    /// Whether the positions are to be committed before the consumer leaves: it is told to and is a member.
    #[must_use]
    pub fn commits_at_close(&self) -> bool {
        let member = self.group.as_ref().is_some_and(|group| {
            group.generation >= 0 || (self.selection == Selection::Partitions && !self.readers.is_empty())
        });
        self.config.auto_commit && member
    }

    /// Begins to commit `offsets`; [`ConsumerEvent::Committed`] tells the end.
    ///
    /// # Errors
    /// There is no group, or this consumer is out of it.
    pub fn commit(&mut self, now: Now, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<CallId> {
        self.begin_commit(now.instant, offsets, Asked::Commit)
    }

    pub(super) fn begin_commit(
        &mut self,
        now: Instant,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        asked: Asked,
    ) -> Result<CallId> {
        let Some(group) = &self.group else {
            return Err(ClientError::State { reason: "committing needs a group_id" });
        };
        let mut request = OffsetCommitRequest::default()
            .with_group_id(text(&group.id).into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(commit_topics(offsets));
        if matches!(self.selection, Selection::Topics(_)) {
            if group.generation < 0 {
                return Err(ClientError::broker("OffsetCommit", ErrorCode::UnknownMemberId));
            }
            request.generation_id_or_member_epoch = group.generation;
            request.member_id = text(&group.member_id);
            request.group_instance_id = self.config.group_instance_id.as_deref().map(text);
        }
        let target = Target::Coordinator(std::sync::Arc::clone(&group.id));
        let deadline = now.after(self.config.client.api_timeout);
        let id = self.calls.begin(&self.cluster, target, RequestKind::OffsetCommit(request), deadline, None);
        self.asked.insert(id, asked);
        Ok(id)
    }

    /// Begins to commit what the application has processed; `None` when there is nothing or nobody to commit to.
    pub(super) fn commit_processed(&mut self, now: Instant) -> Option<CallId> {
        if !self.config.auto_commit || self.group.is_none() {
            return None;
        }
        self.next_commit = now.after(self.config.auto_commit_interval);
        let processed: BTreeMap<TopicPartition, OffsetAndMetadata> = self
            .readers
            .iter()
            .filter_map(|(partition, reader)| {
                let (offset, leader_epoch) = reader.processed?;
                Some((partition.clone(), OffsetAndMetadata { offset, leader_epoch, metadata: String::new() }))
            })
            .collect();
        if processed.is_empty() { None } else { self.begin_commit(now, &processed, Asked::AutoCommit).ok() }
    }

    /// Commits by the clock.
    pub(super) fn auto_commit(&mut self, now: Instant) {
        let under_way = self.asked.values().any(|asked| *asked == Asked::AutoCommit);
        if self.next_commit <= now && !under_way {
            let _call = self.commit_processed(now);
        }
    }

    /// Begins to ask for the committed offsets of `partitions`; [`ConsumerEvent::Offsets`] brings them.
    ///
    /// # Errors
    /// There is no group.
    pub fn committed(&mut self, now: Now, partitions: &[TopicPartition]) -> Result<CallId> {
        let group = self.group_id().ok_or(ClientError::State { reason: "committed offsets need a group_id" })?;
        let request = RequestKind::OffsetFetch(offset_fetch(&group, Some(partitions)));
        let deadline = now.instant.after(self.config.client.api_timeout);
        let id = self.calls.begin(&self.cluster, Target::Coordinator(group), request, deadline, None);
        self.asked.insert(id, Asked::Committed);
        Ok(id)
    }

    /// A call of the application, or a commit by the clock, has ended.
    pub(super) fn asked_answered(&mut self, now: Instant, id: CallId, result: Result<ResponseKind>) {
        let Some(asked) = self.asked.remove(&id) else { return };
        if asked == Asked::Committed {
            self.events.push_back(ConsumerEvent::Offsets(id, result.and_then(committed)));
            return;
        }
        let result = result.and_then(partitions);
        let result = result.and_then(|rows| rows.into_iter().try_for_each(|(_, row)| row));
        if let Err(error) = &result {
            self.commit_refused(now, error);
        }
        if asked == Asked::Commit {
            self.events.push_back(ConsumerEvent::Committed(id, result));
        } else if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed");
        }
    }
}
