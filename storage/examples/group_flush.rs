//! Measures how long a group commit of N dirty files takes: a flush of each file against one `syncfs`.
//!
//! `cargo run --release -p millrace-storage --example group_flush -- DIRECTORY [ROUNDS]`. Each round dirties 4 KiB in
//! each of N preallocated files and sends N flush jobs at once; the time runs until the last is done. Prints medians
//! and 90th percentiles in microseconds. Run it where the data directory will be, with the other users of that
//! filesystem as busy as they will be: `syncfs` writes their dirty pages too.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_storage::{Disk, FileRef, FlushJob, FlushWork, JournalOptions, NewBoot, QState, RealDisk};
use millrace_storage::{StorageHandle, StorageOptions, StorageThreads};
use millrace_types::{DirectoryId, TopicId, TopicPartition};
use smallvec::smallvec;
use uuid::Uuid;

const FILE_BYTES: u64 = 1 << 20;
const COUNTS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024];

/// One way to flush.
struct Way {
    name: &'static str,
    flush_threads: usize,
    sync_all_above: usize,
}

const WAYS: [Way; 4] = [
    Way { name: "fdatasync, 1 thread", flush_threads: 1, sync_all_above: usize::MAX },
    Way { name: "fdatasync, 4 threads", flush_threads: 4, sync_all_above: usize::MAX },
    Way { name: "fdatasync, 8 threads", flush_threads: 8, sync_all_above: usize::MAX },
    Way { name: "syncfs", flush_threads: 1, sync_all_above: 0 },
];

fn start(disk: &Arc<dyn Disk>, number: usize) -> Result<Vec<StorageThreads>, Box<dyn Error>> {
    let mut started = Vec::new();
    for (at, way) in WAYS.iter().enumerate() {
        let boot = NewBoot { directory: DirectoryId(Uuid::from_u128(1)), boot_id: "bench".into(), nonce: 0 };
        let dir = format!("qstate-{number}-{at}");
        let qstate = QState::open(disk, Path::new(&dir), JournalOptions::default(), boot)?;
        let (flush_threads, sync_all_above) = (way.flush_threads, way.sync_all_above);
        let options = StorageOptions { flush_threads, sync_all_above, ..StorageOptions::default() };
        started.push(StorageThreads::start(options, Arc::clone(disk), qstate)?);
    }
    Ok(started)
}

/// Dirties a page of each file, flushes all, and says how long the flushing took.
fn round(handle: &StorageHandle, files: &[FileRef], number: u64) -> Result<Duration, Box<dyn Error>> {
    let page = [number as u8; 4096];
    let (report, outcomes) = mpsc::channel();
    for file in files {
        file.write_at(number * 4096 % FILE_BYTES, &[&page])?;
    }
    let begin = Instant::now();
    for (partition, file) in (0..).zip(files) {
        let tp = TopicPartition::new(TopicId(Uuid::nil()), partition);
        let work = FlushWork { files: smallvec![Arc::clone(file)], upto: number as i64, epoch: 1, rewritten: false };
        let report = report.clone();
        let done = Box::new(move |result| drop(report.send(result)));
        handle.flush(FlushJob { tp, work, done })?;
    }
    for _ in files {
        outcomes.recv()??;
    }
    Ok(begin.elapsed())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().ok_or("give a directory")?;
    let rounds: u64 = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let root = Path::new(&root).join("group_flush");
    std::fs::create_dir_all(&root)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&root)?);
    let threads = start(&disk, 0)?;
    println!("| files | {} |", WAYS.map(|way| way.name).join(" | "));
    for count in COUNTS {
        let create = |number| disk.create(Path::new(&format!("{count}-{number}")), FILE_BYTES, FILE_BYTES);
        let files: Vec<FileRef> = (0..count).map(create).collect::<Result<_, _>>()?;
        let mut times = vec![Vec::new(); WAYS.len()];
        for number in 0..rounds * WAYS.len() as u64 {
            // The ways take turns, so that a busy moment of the machine falls on all of them.
            let way = number as usize % WAYS.len();
            times[way].push(round(&threads[way].handle(), &files, number)?.as_micros());
        }
        let cells = times.iter_mut().map(|times| {
            times.sort_unstable();
            format!("{} ({})", times[times.len() / 2], times[times.len() * 9 / 10])
        });
        println!("| {count} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    threads.into_iter().try_for_each(StorageThreads::stop)?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}
