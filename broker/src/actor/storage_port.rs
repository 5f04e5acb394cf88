//! The way of one arbiter to the storage threads: work out, completions back into the arbiter's inbox.
//!
//! The queues of the storage threads are bounded and refuse work when they are full. What a core has asked for is never
//! dropped: it is parked here, in order, and offered again. A core has a few pieces of work under way at most, which
//! bounds what is parked.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use millrace_node::Caller;
use millrace_storage::{
    CutJob, DiskError, FlushJob, FlushWork, PrepareJob, QRecord, QueueFull, SeenStart, StorageHandle, StorageJob,
    ToldStart, UpkeepJob, WarmJob,
};
use millrace_types::TopicPartition;
use parking_lot::Mutex;

use super::inbox::Inbox;
use super::parcel::Completion;

/// How soon parked work is offered again.
const RETRY: Duration = Duration::from_millis(1);

/// Work for the storage threads.
enum Work {
    Flush {
        partition: TopicPartition,
        work: FlushWork,
    },
    Put {
        partition: TopicPartition,
        token: u64,
        records: Vec<QRecord>,
    },
    Remember {
        token: u64,
        seen: SeenStart,
    },
    Told(ToldStart),
    /// The job is taken out by the storage thread that runs it; a refused one stays.
    Run(Arc<Mutex<Option<StorageJob>>>),
}

/// The way of one arbiter to the storage threads.
pub(crate) struct StoragePort {
    handle: StorageHandle,
    inbox: Arc<Inbox>,
    parked: RefCell<VecDeque<Work>>,
    /// Whether a task is under way that offers what is parked again.
    retrying: Cell<bool>,
    depth: Gauge,
}

impl StoragePort {
    /// A way with nothing parked; completions go to `inbox`, and `depth` counts what is parked.
    pub(crate) fn new(handle: StorageHandle, inbox: Arc<Inbox>, depth: Gauge) -> Rc<Self> {
        Rc::new(Self { handle, inbox, parked: RefCell::default(), retrying: Cell::new(false), depth })
    }

    /// Flushes data of a replica; completes as [`Completion::Flushed`].
    pub(crate) fn flush(self: &Rc<Self>, partition: TopicPartition, work: FlushWork) {
        self.submit(Work::Flush { partition, work });
    }

    /// Makes records of a replica durable; completes as [`Completion::Put`].
    pub(crate) fn put(self: &Rc<Self>, partition: TopicPartition, token: u64, records: Vec<QRecord>) {
        self.submit(Work::Put { partition, token, records });
    }

    /// Remembers a start of another broker; completes as [`Completion::Remembered`].
    pub(crate) fn remember(self: &Rc<Self>, token: u64, seen: SeenStart) {
        self.submit(Work::Remember { token, seen });
    }

    /// Notes what another broker remembers; nothing waits for it.
    pub(crate) fn told(self: &Rc<Self>, told: ToldStart) {
        self.submit(Work::Told(told));
    }

    /// Allocates ahead; completes as [`Completion::Prepared`].
    pub(crate) fn prepare(self: &Rc<Self>, partition: TopicPartition, job: PrepareJob) {
        let inbox = Arc::clone(&self.inbox);
        self.run(StorageJob::new("prepare", move || {
            inbox.complete(Completion::Prepared { partition, prepared: job.run() });
        }));
    }

    /// Looks at a sealed segment, or repairs it; completes as [`Completion::Upkept`].
    pub(crate) fn upkeep(self: &Rc<Self>, partition: TopicPartition, job: UpkeepJob) {
        let inbox = Arc::clone(&self.inbox);
        self.run(StorageJob::new("upkeep", move || {
            inbox.complete(Completion::Upkept { partition, upkept: Box::new(job.run()) });
        }));
    }

    /// Reads a cold range; completes as [`Completion::Warmed`].
    pub(crate) fn warm(self: &Rc<Self>, caller: Caller, token: u64, job: WarmJob) {
        let inbox = Arc::clone(&self.inbox);
        self.run(StorageJob::new("warm", move || {
            job.run();
            inbox.complete(Completion::Warmed { caller, token });
        }));
    }

    /// Cuts a replica's log; completes as [`Completion::CutApplied`].
    pub(crate) fn cut(self: &Rc<Self>, partition: TopicPartition, job: CutJob) {
        let inbox = Arc::clone(&self.inbox);
        self.run(StorageJob::new("cut", move || {
            inbox.complete(Completion::CutApplied { partition, done: Box::new(job.run()) });
        }));
    }

    /// Reads a cold range for a replica; completes as [`Completion::ReplicaWarmed`].
    pub(crate) fn warm_replica(self: &Rc<Self>, partition: TopicPartition, token: u64, job: WarmJob) {
        let inbox = Arc::clone(&self.inbox);
        self.run(StorageJob::new("warm", move || {
            job.run();
            inbox.complete(Completion::ReplicaWarmed { partition, token });
        }));
    }

    /// Runs a job; what it has to report it reports itself.
    pub(crate) fn run(self: &Rc<Self>, job: StorageJob) {
        self.submit(Work::Run(Arc::new(Mutex::new(Some(job)))));
    }

    fn parked(&self) -> usize {
        self.parked.borrow().len()
    }

    fn submit(self: &Rc<Self>, work: Work) {
        // What came first stays first: two records of one replica must not change places.
        let refused = if self.parked() > 0 { Some(work) } else { self.offer(work).err() };
        if let Some(work) = refused {
            self.parked.borrow_mut().push_back(work);
            self.depth.increment(1);
            if !self.retrying.replace(true) {
                actix_rt::spawn(Rc::clone(self).retry());
            }
        }
    }

    /// Offers what is parked until nothing is.
    async fn retry(self: Rc<Self>) {
        while self.parked() > 0 {
            tokio::time::sleep(RETRY).await;
            while let Some(work) = { self.parked.borrow_mut().pop_front() } {
                if let Err(work) = self.offer(work) {
                    self.parked.borrow_mut().push_front(work);
                    break;
                }
                self.depth.decrement(1);
            }
        }
        self.retrying.set(false);
    }

    /// Hands work over, or gives it back when its queue is full.
    fn offer(&self, work: Work) -> Result<(), Work> {
        let inbox = Arc::clone(&self.inbox);
        let outcome = match &work {
            Work::Flush { partition, work } => {
                let (partition, upto, epoch) = (*partition, work.upto, work.epoch);
                let done = Box::new(move |result| {
                    inbox.complete(Completion::Flushed { partition, upto, epoch, result });
                });
                self.handle.flush(FlushJob { tp: partition, work: work.clone(), done })
            }
            Work::Put { partition, token, records } => {
                let (partition, token) = (*partition, *token);
                let done = Box::new(move |result| inbox.complete(Completion::Put { partition, token, result }));
                self.handle.put(records.clone(), done)
            }
            Work::Remember { token, seen } => {
                let (token, seen) = (*token, *seen);
                let done = Box::new(move |result| inbox.complete(Completion::Remembered { token, seen, result }));
                self.handle.put(vec![QRecord::Seen(seen)], done)
            }
            Work::Told(told) => {
                let done = Box::new(|result: Result<(), DiskError>| {
                    if let Err(error) = result {
                        tracing::warn!(%error, "what another broker remembers of this one was not noted");
                    }
                });
                self.handle.put(vec![QRecord::Told(*told)], done)
            }
            Work::Run(job) => {
                let name = job.lock().as_ref().map_or("job", StorageJob::name);
                let job = Arc::clone(job);
                self.handle.run(StorageJob::new(name, move || {
                    let job = job.lock().take();
                    if let Some(job) = job {
                        job.run();
                    }
                }))
            }
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(QueueFull::Full { .. }) => Err(work),
            Err(QueueFull::Stopped) => {
                // The threads stop after every core has: only what no core waits for any more can come here.
                tracing::debug!("work for the storage threads after their end");
                Ok(())
            }
        }
    }
}
