//! One connection with another broker: frames in, frames out, keepalives in between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use millrace_node::peer::{LinkId, MAX_FRAME, PeerEvent, UNREPORTED_BYTES, frame_size, keepalive_frame};
use millrace_node::peers::PeersEvent;
use millrace_node::wire::Frame;
use millrace_types::BrokerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::handoff::{Arrival, Budget};
use super::thread::Io;
use crate::net::frame::FrameReader;

/// How long what was written before a close may take to leave.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that wait in the kernel unsent. What it has taken counts as gone; on a slow network more of it would be late by seconds,
/// and the sessions not know.
const UNSENT_BYTES: u32 = 256 << 10;

/// Bytes of frames after which it is looked whether a keepalive is due: the most that one waits for, but for a longer frame.
const KEEPALIVE_BYTES: usize = 256 << 10;

/// How often it is said that bytes of a frame come, at most: several times in the shortest session timeout.
const PROGRESS: Duration = Duration::from_millis(25);

/// Chunks handed to the kernel at once.
const CHUNKS_PER_WRITE: usize = 64;

/// How long the kernel tries to deliver what the other end does not acknowledge.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It shall not.
    Open,
    /// When what was written before has left; nobody has to be told.
    Drain,
    /// At once; the sessions are to be told.
    GiveUp,
}

/// One connection. The sessions write to it by number.
pub(super) struct Link {
    pub(super) id: LinkId,
    broker: BrokerId,
    out: RefCell<VecDeque<Frame>>,
    keepalive: Cell<Option<Duration>>,
    end: Cell<End>,
    /// There is something to write, or the end has changed.
    changed: Notify,
    ended: Notify,
    budget: Arc<Budget>,
}

impl Link {
    /// A connection with `broker`.
    pub(super) fn new(id: LinkId, broker: BrokerId) -> Rc<Self> {
        Rc::new(Self {
            id,
            broker,
            out: RefCell::default(),
            keepalive: Cell::new(None),
            end: Cell::new(End::Open),
            changed: Notify::new(),
            ended: Notify::new(),
            budget: Arc::default(),
        })
    }

    /// Writes a frame behind the earlier ones.
    pub(super) fn write(&self, frame: Frame) {
        if self.end.get() == End::Open {
            self.out.borrow_mut().push_back(frame);
            self.changed.notify_one();
        }
    }

    /// Says at once and at this interval that the process lives.
    pub(super) fn keep_alive(&self, every: Duration) {
        // An interval of nothing is none.
        self.keepalive.set(Some(every.max(Duration::from_millis(1))));
        self.changed.notify_one();
    }

    /// Closes when what was written has left.
    pub(super) fn close(&self) {
        self.finish(End::Drain);
    }

    /// Resets, and tells the sessions.
    pub(super) fn give_up(&self) {
        self.finish(End::GiveUp);
    }

    fn finish(&self, end: End) {
        if self.end.get() == End::Open {
            self.end.set(end);
            self.changed.notify_one();
            self.ended.notify_one();
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(self: Rc<Self>, io: Rc<Io>, mut stream: TcpStream, reader: FrameReader) {
        let (read, write) = stream.split();
        let ended = {
            let mut writing = pin!(self.writing(&io, write));
            let (ended, wrote) = tokio::select! {
                () = self.ended.notified() => (Ok(()), false),
                ended = self.reading(&io, read, reader) => (ended, false),
                ended = &mut writing => (ended, true),
            };
            if self.end.get() == End::Drain && !wrote {
                let _late = tokio::time::timeout(CLOSE_PATIENCE, writing).await;
            }
            ended
        };
        if let Err(error) = &ended {
            tracing::debug!(broker = %self.broker, connection = self.id, %error, "a connection has ended");
        }
        io.forget(self.id);
        if self.end.get() != End::Drain {
            self.tell(&io, PeerEvent::Closed { connection: self.id });
        }
    }

    /// Moves frames into `chunks`, some at a time: between them a keepalive may leave.
    fn next_chunks(&self, chunks: &mut VecDeque<Bytes>) {
        let (mut out, mut bytes) = (self.out.borrow_mut(), 0);
        while let Some(frame) = out.front().filter(|frame| bytes == 0 || bytes + frame.len() <= KEEPALIVE_BYTES) {
            bytes += frame.len();
            chunks.extend(out.pop_front().into_iter().flat_map(Frame::into_chunks));
        }
    }

    fn tell(&self, io: &Io, event: PeerEvent) {
        io.arrivals.push(PeersEvent::Peer { broker: self.broker, event });
    }

    /// Delivers frames as they come, those that `reader` holds already first.
    async fn reading(&self, io: &Io, mut read: ReadHalf<'_>, mut reader: FrameReader) -> io::Result<()> {
        reader.limit(MAX_FRAME);
        reader.trust();
        let mut progress = paced(PROGRESS);
        loop {
            while let Some(frame) = next_frame(&mut reader, true)? {
                progress.reset();
                self.budget.room().await;
                let charge = Some(self.budget.charge(frame.len()));
                let event = PeerEvent::Frame { connection: self.id, frame };
                io.arrivals.push(Arrival { event: PeersEvent::Peer { broker: self.broker, event }, charge });
            }
            self.budget.room().await;
            if read_some(&mut read, &mut reader, io).await? == 0 {
                return Ok(());
            }
            // Keepalives wait behind the frame that is on its way, however long and however slow.
            if progress.tick().now_or_never().is_some() {
                self.tell(io, PeerEvent::Progress { connection: self.id });
            }
        }
    }

    /// Writes what there is to write, until the connection is to end and nothing is left.
    async fn writing(&self, io: &Io, mut write: WriteHalf<'_>) -> io::Result<()> {
        let mut chunks: VecDeque<Bytes> = VecDeque::new();
        let mut beat: Option<Interval> = None;
        let (mut tick, mut unreported, mut due) = (0, 0, false);
        loop {
            if let (None, Some(every)) = (&beat, self.keepalive.get()) {
                beat = Some(paced(every));
            }
            let mut is_due = || beat.as_mut().is_some_and(|beat| beat.tick().now_or_never().is_some());
            if std::mem::take(&mut due) || is_due() {
                tick += 1;
                // It is not of the sessions, hence not in what they are told to have left.
                write.write_all(&keepalive_frame(tick)).await?;
            }
            self.next_chunks(&mut chunks);
            while !chunks.is_empty() {
                let written = write_some(&mut write, &mut chunks).await?;
                io.meters.bytes_out.increment(written as u64);
                unreported += written;
                if unreported >= UNREPORTED_BYTES {
                    self.tell(io, PeerEvent::Written { connection: self.id, bytes: std::mem::take(&mut unreported) });
                }
            }
            if !self.out.borrow().is_empty() {
                continue;
            }
            if self.end.get() != End::Open {
                return write.shutdown().await;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = next_beat(&mut beat) => due = true,
            }
        }
    }
}

async fn next_beat(beat: &mut Option<Interval>) {
    match beat {
        Some(beat) => drop(beat.tick().await),
        None => pending().await,
    }
}

/// An interval that begins now; what comes late delays what follows.
fn paced(every: Duration) -> Interval {
    let mut timer = interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Options of every socket to another broker.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    let millis = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?)
}

/// The next whole frame; its length is checked before anything is allocated for it.
pub(super) fn next_frame(reader: &mut FrameReader, greeted: bool) -> io::Result<Option<Bytes>> {
    let invalid = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    if let Some(prefix) = reader.prefix() {
        frame_size(prefix, greeted).map_err(|error| invalid(&error))?;
    }
    reader.next().map_err(|error| invalid(&error))
}

/// Reads what is there; 0 when the other end has closed.
pub(super) async fn read_some(read: &mut ReadHalf<'_>, reader: &mut FrameReader, io: &Io) -> io::Result<usize> {
    let room = reader.room().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let count = read.read_buf(room).await?;
    io.meters.bytes_in.increment(count as u64);
    Ok(count)
}

/// Hands the kernel what it takes of the chunks, and drops that.
async fn write_some(write: &mut WriteHalf<'_>, chunks: &mut VecDeque<Bytes>) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); CHUNKS_PER_WRITE];
    let count = chunks.iter().zip(&mut slices).map(|(chunk, slice)| *slice = IoSlice::new(chunk)).count();
    let written = write.write_vectored(slices.get(..count).unwrap_or(&[])).await?;
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut left = written;
    while let Some(first) = chunks.front_mut() {
        if first.len() > left {
            first.advance(left);
            break;
        }
        left -= first.len();
        chunks.pop_front();
    }
    Ok(written)
}
