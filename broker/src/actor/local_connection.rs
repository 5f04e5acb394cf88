//! The actor of a connection of the process itself: one request, one response, no socket.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use millrace_node::ConnectionId;
use millrace_node::connection::{Connection, ConnectionEffect, ConnectionEvent, Origin};
use tokio::sync::oneshot;

use super::arbiter::Local;
use super::connection::{Outgoing, carry_out};
use super::counted::Counted;
use super::host::{After, Host, Ports};
use super::mail::Mail;
use crate::local::LocalRequest;

/// Serves one request of the process itself.
pub(super) fn serve(local: &Rc<Local>, request: LocalRequest) {
    let id = local.next_connection();
    let mail = Rc::new(Mail::new(local.timers.slot(), || ConnectionEvent::Timer));
    local.connections.insert(id, Rc::clone(&mail), None);
    let origin = Origin { listener: Arc::clone(&local.shared.internal_listener), client_host: Arc::from("localhost") };
    let core = Connection::new(id, origin, Arc::clone(&local.shared.node));
    let ports = LocalPorts {
        id,
        local: Rc::clone(local),
        reply: Some(request.reply),
        ended: false,
        counted: Counted::new(local),
    };
    mail.push(ConnectionEvent::Frame(request.frame));
    Host::start(core, ports, mail, Rc::clone(local));
}

/// The effects of a connection without a socket.
struct LocalPorts {
    id: ConnectionId,
    local: Rc<Local>,
    reply: Option<oneshot::Sender<Bytes>>,
    ended: bool,
    counted: Counted,
}

impl Ports<Connection> for LocalPorts {
    fn pull(&mut self, _core: &Connection) -> Option<ConnectionEvent> {
        // The response is out, or nobody waits for it: the core takes back what it has registered elsewhere.
        let abandoned = self.reply.as_ref().is_none_or(oneshot::Sender::is_closed);
        let over = abandoned || self.local.connections.is_killed();
        if over && !std::mem::replace(&mut self.ended, true) { Some(ConnectionEvent::Closed) } else { None }
    }

    fn carry_out(&mut self, effect: ConnectionEffect, mail: &Rc<Mail<ConnectionEvent>>) {
        match carry_out(&self.local, self.id, effect, mail) {
            None => {}
            Some(Outgoing::Send(frame)) => {
                if let Some(reply) = self.reply.take() {
                    // Whoever asked may have given up.
                    let _unwanted = reply.send(frame.to_bytes());
                }
            }
            Some(Outgoing::Close(why)) => {
                tracing::warn!(why, "a request of the process itself was refused");
                self.reply = None;
                self.ended = true;
            }
        }
    }

    fn end_turn(&mut self, core: &Connection) -> After {
        self.counted.show(core.load());
        if self.ended {
            After::Stop
        } else if self.reply.is_none() {
            After::Again
        } else {
            After::Wait
        }
    }
}

impl Drop for LocalPorts {
    fn drop(&mut self) {
        self.local.connections.remove(self.id);
    }
}
