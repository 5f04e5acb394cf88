//! The storage side of a test's host: the write-ahead store, the logs, and work that may be held back.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_raft::{Configuration, Peer, ReplicaKey, Voter, VoterRole};
use millrace_storage::{
    CrashKind, CutJob, Disk, DiskError, FaultPlan, FlushWork, JournalOptions, Known, Log, LogConfig, PrepareJob,
    QRecord, QState, SimDisk, StorageJob, UpkeepJob, WarmJob, partition_dir,
};
use millrace_storage::{NewBoot, QSTATE_DIR};
use millrace_types::{Now, TopicPartition};

use super::cold::{ColdDisk, Memory};
use super::{BROKER, DIRECTORY};
use crate::call::ConnectionId;
use crate::connection::ConnectionEvent;
use crate::replica::{Promises, Replica, ReplicaEvent, ReplicaParts, Room};
use crate::settings::Replication;
use crate::witness::Witness;

/// Work for a storage thread.
#[derive(Debug)]
pub(crate) enum Work {
    Flush(TopicPartition, FlushWork),
    Put(TopicPartition, u64, Vec<QRecord>),
    Prepare(TopicPartition, PrepareJob),
    Upkeep(TopicPartition, UpkeepJob),
    Run(StorageJob),
    Warm(ConnectionId, u64, WarmJob),
    WarmReplica(TopicPartition, u64, WarmJob),
    Cut(TopicPartition, CutJob),
}

/// What comes back from finished work.
pub(crate) enum Done {
    Replica(TopicPartition, ReplicaEvent),
    Connection(ConnectionId, ConnectionEvent),
    Nothing,
}

/// Disk and write-ahead store of one process start.
pub(crate) struct Storage {
    pub(crate) disk: SimDisk,
    pub(crate) qstate: QState,
    pub(crate) work: VecDeque<Work>,
    /// What logs opened on it find in memory.
    pub(crate) memory: Arc<Memory>,
    /// What is queued for other brokers.
    pub(crate) room: Arc<Room>,
    /// Number of flushes done.
    pub(crate) flushes: usize,
    /// Whose it is.
    key: ReplicaKey,
    /// Number of the machine's run.
    run: u64,
}

fn not_found(error: DiskError) -> Result<(), DiskError> {
    if error.is_not_found() { Ok(()) } else { Err(error) }
}

/// Silence after which a broker is taken for gone.
const SESSION_TIMEOUT: Duration = Duration::from_millis(400);

/// The members of a partition and what its topic says.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) first: Configuration,
    pub(crate) replication: Replication,
}

impl Membership {
    /// One voter.
    pub(crate) fn alone(key: ReplicaKey) -> Self {
        Self {
            first: Configuration::first(vec![Voter { key, role: VoterRole::Data }]),
            replication: Replication::default(),
        }
    }
}

impl Storage {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(ReplicaKey { broker: BROKER, directory: DIRECTORY }, seed)
    }

    /// The storage of another broker than that of most tests.
    pub(crate) fn of(key: ReplicaKey, seed: u64) -> Self {
        Self::open(SimDisk::new(seed, FaultPlan::default()), key, 1)
    }

    fn open(disk: SimDisk, key: ReplicaKey, run: u64) -> Self {
        let boot = NewBoot { directory: key.directory, boot_id: format!("run {run}"), nonce: 7 };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let qstate = QState::open(&shared, Path::new(QSTATE_DIR), JournalOptions::default(), boot).expect("qstate");
        let room = Arc::new(Room::new((0..8).map(millrace_types::BrokerId), 1 << 20));
        Self { disk, qstate, work: VecDeque::new(), memory: Arc::default(), room, flushes: 0, key, run }
    }

    /// The storage of the next process start.
    pub(crate) fn crash(&self, kind: CrashKind, damage: impl FnOnce(&SimDisk)) -> Self {
        let disk = self.disk.crash(kind);
        damage(&disk);
        // The page cache outlives the process, and ends with the machine's run.
        Self::open(disk, self.key, if kind == CrashKind::Process { self.run } else { self.run + 1 })
    }

    /// Opens a partition's log and makes its replica, the only one, as a host does at its start.
    pub(crate) fn replica(&self, partition: TopicPartition, config: LogConfig, now: Now) -> Replica {
        self.member(partition, config, Membership::alone(self.key), now)
    }

    /// A witness among others.
    pub(crate) fn witness(&self, partition: TopicPartition, membership: Membership) -> Witness {
        let state = self.qstate.partition(partition).cloned().unwrap_or_default();
        Witness::new(partition, self.me(), &Promises::from(&state), membership.first, SESSION_TIMEOUT)
    }

    /// The same of one replica among others.
    pub(crate) fn member(
        &self,
        partition: TopicPartition,
        config: LogConfig,
        membership: Membership,
        now: Now,
    ) -> Replica {
        let state = self.qstate.partition(partition).cloned().unwrap_or_default();
        let known = Known::from_state(&state, self.qstate.boot().same_boot());
        let inner = Arc::new(self.disk.clone());
        let disk: Arc<dyn Disk> = Arc::new(ColdDisk { inner, memory: Arc::clone(&self.memory) });
        let dir = partition_dir(partition);
        let (log, recovery) = Log::open(&disk, &dir, partition, config, &known, now).expect("the log opens");
        Replica::new(ReplicaParts {
            partition,
            log,
            recovery,
            me: self.me(),
            promises: Promises::from(&state),
            first: membership.first,
            replication: membership.replication,
            check_interval: Duration::from_secs(300),
            timing: millrace_raft::Settings { session_timeout: SESSION_TIMEOUT, ..millrace_raft::Settings::default() },
            room: Arc::clone(&self.room),
        })
    }

    /// Who speaks for the replicas of this process.
    pub(crate) fn me(&self) -> Peer {
        Peer { key: self.key, incarnation: self.qstate.boot().current.incarnation }
    }

    /// Leaves nothing of a replica but its word in elections, as a host does when it has retired.
    pub(crate) fn retire(&mut self, partition: TopicPartition, promises: &Promises) {
        while let Some(work) = self.work.pop_front() {
            self.finish(work);
        }
        self.qstate.put(&promises.retirement(partition)).and_then(|()| self.qstate.flush()).expect("room");
        // A learner that was told nothing has no files yet.
        self.disk.remove_dir_all(&partition_dir(partition)).or_else(not_found).expect("removed");
    }

    /// Whether there is data of a partition.
    pub(crate) fn has_data(&self, partition: TopicPartition) -> bool {
        self.disk.list(&partition_dir(partition)).is_ok()
    }

    /// Does one piece of work.
    pub(crate) fn finish(&mut self, work: Work) -> Done {
        match work {
            Work::Flush(partition, work) => {
                let (upto, epoch, result) = (work.upto, work.epoch, work.run());
                let suspect = result.is_err() && !work.rewritten;
                self.flushes += 1;
                // As the flusher notes it. A cut or a removal that is put later comes later here, too: work is done in
                // the order it was asked for, so no note outlives what voids it.
                let tp = partition;
                let flushed = result.is_ok().then_some(QRecord::Flushed { tp, upto });
                let note: Vec<_> = flushed.into_iter().chain(suspect.then_some(QRecord::Suspect { tp })).collect();
                self.qstate.put(&note).expect("room");
                Done::Replica(partition, ReplicaEvent::Flushed { upto, epoch, result })
            }
            Work::Put(partition, token, records) => {
                let result = self.qstate.put(&records).and_then(|()| self.qstate.flush());
                Done::Replica(partition, ReplicaEvent::PutDone { token, result })
            }
            Work::Prepare(partition, job) => Done::Replica(partition, ReplicaEvent::Prepared(job.run())),
            Work::Upkeep(partition, job) => Done::Replica(partition, ReplicaEvent::Upkept(job.run())),
            Work::Run(job) => {
                job.run();
                Done::Nothing
            }
            Work::Cut(partition, job) => Done::Replica(partition, ReplicaEvent::CutApplied(job.run())),
            Work::WarmReplica(partition, token, job) => {
                job.run();
                Done::Replica(partition, ReplicaEvent::Warmed { token })
            }
            Work::Warm(connection, token, job) => {
                job.run();
                Done::Connection(connection, ConnectionEvent::Warmed { token })
            }
        }
    }
}
