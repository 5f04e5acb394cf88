//! One open file of the simulated disk.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::fault::{Operation, failure};
use super::namespace::FileId;
use super::state::State;
use crate::disk::{DiskError, File};

pub(super) struct SimFile {
    path: PathBuf,
    id: FileId,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The outcome of a call that took effect: the power may have gone off meanwhile.
pub(super) fn finish(late: Option<DiskError>) -> Result<(), DiskError> {
    late.map_or(Ok(()), Err)
}

impl SimFile {
    /// Takes over one of the inode's counted handles.
    pub(super) fn new(path: &Path, id: FileId, state: &Arc<Mutex<State>>) -> Self {
        Self { path: path.to_owned(), id, state: Arc::clone(state) }
    }

    fn check_range(&self, state: &mut State, pos: u64, len: u64) -> Result<(), DiskError> {
        let file_len = state.inode(self.id).len();
        if pos.checked_add(len).is_some_and(|end| end <= file_len) {
            return Ok(());
        }
        Err(DiskError::OutOfRange { path: self.path.clone(), pos, len, file_len })
    }

    fn write_back(&self, state: &mut State) {
        if state.random.chance(state.plan.write_back_percent) {
            let mut random = state.random.clone();
            state.inode(self.id).write_back_one(&mut random);
            state.random = random;
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.state.lock().close(self.id);
    }
}

impl File for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.state.lock().inode(self.id).len()
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let late = state.admit(Operation::Allocate, &self.path)?;
        if len > state.inode(self.id).len() {
            state.resize(&self.path, self.id, len)?;
        }
        finish(late)
    }

    fn write_at(&self, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        self.check_range(&mut state, pos, total as u64)?;
        let (late, mut left) = match state.admit(Operation::Write, &self.path) {
            Ok(late) => (late, total),
            Err(error) => {
                let written = state.random.below(total + 1);
                (Some(error), written)
            }
        };
        let mut at = pos;
        for part in parts {
            let len = part.len().min(left);
            state.inode(self.id).write(at, &part[..len]);
            at += len as u64;
            left -= len;
        }
        self.write_back(&mut state);
        finish(late)
    }

    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        let mut state = self.state.lock();
        self.check_range(&mut state, pos, len as u64)?;
        state.admit(Operation::Read, &self.path)?;
        Ok(state.inode(self.id).read(pos, len).into())
    }

    fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        self.check_range(&mut state, range.start, range.end.saturating_sub(range.start))?;
        let late = state.admit(Operation::Zero, &self.path)?;
        if !range.is_empty() {
            state.inode(self.id).zero(range);
        }
        finish(late)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let late = state.admit(Operation::Truncate, &self.path)?;
        if len < state.inode(self.id).len() {
            state.resize(&self.path, self.id, len)?;
        }
        finish(late)
    }

    fn flush(&self) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        match state.admit(Operation::Flush, &self.path) {
            Ok(late) => {
                let inode = state.inode(self.id);
                inode.flush();
                if inode.take_error() {
                    return Err(failure(Operation::Flush, &self.path, "an earlier write-back failed"));
                }
                finish(late)
            }
            Err(error) => {
                let mut random = state.random.clone();
                state.inode(self.id).fail_flush(&mut random);
                state.random = random;
                Err(error)
            }
        }
    }

    fn warm(&self, range: Range<u64>) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        self.check_range(&mut state, range.start, range.end.saturating_sub(range.start))?;
        finish(state.admit(Operation::Warm, &self.path)?)
    }

    fn is_resident(&self, _range: Range<u64>) -> bool {
        true
    }
}
