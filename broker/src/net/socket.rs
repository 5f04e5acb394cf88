//! A client's socket on its arbiter: frames in, chunks out, and the task that waits until the kernel has either.
//!
//! The connection's actor reads and writes in its own turns without blocking; the task only waits for readiness and
//! wakes the actor. So a request that arrives while its arbiter is busy costs one wake-up for reading, handling and
//! answering together.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use bytes::{Buf, Bytes};
use millrace_node::wire::Frame;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frame::{FrameError, FrameReader};

/// Bytes waiting to be sent above which no further request is taken.
const WRITE_BOUND: usize = 4 << 20;

/// Bytes read in one turn before others of the arbiter get theirs.
const READ_PER_TURN: usize = 4 << 20;

/// Chunks handed to the kernel at once.
const CHUNKS_PER_WRITE: usize = 64;

/// What a turn finds at the reading end.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A whole frame.
    Frame(Bytes),
    /// Nothing for the moment; the actor is woken when there is more.
    Nothing,
    /// Nothing, since this turn has read enough.
    Enough,
    /// The client has closed, or the socket is broken.
    Ended,
    /// The bytes are no frames.
    Invalid(FrameError),
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    reader: RefCell<FrameReader>,
    read_this_turn: Cell<usize>,
    out: RefCell<VecDeque<Bytes>>,
    out_bytes: Cell<usize>,
    /// Whether reading has come to the end of what is there.
    starved: Cell<bool>,
    /// Whether writing has filled the kernel's buffer.
    blocked: Cell<bool>,
    broken: Cell<bool>,
    interest_changed: Notify,
    /// Bytes moved since the last sweep, in either direction.
    moved: Cell<u64>,
    sweep: Cell<bool>,
}

impl Socket {
    /// A socket that refuses frames above `max_frame` bytes.
    pub(crate) fn new(stream: TcpStream, max_frame: usize) -> Rc<Self> {
        Rc::new(Self {
            stream,
            reader: RefCell::new(FrameReader::new(max_frame)),
            read_this_turn: Cell::new(0),
            out: RefCell::default(),
            out_bytes: Cell::new(0),
            starved: Cell::new(false),
            blocked: Cell::new(false),
            broken: Cell::new(false),
            interest_changed: Notify::new(),
            moved: Cell::new(0),
            sweep: Cell::new(false),
        })
    }

    /// Whether so much waits to be sent that the client shall read before it asks for more.
    pub(crate) fn is_congested(&self) -> bool {
        self.out_bytes.get() > WRITE_BOUND
    }

    /// Whether everything has been handed to the kernel.
    pub(crate) fn is_drained(&self) -> bool {
        self.out_bytes.get() == 0
    }

    /// Whether the socket is of no use any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// The next frame.
    pub(crate) fn receive(&self) -> Incoming {
        let mut reader = self.reader.borrow_mut();
        loop {
            match reader.next() {
                Ok(Some(frame)) => return Incoming::Frame(frame),
                Ok(None) => {}
                Err(error) => return Incoming::Invalid(error),
            }
            if self.starved.get() {
                return Incoming::Nothing;
            }
            if self.read_this_turn.get() > READ_PER_TURN {
                return Incoming::Enough;
            }
            let room = match reader.room() {
                Ok(room) => room,
                Err(error) => return Incoming::Invalid(error),
            };
            match self.stream.try_read_buf(room) {
                Ok(0) => return Incoming::Ended,
                Ok(count) => {
                    self.read_this_turn.set(self.read_this_turn.get() + count);
                    self.count(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.starved.set(true);
                    self.interest_changed.notify_one();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Incoming::Ended,
            }
        }
    }

    /// Puts a frame behind those that wait to be sent.
    pub(crate) fn enqueue(&self, frame: Frame) {
        self.out_bytes.set(self.out_bytes.get() + frame.len());
        self.out.borrow_mut().extend(frame.into_chunks());
    }

    /// Ends a turn: hands what waits to the kernel, as much as it takes.
    pub(crate) fn flush(&self) {
        self.read_this_turn.set(0);
        let mut out = self.out.borrow_mut();
        while !out.is_empty() && !self.blocked.get() {
            let mut slices = [IoSlice::new(&[]); CHUNKS_PER_WRITE];
            let count = out
                .iter()
                .take(CHUNKS_PER_WRITE)
                .zip(&mut slices)
                .map(|(chunk, slice)| *slice = IoSlice::new(chunk))
                .count();
            match self.stream.try_write_vectored(slices.get(..count).unwrap_or(&[])) {
                Ok(written) => {
                    self.count(written);
                    self.out_bytes.set(self.out_bytes.get().saturating_sub(written));
                    discard(&mut out, written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.set(true);
                    self.interest_changed.notify_one();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken.set(true);
                    return;
                }
            }
        }
    }

    /// Asks the actor to call [`Socket::take_sweep`] in its next turn.
    pub(crate) fn sweep_requested(&self) {
        self.sweep.set(true);
    }

    /// Whether a sweep was asked for; if so, the bytes moved since the one before, and unused memory is given back.
    pub(crate) fn take_sweep(&self) -> Option<u64> {
        if !self.sweep.replace(false) {
            return None;
        }
        let moved = self.moved.replace(0);
        if moved == 0 {
            self.reader.borrow_mut().release();
        }
        Some(moved)
    }

    /// Waits for the kernel and calls `wake` each time it has bytes to read, or room to write, that were waited for.
    pub(crate) async fn wait_ready(self: Rc<Self>, wake: impl Fn()) {
        loop {
            let interest = match (self.starved.get(), self.blocked.get()) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
                (false, true) => Interest::WRITABLE,
                (false, false) => {
                    self.interest_changed.notified().await;
                    continue;
                }
            };
            let ready = tokio::select! {
                ready = self.stream.ready(interest) => ready,
                () = self.interest_changed.notified() => continue,
            };
            match ready {
                Ok(ready) => {
                    if ready.is_readable() || ready.is_read_closed() {
                        self.starved.set(false);
                    }
                    if ready.is_writable() || ready.is_write_closed() {
                        self.blocked.set(false);
                    }
                }
                Err(_) => {
                    self.broken.set(true);
                    return wake();
                }
            }
            wake();
        }
    }

    fn count(&self, bytes: usize) {
        self.moved.set(self.moved.get().saturating_add(bytes as u64));
    }
}

/// Drops the first `written` bytes.
fn discard(out: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = out.front_mut() {
        if first.len() > written {
            first.advance(written);
            return;
        }
        written -= first.len();
        out.pop_front();
    }
}
