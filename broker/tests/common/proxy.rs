//! A way between two processes that can be cut.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes connections on to another address.
pub struct Proxy {
    /// Its own address.
    pub address: String,
    links: Arc<Mutex<Vec<TcpStream>>>,
    target: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// Listens, and passes nothing on before it has a target.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let links = Arc::<Mutex<Vec<TcpStream>>>::default();
        let target = Arc::<Mutex<Option<String>>>::default();
        let (kept, to) = (Arc::clone(&links), Arc::clone(&target));
        std::thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let to = to.lock().expect("no panic").clone().map(TcpStream::connect);
                let Some(Ok(to)) = to else { continue };
                let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                kept.lock().expect("no panic").extend([clone(&from), clone(&to)]);
                for (mut reader, mut writer) in [(clone(&from), clone(&to)), (to, from)] {
                    std::thread::spawn(move || {
                        let _ended = copy(&mut reader, &mut writer);
                        let _gone = writer.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { address, links, target }
    }

    /// Passes on to this address from now on.
    pub fn lead_to(&self, target: &str) {
        *self.target.lock().expect("no panic") = Some(target.to_owned());
    }

    /// Cuts every connection there is; new ones come through.
    pub fn cut(&self) {
        for link in self.links.lock().expect("no panic").drain(..) {
            let _gone = link.shutdown(Shutdown::Both);
        }
    }
}
