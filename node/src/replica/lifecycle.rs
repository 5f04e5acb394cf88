//! How a replica becomes leader, what a failure makes of it, and how it stops.

use millrace_storage::{DiskError, FlushWork, QRecord, Recovery, Rot};
use millrace_types::{ErrorCode, LeaderEpoch, Now, Offset};

use super::core::{Role, Volatile};
use super::mutation::{Mutation, broken};
use super::operations::answer;
use super::puts::Purpose;
use super::{Replica, ReplicaEffect};
use crate::call::PartitionAnswer;

impl Replica {
    /// Elects itself: the next epoch and the vote become durable, and the log is flushed as far as it goes (after a
    /// crash the page cache may hold what no disk has).
    pub(super) fn start(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.role != Role::Opened {
            return;
        }
        let recovery = self.recovery.take().unwrap_or_default();
        self.report(&recovery);
        self.next_check = now.instant.after(self.first_check());
        if let Some(rot) = &recovery.damaged {
            return self.start_damaged(rot);
        }
        self.role = Role::Starting;
        self.epoch = self.epoch.saturating_add(1);
        let Recovery { mut records, flush, .. } = recovery;
        records.push(QRecord::Term { tp: self.partition, term: self.epoch, voted_for: Some(self.voter) });
        records.push(self.log.begin_epoch(self.epoch));
        self.puts.put(records, Purpose::Epoch, out);
        if let Some(work) = flush.or_else(|| self.log.take_flush()) {
            self.flush(work, out);
        }
    }

    /// Says what opening the log found, where that is more than usual.
    fn report(&self, recovery: &Recovery) {
        if let Some(cut) = &recovery.cut {
            let (partition, to, bytes) = (self.partition, cut.to, cut.bytes);
            tracing::warn!(%partition, to, bytes, reason = cut.reason, "a torn tail was cut");
        }
        if recovery.suffix_lost {
            tracing::error!(
                partition = %self.partition,
                end = self.log.log_end(),
                "records acknowledged from the page cache may be lost from this offset on"
            );
        }
    }

    /// Acknowledged records are lost to rot, and there is no other replica to repair them from. What lies below is
    /// served; what lies above is answered with a storage error, so that no consumer takes the gap for the log's end.
    fn start_damaged(&mut self, rot: &Rot) {
        tracing::error!(partition = %self.partition, %rot, "the replica only serves reads");
        self.role = Role::Failed;
        self.view.set_damaged(rot.offset);
        self.view.log.set_high_watermark(self.log.log_end());
        self.view.set_leader_epoch(self.epoch.max(1));
    }

    /// Time until the first retention check, spread over the partitions so that they do not all check at once.
    fn first_check(&self) -> std::time::Duration {
        const PARTS: u128 = 1024;
        let part = self.partition.topic.0.as_u128().wrapping_add(u128::from(self.partition.partition.unsigned_abs()));
        let part = u32::try_from(part % PARTS).unwrap_or(0);
        self.check_interval / 1024 * (part + 1)
    }

    /// Leads as soon as the epoch is durable and the log is flushed.
    pub(super) fn lead_if_ready(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let durable = !self.flushing && self.puts.is_empty() || broken(Mutation::LeadBeforeDurable);
        if self.role != Role::Starting || !durable {
            return;
        }
        self.role = Role::Leader;
        // The high watermark comes first: who sees the epoch may ask for the latest offset (consensus rules, 1.5).
        self.advance(out);
        self.view.set_leader_epoch(self.epoch);
        tracing::debug!(partition = %self.partition, epoch = self.epoch, end = self.log.log_end(), "leads");
        for (from, op) in self.early.take() {
            self.call(now, from, op, out);
        }
    }

    /// Sends flush work off.
    pub(super) fn flush(&mut self, work: FlushWork, out: &mut Vec<ReplicaEffect>) {
        debug_assert!(!self.flushing, "one flush at a time");
        self.flushing = true;
        out.push(ReplicaEffect::Flush(work));
    }

    /// A flush is done.
    pub(super) fn flushed(
        &mut self,
        upto: Offset,
        epoch: LeaderEpoch,
        result: Result<(), DiskError>,
        out: &mut Vec<ReplicaEffect>,
    ) {
        debug_assert!(epoch <= self.epoch, "work of a later epoch than the replica's");
        self.flushing = false;
        match result {
            Ok(()) if !self.log.is_poisoned() => self.log.flushed(upto),
            Ok(()) => {}
            Err(_) if broken(Mutation::TrustFailedFlush) => self.log.flushed(upto),
            Err(error) => self.fail(&error, out),
        }
    }

    /// Records of the write-ahead store are durable, or could not be written.
    pub(super) fn put_done(
        &mut self,
        now: Now,
        token: u64,
        result: Result<(), DiskError>,
        out: &mut Vec<ReplicaEffect>,
    ) {
        let Some(purpose) = self.puts.done(token) else { return };
        if let Err(error) = result {
            if let Purpose::Delete { from: Some(from), .. } = purpose {
                answer(out, from, PartitionAnswer::Failed(ErrorCode::KafkaStorageError));
            }
            return self.fail(&error, out);
        }
        match purpose {
            Purpose::Epoch => {}
            Purpose::SetVolatile => self.volatile = Volatile::Set,
            Purpose::ClearVolatile => self.volatile = Volatile::Clear,
            Purpose::Delete { from, start, .. } => {
                self.raise_start(now, start);
                if let Some(from) = from {
                    answer(out, from, PartitionAnswer::Deleted { low_watermark: self.log.log_start() });
                }
            }
            Purpose::Retention { start } => self.raise_start(now, start),
        }
    }

    /// The log start offset is durable and may be seen. A look at the log follows: files may be due.
    fn raise_start(&mut self, now: Now, start: Offset) {
        self.log.raise_start(start, now.instant);
        self.next_check = now.instant;
    }

    /// A write or flush failed, and nothing may count as written that is not known to be: it is never tried again
    /// (consensus rules, 2.2). The replica answers all that waits and serves reads of what is durable until the process
    /// restarts.
    pub(super) fn fail(&mut self, why: &DiskError, out: &mut Vec<ReplicaEffect>) {
        tracing::error!(partition = %self.partition, error = %why, "a write or flush failed");
        self.log.poison(why);
        self.give_up(out);
    }

    /// The log is poisoned, by the replica or by itself.
    pub(super) fn give_up(&mut self, out: &mut Vec<ReplicaEffect>) {
        self.view.limit_reads(self.log.flushed_offset());
        if !matches!(self.role, Role::Stopping | Role::Stopped) {
            self.role = Role::Failed;
        }
        self.refuse_waiting(ErrorCode::KafkaStorageError, out);
    }

    /// Answers everything that waits with `error`.
    fn refuse_waiting(&mut self, error: ErrorCode, out: &mut Vec<ReplicaEffect>) {
        let early = self.early.take().into_iter().map(|(from, _)| from);
        let produced = self.purgatory.take().map(|request| request.from);
        let callers = early.chain(produced).chain(self.puts.take_callers()).chain(self.watchers.take());
        for from in callers {
            answer(out, from, PartitionAnswer::Failed(error));
        }
    }

    /// Takes no more calls; what is appended is still flushed and acknowledged.
    pub(super) fn stop(&mut self, out: &mut Vec<ReplicaEffect>) {
        if matches!(self.role, Role::Stopping | Role::Stopped) {
            return;
        }
        self.role = Role::Stopping;
        let early = self.early.take().into_iter().map(|(from, _)| from);
        for from in early.chain(self.watchers.take()) {
            answer(out, from, PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower));
        }
    }

    /// Stops for good when nothing is under way. A log that is intact leaves behind what makes the next start quick.
    pub(super) fn stop_if_drained(&mut self, out: &mut Vec<ReplicaEffect>) {
        if self.role != Role::Stopping || self.flushing || !self.puts.is_empty() {
            return;
        }
        let has_led = self.view.leader_epoch().is_some();
        if self.is_intact() && has_led {
            if let Some(work) = self.log.take_flush() {
                return self.flush(work, out);
            }
            let flushed = self.log.flushed_offset() == self.log.log_end();
            if self.volatile == Volatile::Set && flushed {
                return self.clear_volatile(out);
            }
            if let Some(job) = self.log.clean_stop() {
                out.push(ReplicaEffect::Run(job));
            }
        }
        self.refuse_waiting(ErrorCode::NotLeaderOrFollower, out);
        self.role = Role::Stopped;
        out.push(ReplicaEffect::Stopped);
    }
}
