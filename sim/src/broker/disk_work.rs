//! The storage threads: what waits for the disk, what is under way, and what comes back.
//!
//! One thread commits groups of flushes, one the write-ahead store, one the metadata journal, one does everything slow:
//! as in the real broker. A piece of work takes its effect at its beginning or at its end, which the seed decides; a
//! crash between the two leaves what a real one could.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_node::connection::ConnectionEvent;
use millrace_node::group::GroupEvent;
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::peer::PeerEvent;
use millrace_node::peers::PeersEvent;
use millrace_node::replica::{Promises, ReplicaEvent};
use millrace_node::{Caller, Shared};
use millrace_storage::{
    CutDone, CutJob, Disk, DiskError, FlushWork, Journal, JournalError, Log, LogConfig, LogError, METADATA_DIR,
    PrepareJob, Prepared, QRecord, QState, Recovery, SeenStart, StorageJob, ToldStart, UpkeepJob, Upkept, WarmJob,
    partition_dir, remove_partition_dir,
};
use millrace_types::{BrokerId, TopicPartition};

use super::Notice;
use super::port::{Event, Port, Who};
use super::process::{Process, Remembered};

/// Work for the thread that does everything slow.
#[derive(Debug)]
pub(super) enum Job {
    Open(TopicPartition, Box<LogConfig>, Box<Remembered>),
    Prepare(TopicPartition, PrepareJob),
    Upkeep(TopicPartition, UpkeepJob),
    Run(StorageJob),
    Warm(Caller, u64, WarmJob),
    WarmReplica(TopicPartition, u64, WarmJob),
    Cut(TopicPartition, CutJob),
    RemoveDir(TopicPartition),
    RemoveRetired(TopicPartition, Box<Promises>),
}

/// What came of a job.
#[derive(Debug)]
enum Finished {
    Opened(TopicPartition, Box<Remembered>, Box<Result<(Log, Recovery), LogError>>),
    Prepared(TopicPartition, Prepared),
    Upkept(TopicPartition, Box<Upkept>),
    Warmed(Caller, u64),
    ReplicaWarmed(TopicPartition, u64),
    Cut(TopicPartition, CutDone),
    Retired(TopicPartition, Box<Promises>),
    Nothing,
}

/// Who waits for a put.
#[derive(Debug, Clone, Copy)]
enum Putter {
    Replica(TopicPartition, u64),
    /// The partition is forgotten: its data may go.
    Removal(TopicPartition),
    /// Nothing is left of what has retired but its word in elections: its data may go.
    Retirement(TopicPartition),
    /// The sessions with a broker remember a start of it.
    Sessions(BrokerId, u64),
    /// What another broker remembers: nobody waits.
    Nobody,
}

/// Records for the write-ahead store, and who waits for them.
type Put = (Putter, Vec<QRecord>);

#[derive(Debug)]
struct Persist {
    /// The snapshot is all there is to be, and has to be durable.
    replaces: bool,
    token: u64,
    records: Vec<Bytes>,
    snapshot: Option<Vec<Bytes>>,
}

type Outcome = Result<(), DiskError>;

/// A piece of work under way: with its outcome when it took effect at its beginning.
#[derive(Debug)]
struct Running<W, O> {
    work: W,
    outcome: Option<O>,
}

/// The storage threads of one process.
#[derive(Debug)]
pub(super) struct Threads {
    qstate: QState,
    journal: Journal,
    sync_all_above: usize,
    flushes: VecDeque<(TopicPartition, FlushWork)>,
    flushing: Option<Running<Vec<(TopicPartition, FlushWork)>, Outcome>>,
    puts: VecDeque<Put>,
    putting: Option<Running<Vec<Put>, Vec<Outcome>>>,
    /// Flushed offsets to be noted with the next commit.
    notes: Vec<QRecord>,
    /// What stays of what has retired, until its data is gone.
    retiring: BTreeMap<TopicPartition, Promises>,
    jobs: VecDeque<Job>,
    working: Option<Running<Option<Job>, Finished>>,
    persists: VecDeque<Persist>,
    persisting: Option<Running<Vec<Persist>, Vec<Outcome>>>,
}

impl Threads {
    pub(super) fn new(qstate: QState, journal: Journal, sync_all_above: usize) -> Self {
        Self {
            qstate,
            journal,
            sync_all_above,
            flushes: VecDeque::new(),
            flushing: None,
            puts: VecDeque::new(),
            putting: None,
            notes: Vec::new(),
            retiring: BTreeMap::new(),
            jobs: VecDeque::new(),
            working: None,
            persists: VecDeque::new(),
            persisting: None,
        }
    }

    pub(super) fn is_hurt(&self) -> bool {
        self.qstate.is_closed()
    }

    pub(super) fn are_idle(&self) -> bool {
        let waiting = self.flushes.len() + self.puts.len() + self.jobs.len() + self.persists.len();
        let running = self.flushing.is_some() || self.putting.is_some();
        waiting == 0 && !running && self.working.is_none() && self.persisting.is_none()
    }

    /// The last act of an orderly end.
    pub(super) fn close(&mut self) -> Outcome {
        let notes = std::mem::take(&mut self.notes);
        self.qstate.put(&notes)?;
        self.qstate.flush()
    }

    #[expect(clippy::unused_self, reason = "the storage threads ask the disk")]
    pub(super) fn ask_for_space(&self, disk: &Arc<dyn Disk>, shared: &Shared) {
        if let Ok(space) = disk.space() {
            shared.settings.space.refresh(space.total, space.free);
        }
    }

    pub(super) fn flush(&mut self, partition: TopicPartition, work: FlushWork) {
        self.flushes.push_back((partition, work));
    }

    pub(super) fn put(&mut self, partition: TopicPartition, token: u64, records: Vec<QRecord>) {
        self.puts.push_back((Putter::Replica(partition, token), records));
    }

    /// Remembers the start of another broker's directory, for the sessions with it.
    pub(super) fn remember(&mut self, token: u64, seen: SeenStart) {
        self.puts.push_back((Putter::Sessions(seen.broker, token), vec![QRecord::Seen(seen)]));
    }

    /// Notes what another broker remembers of this one.
    pub(super) fn told(&mut self, told: ToldStart) {
        self.puts.push_back((Putter::Nobody, vec![QRecord::Told(told)]));
    }

    /// Puts what stays of what has retired in place of what is remembered of it.
    pub(super) fn retire(&mut self, partition: TopicPartition, promises: Promises) {
        self.puts.push_back((Putter::Retirement(partition), promises.retirement(partition)));
        self.retiring.insert(partition, promises);
    }

    pub(super) fn forget(&mut self, partition: TopicPartition) {
        self.puts.push_back((Putter::Removal(partition), vec![QRecord::Forget { tp: partition }]));
    }

    pub(super) fn job(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    pub(super) fn persist(&mut self, token: u64, records: Vec<Bytes>, snapshot: Option<Vec<Bytes>>) {
        self.persists.push_back(Persist { replaces: false, token, records, snapshot });
    }

    pub(super) fn replace(&mut self, token: u64, snapshot: Vec<Bytes>) {
        self.persists.push_back(Persist { replaces: true, token, records: Vec::new(), snapshot: Some(snapshot) });
    }

    fn flush_group(&mut self, disk: &dyn Disk, group: &[(TopicPartition, FlushWork)]) -> Outcome {
        let mut files = Vec::new();
        for file in group.iter().flat_map(|(_, work)| &work.files) {
            if !files.iter().any(|known| Arc::ptr_eq(known, file)) {
                files.push(Arc::clone(file));
            }
        }
        if files.len() <= self.sync_all_above {
            return files.iter().map(|file| file.flush()).fold(Ok(()), Result::and);
        }
        disk.sync_all().inspect_err(|_| self.sync_all_above = usize::MAX)
    }

    fn commit(&mut self, group: &[Put]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(group.len());
        for (_, records) in group {
            // What was flushed before a cut says nothing about the log after it, and nothing counts any more of a log that goes.
            let is_cut = |record: &QRecord| matches!(record, QRecord::Trunc { .. } | QRecord::Cutting { .. });
            for record in records {
                let (cut, forgotten) = (is_cut(record), matches!(record, QRecord::Forget { .. }));
                let concerns = |note: &QRecord| cut && matches!(note, QRecord::Flushed { .. }) || forgotten;
                self.notes.retain(|note| note.partition() != record.partition() || !concerns(note));
            }
            outcomes.push(self.qstate.put(records));
        }
        self.note();
        let flushed = self.qstate.flush();
        for outcome in &mut outcomes {
            if outcome.is_ok() {
                outcome.clone_from(&flushed);
            }
        }
        outcomes
    }

    /// Appends what groups have flushed since the last commit; it becomes durable with the next.
    fn note(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        if !notes.is_empty() {
            // Without the note a start checks more of the log than it had to.
            let _checked_again_at_the_next_start = self.qstate.put(&notes);
        }
    }

    fn write_journal(&mut self, batch: &[Persist]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut rest = batch;
        while !rest.is_empty() {
            let end = rest.iter().position(|persist| persist.snapshot.is_some()).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at(end);
            rest = later;
            let records: Vec<&[u8]> =
                now.iter().flat_map(|persist| persist.records.iter().map(|record| &**record)).collect();
            let written = self.journal.append(&records).and_then(|_sequence| self.journal.flush());
            let mut written = written.map_err(disk_error);
            if let (Ok(()), Some(snapshot)) = (&written, now.last().and_then(|persist| persist.snapshot.as_deref())) {
                let snapshot: Vec<&[u8]> = snapshot.iter().map(|record| &**record).collect();
                // Without the snapshot the journal goes on growing, unless it had to take the place of what is there.
                let replaced = self.journal.snapshot(&snapshot).map(drop).map_err(disk_error);
                if now.last().is_some_and(|last| last.replaces) {
                    written = replaced;
                }
            }
            outcomes.extend(now.iter().map(|_| written.clone()));
        }
        outcomes
    }
}

fn disk_error(error: JournalError) -> DiskError {
    match error {
        JournalError::Disk(error) => error,
        other => DiskError::Io {
            path: METADATA_DIR.into(),
            operation: "append to the journal",
            source: Arc::new(io::Error::other(other.to_string())),
        },
    }
}

impl Process {
    /// Gives each storage thread that is idle what waits for it.
    pub fn work(&mut self, port: &mut Port<'_>) {
        if self.threads.flushing.is_none() && !self.threads.flushes.is_empty() {
            let group: Vec<_> = self.threads.flushes.drain(..).collect();
            let outcome = port.dice.chance(50).then(|| self.threads.flush_group(&*self.disk, &group));
            self.threads.flushing = Some(Running { work: group, outcome });
            let delay = port.work_delay();
            port.after(delay, Event::Flushed);
        }
        if self.threads.putting.is_none() && !self.threads.puts.is_empty() {
            let group: Vec<_> = self.threads.puts.drain(..).collect();
            let outcome = port.dice.chance(50).then(|| self.threads.commit(&group));
            self.threads.putting = Some(Running { work: group, outcome });
            let delay = port.work_delay();
            port.after(delay, Event::Committed);
        }
        if self.threads.persisting.is_none() && !self.threads.persists.is_empty() {
            let group: Vec<_> = self.threads.persists.drain(..).collect();
            let outcome = port.dice.chance(50).then(|| self.threads.write_journal(&group));
            self.threads.persisting = Some(Running { work: group, outcome });
            let delay = port.work_delay();
            port.after(delay, Event::Journaled);
        }
        if self.threads.working.is_none()
            && let Some(job) = self.threads.jobs.pop_front()
        {
            let running = if port.dice.chance(50) {
                Running { work: None, outcome: Some(self.run_job(port, job)) }
            } else {
                Running { work: Some(job), outcome: None }
            };
            self.threads.working = Some(running);
            let delay = port.work_delay();
            port.after(delay, Event::JobDone);
        }
    }

    fn run_job(&mut self, port: &Port<'_>, job: Job) -> Finished {
        match job {
            Job::Open(partition, config, remembered) => {
                let dir = partition_dir(partition);
                let opened = Log::open(&self.disk, &dir, partition, *config, &remembered.known, port.now);
                Finished::Opened(partition, remembered, Box::new(opened))
            }
            Job::Prepare(partition, job) => Finished::Prepared(partition, job.run()),
            Job::Upkeep(partition, job) => Finished::Upkept(partition, Box::new(job.run())),
            Job::Run(job) => {
                job.run();
                Finished::Nothing
            }
            Job::Warm(caller, token, job) => {
                job.run();
                Finished::Warmed(caller, token)
            }
            Job::Cut(partition, job) => Finished::Cut(partition, job.run()),
            Job::WarmReplica(partition, token, job) => {
                job.run();
                Finished::ReplicaWarmed(partition, token)
            }
            Job::RemoveDir(partition) => {
                // A directory that stays is removed at a later start.
                let _left_for_later = remove_partition_dir(&*self.disk, partition);
                Finished::Nothing
            }
            // Nothing begins in its place before the next start has removed it.
            Job::RemoveRetired(partition, promises) => match remove_partition_dir(&*self.disk, partition) {
                Ok(()) => Finished::Retired(partition, promises),
                Err(_) => Finished::Nothing,
            },
        }
    }

    pub(super) fn flushes_done(&mut self, port: &mut Port<'_>) {
        let Some(Running { work, outcome }) = self.threads.flushing.take() else { return };
        let outcome = outcome.unwrap_or_else(|| self.threads.flush_group(&*self.disk, &work));
        port.note(format_args!("flushed {} ok={}", work.len(), outcome.is_ok()));
        for (partition, work) in work {
            let (upto, epoch, result) = (work.upto, work.epoch, outcome.clone());
            if result.is_err() {
                port.notices.push(Notice::FlushFailed { partition });
            }
            match &result {
                Ok(()) => self.threads.notes.push(QRecord::Flushed { tp: partition, upto }),
                Err(_) if work.rewritten => {}
                Err(_) => self.threads.notes.push(QRecord::Suspect { tp: partition }),
            }
            let event = Event::Replica(partition, ReplicaEvent::Flushed { upto, epoch, result });
            port.mail(Who::Metadata, Who::Replica(partition), event);
        }
        // A failure is noted at once: the next start in this run of the machine must know of it.
        if outcome.is_err() || port.dice.chance(50) {
            self.threads.note();
        }
    }

    pub(super) fn commit_done(&mut self, port: &mut Port<'_>) {
        let Some(Running { work, outcome }) = self.threads.putting.take() else { return };
        let outcomes = outcome.unwrap_or_else(|| self.threads.commit(&work));
        for ((putter, _), result) in work.into_iter().zip(outcomes) {
            port.note(format_args!("put {putter:?} ok={}", result.is_ok()));
            match putter {
                Putter::Replica(partition, token) => {
                    let event = Event::Replica(partition, ReplicaEvent::PutDone { token, result });
                    port.mail(Who::Metadata, Who::Replica(partition), event);
                }
                Putter::Removal(partition) if result.is_ok() => self.threads.job(Job::RemoveDir(partition)),
                Putter::Retirement(partition) if result.is_ok() => {
                    let promises = self.threads.retiring.remove(&partition).unwrap_or_default();
                    self.threads.job(Job::RemoveRetired(partition, Box::new(promises)));
                }
                Putter::Sessions(broker, token) if result.is_ok() => {
                    let event = PeersEvent::Peer { broker, event: PeerEvent::Remembered { token } };
                    port.mail(Who::Metadata, Who::Peers, Event::Peers(vec![event]));
                }
                // Without what they would remember the sessions do not begin; an operator restarts the broker.
                Putter::Removal(_) | Putter::Retirement(_) | Putter::Sessions(..) | Putter::Nobody => {}
            }
        }
    }

    pub(super) fn journal_done(&mut self, port: &mut Port<'_>) {
        let Some(Running { work, outcome }) = self.threads.persisting.take() else { return };
        let outcomes = outcome.unwrap_or_else(|| self.threads.write_journal(&work));
        for (persist, result) in work.into_iter().zip(outcomes) {
            port.note(format_args!("journal {} ok={}", persist.token, result.is_ok()));
            let event = Event::Metadata(MetadataEvent::Persisted { token: persist.token, result });
            port.mail(Who::Metadata, Who::Metadata, event);
        }
    }

    pub(super) fn job_done(&mut self, port: &mut Port<'_>) {
        let Some(Running { work, outcome }) = self.threads.working.take() else { return };
        let finished = match (work, outcome) {
            (_, Some(finished)) => finished,
            (Some(job), None) => self.run_job(port, job),
            (None, None) => return,
        };
        match finished {
            Finished::Opened(partition, remembered, opened) => self.opened(port, partition, &remembered, *opened),
            Finished::Prepared(partition, prepared) => {
                let event = Event::Replica(partition, ReplicaEvent::Prepared(prepared));
                port.mail(Who::Metadata, Who::Replica(partition), event);
            }
            Finished::Upkept(partition, upkept) => {
                let event = Event::Replica(partition, ReplicaEvent::Upkept(*upkept));
                port.mail(Who::Metadata, Who::Replica(partition), event);
            }
            Finished::Warmed(Caller::Connection(id), token) => {
                port.mail(Who::Metadata, Who::Connection(id), Event::Connection(id, ConnectionEvent::Warmed { token }));
            }
            Finished::Warmed(Caller::GroupCoordinator(partition), token) => {
                port.mail(Who::Metadata, Who::Group(partition), Event::Group(partition, GroupEvent::Warmed { token }));
            }
            Finished::Cut(partition, done) => {
                let event = Event::Replica(partition, ReplicaEvent::CutApplied(done));
                port.mail(Who::Metadata, Who::Replica(partition), event);
            }
            Finished::ReplicaWarmed(partition, token) => {
                let event = Event::Replica(partition, ReplicaEvent::Warmed { token });
                port.mail(Who::Metadata, Who::Replica(partition), event);
            }
            Finished::Retired(partition, promises) => self.retired(port, partition, *promises),
            Finished::Warmed(Caller::Metadata, _) | Finished::Nothing => {}
        }
    }
}
