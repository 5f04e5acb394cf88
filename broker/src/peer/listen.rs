//! Connections that other brokers begin: who connects has little time and little room to say who it is.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use millrace_node::peer::{MAX_GREETING, PeerFrame, decode};
use millrace_node::peers::PeersEvent;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::link::{next_frame, prepare, read_some};
use super::thread::Io;
use crate::net::frame::FrameReader;

/// How long the first frame may take.
const GREETING: Duration = Duration::from_secs(2);

/// Connections that have not said who they are; further ones are closed.
const GREETING_MAX: usize = 128;

/// Accepted connections that said who they are; further ones are closed. The sessions keep one for each shard of each
/// broker, and close all others.
const ACCEPTED_MAX: usize = 4_096;

/// How long accepting pauses when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for as long as the thread runs.
pub(super) async fn listen(io: Rc<Io>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if io.is_mute() {
                    // It finds out by the end of the connection.
                    continue;
                }
                let full = io.greeting.get() >= GREETING_MAX || io.accepted.get() >= ACCEPTED_MAX;
                if full {
                    io.meters.refused.increment(1);
                    tracing::warn!(%from, "closed: too many connections of other brokers");
                    continue;
                }
                io.greeting.set(io.greeting.get() + 1);
                tokio::task::spawn_local(greet(Rc::clone(&io), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Reads the first frame and hands it over; then the connection is served as any other.
async fn greet(io: Rc<Io>, mut stream: TcpStream) {
    let mut reader = FrameReader::new(MAX_GREETING);
    let first = timeout(GREETING, first_frame(&io, &mut stream, &mut reader)).await;
    io.greeting.set(io.greeting.get() - 1);
    let frame = match first {
        Ok(Ok(frame)) => frame,
        Ok(Err(error)) => {
            io.meters.refused.increment(1);
            return tracing::debug!(%error, "a connection has brought no hello");
        }
        Err(_late) => {
            io.meters.refused.increment(1);
            return tracing::debug!("a connection has brought no hello in time");
        }
    };
    // Whose frames follow: the sessions are told by broker. What is no hello they close.
    let Ok(PeerFrame::Hello(hello)) = decode(frame.clone()) else {
        io.meters.refused.increment(1);
        return tracing::warn!("closed: the first frame of a connection is no hello");
    };
    io.accepted.set(io.accepted.get() + 1);
    let link = io.open(hello.broker);
    io.arrivals.push(PeersEvent::Accepted { connection: link.id, frame });
    link.run(Rc::clone(&io), stream, reader).await;
    io.accepted.set(io.accepted.get() - 1);
}

async fn first_frame(io: &Io, stream: &mut TcpStream, reader: &mut FrameReader) -> io::Result<Bytes> {
    prepare(stream)?;
    let (mut read, _write) = stream.split();
    loop {
        if let Some(frame) = next_frame(reader, false)? {
            return Ok(frame);
        }
        if read_some(&mut read, reader, io).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
