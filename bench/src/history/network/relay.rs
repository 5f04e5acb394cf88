//! A relay between every two brokers: connections that are carried on by this process, each direction apart.
//!
//! It knows streams, not packets. A cut way carries nothing, the end of a connection neither, until it is open again; then it carries what was written
//! meanwhile, as TCP does behind a partition. A lost piece is late by the time after which TCP sends again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::draw::Draw;
use super::{Addresses, Node, Ways};
use crate::error::BenchError;

/// Bytes that are carried at once, and how many such pieces may be on their way.
const PIECE_BYTES: usize = 16 << 10;
const PIECES: usize = 256;
/// How long TCP waits at least before it sends again.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A piece and when it arrives.
type Piece = (Instant, Vec<u8>);

/// The relays of a run. They end with the value.
#[derive(Debug)]
pub(crate) struct Relays(Vec<JoinHandle<()>>);

impl Drop for Relays {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Relays {
    /// A relay for each broker and peer.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub(crate) async fn make(
        addresses: &Addresses,
        brokers: Node,
        ways: &Arc<Ways>,
        seed: u64,
    ) -> Result<Self, BenchError> {
        let mut relays = Self(Vec::new());
        for from in 1..=brokers {
            for to in (1..=brokers).filter(|to| *to != from) {
                let address = addresses.relay(from, to);
                let listener = TcpListener::bind(&address).await;
                let listener = listener.map_err(|source| BenchError::Io { address, operation: "listen on", source })?;
                let draw = Draw::new(seed, u64::from(from) << 8 | u64::from(to));
                let draw = Arc::new(Mutex::new(draw));
                let side = Side { from, to, ways: Arc::clone(ways), draw };
                relays.0.push(tokio::spawn(accept(listener, addresses.peer(to), side)));
            }
        }
        Ok(relays)
    }
}

/// One direction of a relay.
#[derive(Debug, Clone)]
struct Side {
    from: Node,
    to: Node,
    ways: Arc<Ways>,
    draw: Arc<Mutex<Draw>>,
}

impl Side {
    fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }

    /// When a piece that is read now arrives.
    fn arrival(&self) -> Instant {
        let way = self.ways.get(self.from, self.to);
        let parts = 1_000_000;
        let drawn = self.draw.lock().unwrap_or_else(PoisonError::into_inner).below(parts);
        let is_lost = (drawn as f64) < way.loss * parts as f64;
        Instant::now() + way.delay + if is_lost { SENT_AGAIN_AFTER } else { Duration::ZERO }
    }

    async fn open(&self) {
        self.ways.open(self.from, self.to).await;
    }
}

async fn accept(listener: TcpListener, target: String, side: Side) {
    // The connections end with the relay.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(carry(stream, target.clone(), side.clone()));
    }
}

async fn carry(near: TcpStream, target: String, side: Side) {
    let back = side.back();
    side.open().await;
    back.open().await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    // Where the option cannot be set the connection is slower, and right.
    let _slower = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    // An error of either direction ends both, as a reset does; an orderly end is carried on alone.
    let _reset = tokio::try_join!(pump(near_read, far_write, side), pump(far_read, near_write, back));
}

async fn pump(read: OwnedReadHalf, write: OwnedWriteHalf, side: Side) -> std::io::Result<()> {
    let (send, receive) = channel(PIECES);
    tokio::try_join!(take(read, send, &side), give(receive, write, &side)).map(|_| ())
}

async fn take(mut read: OwnedReadHalf, send: Sender<Piece>, side: &Side) -> std::io::Result<()> {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let count = read.read(&mut piece).await?;
        piece.truncate(count);
        if send.send((side.arrival(), piece)).await.is_err() || count == 0 {
            return Ok(());
        }
    }
}

async fn give(mut receive: Receiver<Piece>, mut write: OwnedWriteHalf, side: &Side) -> std::io::Result<()> {
    // A piece behind one that is late is late too: a stream keeps its order.
    while let Some((at, piece)) = receive.recv().await {
        tokio::time::sleep_until(at).await;
        side.open().await;
        if piece.is_empty() {
            break;
        }
        write.write_all(&piece).await?;
    }
    write.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::super::Way;
    use super::*;

    async fn connected(ways: &Arc<Ways>) -> (JoinHandle<()>, TcpStream, TcpStream) {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = relay.local_addr().unwrap();
        let side = Side { from: 1, to: 2, ways: Arc::clone(ways), draw: Arc::new(Mutex::new(Draw::new(1, 0))) };
        let task = tokio::spawn(accept(relay, target.local_addr().unwrap().to_string(), side));
        let near = TcpStream::connect(address).await.unwrap();
        let (far, _) = target.accept().await.unwrap();
        (task, near, far)
    }

    async fn read(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        let count = stream.read(&mut bytes).await.unwrap();
        bytes.truncate(count);
        bytes
    }

    #[tokio::test]
    async fn a_cut_way_carries_nothing_until_it_heals_and_the_way_back_goes_on() {
        let ways = Arc::<Ways>::default();
        let (_task, mut near, mut far) = connected(&ways).await;
        near.write_all(b"one").await.unwrap();
        assert_eq!(read(&mut far).await, b"one");
        ways.set(1, 2, Way { is_cut: true, ..Way::default() });
        near.write_all(b"two").await.unwrap();
        far.write_all(b"back").await.unwrap();
        assert_eq!(read(&mut near).await, b"back");
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(50), far.peek(&mut byte)).await;
        assert!(early.is_err(), "nothing arrives: {early:?}");
        ways.heal();
        assert_eq!(read(&mut far).await, b"two");
    }

    #[tokio::test]
    async fn a_delay_and_a_loss_make_it_late() {
        let ways = Arc::<Ways>::default();
        let (_task, mut near, mut far) = connected(&ways).await;
        let delay = Duration::from_millis(30);
        for (loss, least) in [(0.0, delay), (1.0, delay + SENT_AGAIN_AFTER)] {
            ways.set(1, 2, Way { is_cut: false, delay, loss });
            let begun = Instant::now();
            near.write_all(b"late").await.unwrap();
            assert_eq!(read(&mut far).await, b"late");
            assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn the_end_of_a_connection_is_carried_on() {
        let ways = Arc::<Ways>::default();
        let (_task, near, mut far) = connected(&ways).await;
        drop(near);
        assert_eq!(read(&mut far).await, b"");
    }
}
