//! Publishing who leads, and what becomes of those who wait when that changes.

use millrace_raft::{Refusal, RoleKind};
use millrace_types::{ErrorCode, Now};

use super::core::Phase;
use super::operations::answer;
use super::{Replica, ReplicaEffect};
use crate::call::PartitionAnswer;
use crate::directory::Leadership;

impl Replica {
    /// Publishes who leads. This replica does so when its epoch is durable with all that its log held when the epoch began.
    pub(super) fn publish_leadership(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let epoch = self.raft.epoch();
        let is_own = self.raft.role() == RoleKind::Leader && self.raft.held().epoch == epoch && self.is_intact();
        // The high watermark was published before: who sees the epoch may ask for the latest offset (rule R19).
        self.view.set_tells_latest(self.raft.latest().is_some());
        self.view.set_held_by_all(self.raft.held_by_all());
        let me = self.raft.me().key;
        let leader = self.raft.leader().filter(|leader| is_own || *leader != me).map(|leader| leader.broker);
        let changes = self.view.changes();
        self.view.set_leadership(Leadership { epoch, leader, is_own });
        if self.view.changes() != changes {
            // Who waits for records looks again: it may have to go elsewhere.
            for from in self.watchers.take() {
                answer(out, from, PartitionAnswer::Advanced);
            }
        }
        let had = std::mem::replace(&mut self.leads, is_own);
        if is_own && !had {
            tracing::debug!(partition = %self.partition, epoch, end = self.log.log_end(), "leads");
            for (from, op) in self.early.take() {
                self.call(now, from, op, out);
            }
        }
        if had && !is_own {
            tracing::debug!(partition = %self.partition, epoch, "leads no longer");
            self.refuse_waiting(ErrorCode::NotLeaderOrFollower, out);
        }
        if !is_own && !self.may_lead_soon() {
            for (from, _) in self.early.take() {
                answer(out, from, PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower));
            }
        }
    }

    /// Whether a write that comes now does better to wait than to be sent elsewhere.
    pub(super) fn may_lead_soon(&self) -> bool {
        let is_elected = self.raft.role() == RoleKind::Leader || self.is_alone();
        self.phase == Phase::Opened || (self.phase == Phase::Running && is_elected)
    }

    /// What was appended with acks=all may stay below `min.insync.replicas` for long: its producers are told.
    pub(super) fn refuse_without_enough_replicas(&mut self, out: &mut Vec<ReplicaEffect>) {
        if self.raft.admission() == Err(Refusal::NotEnoughReplicas) {
            for request in self.purgatory.take() {
                answer(out, request.from, PartitionAnswer::Failed(ErrorCode::NotEnoughReplicasAfterAppend));
            }
        }
    }
}
