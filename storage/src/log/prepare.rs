//! Work done ahead of need, or behind it, on a storage thread: growing the active segment, finishing sealed ones.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use millrace_types::Offset;
use parking_lot::Mutex;

use super::Log;
use super::roll::grown;
use crate::disk::{DiskError, FileRef};
use crate::flusher::StorageJob;
use crate::producer_state::{ProducerState, encode_snapshot};
use crate::segment::{FileKind, Home, Segment, file_name, write_whole};

/// What a seal leaves to do: cut the file, write its sidecar and the producer snapshot.
#[derive(Debug)]
struct Seal {
    generation: u64,
    segment: Arc<Segment>,
    snapshot: Option<(Offset, Vec<u8>)>,
}

/// The state shared by a log and its job under way.
#[derive(Debug, Default)]
struct Backlog {
    seals: Mutex<Vec<Seal>>,
    /// Held while a job writes files. A truncation takes it and raises the number, so that no job begun before writes
    /// files that speak of what was cut.
    generation: Mutex<u64>,
    /// The disk refused to allocate ahead. Until an append has found room again nothing is tried, and said, anew.
    refused: AtomicBool,
}

/// What a log has in preparation.
#[derive(Debug)]
pub(super) struct Ahead {
    backlog: Arc<Backlog>,
    /// The log's copy of the generation.
    generation: u64,
    /// Alive while a job, or its unreported result, is.
    under_way: Weak<()>,
}

impl Ahead {
    /// `unfinished` are sealed segments that a restart found without a sidecar.
    pub(super) fn new(unfinished: Vec<Arc<Segment>>) -> Self {
        let seals = unfinished.into_iter().map(|segment| Seal { generation: 0, segment, snapshot: None }).collect();
        let backlog = Arc::new(Backlog { seals: Mutex::new(seals), ..Backlog::default() });
        Self { backlog, generation: 0, under_way: Weak::new() }
    }

    /// Leaves the finishing of a segment to the next job.
    pub(super) fn seal(&mut self, segment: Arc<Segment>, end: Offset, producers: &ProducerState) {
        // One without producers, too: it spares the next start the reading of all that lies in front.
        let snapshot = Some((end, encode_snapshot(end, producers)));
        self.backlog.seals.lock().push(Seal { generation: self.generation, segment, snapshot });
    }

    /// An append has found more room than it needed.
    pub(super) fn found_room(&self) {
        self.backlog.refused.store(false, Ordering::Relaxed);
    }

    /// Makes every job begun before this harmless, and waits for one that is writing.
    pub(super) fn void(&mut self) {
        let mut generation = self.backlog.generation.lock();
        *generation += 1;
        self.generation = *generation;
        self.backlog.seals.lock().retain(|seal| seal.generation == self.generation);
    }
}

/// Work ahead of need, for a storage thread; it may block on the device.
pub struct PrepareJob {
    home: Home,
    backlog: Arc<Backlog>,
    grow: Option<(Arc<Segment>, FileRef, u64)>,
    token: Arc<()>,
}

/// The result of a [`PrepareJob`], handed back to the log by [`Log::prepared`].
#[derive(Debug)]
pub struct Prepared {
    _token: Arc<()>,
}

impl fmt::Debug for PrepareJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grow = self.grow.as_ref().map(|(segment, _, len)| (segment.path(), len));
        f.debug_struct("PrepareJob").field("dir", &self.home.dir).field("grow", &grow).finish_non_exhaustive()
    }
}

impl PrepareJob {
    /// Does the work. What fails is logged and done later, by an append or at the next start.
    #[must_use]
    pub fn run(self) -> Prepared {
        if let Some((segment, file, len)) = &self.grow
            && !segment.is_sealed()
            && let Err(error) = file.allocate(*len)
        {
            self.backlog.refused.store(true, Ordering::Relaxed);
            tracing::warn!(%error, "no space could be allocated ahead; appends take what they need while there is any");
        }
        loop {
            let Some(seal) = self.backlog.seals.lock().pop() else { break };
            let generation = self.backlog.generation.lock();
            if *generation == seal.generation
                && let Err(error) = finish(&self.home, &seal)
            {
                tracing::warn!(%error, "a sealed segment has no sidecar or producer snapshot");
            }
        }
        Prepared { _token: self.token }
    }
}

fn finish(home: &Home, seal: &Seal) -> Result<(), DiskError> {
    seal.segment.finish_seal()?;
    match &seal.snapshot {
        Some((offset, bytes)) => write_snapshot(home, *offset, bytes),
        None => Ok(()),
    }
}

/// Writes a snapshot durably: the segments it stands for may be deleted later, and older snapshots with them.
fn write_snapshot(home: &Home, offset: Offset, bytes: &[u8]) -> Result<(), DiskError> {
    write_whole(&home.disk, &home.dir, &file_name(offset, FileKind::Snapshot), bytes)?;
    home.disk.sync_dir(&home.dir)
}

impl Log {
    /// Work to do ahead on a storage thread: allocate more once half of the active segment is used, finish sealed
    /// segments. One job is under way at a time; `None` while there is one, or nothing to do.
    pub fn prepare(&mut self) -> Option<PrepareJob> {
        if self.ahead.under_way.strong_count() > 0 || self.is_poisoned() {
            return None;
        }
        let grow = self.growth();
        if grow.is_none() && self.ahead.backlog.seals.lock().is_empty() {
            return None;
        }
        let token = Arc::new(());
        self.ahead.under_way = Arc::downgrade(&token);
        Some(PrepareJob { home: self.home.clone(), backlog: self.ahead.backlog.clone(), grow, token })
    }

    /// Takes back the result of a job, so that another one can be handed out.
    pub fn prepared(&mut self, prepared: Prepared) {
        drop(prepared);
    }

    /// The producer snapshot at the log's end, which saves a clean start from replaying the active segment. The job is
    /// for a storage thread; nothing may be appended after this.
    pub fn clean_stop(&mut self) -> Option<StorageJob> {
        if self.is_poisoned() || self.shared.damage.load().is_some() || self.producers.is_empty() {
            return None;
        }
        let (offset, home) = (self.log_end(), self.home.clone());
        let bytes = encode_snapshot(offset, &self.producers);
        Some(StorageJob::new("write the producer snapshot", move || {
            if let Err(error) = write_snapshot(&home, offset, &bytes) {
                tracing::warn!(%error, "no producer snapshot at the stop");
            }
        }))
    }

    fn growth(&self) -> Option<(Arc<Segment>, FileRef, u64)> {
        if !self.active.is_created() || self.ahead.backlog.refused.load(Ordering::Relaxed) {
            return None;
        }
        let file = self.active.file().ok()?;
        let (len, limit) = (file.len(), self.active.limit());
        (self.active.used() > len / 2 && len < limit).then(|| (self.active.clone(), file, grown(len, 0, limit)))
    }
}
