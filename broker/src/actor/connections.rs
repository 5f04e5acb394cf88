//! The connections of one arbiter, and what an arbiter does to all of them: idle limit, shutdown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use millrace_node::ConnectionId;
use millrace_node::connection::{ConnectionEvent, ConnectionLoad};

use super::countdown::Countdown;
use super::mail::Mail;
use crate::net::socket::Socket;

/// The longest time between two sweeps; a sweep also gives back memory of silent connections.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// The shortest time between two sweeps.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Sweeps within the idle limit, or more when it is long.
const SWEEPS_PER_LIMIT: u32 = 4;

/// One connection.
struct Entry {
    mail: Rc<Mail<ConnectionEvent>>,
    /// `None` for a connection of the process itself.
    socket: Option<Rc<Socket>>,
}

/// The connections of one arbiter; their number is bounded by the permits of their listeners.
pub(crate) struct Connections {
    entries: RefCell<BTreeMap<ConnectionId, Entry>>,
    last: Cell<u64>,
    idle_limit: Option<Duration>,
    sweep_interval: Duration,
    stopping: Cell<bool>,
    killed: Cell<bool>,
    /// What all of them have in flight.
    load: Cell<ConnectionLoad>,
    /// Dropped when the broker stops and the last connection has ended.
    countdown: RefCell<Option<Countdown>>,
}

impl Connections {
    /// No connection; `idle_limit` is how long one may be silent.
    pub(crate) fn new(idle_limit: Option<Duration>) -> Self {
        let interval = idle_limit.map_or(SWEEP_INTERVAL, |limit| SWEEP_INTERVAL.min(limit / SWEEPS_PER_LIMIT));
        Self {
            idle_limit,
            sweep_interval: interval.max(SWEEP_INTERVAL_MIN),
            entries: RefCell::default(),
            last: Cell::new(0),
            stopping: Cell::new(false),
            killed: Cell::new(false),
            load: Cell::default(),
            countdown: RefCell::default(),
        }
    }

    /// The number of the next connection among those of this arbiter.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// Adds a connection.
    pub(crate) fn insert(&self, id: ConnectionId, mail: Rc<Mail<ConnectionEvent>>, socket: Option<Rc<Socket>>) {
        self.entries.borrow_mut().insert(id, Entry { mail, socket });
    }

    /// Removes a connection.
    pub(crate) fn remove(&self, id: ConnectionId) {
        self.entries.borrow_mut().remove(&id);
        self.drop_countdown_if_empty();
    }

    /// Where the events of a connection wait.
    pub(crate) fn mail(&self, id: ConnectionId) -> Option<Rc<Mail<ConnectionEvent>>> {
        self.entries.borrow().get(&id).map(|entry| Rc::clone(&entry.mail))
    }

    /// Number of events that wait for connections.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.borrow().values().map(|entry| entry.mail.len()).sum()
    }

    /// What all connections have in flight.
    pub(crate) fn load(&self) -> ConnectionLoad {
        self.load.get()
    }

    /// A connection has `after` in flight instead of `before`.
    pub(crate) fn exchange_load(&self, before: ConnectionLoad, after: ConnectionLoad) {
        self.load.set(self.load.get().exchanged(before, after));
    }

    /// The time between two sweeps.
    pub(crate) const fn sweep_interval(&self) -> Duration {
        self.sweep_interval
    }

    /// Whether a connection that moved no byte between this many sweeps has been silent for too long.
    pub(crate) fn is_too_silent(&self, sweeps: u32) -> bool {
        self.idle_limit.is_some_and(|limit| self.sweep_interval.saturating_mul(sweeps) >= limit)
    }

    /// Lets every connection look whether it has been silent for too long, and give back memory it does not use.
    pub(crate) fn sweep(&self) {
        for entry in self.entries.borrow().values() {
            if let Some(socket) = &entry.socket {
                socket.sweep_requested();
            }
            entry.mail.schedule();
        }
    }

    /// Takes no more requests; each connection ends when it has answered those it has. `countdown` is dropped with the
    /// last of them.
    pub(crate) fn stop(&self, countdown: Countdown) {
        self.stopping.set(true);
        *self.countdown.borrow_mut() = Some(countdown);
        for entry in self.entries.borrow().values() {
            entry.mail.schedule();
        }
        self.drop_countdown_if_empty();
    }

    /// Ends every connection, whatever it still waits for.
    pub(crate) fn kill(&self) {
        self.stopping.set(true);
        self.killed.set(true);
        for entry in self.entries.borrow().values() {
            entry.mail.schedule();
        }
    }

    /// Whether connections end at once.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Whether connections are being ended.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    fn drop_countdown_if_empty(&self) {
        if self.stopping.get() && self.entries.borrow().is_empty() {
            self.countdown.borrow_mut().take();
        }
    }
}
