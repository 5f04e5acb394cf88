//! The core of a replica: its state, and which event leads where.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Configuration, Event, Peer, Raft, Settings};
use millrace_storage::{Log, Recovery};
use millrace_types::{Instant, Now, Offset, TopicPartition};

use super::cut::Cut;
use super::early::Early;
use super::force::Force;
use super::members::Target;
use super::promises::Promises;
use super::purgatory::Purgatory;
use super::puts::Puts;
use super::salvage::Lost;
use super::serve::Warming;
use super::stall::DiskHealth;
use super::upkeep::Upkeep;
use super::watchers::Watchers;
use super::{ReplicaEffect, ReplicaEvent, Room, consensus};
use crate::core::Core;
use crate::directory::PartitionView;
use crate::settings::Replication;

/// What a replica is made of.
#[derive(Debug)]
pub struct ReplicaParts {
    /// The partition.
    pub partition: TopicPartition,
    /// Its log, just opened.
    pub log: Log,
    /// What opening it found.
    pub recovery: Recovery,
    /// Who the replica is: broker, data directory, and the number of this start.
    pub me: Peer,
    /// What the write-ahead store knows of the replica.
    pub promises: Promises,
    /// The members of the partition, where the write-ahead store knows none yet.
    pub first: Configuration,
    /// What its topic and its broker say about replication.
    pub replication: Replication,
    /// How often retention is checked (`log.retention.check.interval.ms`).
    pub check_interval: Duration,
    /// The timers of the consensus, among them `peer.session.timeout.ms`; what the topic says goes over the rest.
    pub timing: Settings,
    /// How much may be queued for other brokers.
    pub room: Arc<Room>,
}

/// The core of one replica.
#[derive(Debug)]
pub struct Replica {
    pub(super) partition: TopicPartition,
    pub(super) log: Log,
    pub(super) view: Arc<PartitionView>,
    pub(super) raft: Raft,
    pub(super) phase: Phase,
    /// Whether its leadership is published: it takes writes.
    pub(super) leads: bool,
    /// What opening the log found, until the replica starts.
    pub(super) recovery: Option<Recovery>,
    /// The epochs of the log that the write-ahead store lacks, until the replica starts.
    pub(super) unknown_epochs: bool,
    pub(super) replication: Replication,
    pub(super) puts: Puts,
    pub(super) cut: Cut,
    /// The offsets that were lost to damage when the log was opened, until they have been fetched again.
    pub(super) lost: Option<Lost>,
    pub(super) upkeep: Upkeep,
    pub(super) target: Target,
    pub(super) force: Force,
    /// Whether the replica stops as soon as it is no member any more.
    pub(super) retires: bool,
    /// Whether it stops, or has stopped, for that.
    pub(super) retired: bool,
    /// A log start that is durable, and taken when the cut is done.
    pub(super) start_after_cut: Option<Offset>,
    /// The records of the fetch response that is being received.
    pub(super) incoming: Option<Bytes>,
    /// Whether a follower asks again when the epochs that are being put are durable.
    pub(super) refetch_after_put: bool,
    /// When a follower that could not append asks again.
    pub(super) refetch_at: Instant,
    pub(super) health: DiskHealth,
    /// Whether a flush is under way; the next one is taken when it completes, with all that came in between.
    pub(super) flushing: bool,
    /// Answers to followers that wait until their records are in memory.
    pub(super) warming: Warming,
    pub(super) early: Early,
    /// Produce requests that wait for the high watermark (acks=all).
    pub(super) purgatory: Purgatory,
    /// Produce requests that wait for this replica alone (acks=1).
    pub(super) own: Purgatory,
    /// Deletions of records that wait until every in-sync replica has deleted: else they would come back with another leader.
    pub(super) deletions: Purgatory,
    pub(super) watchers: Watchers,
    pub(super) check_interval: Duration,
    pub(super) timing: Settings,
    pub(super) room: Arc<Room>,
    /// When the log is to be looked after.
    pub(super) next_check: Instant,
    /// When the host was last asked to call.
    pub(super) timer: Instant,
}

/// How far the life of a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The log is open, nothing is served.
    Opened,
    /// It takes part in the consensus.
    Running,
    /// A write or flush failed, or the log is damaged: only reads are served, until the process restarts.
    Failed,
    /// No call is taken; what was appended is being flushed.
    Stopping,
    /// The same, and nothing is volatile any more when this is over.
    Closing,
    /// Nothing will ever happen again.
    Stopped,
}

impl Replica {
    /// The replica of a log that was just opened. It serves nothing before [`ReplicaEvent::Start`].
    #[must_use]
    pub fn new(parts: ReplicaParts) -> Self {
        let view = Arc::new(PartitionView::new(parts.partition, parts.log.view()));
        let restored = parts.promises.restored(&parts.log, &parts.recovery, parts.first);
        let settings = consensus::settings(parts.log.config(), parts.replication, &parts.timing);
        let seed = consensus::seed(parts.partition, parts.me);
        Self {
            partition: parts.partition,
            view,
            raft: Raft::new(parts.me, restored, settings, seed),
            phase: Phase::Opened,
            leads: false,
            unknown_epochs: parts.promises.epochs != parts.log.epoch_cache().entries(),
            recovery: Some(parts.recovery),
            replication: parts.replication,
            log: parts.log,
            puts: Puts::default(),
            cut: Cut::None,
            lost: None,
            upkeep: Upkeep::default(),
            target: Target::default(),
            force: Force::default(),
            retires: false,
            retired: false,
            start_after_cut: None,
            incoming: None,
            refetch_after_put: false,
            refetch_at: Instant::NEVER,
            health: DiskHealth::default(),
            flushing: false,
            warming: Warming::default(),
            early: Early::default(),
            purgatory: Purgatory::default(),
            own: Purgatory::default(),
            deletions: Purgatory::default(),
            watchers: Watchers::default(),
            check_interval: parts.check_interval,
            timing: parts.timing,
            room: parts.room,
            next_check: Instant::NEVER,
            timer: Instant::NEVER,
        }
    }

    /// The published side; the host puts it into the directory before it delivers [`ReplicaEvent::Start`].
    #[must_use]
    pub fn view(&self) -> Arc<PartitionView> {
        Arc::clone(&self.view)
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// The consensus: its state, the members, the fetch under way.
    #[must_use]
    pub const fn consensus(&self) -> &Raft {
        &self.raft
    }

    /// Whether the replica has stopped, or stops, since its broker shall have none and it is no member any more: its data may
    /// go, and [`Promises::of_retired`] stays.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether everything in the log is durable. A host that stops leaves no clean marker behind a replica of which this
    /// does not hold: it failed, or never came to flush what opening the log found.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.log.flushed_offset() >= self.log.log_end()
    }

    pub(super) fn high_watermark(&self) -> Offset {
        self.view.log.high_watermark()
    }

    /// Whether the log is neither damaged nor poisoned.
    pub(super) fn is_intact(&self) -> bool {
        !self.log.is_poisoned() && self.view.readable_end() == Offset::MAX
    }

    /// Whether this replica is the only voter of its partition.
    pub(super) fn is_alone(&self) -> bool {
        self.raft.configuration().is_alone(self.raft.me().key)
    }

    /// Whether the replica takes part in the consensus.
    pub(super) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping | Phase::Closing)
    }

    fn configure(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if matches!(self.phase, Phase::Opened | Phase::Running | Phase::Stopping) {
            let settings = consensus::settings(self.log.config(), self.replication, &self.timing);
            self.tell(now, Event::Configure(settings), out);
        }
    }
}

impl Core for Replica {
    type Event = ReplicaEvent;
    type Effect = ReplicaEffect;

    fn step(&mut self, now: Now, event: ReplicaEvent, out: &mut Vec<ReplicaEffect>) {
        let before = self.high_watermark();
        let was_cutting = self.cut.is_under_way();
        match event {
            ReplicaEvent::Start => self.start(now, out),
            ReplicaEvent::Call { from, op } => self.call(now, from, op, out),
            ReplicaEvent::Cancel { from } => self.watchers.cancel(from),
            ReplicaEvent::Flushed { upto, result, .. } => self.flushed(now, upto, result, out),
            ReplicaEvent::PutDone { token, result } => self.put_done(now, token, result, out),
            ReplicaEvent::Prepared(prepared) => self.log.prepared(prepared),
            ReplicaEvent::Upkept(upkept) => self.upkept(now, upkept, out),
            ReplicaEvent::CutApplied(done) => self.cut_applied(now, done, out),
            ReplicaEvent::Warmed { token } => self.warmed(token, out),
            ReplicaEvent::Timer => self.timer = Instant::NEVER,
            ReplicaEvent::Configure { log, replication } => {
                self.log.set_config(*log);
                self.replication = replication;
                self.configure(now, out);
            }
            ReplicaEvent::Peer { envelope, records } => self.receive(now, *envelope, records, out),
            ReplicaEvent::SessionUp(peer) => self.tell_of_session(now, Event::SessionUp(peer), out),
            ReplicaEvent::SessionDown { broker, heard } => {
                self.tell_of_session(now, Event::SessionDown { broker, heard }, out);
            }
            ReplicaEvent::Refetch => self.tell_running(now, Event::Refetch, out),
            ReplicaEvent::Hint { leader, epoch } => self.tell_running(now, Event::Hint { leader, epoch }, out),
            ReplicaEvent::Transfer { to } => self.tell_running(now, Event::Transfer { to }, out),
            ReplicaEvent::Target(target) => self.target.set(target),
            ReplicaEvent::Retire(retires) => self.retires = retires,
            ReplicaEvent::Change(change) => self.tell_running(now, Event::Change(change), out),
            ReplicaEvent::Force { token, voters } => self.force(now, token, &voters, out),
            ReplicaEvent::Unwell(unwell) => self.health.set_unwell(unwell),
            ReplicaEvent::Stop => self.stop(now, out),
        }
        self.settle(now, out);
        self.check(before, was_cutting);
    }
}
