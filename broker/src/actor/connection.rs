//! The actor of a client connection: its core between a socket and the other actors.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_rt::task::JoinHandle;
use millrace_node::connection::{Connection, ConnectionEffect, ConnectionEvent, Origin};
use millrace_node::wire::Frame;
use millrace_node::{Caller, ConnectionId, ReplyTo};
use tokio::net::TcpStream;

use super::arbiter::Local;
use super::counted::Counted;
use super::host::{After, Host, Ports};
use super::mail::Mail;
use super::parcel::Accepted;
use super::timers::Fire;
use crate::metrics::Latencies;
use crate::net::cuts::Cut;
use crate::net::limits::Permit;
use crate::net::socket::{Incoming, Socket};

/// What an effect leaves to the end that the connection's frames go to.
pub(super) enum Outgoing {
    /// Send this.
    Send(Frame),
    /// Close; the text says why.
    Close(&'static str),
}

/// Carries out what is the same for every connection.
pub(super) fn carry_out(
    local: &Rc<Local>,
    id: ConnectionId,
    effect: ConnectionEffect,
    mail: &Rc<Mail<ConnectionEvent>>,
) -> Option<Outgoing> {
    let caller = Caller::Connection(id);
    match effect {
        ConnectionEffect::Send(frame) => return Some(Outgoing::Send(frame)),
        ConnectionEffect::Close(why) => return Some(Outgoing::Close(why)),
        ConnectionEffect::Call { token, call } => local.call(ReplyTo { caller, token }, call),
        ConnectionEffect::CancelWatch { token, partition } => local.cancel(ReplyTo { caller, token }, partition),
        ConnectionEffect::Warm { token, job } => local.storage.warm(caller, token, job),
        ConnectionEffect::Timer(at) => {
            let timer: Rc<dyn Fire> = Rc::<Mail<ConnectionEvent>>::clone(mail);
            local.timers.set(&timer, at);
        }
    }
    None
}

/// Serves a client on the calling thread's arbiter.
pub(super) fn serve(local: &Rc<Local>, accepted: Accepted) {
    let Accepted { stream, peer, listener, permit, cut } = accepted;
    if local.connections.is_stopping() {
        return;
    }
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%peer, %error, "a connection cannot be served"),
    };
    let id = local.next_connection();
    let socket = Socket::new(stream, local.shared.node.settings.socket_request_max_bytes);
    let mail = Rc::new(Mail::new(local.timers.slot(), || ConnectionEvent::Timer));
    let waker = Rc::clone(&mail);
    let readiness = actix_rt::spawn(Rc::clone(&socket).wait_ready(move || waker.schedule()));
    local.connections.insert(id, Rc::clone(&mail), Some(Rc::clone(&socket)));
    local.shared.load(local.number).fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%peer, listener = &*listener, connection = id.0, "connected");
    let origin = Origin { listener, client_host: peer.ip().to_canonical().to_string().into() };
    let core = Connection::new(id, origin, Arc::clone(&local.shared.node));
    let ports = SocketPorts {
        id,
        local: Rc::clone(local),
        socket,
        readiness,
        latencies: Latencies::default(),
        counted: Counted::new(local),
        silent_for: 0,
        has_more: false,
        congested: false,
        end: End::Open,
        _permit: permit,
        _cut: cut,
    };
    Host::start(core, ports, Rc::clone(&mail), Rc::clone(local));
    mail.schedule();
}

/// How far a connection's end has come.
///
/// ```text
/// Open -> Lost -> Closing        Open -> Closing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It serves.
    Open,
    /// The core is to be told that the socket is closed.
    Lost,
    /// The core has closed; with `drain`, what it has sent before is written first.
    Closing { drain: bool },
}

/// The effects and events of a connection with a socket.
struct SocketPorts {
    id: ConnectionId,
    local: Rc<Local>,
    socket: Rc<Socket>,
    readiness: JoinHandle<()>,
    latencies: Latencies,
    counted: Counted,
    /// Sweeps in a row that found no byte moved.
    silent_for: u32,
    /// The last look at the socket found more than one turn may take.
    has_more: bool,
    /// The last look at the socket was left out because the client had too much to read.
    congested: bool,
    end: End,
    _permit: Permit,
    _cut: Cut,
}

impl SocketPorts {
    /// A connection that is silent for the idle limit is closed, unless the broker is what it waits for.
    fn sweep(&mut self, core: &Connection) {
        let Some(moved) = self.socket.take_sweep() else { return };
        let waits_for_broker = !core.is_idle() && self.socket.is_drained();
        self.silent_for = if moved > 0 || waits_for_broker { 0 } else { self.silent_for + 1 };
        if self.end == End::Open && self.local.connections.is_too_silent(self.silent_for) {
            tracing::debug!(connection = self.id.0, "silent for connections.max.idle.ms: closed");
            self.local.shared.meters.connections_idle.increment(1);
            self.end = End::Lost;
        }
    }

    fn receive(&mut self) -> Option<ConnectionEvent> {
        let meters = &self.local.shared.meters;
        self.has_more = false;
        match self.socket.receive() {
            Incoming::Frame(frame) => {
                self.latencies.begin(&frame, self.local.shared.clock.instant());
                meters.bytes_in.increment(frame.len() as u64 + 4);
                return Some(ConnectionEvent::Frame(frame));
            }
            Incoming::Nothing => return None,
            Incoming::Enough => {
                self.has_more = true;
                return None;
            }
            Incoming::Ended => {}
            Incoming::Invalid(error) => {
                tracing::debug!(connection = self.id.0, %error, "closed");
                meters.frames_invalid.increment(1);
            }
        }
        self.end = End::Closing { drain: false };
        Some(ConnectionEvent::Closed)
    }
}

impl Ports<Connection> for SocketPorts {
    fn pull(&mut self, core: &Connection) -> Option<ConnectionEvent> {
        let connections = &self.local.connections;
        if self.end == End::Open && (self.socket.is_broken() || connections.is_killed()) {
            self.end = End::Lost;
        }
        match self.end {
            End::Lost => {
                self.end = End::Closing { drain: false };
                Some(ConnectionEvent::Closed)
            }
            End::Open if core.wants_frames() && !connections.is_stopping() => {
                self.congested = self.socket.is_congested();
                if self.congested { None } else { self.receive() }
            }
            End::Open | End::Closing { .. } => None,
        }
    }

    fn carry_out(&mut self, effect: ConnectionEffect, mail: &Rc<Mail<ConnectionEvent>>) {
        let meters = &self.local.shared.meters;
        match carry_out(&self.local, self.id, effect, mail) {
            None => {}
            Some(Outgoing::Send(frame)) => {
                meters.bytes_out.increment(frame.len() as u64);
                self.latencies.end(&frame, self.local.shared.clock.instant(), meters);
                self.socket.enqueue(frame);
            }
            Some(Outgoing::Close(why)) => {
                tracing::debug!(connection = self.id.0, why, "closed");
                meters.requests_refused.increment(1);
                self.end = End::Closing { drain: true };
            }
        }
    }

    fn end_turn(&mut self, core: &Connection) -> After {
        self.socket.flush();
        self.sweep(core);
        self.counted.show(core.load());
        let drained = self.socket.is_drained();
        let has_more = std::mem::take(&mut self.has_more);
        // What was left unread wakes nobody.
        let uncongested = self.congested && !self.socket.is_congested();
        let served = self.local.connections.is_stopping() && core.is_idle() && drained;
        if self.end == End::Open && (served || self.socket.is_broken()) {
            self.end = End::Lost;
        }
        match self.end {
            End::Open if has_more || uncongested => After::Again,
            End::Open => After::Wait,
            End::Lost => After::Again,
            // A client that reads nothing between two sweeps is not waited for.
            End::Closing { drain: true } if !drained && !self.socket.is_broken() && self.silent_for == 0 => After::Wait,
            End::Closing { .. } => After::Stop,
        }
    }
}

impl Drop for SocketPorts {
    fn drop(&mut self) {
        self.readiness.abort();
        self.local.connections.remove(self.id);
        self.local.shared.load(self.local.number).fetch_sub(1, Ordering::Relaxed);
    }
}
