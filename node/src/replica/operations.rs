//! What other cores ask of a replica: produce, watch, delete records, describe.

use std::time::Duration;

use millrace_raft::Refusal;
use millrace_storage::{AppendError, ValidBatches};
use millrace_types::{ErrorCode, Instant, Now, Offset};

use super::core::Phase;
use super::mutation::{Mutation, broken};
use super::purgatory::Waiting;
use super::puts::Purpose;
use super::{Replica, ReplicaEffect};
use crate::call::{Acks, PartitionAnswer, PartitionOp, ReplicaDescription, ReplyTo};

/// How long a produce request waits for this replica's own flush, whatever its time-out: that bounds the wait for other
/// replicas. An earlier answer would have the client send again what the log already has.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
/// The `before` of a `DeleteRecords` that means the high watermark.
const TO_HIGH_WATERMARK: Offset = -1;

impl Replica {
    /// Takes a call of another core.
    pub(super) fn call(&mut self, now: Now, from: ReplyTo, op: PartitionOp, out: &mut Vec<ReplicaEffect>) {
        let fail = |out: &mut Vec<_>, error| answer(out, from, PartitionAnswer::Failed(error));
        match (op, self.phase) {
            (PartitionOp::Describe, _) => {
                let described = PartitionAnswer::Described(self.describe());
                answer(out, from, described);
            }
            (_, Phase::Stopping | Phase::Closing | Phase::Stopped) => fail(out, ErrorCode::NotLeaderOrFollower),
            (_, Phase::Failed) => fail(out, ErrorCode::KafkaStorageError),
            (PartitionOp::Watch { beyond }, _) => {
                // A high watermark that is above already fires when the step settles.
                if !self.watchers.add(from, beyond) {
                    fail(out, ErrorCode::ThrottlingQuotaExceeded);
                }
            }
            (op, Phase::Opened | Phase::Running) if !self.leads => {
                let refused = if self.may_lead_soon() { self.early.push(from, op) } else { Err(from) };
                if let Err(from) = refused {
                    answer(out, from, PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower));
                }
            }
            (PartitionOp::Produce { batches, acks, deadline }, Phase::Opened | Phase::Running) => {
                self.produce(now, from, batches, (acks, deadline), out);
            }
            (PartitionOp::DeleteRecords { before, deadline }, Phase::Opened | Phase::Running) => {
                self.delete_records(from, (before, deadline), out);
            }
        }
    }

    /// Appends; the answer waits in a purgatory until the acks asked for are met: for acks=all the high watermark, for
    /// acks=1 this replica itself, as durable as the topic wants its records.
    fn produce(
        &mut self,
        now: Now,
        from: ReplyTo,
        batches: ValidBatches,
        (acks, deadline): (Acks, Instant),
        out: &mut Vec<ReplicaEffect>,
    ) {
        if self.purgatory.is_full() || self.own.is_full() {
            return answer(out, from, PartitionAnswer::Failed(ErrorCode::RequestTimedOut));
        }
        let epoch = match self.raft.admission() {
            Ok(epoch) => epoch,
            Err(Refusal::NotEnoughReplicas) if acks != Acks::All => self.raft.epoch(),
            Err(Refusal::NotEnoughReplicas) => {
                return answer(out, from, PartitionAnswer::Failed(ErrorCode::NotEnoughReplicas));
            }
            Err(Refusal::NotLeader | Refusal::Transferring) => {
                return answer(out, from, PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower));
            }
        };
        let bytes = batches.size();
        let appended = match self.log.append(batches, epoch, now) {
            Ok(appended) => {
                self.health.appended();
                appended
            }
            Err(error) => {
                if matches!(error, AppendError::Full(_)) {
                    self.lacks_room(now, &error);
                }
                // What fails before anything is written, such as opening one file too many, leaves the log as it was.
                let fatal = match &error {
                    AppendError::Storage(disk) if self.log.is_poisoned() => Some(disk.clone()),
                    _ => None,
                };
                answer(out, from, PartitionAnswer::Refused { error, log_start: self.log.log_start() });
                if let Some(disk) = fatal {
                    self.fail(&disk, out);
                }
                return;
            }
        };
        let waits_for_others = acks == Acks::All && !self.is_alone();
        let waiting = Waiting {
            from,
            base_offset: appended.base_offset,
            end: appended.last_offset + 1,
            log_append_time: appended.log_append_time,
            bytes,
            deadline: if waits_for_others { deadline } else { deadline.max(now.instant.after(FLUSH_PATIENCE)) },
        };
        match acks {
            Acks::None => self.produced(&waiting, out),
            _ if appended.duplicate && broken(Mutation::AcknowledgeDuplicateAtOnce) => self.produced(&waiting, out),
            Acks::Leader => self.own.push(waiting),
            Acks::All => self.purgatory.push(waiting),
        }
        if !appended.duplicate {
            self.appended(now, out);
        }
        if let Some(job) = self.log.prepare() {
            out.push(ReplicaEffect::Prepare(job));
        }
    }

    /// Answers a produce request whose acks are met.
    pub(super) fn produced(&self, request: &Waiting, out: &mut Vec<ReplicaEffect>) {
        let produced = PartitionAnswer::Produced {
            base_offset: request.base_offset,
            log_append_time: request.log_append_time,
            log_start: self.log.log_start(),
        };
        answer(out, request.from, produced);
    }

    /// Moves the log start offset up when that is durable, and answers then.
    fn delete_records(&mut self, from: ReplyTo, (before, deadline): (Offset, Instant), out: &mut Vec<ReplicaEffect>) {
        // What is deleted must be committed for good (rule R19).
        let Some(high_watermark) = self.raft.latest() else {
            return answer(out, from, PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower));
        };
        if self.deletions.is_full() {
            return answer(out, from, PartitionAnswer::Failed(ErrorCode::RequestTimedOut));
        }
        let before = if before == TO_HIGH_WATERMARK { high_watermark } else { before };
        if !(0..=high_watermark).contains(&before) {
            return answer(out, from, PartitionAnswer::Failed(ErrorCode::OffsetOutOfRange));
        }
        match self.log.delete_records(before) {
            Ok((start, Some(record))) => {
                let purpose = Purpose::Delete { from: Some(from), start, deadline };
                self.puts.put(vec![record], purpose, out);
            }
            Ok((start, None)) => self.deletions.push(Waiting::for_deletion(from, start, deadline)),
            Err(error) => answer(out, from, PartitionAnswer::Failed(error.error_code())),
        }
    }

    fn describe(&self) -> ReplicaDescription {
        ReplicaDescription {
            size_bytes: self.log.size_bytes(),
            leader_epoch: self.raft.epoch(),
            log_end: self.log.log_end(),
        }
    }
}

pub(super) fn answer(out: &mut Vec<ReplicaEffect>, to: ReplyTo, answer: PartitionAnswer) {
    out.push(ReplicaEffect::Answer { to, answer });
}
