//! The end of a broker: asked for by a signal, done in steps, each of which leaves a state that is safe to stop in.
//!
//! ```text
//! stop accepting -> answer what was asked -> close connections -> stop coordinators
//! -> stop replicas (hand leadership over, flush) -> close the sockets to other brokers -> stop storage threads -> clean-shutdown marker -> stop arbiters
//! ```
//!
//! A second signal ends the process at once; the next start then recovers as after a crash.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use actix_web::dev::ServerHandle;
use millrace_storage::{DataDir, StorageThreads};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::actor::countdown::{Countdown, countdown};
use crate::actor::parcel::{Order, Parcel};
use crate::actor::threads::Arbiters;
use crate::peer::thread::PeerThread;
use crate::shared::Shared;

/// How long clients get to take the answers to what they have asked.
const DRAIN: Duration = Duration::from_secs(2);

/// How long what replicas have said last gets to reach the sockets to other brokers.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the replicas get to flush; a disk that takes longer is given up, and the next start recovers.
const FLUSH: Duration = Duration::from_secs(60);

/// The signals that end a broker.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen for the signals.
    ///
    /// # Errors
    /// When the process cannot handle them.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal and says its name.
    pub(crate) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The parts of a running broker.
pub(crate) struct Running {
    /// What the arbiters share.
    pub(crate) shared: Arc<Shared>,
    /// The tasks that accept connections.
    pub(crate) accepting: Vec<JoinHandle<()>>,
    /// The HTTP interface, if there is one.
    pub(crate) http: Option<ServerHandle>,
    /// The arbiters.
    pub(crate) arbiters: Arbiters,
    /// The storage threads.
    pub(crate) storage: StorageThreads,
    /// The thread of the sockets to other brokers, if there are any.
    pub(crate) peers: Option<PeerThread>,
    /// The data directory; its lock is held until the process ends.
    pub(crate) data_dir: DataDir,
}

impl Running {
    /// Stops the broker; says whether the stop was clean.
    pub(crate) async fn stop(self) -> bool {
        self.shared.set_ready(false);
        for task in &self.accepting {
            task.abort();
        }
        if let Some(http) = &self.http {
            http.stop(true).await;
        }
        let drained = everywhere(&self.shared, DRAIN, Order::StopConnections).await;
        if !drained {
            tracing::info!("closing connections that still wait");
            order_all(&self.shared, |_| Order::KillConnections);
        }
        let settled = everywhere(&self.shared, DRAIN, Order::StopGroups).await;
        let flushed = everywhere(&self.shared, FLUSH, Order::StopReplicas).await && settled;
        if let Some(peers) = self.peers {
            leave(&self.shared, peers).await;
        }
        let storage = self.storage;
        let stopped = actix_rt::task::spawn_blocking(move || storage.handle().stop()).await;
        let durable = flushed && self.shared.is_flushed() && matches!(stopped, Ok(Ok(())));
        let clean = durable && marked(&self.data_dir);
        self.shared.pulse.stop();
        self.arbiters.stop();
        clean
    }
}

/// Lets other brokers hear what the replicas have said last: leadership was handed over by then.
async fn leave(shared: &Shared, peers: PeerThread) {
    // An arbiter that answers has sent what its replicas had to say.
    let sent = everywhere(shared, LAST_WORDS, Order::Sample).await;
    let (pending, done) = countdown();
    shared.inbox(shared.placement.peers()).send(&mut vec![Parcel::Order(Order::DrainPeers(pending))]);
    let said = tokio::time::timeout(LAST_WORDS, done.wait()).await.is_ok();
    let closed = actix_rt::task::spawn_blocking(move || peers.stop()).await.is_ok();
    if !(sent && said && closed) {
        tracing::warn!("other brokers may not have heard everything");
    }
}

fn marked(data_dir: &DataDir) -> bool {
    match data_dir.mark_clean() {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the clean-shutdown marker was not written");
            false
        }
    }
}

/// Orders something of every arbiter and waits until all have done it; says whether they did in time.
async fn everywhere(shared: &Shared, limit: Duration, order: impl Fn(Countdown) -> Order) -> bool {
    let (pending, done) = countdown();
    order_all(shared, |_| order(pending.clone()));
    drop(pending);
    tokio::time::timeout(limit, done.wait()).await.is_ok()
}

fn order_all(shared: &Shared, order: impl Fn(usize) -> Order) {
    for arbiter in 0..shared.placement.arbiters() {
        shared.inbox(arbiter).send(&mut vec![Parcel::Order(order(arbiter))]);
    }
}
