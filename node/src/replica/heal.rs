//! Getting damaged records back from other replicas, and lending one's own.
//!
//! Only committed records are asked for, and only those that the log knows by offset and epoch: replicas that hold a
//! record of the same offset and epoch hold the same bytes. So it does not matter who is asked, leader or not, nor whether
//! its answer is stale.

use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Envelope, Message, RepairRequest, RepairResponse, ReplicaKey};
use millrace_storage::{Cause, Damage, Mend, UpkeepJob, Upkept};
use millrace_types::{Instant, Now, Offset};

use super::core::Phase;
use super::{Replica, ReplicaEffect};

/// How long one replica is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause while the records are not known to be committed.
const UNTIL_COMMITTED: Duration = Duration::from_millis(500);
/// The pause when every replica was asked in vain, or the disk has refused.
const PAUSE: Duration = Duration::from_secs(5);

/// Replicas that records are read for at the same time.
const MAX_LENDING: usize = 4;

/// The repair of one range of records.
#[derive(Debug)]
pub(super) struct Heal {
    mend: Mend,
    cause: Cause,
    /// Position and offset of the records that come next.
    at: (u64, Offset),
    /// The request under way: its number and when it is given up.
    asked: Option<(u64, Instant)>,
    /// Records that have come and are to be written.
    came: Option<Bytes>,
    /// Whether it was said that nobody could lend the records.
    is_told: bool,
    /// Replicas asked in vain, in a row.
    refusals: usize,
    /// When the next request may leave.
    again_at: Instant,
    /// When the damage was found.
    since: Instant,
}

impl Heal {
    pub(super) fn new(mend: Mend, cause: Cause, since: Instant) -> Self {
        let damage = mend.damage();
        let at = (damage.position, damage.from);
        let (asked, came, again_at) = (None, None, Instant::ZERO);
        Self { mend, cause, at, asked, came, is_told: false, refusals: 0, again_at, since }
    }

    pub(super) fn damage(&self) -> &Damage {
        self.mend.damage()
    }

    pub(super) const fn cause(&self) -> Cause {
        self.cause
    }

    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn due(&self) -> Instant {
        self.asked.map_or(self.again_at, |(_, until)| until)
    }

    /// Whether the damaged records have not become known to be committed for a while, in which this replica has led since
    /// `led`. It may be the only one that has them: then the others cannot pass them, nothing can be committed, and nobody
    /// can lend them.
    pub(super) fn stays_uncommitted(&self, now: Instant, led: Instant, high_watermark: Offset) -> bool {
        self.damage().to > high_watermark && self.since.max(led).after(PATIENCE) <= now
    }

    /// Turns to the next replica; after the last of `others`, after a pause. Says whether it was the last.
    fn refused(&mut self, now: Instant, others: usize) -> bool {
        self.asked = None;
        self.refusals += 1;
        let all = self.refusals >= others.max(1);
        if all {
            (self.refusals, self.again_at) = (0, now.after(PAUSE));
        }
        all
    }

    /// Begins anew, after a pause.
    fn begin_anew(&mut self, now: Instant, mend: Mend) {
        let again_at = now.after(PAUSE);
        *self = Self { again_at, is_told: self.is_told, ..Self::new(mend, self.cause, self.since) };
    }
}

impl Replica {
    /// Has the records written that have come, or asks for the next of the damaged ones, if nobody is being asked.
    pub(super) fn ask_for_repair(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        while self
            .upkeep
            .heals
            .front()
            .is_some_and(|heal| self.log.rest_of(heal.damage()).is_none() || heal.mend.is_late())
        {
            if self.upkeep.busy {
                return;
            }
            self.repair_is_late();
        }
        let others = self.others();
        let high_watermark = self.high_watermark();
        let Some(heal) = self.upkeep.heals.front_mut() else { return };
        if let Some(records) = heal.came.take_if(|_| !self.upkeep.busy) {
            self.upkeep.busy = true;
            return out.push(ReplicaEffect::Upkeep(UpkeepJob::fill(&heal.mend, heal.at, records)));
        }
        if heal.asked.is_some_and(|(_, until)| until <= now.instant) && heal.refused(now.instant, others.len()) {
            return self.nobody_lends(now);
        }
        if heal.asked.is_some() || heal.came.is_some() || heal.again_at > now.instant || self.upkeep.busy {
            return;
        }
        let damage = heal.mend.damage();
        let Some(to) = others.get(heal.refusals).filter(|_| damage.to <= high_watermark) else {
            heal.again_at = now.instant.after(if others.is_empty() { PAUSE } else { UNTIL_COMMITTED });
            return;
        };
        self.upkeep.token += 1;
        let token = self.upkeep.token;
        heal.asked = Some((token, now.instant.after(PATIENCE)));
        let request = RepairRequest { token, from: heal.at.1, upto: damage.to };
        out.push(ReplicaEffect::Send {
            to: *to,
            message: Message::Repair(request),
            records: Bytes::new(),
            catch_up: false,
        });
    }

    /// The other replicas with a log, the leader first.
    fn others(&self) -> Vec<ReplicaKey> {
        let (me, leader) = (self.raft.me().key, self.raft.leader());
        let members = self.raft.configuration();
        let mut others: Vec<ReplicaKey> =
            members.members().filter(|key| *key != me && !members.is_witness(*key)).collect();
        others.sort_by_key(|key| Some(*key) != leader);
        others
    }

    /// Another replica asks for records to repair its log with. They are read by a storage thread, for a few at a time.
    pub(super) fn lend(&mut self, envelope: &Envelope, request: RepairRequest, out: &mut Vec<ReplicaEffect>) {
        if envelope.to != self.raft.me().key {
            return;
        }
        let RepairRequest { token, from, upto } = request;
        let (to, upto) = (envelope.from.key, upto.min(self.high_watermark()));
        let is_held = (self.view.log.first_kept()..upto).contains(&from) && !self.cut.is_under_way();
        if is_held && self.upkeep.lending.len() < MAX_LENDING {
            self.upkeep.token += 1;
            self.upkeep.lending.insert(self.upkeep.token, (to, RepairResponse { token, from }));
            let job = UpkeepJob::lend(self.upkeep.token, self.view.log.clone(), from, upto);
            out.push(ReplicaEffect::Upkeep(job));
        } else {
            let message = Message::RepairResponse(RepairResponse { token, from });
            out.push(ReplicaEffect::Send { to, message, records: Bytes::new(), catch_up: false });
        }
    }

    /// Records to lend were read.
    pub(super) fn lent(&mut self, id: u64, records: Bytes, damaged_at: Option<Offset>, out: &mut Vec<ReplicaEffect>) {
        let Some((to, response)) = self.upkeep.lending.remove(&id) else { return };
        if let Some(offset) = damaged_at.filter(|offset| self.log.is_settled_at(*offset)) {
            self.upkeep.suspect(offset);
        }
        if self.is_running() {
            out.push(ReplicaEffect::Send { to, message: Message::RepairResponse(response), records, catch_up: false });
        }
    }

    /// Records that were asked for have come, or word that they cannot be had there.
    pub(super) fn borrowed(&mut self, now: Now, envelope: &Envelope, response: RepairResponse, records: Bytes) {
        let others = self.others().len();
        let is_mine = envelope.to == self.raft.me().key && self.phase == Phase::Running;
        let Some(heal) = self.upkeep.heals.front_mut().filter(|_| is_mine) else { return };
        if heal.asked.is_none_or(|(token, _)| token != response.token) || response.from != heal.at.1 {
            return;
        }
        if !records.is_empty() {
            (heal.asked, heal.came) = (None, Some(records));
        } else if heal.refused(now.instant, others) {
            self.nobody_lends(now);
        }
    }

    /// Every other replica was asked for the first of the damaged records in vain. Others that are damaged take their turn.
    fn nobody_lends(&mut self, now: Now) {
        let Some(mut heal) = self.upkeep.heals.pop_front() else { return };
        let Damage { from, to, .. } = *heal.damage();
        if !std::mem::replace(&mut heal.is_told, true) {
            tracing::error!(
                partition = %self.partition,
                from,
                to,
                "no replica that can be asked has these damaged records; they are asked for again and again, and cannot be \
                 read until one has them or they are given up by deleting all records below the offset behind them"
            );
        }
        match self.log.mend(&heal.damage().clone()) {
            Some(mend) => heal.begin_anew(now.instant, mend),
            None => return self.upkeep.heals.push_front(heal),
        }
        self.upkeep.heals.push_back(heal);
    }

    /// A step of the repair is done.
    pub(super) fn mended(&mut self, now: Now, step: Upkept, out: &mut Vec<ReplicaEffect>) {
        let others = self.others().len();
        let Some(heal) = self.upkeep.heals.front_mut() else { return };
        let partition = self.partition;
        let damage = heal.mend.damage().clone();
        match step {
            Upkept::Checked { .. } | Upkept::Lent { .. } => {}
            Upkept::Filled { next } => (heal.at, heal.refusals) = (next, 0),
            Upkept::Refused { reason } => {
                tracing::warn!(%partition, offset = heal.at.1, reason, "what another replica has sent does not repair");
                if heal.refused(now.instant, others) {
                    self.nobody_lends(now);
                }
            }
            Upkept::Mended => {
                let cause = heal.cause;
                tracing::info!(%partition, from = damage.from, to = damage.to, bytes = damage.len, "damage has been repaired");
                self.log.upkeep().repaired(cause, damage.len);
                self.upkeep.heals.pop_front();
            }
            Upkept::Late => self.repair_is_late(),
            Upkept::Failed { error, fatal: true } => self.fail(&error, out),
            Upkept::Failed { error, fatal: false } => {
                tracing::warn!(%partition, %error, "a repair could not be written");
                match self.log.mend(&damage) {
                    Some(mend) => heal.begin_anew(now.instant, mend),
                    None => self.repair_is_late(),
                }
            }
        }
    }
}
