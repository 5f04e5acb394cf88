//! What follows from any event: the high watermark, the next flush, what is due, and the timer.

use std::time::Duration;

use millrace_storage::QRecord;
use millrace_types::{ErrorCode, Instant, Now, Offset};

use super::core::{Role, Volatile};
use super::mutation::{Mutation, broken};
use super::operations::answer;
use super::puts::Purpose;
use super::{Replica, ReplicaEffect};
use crate::call::PartitionAnswer;
use crate::deadline;

/// The shortest time between two looks after the log.
const MIN_CHECK: Duration = Duration::from_millis(100);
/// The shortest time a timer is set to.
const MIN_TIMER: Duration = Duration::from_millis(1);

impl Replica {
    /// Brings everything in line with the state after an event.
    pub(super) fn settle(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        self.lead_if_ready(now, out);
        self.advance(out);
        self.expire(now, out);
        if self.role == Role::Leader {
            self.look_after(now, out);
            self.flush_if_due(now, out);
            self.follow_flush_mode(out);
        }
        if self.log.is_poisoned() && matches!(self.role, Role::Starting | Role::Leader) {
            self.give_up(out);
        }
        self.stop_if_drained(out);
        self.schedule(now, out);
    }

    /// The offset below which everything is as safe as the topic wants it (Raft's commit index of a single voter).
    fn committed(&self) -> Offset {
        let marked = self.volatile == Volatile::Set || broken(Mutation::CommitBeforeVolatile);
        let from_page_cache = !self.is_durable() && marked || broken(Mutation::CommitBeforeFlush);
        if from_page_cache { self.log.log_end() } else { self.log.flushed_offset() }
    }

    /// Moves the high watermark up to what is committed, and answers whoever waited for it.
    pub(super) fn advance(&mut self, out: &mut Vec<ReplicaEffect>) {
        let stopping = self.role == Role::Stopping && self.view.leader_epoch().is_some();
        if (self.role == Role::Leader || stopping) && self.is_intact() {
            let committed = self.committed();
            if committed > self.high_watermark() {
                self.view.log.set_high_watermark(committed);
            }
        }
        let high_watermark = self.high_watermark();
        while let Some(request) = self.purgatory.release(high_watermark) {
            self.produced(&request, out);
        }
        while let Some(from) = self.watchers.fire(high_watermark) {
            answer(out, from, PartitionAnswer::Advanced);
        }
    }

    /// Gives up on what has waited too long. What was appended stays and may still be committed.
    fn expire(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let timed_out = PartitionAnswer::Failed;
        while let Some(request) = self.purgatory.expire(now.instant) {
            answer(out, request.from, timed_out(ErrorCode::RequestTimedOut));
        }
        for from in self.early.expire(now.instant).into_iter().chain(self.puts.expire(now.instant)) {
            answer(out, from, timed_out(ErrorCode::RequestTimedOut));
        }
    }

    /// Roll by age, retention and forgetting of idle producers.
    fn look_after(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.next_check > now.instant {
            return;
        }
        let high_watermark = self.high_watermark();
        let due = self.log.maintain(now, high_watermark);
        let (soonest, regular) = (now.instant.after(MIN_CHECK), now.instant.after(self.check_interval));
        self.next_check = due.next.map_or(regular, |next| next.min(regular)).max(soonest);
        out.extend(due.jobs.into_iter().map(ReplicaEffect::Run));
        if let Some((start, record)) = due.start {
            self.puts.put(vec![record], Purpose::Retention { start }, out);
        }
    }

    /// Takes the next flush if none is under way and the topic wants one, or a segment was rolled.
    fn flush_if_due(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let unflushed = self.log.unflushed_records();
        if self.flushing || unflushed == 0 {
            return;
        }
        let due = unflushed >= self.log.config().flush_messages || self.flush_deadline(now) <= now.instant;
        let work = if due { self.log.take_flush() } else { self.log.take_rolled_flush() };
        if let Some(work) = work {
            self.flush(work, out);
        }
    }

    /// When the oldest unflushed append has waited `flush.ms`.
    fn flush_deadline(&self, now: Now) -> Instant {
        let wait = self.log.config().flush_ms;
        self.log
            .unflushed_since()
            .map_or(Instant::NEVER, |since| deadline::after_long_ms(Now { instant: since, wall: now.wall }, wait))
    }

    /// Has the write-ahead store say whether records are acknowledged from the page cache: before the first of them,
    /// and again when the topic has gone back to flushing each and all are flushed.
    fn follow_flush_mode(&mut self, out: &mut Vec<ReplicaEffect>) {
        let uncommitted = self.log.log_end() > self.high_watermark();
        if !self.is_durable() && self.volatile == Volatile::Clear && uncommitted {
            self.volatile = Volatile::Setting;
            let record = QRecord::Volatile { tp: self.partition, volatile: true };
            self.puts.put(vec![record], Purpose::SetVolatile, out);
        }
        let all_flushed = self.log.flushed_offset() == self.log.log_end();
        if self.is_durable() && self.volatile == Volatile::Set && all_flushed {
            self.clear_volatile(out);
        }
    }

    pub(super) fn clear_volatile(&mut self, out: &mut Vec<ReplicaEffect>) {
        self.volatile = Volatile::Clearing;
        let record = QRecord::Volatile { tp: self.partition, volatile: false };
        self.puts.put(vec![record], Purpose::ClearVolatile, out);
    }

    /// Asks for a timer when something comes due before the one asked for.
    fn schedule(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let mut next = self.purgatory.deadline().min(self.early.deadline()).min(self.puts.deadline());
        if self.role == Role::Leader {
            next = next.min(self.next_check);
            if !self.flushing {
                next = next.min(self.flush_deadline(now));
            }
        }
        // What is due has been done: a deadline that is still there must not make the host spin.
        let next = next.max(now.instant.after(MIN_TIMER));
        if next < self.timer {
            self.timer = next;
            out.push(ReplicaEffect::Timer(next));
        }
    }
}
