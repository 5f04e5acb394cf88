//! The connections of clients, as a thread sees them that does not serve them: it closes them when whoever does hangs. A client
//! would wait for its request's time-out otherwise before it asks another broker.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A second handle to each connection, by number.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    streams: Mutex<BTreeMap<u64, TcpStream>>,
    last: AtomicU64,
}

impl Cuts {
    /// Takes a connection, for as long as the guard lives.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn add(self: &Arc<Self>, stream: &TcpStream) -> io::Result<Cut> {
        let second = stream.try_clone()?;
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.streams.lock().insert(number, second);
        Ok(Cut { cuts: Arc::clone(self), number })
    }

    /// Closes every connection. Those who serve them find that out as they get on.
    pub(crate) fn cut_all(&self) {
        for stream in self.streams.lock().values() {
            // One that has ended already is not connected.
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A connection that can be closed.
#[derive(Debug)]
pub(crate) struct Cut {
    cuts: Arc<Cuts>,
    number: u64,
}

impl Drop for Cut {
    fn drop(&mut self) {
        // The descriptor is closed after the lock is given back.
        let _second = self.cuts.streams.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_cut_hears_the_end_and_others_do_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let cuts = Arc::<Cuts>::default();
        let connect = || {
            let client = TcpStream::connect(address).expect("connected");
            client.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
            (client, listener.accept().expect("accepted").0)
        };
        let ((mut first, served), (mut second, gone)) = (connect(), connect());
        let cut = cuts.add(&served).expect("taken");
        drop(cuts.add(&gone).expect("taken"));
        assert_eq!(cuts.streams.lock().len(), 1, "one has gone by itself");
        cuts.cut_all();
        assert_eq!(first.read(&mut [0]).expect("the end"), 0);
        assert!(second.read(&mut [0]).is_err(), "it waits");
        drop(cut);
        assert!(cuts.streams.lock().is_empty());
    }
}
