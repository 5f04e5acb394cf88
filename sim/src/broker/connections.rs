//! The connections of clients: frames in as the core takes them, frames out to the network.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use millrace_node::connection::{Connection, ConnectionEffect, ConnectionEvent, Origin};
use millrace_node::{Caller, ConnectionId, Core, ReplyTo};

use super::Sent;
use super::boot::LISTENER;
use super::disk_work::Job;
use super::port::{Event, Port, Who};
use super::process::{End, Process};
use crate::trace::fnv;

/// One connection and the frames its core has not taken yet.
#[derive(Debug)]
pub(super) struct Conn {
    core: Connection,
    frames: VecDeque<Bytes>,
}

impl Process {
    /// A client has connected by the link `link`; `false` when the broker does not listen.
    pub fn accept(&mut self, link: u64) -> bool {
        if self.end != End::Serving || !self.registered {
            return false;
        }
        let id = ConnectionId(link);
        let origin = Origin { listener: Arc::from(LISTENER), client_host: Arc::from("10.0.0.1") };
        let core = Connection::new(id, origin, Arc::clone(&self.shared));
        self.connections.insert(id, Conn { core, frames: VecDeque::new() });
        true
    }

    /// A frame came in by the link `link`.
    pub fn frame(&mut self, port: &mut Port<'_>, link: u64, frame: Bytes) {
        let id = ConnectionId(link);
        let Some(conn) = self.connections.get_mut(&id) else { return };
        conn.frames.push_back(frame);
        self.pull(port, id);
    }

    /// The link ended.
    pub fn hung_up(&mut self, port: &mut Port<'_>, link: u64) {
        let id = ConnectionId(link);
        self.step_connection(port, id, ConnectionEvent::Closed);
        self.connections.remove(&id);
        self.timers.remove(&Who::Connection(id));
    }

    /// Ends every connection; requests under way are not answered.
    pub(super) fn hang_up_all(&mut self, port: &mut Port<'_>) {
        let links: Vec<u64> = self.connections.keys().map(|id| id.0).collect();
        for link in links {
            self.hung_up(port, link);
            self.sent.push(Sent::Closed(link));
        }
    }

    /// Hands frames over while the core takes them.
    fn pull(&mut self, port: &mut Port<'_>, id: ConnectionId) {
        while let Some(conn) = self.connections.get_mut(&id) {
            if !conn.core.wants_frames() {
                break;
            }
            let Some(frame) = conn.frames.pop_front() else { break };
            self.step_connection(port, id, ConnectionEvent::Frame(frame));
        }
    }

    /// An event for a connection, and the frames that it then takes.
    pub(super) fn connection(&mut self, port: &mut Port<'_>, id: ConnectionId, event: ConnectionEvent) {
        self.step_connection(port, id, event);
        self.pull(port, id);
    }

    fn step_connection(&mut self, port: &mut Port<'_>, id: ConnectionId, event: ConnectionEvent) {
        let Some(conn) = self.connections.get_mut(&id) else { return };
        let mut effects = Vec::new();
        conn.core.step(port.now, event, &mut effects);
        let (from, caller) = (Who::Connection(id), Caller::Connection(id));
        for effect in effects {
            match effect {
                ConnectionEffect::Send(frame) => {
                    let bytes = frame.to_bytes().slice(4..);
                    port.note(format_args!("conn {} sends {} {:x}", id.0, bytes.len(), fnv(0, &bytes)));
                    self.sent.push(Sent::Frame(id.0, bytes));
                }
                ConnectionEffect::Call { token, call } => self.call(port, from, ReplyTo { caller, token }, call),
                ConnectionEffect::CancelWatch { token, partition } => {
                    let from = ReplyTo { caller, token };
                    let event = millrace_node::replica::ReplicaEvent::Cancel { from };
                    port.mail(Who::Connection(id), Who::Replica(partition), Event::Replica(partition, event));
                }
                ConnectionEffect::Warm { token, job } => self.threads.job(Job::Warm(caller, token, job)),
                ConnectionEffect::Timer(at) => self.set_timer(port, from, at),
                ConnectionEffect::Close(why) => {
                    port.note(format_args!("conn {} closed: {why}", id.0));
                    self.sent.push(Sent::Closed(id.0));
                    self.connections.remove(&id);
                    break;
                }
            }
        }
    }
}
