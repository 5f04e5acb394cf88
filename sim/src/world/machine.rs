//! One machine: its disk, its clocks, and the broker's process while it runs.

use std::collections::{BTreeMap, BTreeSet};

use millrace_raft::ReplicaKey;
use millrace_storage::{Disk, SimDisk};
use millrace_types::{BrokerId, Instant, LeaderEpoch, TopicPartition};

use crate::broker::{Clock, Happening, Notice, Process, Who};
use crate::ghost::Mirror;
use crate::invariant::watermark::Watermarks;
use crate::queue::Micros;

/// Starts of a process that another broker may miss: fewer than the last 32 that a hello tells.
const STARTS_UNHEARD: u64 = 4;

/// One machine and the broker on it.
pub(super) struct Machine {
    pub(super) broker: BrokerId,
    pub(super) clock: Clock,
    pub(super) disk: SimDisk,
    /// Nothing that the disk is to do is done before.
    pub(super) disk_hangs_until: Micros,
    /// The disk of this process has or had a fault waiting for it.
    pub(super) tainted: bool,
    /// The disk of a process before had, in this run of the machine: what failed to be written back is told to whoever
    /// flushes the file next.
    pub(super) haunted: bool,
    /// The power goes off in one of the next changing calls.
    pub(super) power_armed: bool,
    /// Partitions of which something has rotted on it that others hold.
    pub(super) rotten: BTreeSet<TopicPartition>,
    /// What its replicas are called on its disk of now, since its process first ran on that.
    pub(super) key: Option<ReplicaKey>,
    /// There is no power: nobody answers a dial.
    pub(super) off: bool,
    pub(super) process: Option<Box<Process>>,
    /// While the process is paused: what waits for it.
    pub(super) paused: Option<Vec<Happening>>,
    /// Number of the machine's run.
    pub(super) boot: u64,
    /// The machine's run in which a partition's log was last opened.
    pub(super) opened_in: BTreeMap<TopicPartition, u64>,
    /// Partitions of which a flush has failed since their logs were last opened.
    pub(super) unflushable: BTreeSet<TopicPartition>,
    pub(super) channels: BTreeMap<(Who, Who), Micros>,
    pub(super) notices: Vec<Notice>,
    pub(super) watermarks: Watermarks,
    /// The epochs in which it has coordinated the group, and since when.
    pub(super) coordinated: Vec<(Instant, LeaderEpoch)>,
    /// The logs of its replicas, as they were when last seen.
    pub(super) mirrors: BTreeMap<TopicPartition, Mirror>,
    /// Logs that were opened and not looked at since, and whether what the page cache held may be gone.
    pub(super) reopened: BTreeMap<TopicPartition, bool>,
    /// Starts of its process since each other broker has heard it.
    pub(super) unheard: BTreeMap<BrokerId, u64>,
}

impl Machine {
    pub(super) fn new(broker: BrokerId, disk: SimDisk) -> Self {
        Self {
            broker,
            clock: Clock::default(),
            disk,
            disk_hangs_until: 0,
            tainted: false,
            haunted: false,
            power_armed: false,
            rotten: BTreeSet::new(),
            key: None,
            off: false,
            process: None,
            paused: None,
            boot: 1,
            opened_in: BTreeMap::new(),
            unflushable: BTreeSet::new(),
            channels: BTreeMap::new(),
            notices: Vec::new(),
            watermarks: Watermarks::default(),
            coordinated: Vec::new(),
            mirrors: BTreeMap::new(),
            reopened: BTreeMap::new(),
            unheard: BTreeMap::new(),
        }
    }

    /// Whether it may be made to start again: who has not heard of too many starts takes it for another.
    pub(super) fn may_fall(&self) -> bool {
        self.unheard.values().all(|starts| *starts < STARTS_UNHEARD)
    }

    /// What it had of a partition is gone: what it has of it next begins with nothing.
    pub(super) fn forget(&mut self, partition: TopicPartition) {
        self.mirrors.remove(&partition);
        self.reopened.remove(&partition);
        self.opened_in.remove(&partition);
        self.unflushable.remove(&partition);
        self.rotten.remove(&partition);
        self.watermarks.forget(partition);
    }

    /// Number of the process that runs; 0 for none.
    pub(super) fn number(&self) -> u64 {
        self.process.as_deref().map_or(0, Process::number)
    }

    /// Whether the power has gone off within a call on the disk.
    pub(super) fn power_went_off(&self) -> bool {
        self.power_armed && self.disk.list(std::path::Path::new("")).is_err()
    }

    pub(super) const fn is_disk_at_fault(&self) -> bool {
        self.tainted || self.haunted
    }

    pub(super) fn disk_is_limited(&self) -> bool {
        self.disk.space().is_ok_and(|space| space.total < 1 << 40)
    }

    /// Whether it serves and knows what it has to.
    pub(super) fn is_ready(&self) -> bool {
        self.process.as_deref().is_some_and(Process::is_ready)
    }
}
