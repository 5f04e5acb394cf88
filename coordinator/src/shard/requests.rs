//! One request in, its reply out: now, or when the rebalance it waits for is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_types::{ErrorCode, Now};

use super::GroupShard;
use super::limits::fits_records;
use crate::group::{Group, GroupState, refuse_join, refuse_sync};
use crate::outcome::Outcome;
use crate::request::{
    CommitOffsets, CommitTopic, DeleteOffsets, FetchOffsets, GroupRequest, Heartbeat, JoinGroup, LeaveGroup,
    LeavingMember, SyncGroup,
};
use crate::response::{CommittedTopic, FetchedOffsets, GroupResponse, LeftGroup, LeftMember};

impl GroupShard {
    /// Takes a request. Its reply, under `token`, comes in this outcome or in a later one.
    pub fn handle(&mut self, now: Now, token: u64, request: GroupRequest, out: &mut Outcome) {
        if !fits_records(&request) {
            out.reply(token, GroupResponse::Failed(ErrorCode::InvalidRequest));
            return;
        }
        let response = match request {
            GroupRequest::Join(request) => return self.join(now, token, &request, out),
            GroupRequest::Sync(request) => return self.sync(now, token, request, out),
            GroupRequest::Heartbeat(request) => GroupResponse::Heartbeat(self.heartbeat(now, &request, out)),
            GroupRequest::Leave(request) => GroupResponse::Leave(self.leave(now, request, out)),
            GroupRequest::Commit(request) => GroupResponse::Commit(self.commit(now, request, out)),
            GroupRequest::Fetch(request) => GroupResponse::Fetch(self.fetch(request)),
            GroupRequest::DeleteOffsets(request) => self.delete_offsets(now, request, out),
            GroupRequest::DeleteGroups(groups) => GroupResponse::DeleteGroups(self.delete_groups(now, groups, out)),
            GroupRequest::ForgetTopics(topics) => {
                self.forget_topics(now, topics, out);
                GroupResponse::ForgetTopics
            }
            GroupRequest::Describe(groups) => {
                GroupResponse::Describe(groups.into_iter().map(|id| self.describe(id)).collect())
            }
            GroupRequest::List { states } => {
                let asked = |group: &&Group| {
                    states.is_empty() || states.iter().any(|state| state.eq_ignore_ascii_case(group.state().name()))
                };
                GroupResponse::List(self.groups.values().filter(asked).map(Group::list).collect())
            }
        };
        out.reply(token, response);
    }

    fn join(&mut self, now: Now, token: u64, request: &JoinGroup, out: &mut Outcome) {
        if let Err(error) = self.check_join(request) {
            out.reply(token, refuse_join(request.member_id.clone(), error));
            return;
        }
        // The ids are lent to the group, which the shard holds too.
        let mut ids = std::mem::take(&mut self.ids);
        self.groups.entry(request.group.clone()).or_insert_with(|| Group::new(request.group.clone()));
        self.visit(now, &request.group, out, |group, work| group.join(&mut ids, token, request, work));
        self.ids = ids;
    }

    fn sync(&mut self, now: Now, token: u64, request: SyncGroup, out: &mut Outcome) {
        let id = request.group.clone();
        if id.is_empty() {
            out.reply(token, refuse_sync(ErrorCode::InvalidGroupId));
        } else if let Err(error) = self.check_sync(&request) {
            out.reply(token, refuse_sync(error));
        } else if self.visit(now, &id, out, |group, work| group.sync(token, request, work)).is_none() {
            out.reply(token, refuse_sync(ErrorCode::UnknownMemberId));
        }
    }

    fn heartbeat(&mut self, now: Now, request: &Heartbeat, out: &mut Outcome) -> ErrorCode {
        if request.group.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        self.visit(now, &request.group, out, |group, work| group.heartbeat(request, work))
            .unwrap_or(ErrorCode::UnknownMemberId)
    }

    fn leave(&mut self, now: Now, request: LeaveGroup, out: &mut Outcome) -> LeftGroup {
        if request.group.is_empty() {
            return LeftGroup { error: ErrorCode::InvalidGroupId, members: Vec::new() };
        }
        let members = request.members;
        let id = request.group;
        if !self.groups.contains_key(&id) {
            // Nobody is a member of a group that does not exist: that is an error of each, not of the request.
            let unknown = |LeavingMember { member_id, instance_id }| LeftMember {
                member_id,
                instance_id,
                error: ErrorCode::UnknownMemberId,
            };
            return LeftGroup { error: ErrorCode::None, members: members.into_iter().map(unknown).collect() };
        }
        let left = self.visit(now, &id, out, |group, work| group.leave(members, work));
        LeftGroup { error: ErrorCode::None, members: left.unwrap_or_default() }
    }

    fn commit(&mut self, now: Now, request: CommitOffsets, out: &mut Outcome) -> Vec<CommittedTopic> {
        if let Err(error) = self.check_commit(&request).and_then(|()| self.validate_commit(&request)) {
            return request.topics.into_iter().map(|topic| refuse_topic(topic, error)).collect();
        }
        let id = request.group.clone();
        self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        self.visit(now, &id, out, |group, work| group.commit(request, work)).unwrap_or_default()
    }

    /// A group that does not exist is made by a commit without a generation: a consumer without group management.
    fn validate_commit(&self, request: &CommitOffsets) -> Result<(), ErrorCode> {
        match self.groups.get(&request.group) {
            Some(group) => group.validate_commit(request),
            None if request.generation < 0 => self.check_new_group(),
            None if request.knows_missing_group => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// There are no transactions, so every offset is stable and `require_stable` holds.
    fn fetch(&self, request: FetchOffsets) -> FetchedOffsets {
        let nothing;
        let group = match self.groups.get(&request.group) {
            Some(group) => group,
            None => {
                nothing = Group::new(request.group.clone());
                &nothing
            }
        };
        let topics = group.fetch(request.topics.as_deref());
        FetchedOffsets { group: request.group, topics }
    }

    fn delete_offsets(&mut self, now: Now, request: DeleteOffsets, out: &mut Outcome) -> GroupResponse {
        if request.group.is_empty() {
            return GroupResponse::Failed(ErrorCode::InvalidGroupId);
        }
        let topics = request.topics;
        match self.visit(now, &request.group, out, |group, work| group.delete_offsets(topics, work)) {
            Some(Ok(topics)) => GroupResponse::DeleteOffsets(topics),
            Some(Err(error)) => GroupResponse::Failed(error),
            None => GroupResponse::Failed(ErrorCode::GroupIdNotFound),
        }
    }

    fn delete_groups(&mut self, now: Now, groups: Vec<Arc<str>>, out: &mut Outcome) -> Vec<(Arc<str>, ErrorCode)> {
        let mut results = Vec::with_capacity(groups.len());
        for id in groups {
            let error = self.visit(now, &id, out, |group, work| {
                if group.state() != GroupState::Empty {
                    return ErrorCode::NonEmptyGroup;
                }
                group.delete(work);
                ErrorCode::None
            });
            results.push((id, error.unwrap_or(ErrorCode::GroupIdNotFound)));
        }
        results
    }

    fn forget_topics(&mut self, now: Now, topics: Vec<Arc<str>>, out: &mut Outcome) {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().collect();
        let groups: Vec<_> =
            self.groups.iter().filter(|(_, group)| group.has_offsets_of(&topics)).map(|(id, _)| id.clone()).collect();
        for id in groups {
            self.visit(now, &id, out, |group, work| group.forget_topics(&topics, work));
        }
    }

    fn describe(&self, id: Arc<str>) -> crate::response::DescribedGroup {
        match self.groups.get(&id) {
            Some(group) => group.describe(),
            None => Group::describe_missing(id),
        }
    }
}

fn refuse_topic(topic: CommitTopic, error: ErrorCode) -> CommittedTopic {
    let partitions = topic.partitions.into_iter().map(|offset| (offset.partition, error)).collect();
    CommittedTopic { name: topic.name, partitions }
}
