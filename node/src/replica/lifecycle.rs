//! How a replica starts, what a failure makes of it, and how it stops.

use millrace_raft::{Event, FlushMode, RoleKind};
use millrace_storage::{DiskError, FlushWork, QRecord, Recovery, Rot};
use millrace_types::{ErrorCode, Now, Offset};

use super::core::Phase;
use super::cut::Cut;
use super::mutation::{Mutation, broken};
use super::operations::answer;
use super::purgatory::Waiting;
use super::puts::Purpose;
use super::{Replica, ReplicaEffect, consensus};
use crate::call::PartitionAnswer;
use crate::directory::Leadership;

impl Replica {
    /// Takes part in the consensus, which notes first what opening the log has done; a single voter elects itself. The log
    /// is flushed as far as it goes: after a crash the page cache may hold what no disk has (duty 1).
    pub(super) fn start(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.phase != Phase::Opened {
            return;
        }
        let recovery = self.recovery.take().unwrap_or_default();
        self.report(&recovery);
        self.next_check = now.instant.after(self.first_check());
        self.suspect_holes(&recovery.holes);
        match &recovery.damaged {
            Some(rot) if self.is_alone() => self.start_damaged(rot),
            Some(rot) => self.salvage(rot, out),
            None => self.take_part(now, recovery.flush, out),
        }
    }

    /// Takes part in the consensus from here on.
    pub(super) fn take_part(&mut self, now: Now, flush: Option<FlushWork>, out: &mut Vec<ReplicaEffect>) {
        self.tell(now, Event::Start, out);
        self.phase = Phase::Running;
        self.note_epochs(out);
        if let Some(work) = flush.or_else(|| self.log.take_flush()) {
            self.flush(work, out);
        }
    }

    /// Has the write-ahead store know every epoch of the log: it may have lost one that records have shown. When those
    /// records are deleted, their leader still has to tell what came before its first record (duty 9).
    fn note_epochs(&mut self, out: &mut Vec<ReplicaEffect>) {
        if !self.unknown_epochs {
            return;
        }
        let tp = self.partition;
        let epochs = self.log.epoch_cache();
        let records = epochs.entries().iter().map(|(epoch, start)| QRecord::Epoch { tp, epoch: *epoch, start: *start });
        self.puts.put(records.collect(), Purpose::Epochs, out);
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
        self.log.upkeep().found(millrace_storage::Cause::Start, 0);
        self.phase = Phase::Failed;
        self.view.set_damaged(rot.offset);
        self.view.log.set_high_watermark(self.log.log_end());
        self.view.set_tells_latest(true);
        if self.is_alone() {
            let leader = Some(self.raft.me().key.broker);
            self.view.set_leadership(Leadership { epoch: self.raft.epoch().max(1), leader, is_own: true });
        }
    }

    /// Time until the first retention check, spread over the partitions so that they do not all check at once.
    fn first_check(&self) -> std::time::Duration {
        const PARTS: u128 = 1024;
        let part = self.partition.topic.0.as_u128().wrapping_add(u128::from(self.partition.partition.unsigned_abs()));
        let part = u32::try_from(part % PARTS).unwrap_or(0);
        self.check_interval / 1024 * (part + 1)
    }

    /// Sends flush work off.
    pub(super) fn flush(&mut self, work: FlushWork, out: &mut Vec<ReplicaEffect>) {
        debug_assert!(!self.flushing, "one flush at a time");
        debug_assert!(!self.cut.is_under_way(), "no flush while the log is cut");
        self.flushing = true;
        self.health.flushes += 1;
        out.push(ReplicaEffect::Flush(work));
    }

    /// A flush is done.
    pub(super) fn flushed(
        &mut self,
        now: Now,
        upto: Offset,
        result: Result<(), DiskError>,
        out: &mut Vec<ReplicaEffect>,
    ) {
        self.flushing = false;
        match result {
            Err(error) if !broken(Mutation::TrustFailedFlush) => return self.fail(&error, out),
            Ok(()) if self.log.is_poisoned() => return,
            Ok(()) | Err(_) => self.log.flushed(upto),
        }
        let upto = self.log.flushed_offset();
        self.tell_running(now, Event::Flushed { upto }, out);
        self.puts.release(out);
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
            Purpose::Consensus { token, .. } => {
                self.tell_running(now, Event::PutDone { token }, out);
                if self.refetch_after_put && !self.puts.epochs_are_pending() {
                    self.refetch_after_put = false;
                    self.tell_running(now, Event::Refetch, out);
                }
            }
            Purpose::CutDone { end } => {
                self.cut = Cut::None;
                self.tell_running(now, Event::CutDone { end }, out);
            }
            Purpose::Salvage => self.salvage_noted(now, out),
            Purpose::Epochs => self.unknown_epochs = false,
            Purpose::Delete { from, start, deadline } => {
                self.raise_start(now, start, out);
                if let Some(from) = from {
                    self.deletions.push(Waiting::for_deletion(from, start, deadline));
                }
            }
            Purpose::Retention { start } => self.raise_start(now, start, out),
        }
    }

    /// The log start offset is durable and may be seen. A look at the log follows: files may be due.
    pub(super) fn raise_start(&mut self, now: Now, start: Offset, out: &mut Vec<ReplicaEffect>) {
        if self.cut.is_running() {
            self.start_after_cut = self.start_after_cut.max(Some(start));
            return;
        }
        if start > self.log.log_end() {
            // A follower's log was cut since.
            return;
        }
        self.log.raise_start(start, now.instant);
        self.next_check = now.instant;
        self.tell_running(now, Event::LogStart { start: self.log.log_start() }, out);
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
        self.puts.drop_held();
        if self.is_running() {
            self.resign(out);
        }
        if !matches!(self.phase, Phase::Stopping | Phase::Closing | Phase::Stopped) {
            self.phase = Phase::Failed;
        }
        if !self.is_alone() {
            // Others lead on; this replica has nothing to say any more.
            self.leads = false;
            let epoch = self.raft.epoch();
            self.view.set_leadership(Leadership { epoch, leader: None, is_own: false });
        }
        self.refuse_waiting(ErrorCode::KafkaStorageError, out);
    }

    /// Tells the consensus that the disk has failed, and its peers that this replica leads no longer.
    fn resign(&mut self, out: &mut Vec<ReplicaEffect>) {
        let mut effects = Vec::new();
        // The pause after it does not matter: a poisoned replica never campaigns.
        self.raft.step(millrace_types::Instant::ZERO, Event::Poisoned, &mut effects);
        for effect in effects {
            if let millrace_raft::Effect::Send { to, message } = effect {
                out.push(ReplicaEffect::Send { to, message, records: bytes::Bytes::new(), catch_up: false });
            }
        }
    }

    /// Answers everything that waits with `error`.
    pub(super) fn refuse_waiting(&mut self, error: ErrorCode, out: &mut Vec<ReplicaEffect>) {
        let early = self.early.take().into_iter().map(|(from, _)| from);
        let waiting = self.purgatory.take().chain(self.own.take()).chain(self.deletions.take());
        let produced = waiting.map(|request| request.from);
        let callers = early.chain(produced).chain(self.puts.take_callers()).chain(self.watchers.take());
        for from in callers {
            answer(out, from, PartitionAnswer::Failed(error));
        }
    }

    /// Takes no more calls; what is appended is still flushed and acknowledged. Leadership is handed over.
    pub(super) fn stop(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if matches!(self.phase, Phase::Stopping | Phase::Closing | Phase::Stopped) {
            return;
        }
        let was_running = self.phase == Phase::Running;
        self.phase = Phase::Stopping;
        let early = self.early.take().into_iter().map(|(from, _)| from);
        for from in early.chain(self.watchers.take()) {
            answer(out, from, PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower));
        }
        if was_running && self.raft.role() == RoleKind::Leader && !self.is_alone() {
            let successor = self.successor();
            self.tell(now, successor.map_or(Event::Resign, |to| Event::Transfer { to }), out);
        }
    }

    /// Stops for good when the broker shall have no replica and nothing that this one has acknowledged counts any more.
    pub(super) fn retire_if_outside(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let lives = matches!(self.phase, Phase::Running | Phase::Failed);
        if self.retires && lives && (self.raft.is_outside() || broken(Mutation::RetireInside)) {
            tracing::info!(partition = %self.partition, "no member any more: the replica goes");
            self.retired = true;
            self.stop(now, out);
        }
    }

    /// Who could lead in this replica's place.
    pub(super) fn successor(&self) -> Option<millrace_raft::ReplicaKey> {
        self.raft.successors().into_iter().next()
    }

    /// Stops for good when nothing is under way. A log that is intact leaves behind what makes the next start quick.
    pub(super) fn stop_if_drained(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let stopping = matches!(self.phase, Phase::Stopping | Phase::Closing);
        if !stopping || self.flushing || self.cut.is_running() || !self.puts.is_empty() {
            return;
        }
        if self.raft.role() == RoleKind::Leader && !self.is_alone() && self.is_intact() {
            return;
        }
        if self.is_intact() && self.raft.is_taking_part() {
            if let Some(work) = self.log.take_flush() {
                return self.flush(work, out);
            }
            if self.phase == Phase::Stopping {
                self.phase = Phase::Closing;
                let flushing = consensus::settings(self.log.config(), self.replication, &self.timing);
                let settings = millrace_raft::Settings { flush: FlushMode::Durable, ..flushing };
                self.tell(now, Event::Configure(settings), out);
                if !self.puts.is_empty() {
                    return;
                }
            }
            if let Some(job) = self.log.clean_stop() {
                out.push(ReplicaEffect::Run(job));
            }
        }
        self.refuse_waiting(ErrorCode::NotLeaderOrFollower, out);
        self.phase = Phase::Stopped;
        out.push(ReplicaEffect::Stopped);
    }
}
