//! Read-only shared mappings of files, and the handler that names the file when a mapped page cannot be read.
//!
//! The only file with `unsafe`. A mapping hands out byte slices that other threads' `pwrite` calls could change; what
//! makes that sound is the contract of [`super::File::read`]: only bytes that nobody writes to any more are read, and
//! the file is cut only below what readers hold.
//!
//! A page the device cannot deliver raises SIGBUS in the reading thread. There is no error to return from a load, so
//! the handler writes the file's name to standard error and ends the process; it finds the name in a static table of
//! mapped ranges, by loads of atomics and `write(2)` alone, which are async-signal-safe.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};

use bytes::Bytes;
use memmap2::{Advice, MmapOptions, MmapRaw};
use parking_lot::Mutex;

/// Mappings the table can name: more than Linux's default limit of 65,530 per process.
const SLOTS: usize = 1 << 16;
/// Longest name the table keeps, in bytes; of a longer path the end is kept.
const NAME_BYTES: usize = 256;
/// Exit status after a read fault: what a shell shows for a process killed by SIGBUS.
const EXIT_STATUS: i32 = 128 + libc::SIGBUS;

/// A path in a form the handler can write out.
struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
}

/// A mapped range of addresses and the file behind it. `start == 0` means that the slot is free.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    name: AtomicPtr<Name>,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), name: AtomicPtr::new(std::ptr::null_mut()) }
}; SLOTS];
/// Slots below this have been used; the handler looks no further.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Used slots that are free again.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// Live mappings, also those the table has no room for.
static MAPPED: AtomicUsize = AtomicUsize::new(0);
/// What was to be done about SIGBUS before: the standard library's handler, usually.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static INSTALL: Once = Once::new();

/// Number of files mapped by this process; Linux allows 65,530 mappings by default (`vm.max_map_count`).
#[must_use]
pub fn mapped_count() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// Takes a slot for `range`; `None` when the table is full, so that this mapping stays without a name.
fn register(range: Range<usize>, path: &Path) -> Option<usize> {
    let slot = FREE.lock().pop().or_else(|| {
        USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < SLOTS).then_some(used + 1)).ok()
    })?;
    let text = path.as_os_str().as_encoded_bytes();
    let kept = &text[text.len().saturating_sub(NAME_BYTES)..];
    let mut name = Box::new(Name { bytes: [0; NAME_BYTES], len: kept.len() });
    name.bytes[..kept.len()].copy_from_slice(kept);
    TABLE[slot].name.store(Box::into_raw(name), Ordering::Relaxed);
    TABLE[slot].end.store(range.end, Ordering::Relaxed);
    TABLE[slot].start.store(range.start, Ordering::Release);
    Some(slot)
}

/// Gives the slot of a mapping back; called while the mapping still stands, so that its range is nobody else's.
fn release(slot: usize) {
    TABLE[slot].start.store(0, Ordering::Release);
    TABLE[slot].end.store(0, Ordering::Release);
    let name = TABLE[slot].name.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if !name.is_null() {
        // SAFETY: the pointer came from `Box::into_raw` in `register` and the swap took it out exactly once. The
        // handler reads a name only for a fault in its own mapping, whose owner is then still alive, not here.
        drop(unsafe { Box::from_raw(name) });
    }
    FREE.lock().push(slot);
}

/// A file mapped for reading. Dropping it unmaps.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: MmapRaw,
    slot: Option<usize>,
}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which may be more than it has: those must not be read until it has.
    pub(crate) fn new(file: &fs::File, len: usize, path: &Path) -> io::Result<Arc<Self>> {
        let raw = MmapOptions::new().len(len).map_raw_read_only(file)?;
        let start = raw.as_ptr() as usize;
        let slot = register(start..start + raw.len(), path);
        MAPPED.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self { raw, slot }))
    }

    /// Bytes covered, whether the file has them or not.
    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }

    /// The bytes at `range`, which keep the mapping alive; `None` outside the mapping. The caller has checked that
    /// the file has them.
    pub(crate) fn bytes(self: &Arc<Self>, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.raw.len() {
            return None;
        }
        Some(Bytes::from_owner(MappedSlice { mapping: Arc::clone(self), range }))
    }

    /// Reads the pages of `range` from the device; an unreadable page is an error here, not a signal.
    pub(crate) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.raw.advise_range(Advice::PopulateRead, range.start, range.len())
    }

    /// Whether every page of `range` is in memory.
    pub(crate) fn is_resident(&self, range: Range<usize>) -> io::Result<bool> {
        const CHUNK_PAGES: usize = 256;
        let page = rustix::param::page_size();
        let mut at = range.start / page * page;
        let end = range.end.min(self.raw.len());
        let mut pages = [0_u8; CHUNK_PAGES];
        while at < end {
            let len = (end - at).min(CHUNK_PAGES * page);
            // SAFETY: `at` is page aligned and `at + len` is inside the mapping, which `self` keeps alive; the
            // vector has a byte for each of the at most CHUNK_PAGES pages of `len` bytes.
            let result = unsafe { libc::mincore(self.raw.as_mut_ptr().add(at).cast(), len, pages.as_mut_ptr().cast()) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            if pages[..len.div_ceil(page)].iter().any(|state| state & 1 == 0) {
                return Ok(false);
            }
            at += len;
        }
        Ok(true)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            release(slot);
        }
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Owner of the bytes handed out by [`Mapping::bytes`].
struct MappedSlice {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl AsRef<[u8]> for MappedSlice {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Mapping::bytes` checked that the range is inside the mapping, and the `Arc` keeps it mapped. By
        // the contract of `File::read` nobody writes to these bytes any more and the file is not cut below them.
        unsafe { std::slice::from_raw_parts(self.mapping.raw.as_ptr().add(self.range.start), self.range.len()) }
    }
}

/// Installs the handler for read faults, once per process; later calls do nothing.
pub(crate) fn install_fault_handler() -> io::Result<()> {
    let mut outcome = Ok(());
    INSTALL.call_once(|| {
        // SAFETY: both structures are plain data for which zero is a valid value; `on_fault` has the signature that
        // SA_SIGINFO demands and calls only async-signal-safe functions. The old action is stored before the new
        // one can need it, because `PREVIOUS` is set from a first call that only asks.
        unsafe {
            let mut previous: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) != 0 {
                outcome = Err(io::Error::last_os_error());
                return;
            }
            let _ = PREVIOUS.set(previous);
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            if libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) != 0 {
                outcome = Err(io::Error::last_os_error());
            }
        }
    });
    outcome
}

/// Writes `text` to standard error; a failure leaves nothing else to try.
fn say(text: &[u8]) {
    // SAFETY: `write` is async-signal-safe and reads `text.len()` bytes from a valid slice.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

/// The SIGBUS handler: ends the process with the file's name when the address is in a mapping, else does what would
/// have been done without it.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo, and SIGBUS carries an address.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &TABLE[..USED.load(Ordering::Relaxed).min(SLOTS)] {
        let start = slot.start.load(Ordering::Acquire);
        if start == 0 || address < start || address >= slot.end.load(Ordering::Relaxed) {
            continue;
        }
        // SAFETY: the thread that faulted reads through this mapping, so its owner is alive and `release` has not
        // run for the slot: the name, set before `start` was published, is valid.
        if let Some(name) = unsafe { slot.name.load(Ordering::Acquire).as_ref() } {
            say(b"millrace: read fault (SIGBUS) in ");
            say(&name.bytes[..name.len]);
            say(b": the disk did not deliver a mapped page, or the file was cut by someone else; stopping\n");
            // SAFETY: `_exit` is async-signal-safe and does not return.
            unsafe { libc::_exit(EXIT_STATUS) };
        }
    }
    resume_previous(signal, info, context);
}

/// Hands the signal to the action that was installed before ours.
fn resume_previous(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.get();
    match previous {
        Some(action)
            if action.sa_flags & libc::SA_SIGINFO != 0
                && action.sa_sigaction != libc::SIG_DFL
                && action.sa_sigaction != libc::SIG_IGN =>
        {
            // SAFETY: with SA_SIGINFO set the stored address is a handler of this signature.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(action.sa_sigaction) };
            handler(signal, info, context);
        }
        _ => {
            // SAFETY: both calls are async-signal-safe. With the default action the faulting instruction raises the
            // signal again on return and the kernel ends the process.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}
