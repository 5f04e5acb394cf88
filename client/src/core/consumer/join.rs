//! Joining a group: JoinGroup, the leader's plan, SyncGroup.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::{ErrorCode, Instant};

use super::group::Phase;
use super::{ConsumerCore, Selection};
use crate::config::Assignor;
use crate::core::assignor::{self, Assignment, Member, PartitionCounts, protocol};
use crate::core::call::coordinator_moved;
use crate::core::cluster::Target;
use crate::error::{ClientError, Result};
use crate::model::TopicPartition;
use crate::wire::text;

impl ConsumerCore {
    pub(super) fn send_join(&mut self, now: Instant) {
        let Selection::Topics(topics) = &self.selection else { return };
        let cooperative = self.is_cooperative();
        let owned = if cooperative { self.assignment() } else { Vec::new() };
        let Some(group) = &mut self.group else { return };
        let generation = if cooperative { group.generation } else { -1 };
        let subscription = protocol::Subscription { topics: topics.clone(), owned, generation };
        let row = |assignor: &Assignor| {
            let sticky = *assignor == Assignor::CooperativeSticky;
            m::join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text(assignor::name(*assignor)))
                .with_metadata(protocol::write_subscription(&subscription, sticky))
        };
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let request = m::JoinGroupRequest::default()
            .with_group_id(text(&group.id).into())
            .with_session_timeout_ms(millis(self.config.session_timeout))
            .with_rebalance_timeout_ms(millis(self.config.max_poll_interval))
            .with_member_id(text(&group.member_id))
            .with_group_instance_id(self.config.group_instance_id.as_deref().map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(self.config.assignors.iter().map(row).collect())
            .with_reason(group.rejoin.take().map(text));
        // The coordinator answers when all members have joined, at the latest after the rebalance time-out.
        let timeout = self.config.max_poll_interval + Duration::from_secs(5);
        let target = Target::Coordinator(Arc::clone(&group.id));
        group.phase = Phase::Joining(self.cluster.send(now, target, RequestKind::JoinGroup(request), timeout));
    }

    fn send_sync(&mut self, now: Instant, assignment: &Assignment) {
        let Some(group) = &mut self.group else { return };
        let row = |(member, partitions): (&String, &Vec<TopicPartition>)| {
            m::sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(protocol::write_assignment(partitions))
        };
        let request = m::SyncGroupRequest::default()
            .with_group_id(text(&group.id).into())
            .with_generation_id(group.generation)
            .with_member_id(text(&group.member_id))
            .with_group_instance_id(self.config.group_instance_id.as_deref().map(text))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text(&group.protocol)))
            .with_assignments(assignment.iter().map(row).collect());
        let timeout = self.config.max_poll_interval + Duration::from_secs(5);
        let target = Target::Coordinator(Arc::clone(&group.id));
        group.phase = Phase::Syncing(self.cluster.send(now, target, RequestKind::SyncGroup(request), timeout));
    }

    /// The leader's plan, as soon as the metadata knows the topics of all members.
    pub(super) fn plan(&mut self, now: Instant) {
        let Some(Phase::Planning(members, assignor)) = self.group.as_ref().map(|group| &group.phase) else { return };
        let topics: BTreeSet<Arc<str>> = members.iter().flat_map(|member| member.subscription.topics.clone()).collect();
        for topic in &topics {
            self.cluster.metadata.want(now, topic);
        }
        if topics.iter().any(|topic| !self.cluster.metadata.topics.contains_key(topic)) {
            return;
        }
        let counts = self.counts(topics);
        let assignment = assignor::assign(*assignor, members, &counts);
        if let Some(group) = &mut self.group {
            group.planned = Some(counts);
        }
        self.send_sync(now, &assignment);
    }

    /// The numbers of partitions of those topics that exist.
    fn counts(&self, topics: impl IntoIterator<Item = Arc<str>>) -> PartitionCounts {
        let count = |name: Arc<str>| {
            let count = self.cluster.metadata.topic(&name).map(|topic| topic.partitions.len())?;
            Some((name, count))
        };
        topics.into_iter().filter_map(count).collect()
    }

    /// Metadata changed: a leader whose plan is out of date lets its group rebalance.
    pub(super) fn check_topics(&mut self) {
        if let Selection::Topics(topics) = &self.selection {
            let code = |topic: &Arc<str>| self.cluster.metadata.topics.get(topic).map(|topic| topic.error);
            let denied = |code: &ErrorCode| {
                matches!(code, ErrorCode::TopicAuthorizationFailed | ErrorCode::InvalidTopicException)
            };
            if let Some(code) = topics.iter().filter_map(code).find(denied) {
                self.tell(ClientError::broker("Metadata", code));
            }
        }
        let Some(group) = &self.group else { return };
        let (Phase::Stable, Some(planned)) = (&group.phase, &group.planned) else { return };
        // A topic that appeared is in the metadata's cache but was missing from the plan.
        let topics: BTreeSet<Arc<str>> = match &self.selection {
            Selection::Topics(topics) => topics.iter().chain(planned.keys()).cloned().collect(),
            _ => return,
        };
        if self.counts(topics) != *planned
            && let Some(group) = &mut self.group
        {
            group.rejoin = Some("the topics changed");
        }
    }

    pub(super) fn joined(&mut self, now: Instant, result: Result<ResponseKind>) {
        let response = match result {
            Ok(ResponseKind::JoinGroup(response)) => response,
            Ok(_) => return self.unjoin_later(now),
            Err(error) => return self.join_failed(now, &error),
        };
        let Some(group) = &mut self.group else { return };
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                group.member_id = response.member_id.to_string();
                return self.unjoin(now);
            }
            ErrorCode::UnknownMemberId => {
                return self.expelled(now, true);
            }
            code => return self.join_failed(now, &ClientError::broker("JoinGroup", code)),
        }
        group.failures = 0;
        group.generation = response.generation_id;
        group.member_id = response.member_id.to_string();
        group.protocol = response.protocol_name.as_deref().unwrap_or_default().to_owned();
        group.planned = None;
        group.last_heard = now;
        group.next_heartbeat = now.after(self.config.heartbeat_interval);
        if response.leader != response.member_id || response.skip_assignment {
            return self.send_sync(now, &Assignment::new());
        }
        let Some(assignor) = assignor::by_name(&group.protocol) else {
            let error = ClientError::protocol("JoinGroup", format!("unknown assignor {}", group.protocol));
            return self.join_failed(now, &error);
        };
        let members: Result<Vec<Member>> = response.members.into_iter().map(member).collect();
        match members {
            Ok(members) => {
                group.phase = Phase::Planning(members, assignor);
                self.plan(now);
            }
            Err(error) => self.join_failed(now, &error),
        }
    }

    fn join_failed(&mut self, now: Instant, error: &ClientError) {
        let id = self.group_id().unwrap_or_default();
        let lasting = [ErrorCode::FencedInstanceId, ErrorCode::GroupAuthorizationFailed, ErrorCode::InvalidGroupId];
        if error.code().is_some_and(|code| lasting.contains(&code))
            || matches!(error, ClientError::UnsupportedVersion { .. })
        {
            return self.banned(error.clone());
        }
        if coordinator_moved(error) {
            self.cluster.forget_coordinator(&id);
        }
        if error.code() == Some(ErrorCode::IllegalGeneration) {
            return self.expelled(now, false);
        }
        self.unjoin_later(now);
        if !error.is_retriable() {
            self.tell(error.clone());
        }
    }

    pub(super) fn synced(&mut self, now: Instant, result: Result<ResponseKind>) {
        let response = match result {
            Ok(ResponseKind::SyncGroup(response)) => response,
            Ok(_) => return self.unjoin_later(now),
            Err(error) => return self.join_failed(now, &error),
        };
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => return self.unjoin(now),
            ErrorCode::UnknownMemberId => return self.expelled(now, true),
            code => return self.join_failed(now, &ClientError::broker("SyncGroup", code)),
        }
        let assigned = if response.assignment.is_empty() {
            Ok(Vec::new())
        } else {
            protocol::read_assignment(response.assignment)
        };
        match assigned {
            Ok(assigned) => {
                for partition in &assigned {
                    self.cluster.metadata.want(now, &partition.topic);
                }
                if let Some(group) = &mut self.group {
                    group.last_heard = now;
                    group.phase = Phase::Received(assigned);
                }
                self.group_advance(now);
            }
            Err(error) => self.join_failed(now, &error),
        }
    }
}

/// A member as JoinGroup tells the leader.
fn member(row: m::join_group_response::JoinGroupResponseMember) -> Result<Member> {
    let metadata: Bytes = row.metadata;
    Ok(Member {
        id: row.member_id.to_string(),
        instance_id: row.group_instance_id.map(|id| id.to_string()),
        subscription: protocol::read_subscription(metadata)?,
    })
}
