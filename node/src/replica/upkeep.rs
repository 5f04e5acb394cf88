//! Looking after sealed segments: when the scrub looks next, what follows from damage, and who leads meanwhile.
//!
//! A replica that has found damage keeps what it has acknowledged in mind: its positions and epochs are those of its log, so
//! it votes and acknowledges as before, and nothing that was committed is forgotten by anyone. It does not lead: another
//! replica can serve the records that it cannot. The damaged records themselves are fetched from any replica that holds
//! them (`heal.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Event, RepairResponse, ReplicaKey, RoleKind};
use millrace_storage::{Cause, Damage, Upkept, intact_prefix};
use millrace_types::{Instant, Now, Offset};

use super::core::Phase;
use super::heal::Heal;
use super::mutation::{Mutation, broken};
use super::{Replica, ReplicaEffect};

/// Bytes that a look of the scrub is reckoned with.
const LOOK: u64 = 1 << 20;
/// The pause between two attempts to hand leadership over.
const HAND_OVER: Duration = Duration::from_secs(1);

/// What is under way.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// When the scrub looks next; never while nothing is scrubbed.
    pub(super) due: Instant,
    /// A job is with the storage threads.
    pub(super) busy: bool,
    /// An offset around which something was met that is not as it was written.
    pub(super) suspect: Option<Offset>,
    /// Why the job under way looks.
    cause: Option<Cause>,
    /// The damage that is being repaired.
    pub(super) heal: Option<Heal>,
    /// Whether the consensus knows that this replica cannot lead.
    is_stalled: bool,
    /// Of a damaged leader: when leadership is handed over again, if it was not taken.
    hand_over_at: Option<Instant>,
    /// The last number of a request.
    pub(super) token: u64,
    /// Records that are being read for other replicas.
    pub(super) lending: BTreeMap<u64, (ReplicaKey, RepairResponse)>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            due: Instant::NEVER,
            busy: false,
            suspect: None,
            cause: None,
            heal: None,
            is_stalled: false,
            hand_over_at: None,
            token: 0,
            lending: BTreeMap::new(),
        }
    }
}

impl Upkeep {
    /// Whether records are known, or thought, to be damaged.
    pub(super) const fn is_damaged(&self) -> bool {
        self.heal.is_some() || self.suspect.is_some()
    }

    /// When something is due that no other event brings.
    pub(super) fn deadline(&self) -> Instant {
        match &self.heal {
            _ if self.busy => Instant::NEVER,
            Some(heal) => heal.due().min(self.hand_over_at.unwrap_or(Instant::NEVER)),
            None => self.due,
        }
    }
}

impl Replica {
    /// Reserves the scrub's next look, where there is something to look at.
    pub(super) fn plan_scrub(&mut self, now: Now) {
        if self.log.is_sealed_at(self.log.log_start()) {
            self.upkeep.due = self.log.upkeep().reserve(now.instant, LOOK).unwrap_or(Instant::NEVER);
        }
    }

    /// Does what is due: a look at what is suspect, the next step of a repair, or the scrub's next look.
    pub(super) fn keep_up(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.phase != Phase::Running || self.cut.is_under_way() || self.log.is_poisoned() {
            return;
        }
        self.yield_leadership(now, out);
        if self.upkeep.busy {
            return;
        }
        if self.upkeep.heal.is_some() {
            return self.ask_for_repair(now, out);
        }
        if let Some(offset) = self.upkeep.suspect {
            match self.log.scrub_around(offset) {
                Some(job) => self.begin_look(job, Cause::Replication, out),
                None => self.upkeep.suspect = None,
            }
        } else if self.upkeep.due <= now.instant {
            self.upkeep.due = Instant::NEVER;
            if let Some(job) = self.log.scrub() {
                self.begin_look(job, Cause::Scrub, out);
            }
        }
    }

    fn begin_look(&mut self, job: millrace_storage::UpkeepJob, cause: Cause, out: &mut Vec<ReplicaEffect>) {
        (self.upkeep.busy, self.upkeep.cause) = (true, Some(cause));
        out.push(ReplicaEffect::Upkeep(job));
    }

    /// A piece of upkeep is done.
    pub(super) fn upkept(&mut self, now: Now, upkept: Upkept, out: &mut Vec<ReplicaEffect>) {
        if let Upkept::Lent { id, records, damaged_at } = upkept {
            return self.lent(id, records, damaged_at, out);
        }
        self.upkeep.busy = false;
        match upkept {
            Upkept::Checked { next, damage } => {
                self.log.scrubbed(&next);
                let cause = self.upkeep.cause.take().unwrap_or(Cause::Scrub);
                self.upkeep.suspect = None;
                if let Some(damage) = damage.filter(|_| self.phase == Phase::Running) {
                    self.damaged(now, &damage, cause);
                }
            }
            step => self.mended(now, step, out),
        }
        if self.upkeep.heal.is_none() {
            self.plan_scrub(now);
        }
    }

    fn damaged(&mut self, now: Now, damage: &Damage, cause: Cause) {
        let Some(mend) = self.log.mend(damage) else {
            // It was deleted, or cut, meanwhile.
            return;
        };
        tracing::error!(
            partition = %self.partition,
            segment = damage.segment,
            position = damage.position,
            bytes = damage.len,
            from = damage.from,
            to = damage.to,
            reason = damage.reason,
            found = cause.name(),
            "records are damaged"
        );
        self.log.upkeep().found(cause, damage.len);
        self.upkeep.heal = Some(Heal::new(mend, cause, now.instant));
    }

    /// A damaged replica does not lead while another can: it hands leadership over, and asks for no votes before it is
    /// whole. One that is alone, or without a replica in sync, leads on and serves what it can; but not when the others may be
    /// waiting for just what it has lost.
    fn yield_leadership(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let damaged = self.upkeep.heal.is_some() && !self.is_alone() && !broken(Mutation::LeadDamaged);
        let leads = self.raft.role() == RoleKind::Leader;
        let (at, end) = (now.instant, self.high_watermark());
        let in_the_way = self.upkeep.heal.as_ref().is_some_and(|heal| heal.stays_uncommitted(at, end));
        let stalls = damaged && (!leads || in_the_way);
        if stalls != self.upkeep.is_stalled {
            self.upkeep.is_stalled = stalls;
            self.tell(now, Event::Stalled(stalls), out);
        }
        if !damaged || !leads {
            self.upkeep.hand_over_at = None;
        } else if self.upkeep.hand_over_at.is_none_or(|at| at <= now.instant) {
            self.upkeep.hand_over_at = Some(now.instant.after(HAND_OVER));
            if let Some(to) = self.successor() {
                self.tell(now, Event::Transfer { to }, out);
            }
        }
    }

    /// Records that were read for another replica, as far as their checksums hold. Those of the active segment were
    /// compared when they were appended.
    pub(super) fn intact(&mut self, from: Offset, records: Bytes, end: Offset) -> (Bytes, Offset) {
        if records.is_empty() || !self.log.is_sealed_at(from) || broken(Mutation::ServeUnchecked) {
            return (records, end);
        }
        let (len, next) = intact_prefix(&records, from);
        if len == records.len() {
            return (records, end);
        }
        tracing::warn!(partition = %self.partition, offset = next, "records read for another replica are damaged");
        self.upkeep.suspect.get_or_insert(next);
        (records.slice(..len), next)
    }
}
