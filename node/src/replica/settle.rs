//! What follows from any event: the high watermark, the next flush, what is due, and the timer.

use std::time::Duration;

use millrace_types::{ErrorCode, Instant, Now};

use super::core::Phase;
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
        self.watch_disk(now);
        self.tick(now, out);
        self.keep_up(now, out);
        if self.is_running() && self.is_intact() {
            self.advance(out);
            self.publish_leadership(now, out);
        }
        self.change_members(now, out);
        self.advance(out);
        self.expire(now, out);
        if self.phase == Phase::Running && !self.cut.is_under_way() {
            self.look_after(now, out);
        }
        if self.is_running() {
            self.flush_if_due(now, out);
        }
        if self.log.is_poisoned() && self.phase == Phase::Running {
            self.give_up(out);
        }
        self.settle_force(now, out);
        self.retire_if_outside(now, out);
        self.stop_if_drained(now, out);
        self.watch_disk(now);
        self.schedule(now, out);
    }

    /// Answers whoever waited for what is committed, or held here, by now.
    fn advance(&mut self, out: &mut Vec<ReplicaEffect>) {
        let high_watermark = self.high_watermark();
        while let Some(request) = self.purgatory.release(high_watermark) {
            self.produced(&request, out);
        }
        while let Some(request) = self.own.release(self.raft.held().offset) {
            self.produced(&request, out);
        }
        if let Some(start) = self.raft.deleted_everywhere().filter(|_| !self.deletions.is_empty()) {
            while let Some(request) = self.deletions.release(start) {
                answer(out, request.from, PartitionAnswer::Deleted { low_watermark: start });
            }
        }
        while let Some(from) = self.watchers.fire(high_watermark) {
            answer(out, from, PartitionAnswer::Advanced);
        }
    }

    /// Gives up on what has waited too long. What was appended stays and may still be committed.
    fn expire(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let timed_out = PartitionAnswer::Failed;
        for requests in [&mut self.purgatory, &mut self.own, &mut self.deletions] {
            while let Some(request) = requests.expire(now.instant) {
                answer(out, request.from, timed_out(ErrorCode::RequestTimedOut));
            }
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
        // Followers delete what their leader has deleted.
        let deletable = self.raft.latest().filter(|_| self.leads).unwrap_or_else(|| self.log.log_start());
        let due = self.log.maintain(now, deletable);
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
        if self.flushing || unflushed == 0 || self.cut.is_under_way() {
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

    /// Asks for a timer when something comes due before the one asked for.
    fn schedule(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let produced = self.purgatory.deadline().min(self.own.deadline()).min(self.deletions.deadline());
        let mut next = produced.min(self.early.deadline()).min(self.puts.deadline());
        if self.is_running() {
            next = next.min(self.raft.deadline()).min(self.refetch_at).min(self.warming.deadline());
            next = next.min(self.target.again);
        }
        if self.phase == Phase::Running && !self.cut.is_under_way() {
            next = next.min(self.next_check).min(self.upkeep.deadline()).min(self.health.deadline());
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
