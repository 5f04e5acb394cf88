//! One open file of the real disk.

use std::fs;
use std::io;
use std::io::IoSlice;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::{Errno, pwritev};
use smallvec::SmallVec;

use super::mmap::Mapping;
use super::real::retry;
use super::{DiskError, File};

/// Most slices one `pwritev` takes (`UIO_MAXIOV`).
const MAX_PARTS: usize = 1024;
/// Zeros written by one call where the filesystem cannot allocate or zero by itself, in bytes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

#[derive(Debug)]
pub(super) struct RealFile {
    path: PathBuf,
    handle: fs::File,
    len: AtomicU64,
    map_len: u64,
    map: Mutex<Option<Arc<Mapping>>>,
    /// Serialises changes of the length; reads and writes do not take it.
    resize: Mutex<()>,
}

impl RealFile {
    pub(super) fn new(path: &Path, handle: fs::File, len: u64, map_len: u64) -> Self {
        let path = path.to_owned();
        Self { path, handle, len: AtomicU64::new(len), map_len, map: Mutex::default(), resize: Mutex::default() }
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> DiskError + '_ {
        move |error| DiskError::io(&self.path, operation, error)
    }

    fn check_range(&self, pos: u64, len: u64) -> Result<(), DiskError> {
        let file_len = self.len();
        if pos.checked_add(len).is_some_and(|end| end <= file_len) {
            return Ok(());
        }
        Err(DiskError::OutOfRange { path: self.path.clone(), pos, len, file_len })
    }

    /// The mapping, made at the first call, and made anew when the file has outgrown it.
    fn mapping(&self, end: u64) -> Result<Arc<Mapping>, DiskError> {
        let mut map = self.map.lock();
        if let Some(mapping) = map.as_ref().filter(|mapping| end <= mapping.len() as u64) {
            return Ok(Arc::clone(mapping));
        }
        let len = usize::try_from(self.map_len.max(self.len()))
            .map_err(|error| self.failed("mmap")(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let mapping = Mapping::new(&self.handle, len, &self.path).map_err(self.failed("mmap"))?;
        *map = Some(Arc::clone(&mapping));
        Ok(mapping)
    }

    /// Fills `range` with written zeros, growing the file where it ends before.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut pos = range.start;
        while pos < range.end {
            let len = usize::try_from(range.end - pos).unwrap_or(usize::MAX).min(ZEROS.len());
            self.handle.write_all_at(&ZEROS[..len], pos)?;
            pos += len as u64;
        }
        Ok(())
    }

    fn mapped_range(&self, range: &Range<u64>) -> Result<(Arc<Mapping>, Range<usize>), DiskError> {
        self.check_range(range.start, range.end.saturating_sub(range.start))?;
        let mapping = self.mapping(range.end)?;
        // Both ends fit: they are inside the mapping, whose length is a usize.
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        Ok((mapping, within(range.start)..within(range.end)))
    }
}

impl File for RealFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        let _resize = self.resize.lock();
        let old = self.len();
        if len <= old {
            return Ok(());
        }
        let allocated = match retry(|| fallocate(&self.handle, FallocateFlags::empty(), old, len - old)) {
            // Some filesystems cannot allocate: then zeros are written, as posix_fallocate does.
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => self.write_zeros(old..len),
            result => result,
        };
        if let Err(error) = allocated {
            // A failed call may have grown the file by a part; nobody has written there.
            let _ = self.handle.set_len(old);
            return Err(self.failed("fallocate")(error));
        }
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    fn write_at(&self, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        let total = parts.iter().map(|part| part.len() as u64).sum();
        self.check_range(pos, total)?;
        let mut at = pos;
        for chunk in parts.chunks(MAX_PARTS) {
            let mut slices: SmallVec<[IoSlice<'_>; 8]> = chunk.iter().map(|part| IoSlice::new(part)).collect();
            let mut left = &mut slices[..];
            // Empty slices at the front would make a complete write look like one of no bytes.
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                let written = retry(|| pwritev(&self.handle, left, at)).map_err(self.failed("pwritev"))?;
                if written == 0 {
                    return Err(self.failed("pwritev")(io::ErrorKind::WriteZero.into()));
                }
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
    }

    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        self.check_range(pos, len as u64)?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let (mapping, range) = self.mapped_range(&(pos..pos + len as u64))?;
        mapping.bytes(range).ok_or_else(|| self.failed("mmap")(io::ErrorKind::InvalidInput.into()))
    }

    fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        let len = range.end.saturating_sub(range.start);
        self.check_range(range.start, len)?;
        if len <= ZEROS.len() as u64 {
            return self.write_zeros(range).map_err(self.failed("pwrite"));
        }
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match retry(|| fallocate(&self.handle, flags, range.start, len)) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => self.write_zeros(range),
            result => result,
        }
        .map_err(self.failed("fallocate"))
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let _resize = self.resize.lock();
        if len >= self.len() {
            return Ok(());
        }
        // First the length readers are checked against, then the file: a read in between must not fault.
        let old = self.len.swap(len, Ordering::AcqRel);
        self.handle.set_len(len).map_err(|error| {
            self.len.store(old, Ordering::Release);
            self.failed("ftruncate")(error)
        })
    }

    fn flush(&self) -> Result<(), DiskError> {
        retry(|| fdatasync(&self.handle)).map_err(self.failed("fdatasync"))
    }

    fn warm(&self, range: Range<u64>) -> Result<(), DiskError> {
        if range.is_empty() {
            return Ok(());
        }
        let (mapping, mapped) = self.mapped_range(&range)?;
        let Err(error) = mapping.populate(mapped) else { return Ok(()) };
        if error.raw_os_error() != Some(Errno::INVAL.raw_os_error()) {
            return Err(self.failed("madvise")(error));
        }
        // A kernel before 5.14: reading the bytes fills the page cache as well.
        let mut buffer = vec![0; 64 << 10];
        let mut pos = range.start;
        while pos < range.end {
            let len = usize::try_from(range.end - pos).unwrap_or(usize::MAX).min(buffer.len());
            self.handle.read_exact_at(&mut buffer[..len], pos).map_err(self.failed("pread"))?;
            pos += len as u64;
        }
        Ok(())
    }

    fn is_resident(&self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        self.mapped_range(&range).is_ok_and(|(mapping, mapped)| mapping.is_resident(mapped).unwrap_or(false))
    }
}
