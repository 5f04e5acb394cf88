//! The thread: it carries out the orders of the sessions, and ends when none follows.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use millrace_node::peer::LinkId;
use millrace_types::BrokerId;
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, spawn_local};

use super::dial::dial;
use super::handoff::{Arrivals, Order, Orders};
use super::link::Link;
use super::listen::listen;
use crate::config::Members;
use crate::metrics::PeerMeters;
use crate::pulse::{BEAT, Pulse};

/// How long the connections get to send what was written when the thread stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it is looked whether all connections have ended.
const POLL: Duration = Duration::from_millis(5);

/// What the thread is given.
pub(crate) struct Parts {
    /// The socket that other brokers connect to.
    pub(crate) listener: TcpListener,
    /// Where other brokers are.
    pub(crate) members: Arc<ArcSwap<Members>>,
    /// What the sessions want.
    pub(crate) orders: Arc<Orders>,
    /// What the sessions are told.
    pub(crate) arrivals: Arc<Arrivals>,
    /// What is counted.
    pub(crate) meters: PeerMeters,
    /// Whether the process gets on.
    pub(crate) pulse: Arc<Pulse>,
}

/// What the tasks of the thread share.
pub(super) struct Io {
    pub(super) members: Arc<ArcSwap<Members>>,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) meters: PeerMeters,
    pulse: Arc<Pulse>,
    /// Accepted connections that have not said who they are.
    pub(super) greeting: Cell<usize>,
    /// Accepted connections that have.
    pub(super) accepted: Cell<usize>,
    links: RefCell<BTreeMap<LinkId, Rc<Link>>>,
    last: Cell<LinkId>,
}

impl Io {
    /// A new connection with `broker`; its number is never used again.
    pub(super) fn open(&self, broker: BrokerId) -> Rc<Link> {
        self.last.set(self.last.get() + 1);
        let link = Link::new(self.last.get(), broker);
        self.links.borrow_mut().insert(link.id, Rc::clone(&link));
        self.meters.connections.increment(1);
        link
    }

    /// The connection has ended.
    pub(super) fn forget(&self, id: LinkId) {
        if self.links.borrow_mut().remove(&id).is_some() {
            self.meters.connections.decrement(1);
        }
    }

    /// Whether nothing is said to other brokers: this one cannot do what they would ask.
    pub(super) fn is_mute(&self) -> bool {
        self.pulse.is_silent()
    }

    /// Resets all connections when an arbiter hangs. None begins before it gets on, so that the others know of the silence,
    /// as of a process that is gone.
    async fn fall_silent(self: Rc<Self>) {
        loop {
            tokio::time::sleep(BEAT).await;
            if self.is_mute() {
                self.links.borrow().values().for_each(|link| link.give_up());
            }
        }
    }

    fn with(&self, id: LinkId, act: impl FnOnce(&Link)) {
        // An order for a connection that has ended meanwhile is for nobody.
        if let Some(link) = self.links.borrow().get(&id) {
            act(link);
        }
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Dial { broker, shard, attempt } => drop(spawn_local(dial(Rc::clone(self), broker, shard, attempt))),
            Order::Write { connection, frame } => self.with(connection, |link| link.write(frame)),
            Order::Keepalives { connection, every } => self.with(connection, |link| link.keep_alive(every)),
            Order::Close { connection, why } => {
                tracing::debug!(connection, why, "a connection with a broker is closed");
                self.with(connection, Link::close);
            }
            Order::GiveUp { connection } => {
                tracing::warn!(connection, "the queue to the sockets is full: a connection is given up");
                self.meters.given_up.increment(1);
                self.with(connection, Link::give_up);
            }
        }
    }

    async fn close_all(&self) {
        self.links.borrow().values().for_each(|link| link.close());
        while !self.links.borrow().is_empty() {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct PeerThread {
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

impl PeerThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the process can start no thread, or the socket cannot be waited for.
    pub(crate) fn start(parts: Parts) -> io::Result<Self> {
        parts.listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let orders = Arc::clone(&parts.orders);
        let thread = Builder::new().name("peers".to_owned()).spawn(move || run(&runtime, parts))?;
        Ok(Self { orders, thread })
    }

    /// Lets what was written leave, closes all connections, and ends the thread. It waits for the thread, hence is not
    /// to be called where others wait.
    pub(crate) fn stop(self) {
        self.orders.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the sockets to other brokers has ended by a panic");
        }
    }
}

fn run(runtime: &Runtime, parts: Parts) {
    let Parts { listener, members, orders, arrivals, meters, pulse } = parts;
    let io = Rc::new(Io {
        members,
        arrivals,
        meters,
        pulse,
        greeting: Cell::new(0),
        accepted: Cell::new(0),
        links: RefCell::default(),
        last: Cell::new(0),
    });
    LocalSet::new().block_on(runtime, async move {
        let listening = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => spawn_local(listen(Rc::clone(&io), listener)),
            Err(error) => return tracing::error!(%error, "other brokers cannot connect"),
        };
        let watching = spawn_local(Rc::clone(&io).fall_silent());
        let mut batch = Vec::new();
        let mut more = true;
        while more {
            more = orders.take(&mut batch).await;
            batch.drain(..).for_each(|order| io.obey(order));
        }
        watching.abort();
        listening.abort();
        let _late = tokio::time::timeout(LAST_WORDS, io.close_all()).await;
    });
}
