//! The storage threads' promises: groups, order, failures, bounds, and what is durable when somebody is told.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use millrace_types::{DirectoryId, Offset, TopicId, TopicPartition};
use smallvec::smallvec;
use uuid::Uuid;

use super::*;
use crate::disk::{CrashKind, Disk, DiskError, Fault, FaultPlan, File, FileRef, Operation, RealDisk, SimDisk};
use crate::journal::JournalOptions;
use crate::qstate::{NewBoot, QRecord, QState};

/// A file whose flush says that it began and waits until it is let go.
#[derive(Debug)]
struct Gated {
    inner: FileRef,
    began: Sender<()>,
    go: Receiver<()>,
}

impl File for Gated {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.inner.allocate(len)
    }
    fn write_at(&self, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        self.inner.write_at(pos, parts)
    }
    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        self.inner.read(pos, len)
    }
    fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.inner.zero(range)
    }
    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.inner.truncate(len)
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.began.send(()).unwrap();
        self.go.recv().unwrap();
        self.inner.flush()
    }
    fn warm(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.inner.warm(range)
    }
    fn is_resident(&self, range: Range<u64>) -> bool {
        self.inner.is_resident(range)
    }
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(7)), partition)
}

fn open(disk: &SimDisk) -> QState {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let boot = NewBoot { directory: DirectoryId(Uuid::from_u128(1)), boot_id: "boot".into(), nonce: 1 };
    let options = JournalOptions { room: 64 << 10, reserve: 16 << 10, ..JournalOptions::default() };
    QState::open(&disk, Path::new("qstate"), options, boot).unwrap()
}

/// Threads over a simulated disk, and a place for outcomes.
struct Stage {
    disk: SimDisk,
    handle: StorageHandle,
    report: Sender<(i32, Result<(), DiskError>)>,
    outcomes: Receiver<(i32, Result<(), DiskError>)>,
    began: Receiver<()>,
    go: Sender<()>,
    gate: (Sender<()>, Receiver<()>),
}

impl Stage {
    fn new(options: StorageOptions) -> Self {
        Self::on(SimDisk::new(1, FaultPlan::default()), options)
    }

    fn on(disk: SimDisk, options: StorageOptions) -> Self {
        let threads = StorageThreads::start(options, Arc::new(disk.clone()), open(&disk)).unwrap();
        let ((report, outcomes), (began_tx, began), (go, go_rx)) = (bounded(1000), bounded(1000), bounded(1000));
        Self { disk, handle: threads.handle(), report, outcomes, began, go, gate: (began_tx, go_rx) }
    }

    /// A new file with unflushed bytes in it.
    fn dirty_file(&self, name: &str) -> FileRef {
        let file = self.disk.create(Path::new(name), 100, 100).unwrap();
        file.write_at(0, &[b"dirty"]).unwrap();
        file
    }

    fn gated_file(&self, name: &str) -> FileRef {
        let (began, go) = self.gate.clone();
        Arc::new(Gated { inner: self.dirty_file(name), began, go })
    }

    fn done(&self, number: i32) -> Done {
        let report = self.report.clone();
        Box::new(move |result| report.send((number, result)).unwrap())
    }

    fn flush(&self, partition: i32, upto: Offset, file: FileRef) {
        let work = FlushWork { files: smallvec![file], upto, epoch: 1, rewritten: false };
        self.handle.flush(FlushJob { tp: tp(partition), work, done: self.done(partition) }).unwrap();
    }

    fn outcome(&self) -> (i32, Result<(), DiskError>) {
        self.outcomes.recv().unwrap()
    }

    /// The partition's flushed offset after a power loss.
    fn flushed(&self, partition: i32) -> Option<Offset> {
        open(&self.disk.crash(CrashKind::Power)).partition(tp(partition)).and_then(|state| state.flushed)
    }
}

fn one_by_one() -> StorageOptions {
    StorageOptions { sync_all_above: usize::MAX, ..StorageOptions::default() }
}

#[test]
fn what_waits_during_a_flush_is_the_next_group() {
    let stage = Stage::new(one_by_one());
    stage.flush(0, 1, stage.gated_file("f"));
    stage.began.recv().unwrap();
    for partition in 1..=5 {
        stage.flush(partition, 1, stage.dirty_file(&partition.to_string()));
    }
    assert_eq!(stage.handle.stats().snapshot().flushes_waiting, 6);
    assert!(stage.outcomes.is_empty());
    stage.go.send(()).unwrap();
    let order: Vec<_> = (0..6)
        .map(|_| stage.outcome())
        .map(|(partition, result)| {
            result.unwrap();
            partition
        })
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    let handle = stage.handle.clone();
    stage.handle.clone().stop().unwrap();
    let stats = handle.stats().snapshot();
    assert_eq!((stats.groups, stats.grouped_jobs, stats.grouped_files, stats.largest_group), (2, 6, 6, 5));
    assert_eq!((stats.flushes_waiting, stats.whole_syncs, stats.failed_groups), (0, 0, 0));
}

#[test]
fn a_file_is_flushed_once_for_all_jobs_of_its_group() {
    let stage = Stage::new(one_by_one());
    stage.flush(0, 1, stage.gated_file("gate"));
    stage.began.recv().unwrap();
    let file = stage.gated_file("shared");
    stage.flush(1, 1, Arc::clone(&file));
    stage.flush(1, 2, file);
    stage.go.send(()).unwrap();
    stage.go.send(()).unwrap();
    (0..3).for_each(|_| stage.outcome().1.unwrap());
    assert_eq!(stage.began.len(), 1, "one flush after the first");
}

#[test]
fn data_is_durable_when_the_job_is_done() {
    let stage = Stage::new(StorageOptions::default());
    for number in 0..50 {
        let name = format!("file {number}");
        let file = stage.dirty_file(&name);
        stage.disk.sync_dir(Path::new("")).unwrap();
        stage.flush(number, 1, file);
        stage.outcome().1.unwrap();
        let image = stage.disk.crash(CrashKind::Power);
        assert_eq!(&image.open(Path::new(&name), 0).unwrap().read(0, 5).unwrap()[..], b"dirty");
    }
}

#[test]
fn many_files_are_flushed_by_one_sync() {
    let stage = Stage::new(StorageOptions { sync_all_above: 3, ..StorageOptions::default() });
    stage.flush(0, 1, stage.gated_file("gate"));
    stage.began.recv().unwrap();
    for partition in 1..=4 {
        stage.flush(partition, 1, stage.dirty_file(&partition.to_string()));
    }
    stage.go.send(()).unwrap();
    (0..5).for_each(|_| stage.outcome().1.unwrap());
    assert_eq!(stage.disk.calls(Operation::SyncAll), 1);
    assert_eq!(stage.handle.stats().snapshot().whole_syncs, 1);
}

#[test]
fn a_sync_of_everything_that_would_hide_a_failure_is_never_relied_upon() {
    let disk = SimDisk::new(1, FaultPlan { silent_sync_all: true, ..FaultPlan::default() });
    let stage = Stage::on(disk, StorageOptions { sync_all_above: 0, ..StorageOptions::default() });
    stage.disk.inject(Fault::new(Operation::SyncAll, 1));
    stage.disk.inject(Fault::new(Operation::Flush, 1).on("bad"));
    stage.flush(1, 1, stage.dirty_file("bad"));
    assert!(stage.outcome().1.is_err(), "each file is asked");
    assert_eq!(stage.disk.calls(Operation::SyncAll), 0);
}

#[test]
fn a_failed_flush_is_told_to_its_whole_group_and_to_no_other() {
    let stage = Stage::new(one_by_one());
    stage.flush(0, 1, stage.gated_file("gate"));
    stage.began.recv().unwrap();
    stage.disk.inject(Fault::new(Operation::Flush, 1).on("bad"));
    stage.flush(1, 1, stage.dirty_file("good"));
    stage.flush(2, 1, stage.dirty_file("bad"));
    stage.flush(3, 1, stage.dirty_file("also good"));
    stage.go.send(()).unwrap();
    assert!(stage.outcome().1.is_ok());
    for _ in 0..3 {
        assert!(matches!(stage.outcome().1, Err(DiskError::Io { path, .. }) if path == Path::new("bad")));
    }
    stage.flush(4, 1, stage.dirty_file("later"));
    assert!(stage.outcome().1.is_ok());
    let handle = stage.handle.clone();
    stage.handle.clone().stop().expect_err("such a stop is not clean");
    assert_eq!(handle.stats().snapshot().failed_groups, 1);
    let flushed: Vec<_> = (0..5).map(|partition| stage.flushed(partition)).collect();
    assert_eq!(flushed, [Some(1), None, None, None, Some(1)], "what failed is not noted as flushed");
    let store = open(&stage.disk);
    let suspect: Vec<_> = (0..5).map(|partition| store.partition(tp(partition)).unwrap().suspect).collect();
    assert_eq!(suspect, [false, true, true, true, false], "the next start knows what not to trust");
}

#[test]
fn a_failed_flush_of_what_the_next_start_writes_again_makes_nothing_suspect() {
    let stage = Stage::new(one_by_one());
    stage.disk.inject(Fault::new(Operation::Flush, 1).on("found"));
    let work = FlushWork { files: smallvec![stage.dirty_file("found")], upto: 1, epoch: 1, rewritten: true };
    stage.handle.flush(FlushJob { tp: tp(0), work, done: stage.done(0) }).unwrap();
    assert!(stage.outcome().1.is_err());
    stage.handle.clone().stop().expect_err("such a stop is not clean");
    let store = open(&stage.disk);
    assert!(store.partition(tp(0)).is_none_or(|state| !state.suspect && state.flushed.is_none()));
}

#[test]
fn after_a_failed_sync_of_everything_each_file_is_asked() {
    // The failure concerns files outside the group as well; a second syncfs would report success for them.
    let stage = Stage::new(StorageOptions { sync_all_above: 0, ..StorageOptions::default() });
    let bystander = stage.dirty_file("bystander");
    stage.disk.inject(Fault::new(Operation::SyncAll, 1));
    stage.flush(1, 1, stage.dirty_file("group"));
    assert!(stage.outcome().1.is_err());
    stage.flush(2, 1, bystander);
    assert!(stage.outcome().1.is_err());
    assert_eq!(stage.disk.calls(Operation::SyncAll), 1);
}

#[test]
fn records_are_durable_when_the_put_is_done() {
    let stage = Stage::new(StorageOptions::default());
    for term in 1..50 {
        let record = QRecord::Term { tp: tp(0), term, voted_for: None };
        stage.handle.put(vec![record], stage.done(term)).unwrap();
        stage.outcome().1.unwrap();
        let image = open(&stage.disk.crash(CrashKind::Power));
        assert_eq!(image.partition(tp(0)).unwrap().term, term);
    }
    assert_eq!(stage.handle.stats().snapshot().committed_puts, 49);
}

#[test]
fn a_flushed_offset_is_durable_with_the_next_commit() {
    let stage = Stage::new(one_by_one());
    for upto in 1..=100 {
        stage.flush(0, upto, stage.dirty_file(&upto.to_string()));
        stage.outcome().1.unwrap();
        // A put that is sent now is in a commit that takes the note along, unless the note is still being made.
        stage.handle.put(vec![QRecord::Epoch { tp: tp(1), epoch: 1, start: 0 }], stage.done(0)).unwrap();
        stage.outcome().1.unwrap();
        assert!(stage.flushed(0).unwrap_or(0) >= upto - 1);
    }
    stage.handle.clone().stop().unwrap();
    assert_eq!(stage.flushed(0), Some(100), "a clean stop leaves nothing behind");
}

#[test]
fn a_cut_voids_the_offset_of_a_flush_under_way() {
    let stage = Stage::new(one_by_one());
    stage.flush(0, 20, stage.gated_file("f"));
    stage.began.recv().unwrap();
    stage.handle.put(vec![QRecord::Trunc { tp: tp(0), to: 10, epoch: 1 }], stage.done(100)).unwrap();
    assert_eq!(stage.outcome().0, 100, "a put does not wait for a flush");
    stage.flush(0, 12, stage.gated_file("g"));
    stage.go.send(()).unwrap();
    stage.began.recv().unwrap();
    stage.go.send(()).unwrap();
    (0..2).for_each(|_| stage.outcome().1.unwrap());
    stage.handle.clone().stop().unwrap();
    assert_eq!(stage.flushed(0), Some(12), "20 was flushed before the cut to 10");
}

#[test]
fn a_cut_between_two_jobs_of_one_group_lowers_the_offset() {
    let stage = Stage::new(one_by_one());
    stage.flush(9, 1, stage.gated_file("gate"));
    stage.began.recv().unwrap();
    stage.flush(0, 20, stage.dirty_file("a"));
    stage.handle.put(vec![QRecord::Trunc { tp: tp(0), to: 10, epoch: 1 }], stage.done(100)).unwrap();
    stage.outcome().1.unwrap();
    stage.flush(0, 12, stage.dirty_file("b"));
    stage.go.send(()).unwrap();
    (0..3).for_each(|_| stage.outcome().1.unwrap());
    stage.handle.clone().stop().unwrap();
    assert_eq!(stage.flushed(0), Some(12));
}

#[test]
fn a_failed_flush_is_remembered_over_a_cut_and_not_over_a_removal() {
    let stage = Stage::new(one_by_one());
    stage.flush(9, 1, stage.gated_file("gate"));
    stage.began.recv().unwrap();
    stage.disk.inject(Fault::new(Operation::Flush, 1).on("bad"));
    stage.flush(0, 20, stage.dirty_file("bad"));
    stage.flush(1, 20, stage.dirty_file("other"));
    let records = vec![QRecord::Trunc { tp: tp(0), to: 10, epoch: 1 }, QRecord::Forget { tp: tp(1) }];
    stage.handle.put(records, stage.done(100)).unwrap();
    stage.outcome().1.unwrap();
    stage.go.send(()).unwrap();
    (0..3).for_each(|_| drop(stage.outcome()));
    stage.handle.clone().stop().unwrap_err();
    let store = open(&stage.disk);
    assert!(store.partition(tp(0)).unwrap().suspect, "what the cut left may be what could not be flushed");
    assert!(store.partition(tp(1)).is_none());
}

#[test]
fn a_forgotten_partition_does_not_come_back() {
    let stage = Stage::new(one_by_one());
    stage.flush(0, 20, stage.gated_file("f"));
    stage.began.recv().unwrap();
    stage.handle.put(vec![QRecord::Forget { tp: tp(0) }], stage.done(100)).unwrap();
    stage.outcome().1.unwrap();
    stage.go.send(()).unwrap();
    stage.outcome().1.unwrap();
    stage.handle.clone().stop().unwrap();
    assert!(open(&stage.disk).partition(tp(0)).is_none());
}

#[test]
fn a_failed_commit_closes_the_store_and_no_log() {
    let stage = Stage::new(one_by_one());
    stage.disk.inject(Fault::new(Operation::Flush, 1).on("journal"));
    let put =
        |term| stage.handle.put(vec![QRecord::Term { tp: tp(0), term, voted_for: None }], stage.done(term)).unwrap();
    put(1);
    assert!(matches!(stage.outcome().1, Err(DiskError::Io { .. })));
    put(2);
    assert!(matches!(stage.outcome().1, Err(DiskError::Poisoned { .. })));
    stage.flush(0, 1, stage.dirty_file("data"));
    stage.outcome().1.unwrap();
    let handle = stage.handle.clone();
    stage.handle.clone().stop().unwrap_err();
    assert!(handle.stats().snapshot().store_closed);
}

#[test]
fn a_put_that_finds_the_disk_full_fails_alone() {
    let stage = Stage::new(StorageOptions::default());
    stage.disk.set_capacity(Some(0));
    let mut accepted = 0;
    let error = loop {
        let first = accepted * 100;
        let epochs = (first..first + 100).map(|number| QRecord::Epoch { tp: tp(number), epoch: 1, start: 0 });
        stage.handle.put(epochs.collect(), stage.done(0)).unwrap();
        match stage.outcome().1 {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && accepted > 10, "{error}");
    stage.disk.set_capacity(None);
    stage.handle.put(vec![QRecord::Forget { tp: tp(0) }], stage.done(0)).unwrap();
    stage.outcome().1.unwrap();
}

#[test]
fn a_slow_job_delays_no_flush_and_a_full_queue_refuses() {
    let stage = Stage::new(StorageOptions { queue_capacity: 1, ..StorageOptions::default() });
    let (began, (release, wait)) = (bounded::<()>(1), bounded::<()>(1));
    let begin = began.0.clone();
    let slow = move || {
        begin.send(()).unwrap();
        wait.recv().unwrap();
    };
    stage.handle.run(StorageJob::new("slow", slow)).unwrap();
    began.1.recv().unwrap();
    stage.flush(0, 1, stage.dirty_file("f"));
    stage.outcome().1.unwrap();
    let (report, ran) = bounded(1);
    stage.handle.run(StorageJob::new("waits", move || report.send(()).unwrap())).unwrap();
    let refused = stage.handle.run(StorageJob::new("too many", || unreachable!("refused jobs never run")));
    assert_eq!(refused, Err(QueueFull::Full { queue: "disk", capacity: 1 }));
    assert_eq!(stage.handle.stats().snapshot().jobs_waiting, 2);
    release.send(()).unwrap();
    ran.recv().unwrap();
}

#[test]
fn stopping_finishes_what_waits_and_refuses_the_rest() {
    let stage = Stage::new(one_by_one());
    stage.flush(0, 1, stage.gated_file("gate"));
    stage.began.recv().unwrap();
    for partition in 1..=20 {
        stage.flush(partition, 1, stage.dirty_file(&partition.to_string()));
        stage.handle.put(vec![QRecord::Volatile { tp: tp(partition), volatile: true }], stage.done(100)).unwrap();
        let done = stage.done(200);
        stage.handle.run(StorageJob::new("job", move || done(Ok(())))).unwrap();
    }
    let handle = stage.handle.clone();
    let stopping = std::thread::spawn(move || handle.stop());
    // The gate opens only after the stop has closed the queues, so everything above is drained by it.
    while stage.handle.run(StorageJob::new("probe", || {})) != Err(QueueFull::Stopped) {
        std::thread::yield_now();
    }
    stage.go.send(()).unwrap();
    stopping.join().unwrap().unwrap();
    let outcomes: Vec<_> = stage.outcomes.try_iter().collect();
    assert_eq!(outcomes.len(), 61, "everything that was accepted was finished");
    assert!(outcomes.iter().all(|(_, result)| result.is_ok()));
    let work = FlushWork { files: smallvec![], upto: 0, epoch: 0, rewritten: false };
    let late = stage.handle.flush(FlushJob { tp: tp(0), work, done: stage.done(0) });
    assert_eq!(late, Err(QueueFull::Stopped));
    assert_eq!(stage.handle.put(Vec::new(), stage.done(0)), Err(QueueFull::Stopped));
    assert!(stage.handle.clone().stop().is_ok(), "a second stop does nothing");
    assert_eq!((1..=20).map(|partition| stage.flushed(partition)).collect::<Vec<_>>(), [Some(1); 20]);
}

#[test]
fn the_threads_work_over_a_real_disk() {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(root.path()).unwrap());
    let open = || {
        let boot = NewBoot { directory: DirectoryId(Uuid::from_u128(1)), boot_id: "boot".into(), nonce: 1 };
        let options = JournalOptions { room: 8 << 10, reserve: 4 << 10, ..JournalOptions::default() };
        QState::open(&disk, Path::new("qstate"), options, boot).unwrap()
    };
    let threads = StorageThreads::start(StorageOptions::default(), Arc::clone(&disk), open()).unwrap();
    let files: Vec<_> = (0..6).map(|number| disk.create(Path::new(&number.to_string()), 8192, 8192).unwrap()).collect();
    let (report, outcomes) = bounded(1000);
    for upto in 1..=100 {
        for (partition, file) in (0..).zip(&files) {
            file.write_at(upto as u64, &[b"x"]).unwrap();
            let report = report.clone();
            let done: Done = Box::new(move |result| report.send(result).unwrap());
            let work = FlushWork { files: smallvec![Arc::clone(file)], upto, epoch: 1, rewritten: false };
            threads.handle().flush(FlushJob { tp: tp(partition), work, done }).unwrap();
        }
        files.iter().for_each(|_| outcomes.recv().unwrap().unwrap());
    }
    threads.stop().unwrap();
    let store = open();
    assert!(store.report().generation > 2, "the journal was snapshotted on the way");
    let flushed: Vec<_> = store.partitions().map(|(_, state)| state.flushed).collect();
    assert_eq!(flushed, [Some(100); 6]);
}

#[test]
fn an_empty_put_is_answered() {
    let stage = Stage::new(StorageOptions::default());
    stage.handle.put(Vec::new(), stage.done(5)).unwrap();
    assert_eq!(stage.outcome().0, 5);
}
