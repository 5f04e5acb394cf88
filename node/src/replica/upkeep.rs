//! Looking after what is flushed: when the scrub looks next, what follows from damage, and who leads meanwhile.
//!
//! A replica that has found damage keeps what it has acknowledged in mind: its positions and epochs are those of its log, so
//! it votes and acknowledges as before, and nothing that was committed is forgotten by anyone. It does not lead while
//! another replica can serve the records that it cannot. The damaged records themselves are fetched from any replica that
//! holds them (`heal.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Event, RepairResponse, ReplicaKey, RoleKind};
use millrace_storage::{Cause, Damage, Look, Rot, UpkeepJob, Upkept, Where, intact_prefix};
use millrace_types::{Instant, Now, Offset};

use super::core::Phase;
use super::heal::Heal;
use super::mutation::{Mutation, broken};
use super::{Replica, ReplicaEffect};

/// The pause between two attempts to hand leadership over.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How long a replica that is damaged, or has no room, leaves leading to others before it leads itself, since none of them
/// can.
const LAST_RESORT: Duration = Duration::from_secs(5);
/// Repairs that wait at the same time; what is found beyond is found again by the scrub.
const MAX_HEALS: usize = 64;

/// Where something was met that is not as it was written.
#[derive(Debug, Clone)]
struct Suspect {
    /// A look begins here, and goes on to the end of the segment.
    at: Offset,
    /// Where it has come to.
    next: Option<Where>,
    /// What readers are refused until it was looked at.
    hidden: Option<Range<Offset>>,
    cause: Cause,
    /// When the damage was found, if it is counted already.
    known: Option<Instant>,
}

/// What the job looks for that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    Scrubs,
    /// At the first of the suspects.
    AtSuspect,
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// When the scrub looks next; never while nothing is scrubbed.
    pub(super) due: Instant,
    /// A job is with the storage threads.
    pub(super) busy: bool,
    suspects: VecDeque<Suspect>,
    looking: Option<Looking>,
    /// Damage that is being repaired, the first of it, or waits for that.
    pub(super) heals: VecDeque<Heal>,
    /// Whether the consensus knows that this replica had better not lead.
    is_stalled: bool,
    /// Whether it leaves leading to others since it is damaged, or has no room.
    yields: bool,
    /// Since when a replica that is damaged, or has no room, knows of no leader, or leads.
    alone_since: Option<(bool, Instant)>,
    /// Of such a leader: when leadership is handed over again, if it was not taken.
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
            suspects: VecDeque::new(),
            looking: None,
            heals: VecDeque::new(),
            is_stalled: false,
            yields: false,
            alone_since: None,
            hand_over_at: None,
            token: 0,
            lending: BTreeMap::new(),
        }
    }
}

impl Upkeep {
    /// Whether records are known, or thought, to be damaged.
    pub(super) fn is_damaged(&self) -> bool {
        !self.heals.is_empty() || !self.suspects.is_empty()
    }

    /// Something bad was met at `at` on the way to another replica. One such place is looked at at once, with all that lies
    /// behind it in its segment.
    pub(super) fn suspect(&mut self, at: Offset) {
        if self.suspects.is_empty() {
            self.suspects.push_back(Suspect { at, next: None, hidden: None, cause: Cause::Replication, known: None });
        }
    }

    /// When something is due that no other event brings.
    pub(super) fn deadline(&self) -> Instant {
        let roles = self.hand_over_at.unwrap_or(Instant::NEVER).min(self.last_resort_at());
        match self.heals.front() {
            _ if self.busy => roles,
            Some(heal) => roles.min(heal.due()).min(self.scrub_at()),
            None => roles.min(self.scrub_at()),
        }
    }

    fn scrub_at(&self) -> Instant {
        // A place that is suspect goes first; it waits for a flush.
        let waits = !self.suspects.is_empty() || self.heals.len() >= MAX_HEALS;
        if waits { Instant::NEVER } else { self.due }
    }

    fn last_resort_at(&self) -> Instant {
        match self.alone_since {
            Some((false, since)) if self.yields => since.after(LAST_RESORT),
            _ => Instant::NEVER,
        }
    }
}

impl Replica {
    /// Reserves the scrub's next look, as soon as there is something to look at.
    fn plan_scrub(&mut self, now: Now) {
        if let Some(bytes) = self.log.scrub_cost() {
            self.upkeep.due = self.log.upkeep().reserve(now.instant, bytes).unwrap_or(Instant::NEVER);
        }
    }

    /// Opening the log found segments that are damaged: each is looked at as a whole.
    pub(super) fn suspect_holes(&mut self, holes: &[Rot]) {
        for rot in holes {
            tracing::error!(
                partition = %self.partition,
                file = %rot.file.display(),
                reason = rot.reason,
                from = rot.offset,
                to = rot.flushed,
                "a sealed segment is damaged; it is looked at, and repaired from other replicas"
            );
            let hidden = Some(rot.offset..rot.flushed);
            let suspect = Suspect { at: rot.offset, next: None, hidden, cause: Cause::Start, known: None };
            self.upkeep.suspects.push_back(suspect);
        }
    }

    /// Does what is due: a look at what is suspect, the next step of a repair, or the scrub's next look.
    pub(super) fn keep_up(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.phase != Phase::Running || self.cut.is_under_way() || self.log.is_poisoned() {
            return;
        }
        self.yield_leadership(now, out);
        self.look_at_suspects(now, out);
        self.ask_for_repair(now, out);
        if self.upkeep.due == Instant::NEVER && !self.upkeep.busy {
            self.plan_scrub(now);
        }
        if !self.upkeep.busy && self.upkeep.scrub_at() <= now.instant {
            self.upkeep.due = Instant::NEVER;
            if let Some(job) = self.log.scrub() {
                self.begin_look(job, Looking::Scrubs, out);
            }
        }
    }

    fn look_at_suspects(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        while !self.upkeep.busy && self.upkeep.heals.len() < MAX_HEALS {
            let Some(suspect) = self.upkeep.suspects.front() else { return };
            match self.log.look_around(suspect.at, suspect.next.as_ref(), now) {
                Look::Ready(job) => self.begin_look(job, Looking::AtSuspect, out),
                Look::Later => {
                    // The segment was sealed just now, or a while ago.
                    out.extend(self.log.prepare().map(ReplicaEffect::Prepare));
                    return;
                }
                Look::Gone => self.forget_suspect(),
            }
        }
    }

    /// What was suspect is no more in the log.
    fn forget_suspect(&mut self) {
        let Some(suspect) = self.upkeep.suspects.pop_front() else { return };
        if let Some(hidden) = suspect.hidden {
            self.log.show(hidden);
        }
        if suspect.known.is_some() {
            self.log.upkeep().given_up(suspect.cause);
        }
    }

    fn begin_look(&mut self, job: UpkeepJob, looking: Looking, out: &mut Vec<ReplicaEffect>) {
        (self.upkeep.busy, self.upkeep.looking) = (true, Some(looking));
        out.push(ReplicaEffect::Upkeep(job));
    }

    /// A piece of upkeep is done.
    pub(super) fn upkept(&mut self, now: Now, upkept: Upkept, out: &mut Vec<ReplicaEffect>) {
        if let Upkept::Lent { id, records, damaged_at } = upkept {
            return self.lent(id, records, damaged_at, out);
        }
        self.upkeep.busy = false;
        match upkept {
            Upkept::Checked { next, upto, damage } => {
                let damage = damage.filter(|_| self.phase == Phase::Running);
                match self.upkeep.looking.take() {
                    Some(Looking::AtSuspect) => self.looked(now, next, upto, damage.as_ref()),
                    Some(Looking::Scrubs) | None => {
                        self.log.scrubbed(&next);
                        if let Some(damage) = damage {
                            self.damaged(now, &damage, Cause::Scrub, None);
                        }
                    }
                }
            }
            step => self.mended(now, step, out),
        }
    }

    /// The first of the suspects was looked at, up to `upto`. Where one batch is bad, others of its segment may be: the look
    /// goes on to its end.
    fn looked(&mut self, now: Now, next: Where, upto: Offset, damage: Option<&Damage>) {
        let Some(mut suspect) = self.upkeep.suspects.pop_front() else { return };
        if let Some(hidden) = suspect.hidden.take() {
            self.log.show(hidden.clone());
            suspect.hidden = Some(upto..hidden.end).filter(|left| !left.is_empty() && !next.is_at_end());
            if let Some(left) = &suspect.hidden {
                self.log.hide(left.clone());
            }
        }
        if let Some(damage) = damage {
            self.damaged(now, damage, suspect.cause, suspect.known.take());
        }
        if !next.is_at_end() {
            self.upkeep.suspects.push_front(Suspect { at: upto, next: Some(next), ..suspect });
        } else if suspect.known.is_some() {
            self.log.upkeep().given_up(suspect.cause);
        }
    }

    /// Notes damage that is not known yet.
    fn damaged(&mut self, now: Now, damage: &Damage, cause: Cause, known: Option<Instant>) {
        let is_same = |heal: &Heal| heal.damage().from < damage.to && damage.from < heal.damage().to;
        if self.upkeep.heals.iter().any(is_same) {
            return;
        }
        if self.log.is_active(damage) {
            // Nothing can be replaced in it before it is sealed.
            let suspect = Suspect { at: damage.from, next: None, hidden: None, cause, known };
            self.upkeep.suspects.push_back(suspect);
            return;
        }
        let Some(mend) = self.log.mend(damage) else {
            // It was deleted, or cut, meanwhile.
            return;
        };
        if known.is_none() {
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
        }
        self.upkeep.heals.push_back(Heal::new(mend, cause, known.unwrap_or(now.instant)));
    }

    /// A repair comes too late: the segment was cut or deleted. What is left of the damage still is damaged.
    pub(super) fn repair_is_late(&mut self) {
        let Some(heal) = self.upkeep.heals.pop_front() else { return };
        let damage = heal.damage();
        match self.log.rest_of(damage) {
            Some(rest) if !broken(Mutation::ForgetDamageAtCut) => {
                let hidden = Some(damage.from..rest.end);
                let known = Some(heal.since());
                let suspect = Suspect { at: rest.start, next: None, hidden, cause: heal.cause(), known };
                self.upkeep.suspects.push_back(suspect);
            }
            _ => {
                self.log.show(damage.from..damage.to);
                self.log.upkeep().given_up(heal.cause());
            }
        }
    }

    /// A replica that is damaged, or has no room, does not lead while another can: it hands leadership over, and asks for no
    /// votes before that is over, or nobody else has led for a while. One that is alone, or without a replica in sync that
    /// could lead, leads on and serves what it can; but not when the others may be waiting for just what it has lost. One
    /// whose disk hangs can do nothing for anyone: it resigns at once, unless it is alone.
    fn yield_leadership(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let is_damaged = !self.upkeep.heals.is_empty() && !broken(Mutation::LeadDamaged);
        let is_full = self.health.is_full() && !broken(Mutation::LeadFull);
        let is_impaired = (is_damaged || is_full) && !self.is_alone();
        let hangs = self.health.hangs() && !self.is_alone();
        let leads = self.raft.role() == RoleKind::Leader;
        let is_led = !leads && self.raft.leader().is_some();
        self.upkeep.alone_since = match self.upkeep.alone_since {
            _ if !is_impaired || is_led => None,
            Some((led, since)) if led == leads => Some((led, since)),
            _ => Some((leads, now.instant)),
        };
        let stalls = is_impaired
            && self.upkeep.alone_since.is_none_or(|(led, since)| {
                let waits = now.instant < since.after(LAST_RESORT) || broken(Mutation::NeverLeadDamaged);
                if led { self.is_in_the_way(now, since) } else { waits }
            });
        self.upkeep.yields = stalls;
        let stalls = stalls || hangs;
        if stalls != self.upkeep.is_stalled {
            self.upkeep.is_stalled = stalls;
            self.tell(now, Event::Stalled(stalls), out);
        }
        if !is_impaired || !leads {
            self.upkeep.hand_over_at = None;
        } else if self.upkeep.hand_over_at.is_none_or(|at| at <= now.instant) {
            self.upkeep.hand_over_at = Some(now.instant.after(HAND_OVER));
            if let Some(to) = self.successor() {
                self.tell(now, Event::Transfer { to }, out);
            }
        }
    }

    /// Whether damage of a leader keeps anything from being committed: the others cannot pass it.
    fn is_in_the_way(&self, now: Now, since: Instant) -> bool {
        let (at, end) = (now.instant, self.high_watermark());
        let stays = |heal: &Heal| heal.stays_uncommitted(at, since, end);
        self.upkeep.heals.iter().any(stays) && !broken(Mutation::LeadUncommittable)
    }

    /// Records that were read for another replica, as far as their checksums hold. Those that were appended lately were
    /// compared then.
    pub(super) fn intact(&mut self, from: Offset, records: Bytes, end: Offset) -> (Bytes, Offset) {
        if records.is_empty() || !self.log.is_settled_at(from) || broken(Mutation::ServeUnchecked) {
            return (records, end);
        }
        let (len, next) = intact_prefix(&records, from);
        if len == records.len() {
            return (records, end);
        }
        tracing::warn!(partition = %self.partition, offset = next, "records read for another replica are damaged");
        self.upkeep.suspect(next);
        (records.slice(..len), next)
    }
}
