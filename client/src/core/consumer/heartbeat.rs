//! Staying in a group: heartbeats, what their errors mean, and leaving when the application does not poll.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::{ErrorCode, Instant};

use super::group::Phase;
use super::{ConsumerCore, Selection};
use crate::core::call::coordinator_moved;
use crate::core::cluster::Target;
use crate::error::{ClientError, Result};
use crate::wire::text;

impl ConsumerCore {
    /// A consumer that does not poll leaves, so that somebody else reads its partitions.
    pub(super) fn check_patience(&mut self, now: Instant) {
        let Some(group) = &self.group else { return };
        let late = group.last_poll.is_some_and(|at| at.after(self.config.max_poll_interval) <= now);
        if !late || group.generation < 0 {
            return;
        }
        tracing::warn!(group = %group.id, "no poll within max_poll_interval: leaving the group");
        if self.config.group_instance_id.is_none() {
            let _call = self.send_leave(now);
        }
        self.expelled(now, self.config.group_instance_id.is_none());
    }

    pub(super) fn beat(&mut self, now: Instant) {
        let Some(group) = &mut self.group else { return };
        if !group.beats() {
            return;
        }
        if group.last_heard.after(self.config.session_timeout) <= now {
            let id = Arc::clone(&group.id);
            group.last_heard = now;
            group.heartbeat = None;
            self.cluster.forget_coordinator(&id);
        }
        let Some(group) = &mut self.group else { return };
        if group.heartbeat.is_some() || group.next_heartbeat > now {
            return;
        }
        let request = m::HeartbeatRequest::default()
            .with_group_id(text(&group.id).into())
            .with_generation_id(group.generation)
            .with_member_id(text(&group.member_id))
            .with_group_instance_id(self.config.group_instance_id.as_deref().map(text));
        group.next_heartbeat = now.after(self.config.heartbeat_interval);
        let target = Target::Coordinator(Arc::clone(&group.id));
        let timeout = self.config.session_timeout.min(self.config.client.request_timeout);
        group.heartbeat = Some(self.cluster.send(now, target, RequestKind::Heartbeat(request), timeout));
    }

    pub(super) fn heartbeat_answered(&mut self, now: Instant, result: Result<ResponseKind>) {
        let error = match result {
            Ok(ResponseKind::Heartbeat(response)) => match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => None,
                code => Some(ClientError::broker("Heartbeat", code)),
            },
            Ok(_) => Some(ClientError::protocol("Heartbeat", "an answer to something else")),
            Err(error) => Some(error),
        };
        let Some(group) = &mut self.group else { return };
        match error {
            None => group.last_heard = now,
            Some(error) => self.membership_error(now, &error),
        }
    }

    /// A commit was refused.
    pub(super) fn commit_refused(&mut self, now: Instant, error: &ClientError) {
        if matches!(self.selection, Selection::Topics(_)) && error.code().is_some() {
            self.membership_error(now, error);
        }
    }

    /// What an error of heartbeat, sync or commit means for the membership.
    fn membership_error(&mut self, now: Instant, error: &ClientError) {
        let Some(group) = &mut self.group else { return };
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => {
                group.last_heard = now;
                if matches!(group.phase, Phase::Stable | Phase::Assigning(_) | Phase::Received(_)) {
                    group.rejoin = Some("the group is rebalancing");
                }
            }
            Some(ErrorCode::UnknownMemberId) => self.expelled(now, true),
            Some(ErrorCode::IllegalGeneration) => self.expelled(now, false),
            Some(ErrorCode::FencedInstanceId | ErrorCode::GroupAuthorizationFailed) => self.banned(error.clone()),
            _ if coordinator_moved(error) => {
                let id = Arc::clone(&group.id);
                // The member is still one: the next heartbeat goes to wherever the coordinator is.
                group.next_heartbeat = now.after(self.config.client.retry_backoff);
                self.cluster.forget_coordinator(&id);
            }
            _ => group.next_heartbeat = now.after(self.config.client.retry_backoff),
        }
    }

    /// The membership ends for good.
    pub(super) fn banned(&mut self, error: ClientError) {
        self.readers.clear();
        if let Some(group) = &mut self.group {
            group.phase = Phase::Out;
            group.generation = -1;
            group.fatal = Some(error);
        }
        self.changed = true;
    }
}
