//! Connections that this broker begins.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use millrace_node::peer::{MAX_FRAME, PeerEvent};
use millrace_node::peers::PeersEvent;
use millrace_types::BrokerId;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::link::prepare;
use super::thread::Io;
use crate::config::PeerAddress;
use crate::net::frame::FrameReader;

/// How long a connection may take: as long as the sessions wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to a broker, says what came of it, and serves the connection.
pub(super) async fn dial(io: Rc<Io>, broker: BrokerId, shard: u8, attempt: u64) {
    let address = io.members.load().address(broker).cloned();
    let connected = match &address {
        Some(address) => {
            timeout(PATIENCE, connect(address)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        None => Err(io::Error::new(io::ErrorKind::NotFound, "its address is not known")),
    };
    match connected.and_then(|stream| if io.is_mute() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(stream) }) {
        Ok(stream) => {
            let link = io.open(broker);
            let event = PeerEvent::Connected { shard, attempt, connection: link.id };
            io.arrivals.push(PeersEvent::Peer { broker, event });
            link.run(io, stream, FrameReader::new(MAX_FRAME)).await;
        }
        Err(error) => {
            tracing::debug!(%broker, shard, %error, "a dial has failed");
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            let event = PeerEvent::DialFailed { shard, attempt, refused };
            io.arrivals.push(PeersEvent::Peer { broker, event });
        }
    }
}

/// Tries every address of the host; refused only when all of them refuse, since then nobody listens.
async fn connect(address: &PeerAddress) -> io::Result<TcpStream> {
    let mut failure: Option<io::Error> = None;
    for candidate in lookup_host((address.host(), address.port())).await? {
        match TcpStream::connect(candidate).await.and_then(|stream| prepare(&stream).map(|()| stream)) {
            Ok(stream) if is_itself(&stream) => failure = Some(io::ErrorKind::ConnectionRefused.into()),
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                failure = Some(failure.unwrap_or(error));
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address")))
}

/// Whether the kernel has connected the socket to itself, as it may where nobody listens on a port that it gives to
/// clients.
fn is_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(remote)) if local == remote)
}
