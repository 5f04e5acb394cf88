//! The simulated disk as its users see it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::fault::{Fault, FaultPlan, Operation};
use super::file::{SimFile, finish};
use super::state::State;
use crate::disk::{DirEntry, Disk, DiskError, FileRef, Space};

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// Killed: the page cache stays, so nothing written is lost.
    Process,
    /// The machine loses power: what was not flushed may be lost.
    Power,
}

/// A simulated disk; clones are handles of the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("SimDisk").field("files", &state.inodes.len()).field("plan", &state.plan).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk whose chances are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, plan: FaultPlan) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed, plan))))
    }

    /// The disk as the next process finds it after a crash at this moment; faults and power-off are not carried over.
    /// This disk is unchanged but for its random sequence, so that the next image differs.
    #[must_use]
    pub fn crash(&self, kind: CrashKind) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().crash(kind))))
    }

    /// Adds a fault; it counts calls from here on.
    pub fn inject(&self, fault: Fault) {
        self.0.lock().plan.faults.push(fault);
    }

    /// Limits the bytes that can be allocated; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().plan.capacity = bytes;
    }

    /// Lets the power go off in the call after `changes` more changing calls; `None` keeps it on.
    pub fn set_power_off_after(&self, changes: Option<u64>) {
        let mut state = self.0.lock();
        state.plan.power_off_after = changes;
        state.restart_counting();
    }

    /// Flips bit `bit` of the byte at `pos`, on the disk and in the page cache, as rot found by the next read.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::OutOfRange`].
    pub fn flip_bit(&self, path: &Path, pos: u64, bit: u8) -> Result<(), DiskError> {
        let mut state = self.0.lock();
        let inode = state.find(path)?;
        if pos >= inode.len() {
            return Err(DiskError::OutOfRange { path: path.to_owned(), pos, len: 1, file_len: inode.len() });
        }
        inode.flip(pos, bit);
        Ok(())
    }

    /// How often an operation was called.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.0.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Simulated microseconds spent in flushes.
    #[must_use]
    pub fn busy_micros(&self) -> u64 {
        self.0.lock().busy_micros
    }

    /// Does `effect` unless the call is to fail.
    fn act<T>(
        &self,
        operation: Operation,
        path: &Path,
        effect: impl FnOnce(&mut State) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let mut state = self.0.lock();
        let late = state.admit(operation, path)?;
        let value = effect(&mut state)?;
        finish(late).map(|()| value)
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path, len: u64, _map_len: u64) -> Result<FileRef, DiskError> {
        let id = self.act(Operation::Create, path, |state| state.create(path, len))?;
        Ok(Arc::new(SimFile::new(path, id, &self.0)))
    }

    fn open(&self, path: &Path, _map_len: u64) -> Result<FileRef, DiskError> {
        let id = self.act(Operation::Open, path, |state| state.open(path))?;
        Ok(Arc::new(SimFile::new(path, id, &self.0)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.act(Operation::List, dir, |state| state.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.act(Operation::CreateDir, dir, |state| state.create_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.act(Operation::Rename, from, |state| state.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.act(Operation::Remove, path, |state| state.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.act(Operation::Remove, dir, |state| state.remove_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.act(Operation::SyncDir, dir, |state| state.sync_dir(dir))
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        let mut state = self.0.lock();
        match state.admit(Operation::SyncAll, Path::new("")) {
            Ok(late) => {
                state.sync_all();
                finish(late)
            }
            Err(error) => {
                state.fail_sync_all();
                if state.plan.silent_sync_all { Ok(()) } else { Err(error) }
            }
        }
    }

    fn sync_all_reports(&self) -> bool {
        !self.0.lock().plan.silent_sync_all
    }

    fn space(&self) -> Result<Space, DiskError> {
        Ok(self.0.lock().space())
    }
}
