//! The host of the clients' cores on tokio: sockets, the clock and the seed.
//!
//! The core sits behind a mutex. Whoever holds it and has told it something also carries out what it answers: frames
//! go to the writer tasks of their connections, events to the front end's dispatcher. One task keeps the time. No task
//! passes a frame on to another one before the core sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use millrace_types::{Instant, Now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

use crate::config::ClientConfig;
use crate::core::{ConnectionId, Machine, NetOutput};
use crate::error::ClientError;
use crate::wire::FrameReader;

/// Frames that wait for a writer. The core bounds the requests in flight below this, but for those without an answer:
/// a full queue ends the connection.
const WRITE_QUEUE: usize = 256;

/// What a front end adds to a machine: where its events go.
pub(crate) trait Front: Send + 'static {
    /// The core.
    type Machine: Machine + Send + 'static;

    /// The core, to be told something.
    fn machine(&mut self) -> &mut Self::Machine;

    /// Delivers one event.
    fn deliver(&mut self, event: <Self::Machine as Machine>::Event);
}

/// A front end and its connections.
struct Inner<F> {
    front: F,
    connections: BTreeMap<ConnectionId, Link>,
    deadline: Instant,
    closed: bool,
}

struct Link {
    frames: mpsc::Sender<Bytes>,
    tasks: Vec<AbortHandle>,
}

/// A core that lives: shared by the handles of the application and the tasks of its connections. The tasks hold it
/// weakly, so that dropping the last handle ends them.
pub(crate) struct Host<F: Front> {
    inner: Mutex<Inner<F>>,
    clock: Clock,
    timer: Arc<Notify>,
    max_response_bytes: usize,
    connect_timeout: Duration,
}

/// The process's clocks: the only place in this crate that reads them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now { instant: Instant::from_micros(micros), wall: i64::try_from(wall).unwrap_or(i64::MAX) }
    }

    fn tokio(self, at: Instant) -> tokio::time::Instant {
        // A moment too far for the clock is cut to a day: the timer then finds nothing due and sleeps again.
        let after = Duration::from_micros(at.as_micros().min(self.now().instant.as_micros() + 86_400_000_000));
        tokio::time::Instant::from_std(self.start + after)
    }
}

/// A seed for a core's random numbers.
pub(crate) fn seed() -> u64 {
    // The hasher's keys are the standard library's only source of entropy.
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl<F: Front> Host<F> {
    /// Starts the host in the running tokio runtime.
    pub(crate) fn start(front: F, config: &ClientConfig) -> Arc<Self> {
        let inner = Inner { front, connections: BTreeMap::new(), deadline: Instant::NEVER, closed: false };
        let host = Arc::new(Self {
            inner: Mutex::new(inner),
            clock: Clock::start(),
            timer: Arc::new(Notify::new()),
            max_response_bytes: config.max_response_bytes,
            connect_timeout: config.connect_timeout,
        });
        tokio::spawn(keep_time(Arc::downgrade(&host), Arc::clone(&host.timer)));
        host.with(|_, _| ());
        host
    }

    /// Tells the core something and carries out what it answers.
    pub(crate) fn with<T>(self: &Arc<Self>, tell: impl FnOnce(&mut F, Now) -> T) -> T {
        let mut inner = self.lock();
        let now = self.clock.now();
        let result = tell(&mut inner.front, now);
        self.carry_out(&mut inner, now);
        result
    }

    /// Looks at the core, or tells it something that needs no action at once.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&mut F, Now) -> T) -> T {
        let mut inner = self.lock();
        let now = self.clock.now();
        look(&mut inner.front, now)
    }

    /// Ends all connections and the timer.
    pub(crate) fn shut(self: &Arc<Self>) {
        self.with(|_, _| ());
        let mut inner = self.lock();
        inner.closed = true;
        inner.connections.clear();
        drop(inner);
        self.timer.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        // A panic inside the core poisons nothing that the next call could not see for itself.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(self: &Arc<Self>, inner: &mut Inner<F>, now: Now) {
        loop {
            inner.front.machine().advance(now);
            let mut failed = Vec::new();
            while let Some(output) = inner.front.machine().poll_output() {
                match output {
                    NetOutput::Open { connection, host, port } => {
                        let link = self.open(connection, host, port);
                        inner.connections.insert(connection, link);
                    }
                    NetOutput::Write { connection, frame } => {
                        let link = inner.connections.get(&connection);
                        if link.is_some_and(|link| link.frames.try_send(frame).is_err()) {
                            failed.push(connection);
                        }
                    }
                    NetOutput::Close { connection } => {
                        inner.connections.remove(&connection);
                    }
                }
            }
            while let Some(event) = inner.front.machine().poll_event() {
                inner.front.deliver(event);
            }
            if failed.is_empty() {
                break;
            }
            for connection in failed {
                if inner.connections.remove(&connection).is_some() {
                    let error = ClientError::protocol("connection", "the writer is gone or does not keep up");
                    inner.front.machine().closed(now, connection, &error);
                }
            }
        }
        let deadline = inner.front.machine().deadline(now);
        // Only an earlier deadline has to wake the timer; after a later one it looks again by itself.
        if deadline < inner.deadline {
            self.timer.notify_one();
        }
        inner.deadline = deadline;
    }

    fn open(self: &Arc<Self>, connection: ConnectionId, host: Arc<str>, port: u16) -> Link {
        let (frames, queue) = mpsc::channel(WRITE_QUEUE);
        let task = tokio::spawn(connect(Arc::downgrade(self), connection, (host, port), queue));
        Link { frames, tasks: vec![task.abort_handle()] }
    }

    /// Tells the core that a connection was made. Without its link it was closed meanwhile; the link's end is the end
    /// of its tasks.
    fn connected(self: &Arc<Self>, connection: ConnectionId, writing: &JoinHandle<()>) -> Option<FrameReader> {
        let mut inner = self.lock();
        inner.connections.get_mut(&connection)?.tasks.push(writing.abort_handle());
        let now = self.clock.now();
        inner.front.machine().opened(now, connection);
        self.carry_out(&mut inner, now);
        Some(FrameReader::new(self.max_response_bytes))
    }

    fn closed(self: &Arc<Self>, connection: ConnectionId, reason: &ClientError) {
        let mut inner = self.lock();
        if let Some(link) = inner.connections.remove(&connection) {
            let now = self.clock.now();
            inner.front.machine().closed(now, connection, reason);
            self.carry_out(&mut inner, now);
            drop(inner);
            // The task that reports is among those ended, so this comes last.
            drop(link);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<F: Front> Drop for Host<F> {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}

/// Calls the core when its deadline comes, until the host is dropped or shut.
async fn keep_time<F: Front>(host: Weak<Host<F>>, timer: Arc<Notify>) {
    loop {
        let Some(strong) = host.upgrade() else { return };
        let (deadline, closed) = {
            let inner = strong.lock();
            (inner.deadline, inner.closed)
        };
        if closed {
            return;
        }
        if strong.clock.now().instant >= deadline {
            strong.with(|_, _| ());
        }
        let deadline = strong.lock().deadline;
        let at = strong.clock.tokio(deadline);
        // Asleep, the task must not keep the host alive.
        drop(strong);
        tokio::select! {
            () = timer.notified() => {}
            () = tokio::time::sleep_until(at) => {}
        }
    }
}

/// One connection from its name to its end.
async fn connect<F: Front>(
    host: Weak<Host<F>>,
    connection: ConnectionId,
    address: (Arc<str>, u16),
    queue: mpsc::Receiver<Bytes>,
) {
    let Some(timeout) = host.upgrade().map(|host| host.connect_timeout) else { return };
    let describe = |error: &dyn std::fmt::Display| ClientError::NoBroker {
        addresses: Arc::from(format!("{}:{}", address.0, address.1)),
        reason: Arc::from(error.to_string()),
    };
    let stream = match tokio::time::timeout(timeout, TcpStream::connect((&*address.0, address.1))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return report(&host, connection, &describe(&error)),
        Err(_) => return report(&host, connection, &describe(&"no answer in time")),
    };
    if let Err(error) = stream.set_nodelay(true) {
        return report(&host, connection, &describe(&error));
    }
    let (reader, writer) = stream.into_split();
    let writing = tokio::spawn(write(host.clone(), connection, writer, queue));
    let Some(frames) = host.upgrade().and_then(|host| host.connected(connection, &writing)) else {
        return writing.abort();
    };
    let reason = read(&host, connection, reader, frames).await;
    report(&host, connection, &reason);
}

fn report<F: Front>(host: &Weak<Host<F>>, connection: ConnectionId, reason: &ClientError) {
    if let Some(host) = host.upgrade() {
        host.closed(connection, reason);
    }
}

/// Reads frames until the connection ends, and says why it did.
async fn read<F: Front>(
    host: &Weak<Host<F>>,
    connection: ConnectionId,
    mut reader: OwnedReadHalf,
    mut frames: FrameReader,
) -> ClientError {
    loop {
        match reader.read_buf(frames.buffer()).await {
            Ok(0) => return ClientError::protocol("connection", "closed by the broker"),
            Ok(_) => {}
            Err(error) => return ClientError::protocol("connection", error.to_string()),
        }
        loop {
            let frame = match frames.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return error,
            };
            let Some(host) = host.upgrade() else { return ClientError::Closed };
            host.with(|front, now| front.machine().frame(now, connection, frame));
        }
    }
}

/// Writes frames until the connection ends.
async fn write<F: Front>(
    host: Weak<Host<F>>,
    connection: ConnectionId,
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
) {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = writer.write_all(&frame).await {
            return report(&host, connection, &ClientError::protocol("connection", error.to_string()));
        }
    }
}
