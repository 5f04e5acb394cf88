//! The network of the clients: links with a delay, in order within each link, that can end on either side at any time.

use bytes::Bytes;
use millrace_client::core::ConnectionId;

use super::World;
use crate::broker::{Happening, Net, Sent};
use crate::queue::Micros;
use crate::trace::fnv;

/// Above these bits of a link's number stands the place of its broker.
const HOME_SHIFT: u32 = 48;

/// The place of the broker that a link leads to.
pub(super) fn home(link: u64) -> usize {
    usize::try_from(link >> HOME_SHIFT).unwrap_or(0)
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Link {
    /// Its client.
    pub(super) seat: usize,
    /// The client's name for it.
    pub(super) connection: ConnectionId,
    /// When the last thing sent arrives, each way.
    up: Micros,
    down: Micros,
}

impl World {
    /// A client connects to the broker of this address.
    pub(super) fn connect(&mut self, seat: usize, connection: ConnectionId, host: &str) {
        let at = self.brokers.iter().position(|machine| crate::broker::host(machine.broker) == host);
        let link = self.new_link(at.unwrap_or(0));
        self.links.insert(link, Link { seat, connection, up: 0, down: 0 });
        self.send_up(link, if at.is_some() { Net::Connect(link) } else { Net::Lost(link) });
    }

    /// The number of a link to the broker at this place.
    pub(super) const fn new_link(&mut self, at: usize) -> u64 {
        self.next_link += 1;
        (at as u64) << HOME_SHIFT | self.next_link
    }

    /// The client sends a frame, its length included.
    pub(super) fn write(&mut self, seat: usize, connection: ConnectionId, frame: &Bytes) {
        if let Some(link) = self.link_of(seat, connection) {
            self.send_up(link, Net::Up(link, frame.slice(4..)));
        }
    }

    /// The client hangs up.
    pub(super) fn hang_up(&mut self, seat: usize, connection: ConnectionId) {
        if let Some(link) = self.link_of(seat, connection) {
            self.send_up(link, Net::HungUp(link));
            self.links.remove(&link);
        }
    }

    /// Every connection of a client ends.
    pub(super) fn hang_up_all(&mut self, seat: usize) {
        let links: Vec<u64> = self.links.iter().filter(|(_, link)| link.seat == seat).map(|(id, _)| *id).collect();
        for link in links {
            self.send_up(link, Net::HungUp(link));
            self.links.remove(&link);
        }
    }

    /// The network cuts a link; each side learns of it in its own time.
    pub(super) fn reset(&mut self, link: u64) {
        let slow = self.net_dice.pick(&[0, 1_000, 300_000]);
        let late = self.net_dice.below(slow + 1);
        self.after(late, Happening::Net(Net::HungUp(link)));
        let late = self.net_dice.below(slow + 1);
        self.after(late, Happening::Net(Net::Lost(link)));
    }

    fn link_of(&self, seat: usize, connection: ConnectionId) -> Option<u64> {
        let known = |link: &Link| link.seat == seat && link.connection == connection;
        self.links.iter().find(|(_, link)| known(link)).map(|(id, _)| *id)
    }

    fn delay(&mut self) -> Micros {
        let (low, high) = self.options.delay;
        self.net_dice.between(low, high)
    }

    fn send_up(&mut self, id: u64, net: Net) {
        let earliest = self.micros() + self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.up = earliest.max(link.up + 1);
        self.queue.push(link.up, Happening::Net(net));
    }

    pub(super) fn send_down(&mut self, id: u64, net: Net) {
        let earliest = self.micros() + self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.down = earliest.max(link.down + 1);
        self.queue.push(link.down, Happening::Net(net));
    }

    /// What a process has for the network leaves.
    pub(super) fn deliver(&mut self, at: usize, process: u64, sent: Vec<Sent>) {
        for one in sent {
            match one {
                Sent::Frame(link, bytes) => self.send_down(link, Net::Down(link, bytes)),
                Sent::Closed(link) => self.send_down(link, Net::Lost(link)),
                wired => self.send_wired(at, process, wired),
            }
        }
    }

    pub(super) fn net(&mut self, net: Net) {
        match net {
            Net::Connect(link) => {
                let accepted = self.with_process(home(link), |process, _| process.accept(link)).unwrap_or(false);
                self.send_down(link, if accepted { Net::Accepted(link) } else { Net::Lost(link) });
            }
            Net::Up(link, frame) => {
                self.trace.line(self.micros(), format_args!("up {link} {} {:x}", frame.len(), fnv(0, &frame)));
                self.with_process(home(link), |process, port| process.frame(port, link, frame));
            }
            Net::HungUp(link) => {
                self.with_process(home(link), |process, port| process.hung_up(port, link));
            }
            Net::Accepted(link) => {
                let Some((seat, connection)) = self.links.get(&link).map(|link| (link.seat, link.connection)) else {
                    return;
                };
                let now = self.now;
                self.with_client(seat, |client| client.wire().opened(now, connection));
            }
            Net::Down(link, frame) => {
                let Some((seat, connection)) = self.links.get(&link).map(|link| (link.seat, link.connection)) else {
                    return;
                };
                self.trace.line(self.micros(), format_args!("down {link} {} {:x}", frame.len(), fnv(0, &frame)));
                let now = self.now;
                self.hears = Some(home(link));
                self.with_client(seat, |client| client.wire().frame(now, connection, frame));
                self.hears = None;
            }
            Net::Lost(link) => {
                let Some(Link { seat, connection, .. }) = self.links.remove(&link) else { return };
                self.trace.line(self.micros(), format_args!("lost {link}"));
                let now = self.now;
                self.with_client(seat, |client| client.wire().closed(now, connection));
            }
        }
    }
}
