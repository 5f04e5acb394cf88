//! Listeners: bound before the broker starts, so that the chosen ports are known; accepting once it is ready.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use super::address::ListenerAddress;
use super::limits::Exceeded;
use crate::actor::parcel::{Accepted, Order, Parcel};
use crate::error::StartError;
use crate::shared::Shared;

/// Connections the kernel holds until they are accepted.
const BACKLOG: u32 = 1_024;

/// How long accepting pauses when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its address, with the port that was chosen.
    pub(crate) address: ListenerAddress,
    sockets: Vec<TcpListener>,
}

impl Listener {
    /// Binds every address that the listener's host has; one that works is enough.
    ///
    /// # Errors
    /// When none can be bound.
    pub(crate) fn bind(mut address: ListenerAddress) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind { address: address.to_string(), source };
        let resolved = address.resolve().map_err(failed)?;
        let mut sockets: Vec<TcpListener> = Vec::new();
        let mut port = address.port;
        let mut first_error = None;
        for mut candidate in resolved {
            candidate.set_port(port);
            match bind(candidate) {
                Ok(socket) => {
                    // All addresses of one listener have one port, also when it is chosen by the kernel.
                    port = socket.local_addr().map_err(failed)?.port();
                    sockets.push(socket);
                    if address.host.is_empty() {
                        // The IPv6 socket takes IPv4 connections too.
                        break;
                    }
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if sockets.is_empty() {
            let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
            return Err(failed(first_error.unwrap_or_else(none)));
        }
        address.port = port;
        Ok(Self { address, sockets })
    }

    /// Accepts connections until the tasks that this starts are dropped.
    pub(crate) fn accept(self, shared: &Arc<Shared>) -> Vec<actix_rt::task::JoinHandle<()>> {
        let name: Arc<str> = self.address.name.into();
        let accepting = |socket| actix_rt::spawn(accept(socket, Arc::clone(&name), Arc::clone(shared)));
        self.sockets.into_iter().map(accepting).collect()
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // A restart must not wait for connections of the process before to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, name: Arc<str>, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            // An arbiter hangs: a client does better with another broker.
            Ok((_, peer)) if shared.leaves_clients() => tracing::debug!(%peer, "closed: the broker hangs"),
            Ok((stream, peer)) => {
                if let Err(error) = admit(stream, peer, &name, &shared) {
                    tracing::debug!(%peer, %error, "a connection could not be taken");
                }
            }
            Err(error) => {
                // Out of descriptors, or a connection that was reset before it was accepted.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Hands a connection to the arbiter with the fewest, or closes it when there are too many.
fn admit(stream: tokio::net::TcpStream, peer: SocketAddr, name: &Arc<str>, shared: &Shared) -> io::Result<()> {
    let limits = &shared.node.settings.limits;
    let permit = shared.limits.acquire(peer.ip(), limits.max_connections(), limits.max_connections_per_ip());
    let permit = match permit {
        Ok(permit) => permit,
        Err(exceeded) => {
            match exceeded {
                Exceeded::Total => shared.meters.refused_in_all.increment(1),
                Exceeded::PerAddress => shared.meters.refused_per_ip.increment(1),
            }
            tracing::debug!(%peer, ?exceeded, "closed: too many connections");
            return Ok(());
        }
    };
    // Responses are written whole: waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let cut = shared.cuts.add(&stream)?;
    let accepted = Accepted { stream, peer, listener: Arc::clone(name), permit, cut };
    shared.meters.connections_accepted.increment(1);
    let arbiter = shared.least_loaded();
    shared.inbox(arbiter).send(&mut vec![Parcel::Order(Order::Accept(Box::new(accepted)))]);
    Ok(())
}
