//! The core of a witness: what happens is told to the consensus, and what it asks for is carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_raft::{Configuration, Effect, Event, FlushMode, Peer, Raft, Settings};
use millrace_storage::{DiskError, QRecord};
use millrace_types::{ErrorCode, Instant, Now, Offset, TopicPartition};

use super::promises::{restored, stored};
use crate::call::PartitionAnswer;
use crate::core::Core;
use crate::replica::mutation::{Mutation, broken};
use crate::replica::{ForceRefusal, Promises, ReplicaEffect, ReplicaEvent, seed};

/// The core of a witness.
#[derive(Debug)]
pub struct Witness {
    partition: TopicPartition,
    raft: Raft,
    phase: Phase,
    /// What follows when a put is durable, by the token of the effect.
    pending: BTreeMap<u64, Purpose>,
    last_token: u64,
    /// When the host was last asked to call.
    timer: Instant,
    /// Whether the witness stops as soon as it is none any more.
    retires: bool,
    /// Whether it stops, or has stopped, for that.
    retired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opened,
    Running,
    /// A put has failed: nothing is promised any more until the process restarts.
    Failed,
    Stopping,
    Stopped,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// The consensus has asked, under this token.
    Consensus(u64),
    /// The leader has deleted records below this offset.
    LogStart(Offset),
}

impl Witness {
    /// The witness `me` of a partition. `promises` is what the write-ahead store knows of it, `first` its members where the
    /// store knows none yet, `session_timeout` how long another broker may be silent (`peer.session.timeout.ms`).
    #[must_use]
    pub fn new(
        partition: TopicPartition,
        me: Peer,
        promises: &Promises,
        first: Configuration,
        session_timeout: Duration,
    ) -> Self {
        let settings = settings(session_timeout);
        let raft = Raft::new(me, restored(promises, first), settings, seed(partition, me));
        Self {
            partition,
            raft,
            phase: Phase::Opened,
            pending: BTreeMap::new(),
            last_token: 0,
            timer: Instant::NEVER,
            retires: false,
            retired: false,
        }
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// Whether the witness has stopped, or stops, since its broker shall be none and it is none any more.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        self.retired
    }

    /// The consensus.
    #[must_use]
    pub const fn consensus(&self) -> &Raft {
        &self.raft
    }

    fn tell(&mut self, now: Now, event: Event, out: &mut Vec<ReplicaEffect>) {
        if !matches!(self.phase, Phase::Running | Phase::Stopping) {
            return;
        }
        let mut effects = Vec::new();
        self.raft.step(now.instant, event, &mut effects);
        let put = |effect: &Effect| if let Effect::Put { token, .. } = effect { Some(*token) } else { None };
        let early: Vec<u64> =
            effects.iter().filter_map(put).filter(|_| broken(Mutation::WitnessBeforeDurable)).collect();
        for effect in effects {
            self.carry_out(effect, out);
        }
        for token in early {
            self.tell(now, Event::PutDone { token }, out);
        }
    }

    fn carry_out(&mut self, effect: Effect, out: &mut Vec<ReplicaEffect>) {
        match effect {
            Effect::Put { token, records } => {
                let tp = self.partition;
                let records = records.iter().flat_map(|record| stored(tp, record)).collect();
                self.put(records, Purpose::Consensus(token), out);
            }
            Effect::Send { to, message } => {
                out.push(ReplicaEffect::Send { to, message, records: bytes::Bytes::new(), catch_up: false });
            }
            Effect::RaiseLogStart { start } => {
                let record = QRecord::Start { tp: self.partition, offset: start };
                self.put(vec![record], Purpose::LogStart(start), out);
            }
            Effect::Configured(members) => {
                tracing::debug!(partition = %self.partition, version = members.id.version, "the members have changed");
            }
            Effect::Serve { .. } | Effect::Append { .. } | Effect::Truncate { .. } | Effect::Reset { .. } => {
                debug_assert!(false, "a witness has no log: {effect:?}");
            }
            // Nobody reads here, and who leads is the matter of those who may.
            Effect::HighWatermark(_)
            | Effect::Leadership { .. }
            | Effect::InSync(_)
            | Effect::ChangeRefused(_)
            | Effect::TransferRefused { .. }
            | Effect::Recovered => {}
        }
    }

    fn put(&mut self, records: Vec<QRecord>, purpose: Purpose, out: &mut Vec<ReplicaEffect>) {
        self.last_token += 1;
        self.pending.insert(self.last_token, purpose);
        out.push(ReplicaEffect::Put { token: self.last_token, records });
    }

    fn put_done(&mut self, now: Now, token: u64, result: Result<(), DiskError>, out: &mut Vec<ReplicaEffect>) {
        let Some(purpose) = self.pending.remove(&token) else { return };
        if let Err(error) = result
            && !broken(Mutation::WitnessTrustsFailedPut)
        {
            tracing::error!(partition = %self.partition, %error, "a witness cannot be stored: it has no voice until the process restarts");
            self.tell(now, Event::Poisoned, out);
            if self.phase == Phase::Running {
                self.phase = Phase::Failed;
            }
            return;
        }
        match purpose {
            Purpose::Consensus(token) => self.tell(now, Event::PutDone { token }, out),
            Purpose::LogStart(start) => self.tell(now, Event::LogStart { start }, out),
        }
    }

    fn settle(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.raft.deadline() <= now.instant {
            self.tell(now, Event::Timer, out);
        }
        if self.retires && matches!(self.phase, Phase::Running | Phase::Failed) && self.raft.is_outside() {
            (self.phase, self.retired) = (Phase::Stopping, true);
        }
        if self.phase == Phase::Stopping && (self.pending.is_empty() || broken(Mutation::WitnessStopsAtOnce)) {
            self.phase = Phase::Stopped;
            out.push(ReplicaEffect::Stopped);
        }
        let next = self.raft.deadline();
        if self.phase == Phase::Running && next < self.timer {
            self.timer = next;
            out.push(ReplicaEffect::Timer(next));
        }
    }
}

impl Core for Witness {
    type Event = ReplicaEvent;
    type Effect = ReplicaEffect;

    fn step(&mut self, now: Now, event: ReplicaEvent, out: &mut Vec<ReplicaEffect>) {
        match event {
            ReplicaEvent::Start if self.phase == Phase::Opened => {
                self.phase = Phase::Running;
                self.tell(now, Event::Start, out);
            }
            ReplicaEvent::Call { from, .. } => {
                let answer = PartitionAnswer::Failed(ErrorCode::NotLeaderOrFollower);
                out.push(ReplicaEffect::Answer { to: from, answer });
            }
            ReplicaEvent::PutDone { token, result } => self.put_done(now, token, result, out),
            ReplicaEvent::Peer { envelope, .. } => self.tell(now, Event::Receive(*envelope), out),
            ReplicaEvent::SessionUp(peer) => self.tell(now, Event::SessionUp(peer), out),
            ReplicaEvent::SessionDown { broker, heard } => self.tell(now, Event::SessionDown { broker, heard }, out),
            ReplicaEvent::Refetch => self.tell(now, Event::Refetch, out),
            ReplicaEvent::Hint { leader, epoch } => self.tell(now, Event::Hint { leader, epoch }, out),
            // It holds no record that could be kept.
            ReplicaEvent::Force { token, .. } => {
                out.push(ReplicaEffect::Forced { token, result: Err(ForceRefusal::NotHere) });
            }
            ReplicaEvent::Retire(retires) => self.retires = retires,
            ReplicaEvent::Timer => self.timer = Instant::NEVER,
            ReplicaEvent::Stop if self.phase != Phase::Stopped => self.phase = Phase::Stopping,
            // These are about a log, or about leading.
            ReplicaEvent::Start
            | ReplicaEvent::Cancel { .. }
            | ReplicaEvent::Flushed { .. }
            | ReplicaEvent::Prepared(_)
            | ReplicaEvent::Upkept(_)
            | ReplicaEvent::Warmed { .. }
            | ReplicaEvent::CutApplied(_)
            | ReplicaEvent::Configure { .. }
            | ReplicaEvent::Transfer { .. }
            | ReplicaEvent::Target(_)
            | ReplicaEvent::Change(_)
            | ReplicaEvent::Unwell(_)
            | ReplicaEvent::Stop => {}
        }
        self.settle(now, out);
    }
}

/// Everything that a witness holds is in the write-ahead store, so it counts when that is durable.
fn settings(session_timeout: Duration) -> Settings {
    Settings { flush: FlushMode::Durable, session_timeout, ..Settings::default() }
}
