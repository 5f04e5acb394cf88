//! The core of a replica: its state, and which event leads where.

use std::sync::Arc;
use std::time::Duration;

use millrace_storage::{Log, Recovery};
use millrace_types::{BrokerId, DirectoryId, Instant, LeaderEpoch, Now, Offset, TopicPartition};

use super::early::Early;
use super::purgatory::Purgatory;
use super::puts::Puts;
use super::watchers::Watchers;
use super::{ReplicaEffect, ReplicaEvent};
use crate::core::Core;
use crate::directory::PartitionView;

/// What a replica is made of.
#[derive(Debug)]
pub struct ReplicaParts {
    /// The partition.
    pub partition: TopicPartition,
    /// Its log, just opened.
    pub log: Log,
    /// What opening it found.
    pub recovery: Recovery,
    /// This broker and its data directory: whom the replica votes for.
    pub voter: (BrokerId, DirectoryId),
    /// The latest epoch the write-ahead store has a vote in; 0 for none.
    pub term: LeaderEpoch,
    /// Whether the write-ahead store says that there may be acknowledged records that were never flushed.
    pub volatile: bool,
    /// How often retention is checked (`log.retention.check.interval.ms`).
    pub check_interval: Duration,
}

/// The core of one replica.
#[derive(Debug)]
pub struct Replica {
    pub(super) partition: TopicPartition,
    pub(super) voter: (BrokerId, DirectoryId),
    pub(super) log: Log,
    pub(super) view: Arc<PartitionView>,
    pub(super) role: Role,
    /// The epoch this replica leads, or is about to; before that the latest one it knows of.
    pub(super) epoch: LeaderEpoch,
    /// What opening the log found, until the replica starts.
    pub(super) recovery: Option<Recovery>,
    pub(super) puts: Puts,
    pub(super) volatile: Volatile,
    /// Whether a flush is under way; the next one is taken when it completes, with all that came in between.
    pub(super) flushing: bool,
    pub(super) early: Early,
    pub(super) purgatory: Purgatory,
    pub(super) watchers: Watchers,
    pub(super) check_interval: Duration,
    /// When the log is to be looked after.
    pub(super) next_check: Instant,
    /// When the host was last asked to call.
    pub(super) timer: Instant,
}

/// What a replica does with the calls of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The log is open, nothing is served.
    Opened,
    /// The epoch is chosen; writes wait until it is durable and the log is flushed.
    Starting,
    /// It appends and commits.
    Leader,
    /// A write or flush failed, or the log is damaged: only reads are served, until the process restarts.
    Failed,
    /// No call is taken; what was appended is being flushed.
    Stopping,
    /// Nothing will ever happen again.
    Stopped,
}

/// Whether the write-ahead store says that records may be acknowledged from the page cache (consensus rules, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volatile {
    /// It says no: nothing may be acknowledged that is not flushed.
    Clear,
    /// It is being told so; nothing may be acknowledged yet.
    Setting,
    /// It says yes.
    Set,
    /// It is being told no; everything is flushed.
    Clearing,
}

impl Replica {
    /// The replica of a log that was just opened. It serves nothing before [`ReplicaEvent::Start`].
    #[must_use]
    pub fn new(parts: ReplicaParts) -> Self {
        let view = Arc::new(PartitionView::new(parts.partition, parts.log.view()));
        Self {
            partition: parts.partition,
            voter: parts.voter,
            epoch: parts.term.max(parts.log.epoch_cache().latest()),
            view,
            log: parts.log,
            role: Role::Opened,
            recovery: Some(parts.recovery),
            puts: Puts::default(),
            volatile: if parts.volatile { Volatile::Set } else { Volatile::Clear },
            flushing: false,
            early: Early::default(),
            purgatory: Purgatory::default(),
            watchers: Watchers::default(),
            check_interval: parts.check_interval,
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

    /// Whether records are acknowledged after their flush (`flush.messages` is 1).
    pub(super) fn is_durable(&self) -> bool {
        self.log.config().flush_messages <= 1
    }
}

impl Core for Replica {
    type Event = ReplicaEvent;
    type Effect = ReplicaEffect;

    fn step(&mut self, now: Now, event: ReplicaEvent, out: &mut Vec<ReplicaEffect>) {
        let before = self.high_watermark();
        match event {
            ReplicaEvent::Start => self.start(now, out),
            ReplicaEvent::Call { from, op } => self.call(now, from, op, out),
            ReplicaEvent::Cancel { from } => self.watchers.cancel(from),
            ReplicaEvent::Flushed { upto, epoch, result } => self.flushed(upto, epoch, result, out),
            ReplicaEvent::PutDone { token, result } => self.put_done(now, token, result, out),
            ReplicaEvent::Prepared(prepared) => self.log.prepared(prepared),
            ReplicaEvent::Timer => self.timer = Instant::NEVER,
            ReplicaEvent::Configure(config) => self.log.set_config(*config),
            ReplicaEvent::Stop => self.stop(out),
        }
        self.settle(now, out);
        self.check(before);
    }
}
