//! The network between brokers: connections with a delay, in order within each and each direction, that end on either side,
//! and ways between machines that are cut for a while, in one direction or both.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use millrace_node::peer::{LinkId, PeerEvent, keepalive_frame};
use millrace_node::peers::PeersEvent;
use millrace_types::BrokerId;

use super::World;
use crate::broker::{Happening, Sent, Wire};
use crate::queue::Micros;
use crate::trace::fnv;

/// One end of a connection.
#[derive(Debug)]
struct End {
    at: usize,
    process: u64,
    /// The process has it open.
    open: bool,
    /// When the last thing sent to this end arrives.
    last: Micros,
    /// When the last byte for this end has left the other.
    sent: Micros,
    /// What waits for the way to this end to be open again.
    held: VecDeque<Wire>,
}

/// A connection between two brokers: the end that has dialed, then the one that has accepted.
#[derive(Debug)]
pub(super) struct Cable {
    ends: [End; 2],
    /// The end that has accepted has had its first frame.
    greeted: bool,
    /// The network has forgotten it: what is sent is lost.
    dead: bool,
}

/// The connections between brokers, and the ways that are cut.
#[derive(Debug, Default)]
pub(super) struct Wires {
    cables: BTreeMap<LinkId, Cable>,
    next: LinkId,
    /// Ways from machine to machine that are cut, with the number of the cut.
    cut: BTreeMap<(usize, usize), u64>,
    cuts: u64,
}

impl Wires {
    /// The process at an end of a connection.
    pub(super) fn process(&self, link: LinkId, accepted: bool) -> Option<u64> {
        self.cables.get(&link).map(|cable| cable.ends[usize::from(accepted)].process)
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains_key(&(from, to))
    }

    /// Which end of a connection a process has open: whether the one that has accepted.
    fn side(&self, link: LinkId, process: u64) -> Option<bool> {
        let cable = self.cables.get(&link)?;
        let own = |end: &End| end.process == process && end.open;
        cable.ends.iter().position(own).map(|side| side == 1)
    }

    /// Forgets connections that nobody has open.
    fn sweep(&mut self) {
        self.cables.retain(|_, cable| cable.ends.iter().any(|end| end.open));
    }
}

impl World {
    fn wire_delay(&mut self) -> Micros {
        let (low, high) = self.options.cluster.wire_delay;
        self.net_dice.between(low, high)
    }

    pub(super) fn place_of(&self, broker: BrokerId) -> Option<usize> {
        self.brokers.iter().position(|machine| machine.broker == broker)
    }

    /// Puts bytes on the way to an end of a connection, behind those before; how long until the last one has left. What takes long
    /// arrives bit by bit, and the end is told so.
    fn transmit(&mut self, link: LinkId, accepted: bool, bytes: usize) -> Micros {
        let (now, bandwidth) = (self.micros(), self.options.cluster.bandwidth);
        let Some(cable) = self.wires.cables.get_mut(&link).filter(|_| bandwidth > 0) else { return 0 };
        let is_cut =
            self.wires.cut.contains_key(&(cable.ends[usize::from(!accepted)].at, cable.ends[usize::from(accepted)].at));
        let (dead, end) = (cable.dead, &mut cable.ends[usize::from(accepted)]);
        let begins = end.sent.max(now);
        end.sent = begins + bytes as u64 * 1_000_000 / bandwidth;
        let leaves = end.sent;
        let every = u64::try_from(self.options.cluster.sessions.keepalive.as_micros()).unwrap_or(u64::MAX) / 2;
        let mut told = begins + every;
        while told < leaves && !dead && !is_cut {
            self.queue.push(told, Happening::Wire(Wire::Progress { link, accepted }));
            told += every.max(1);
        }
        leaves - now
    }

    /// Sends something to the end of a connection, behind what is on its way; on a way that is cut it waits.
    fn send_wire(&mut self, link: LinkId, accepted: bool, wire: Wire) {
        let sent = self.wires.cables.get(&link).map_or(0, |cable| cable.ends[usize::from(accepted)].sent);
        let earliest = sent.max(self.micros()) + self.wire_delay();
        let Some(cable) = self.wires.cables.get_mut(&link).filter(|cable| !cable.dead) else { return };
        let (from, to) = (cable.ends[usize::from(!accepted)].at, cable.ends[usize::from(accepted)].at);
        let end = &mut cable.ends[usize::from(accepted)];
        if self.wires.cut.contains_key(&(from, to)) {
            end.held.push_back(wire);
            return;
        }
        end.last = earliest.max(end.last + 1);
        self.queue.push(end.last, Happening::Wire(wire));
    }

    /// What a process has for the other brokers leaves.
    pub(super) fn send_wired(&mut self, at: usize, process: u64, sent: Sent) {
        match sent {
            Sent::Dial { broker, shard, attempt } => self.dial(at, process, (broker, shard, attempt)),
            Sent::Write(link, frame) => {
                if let Some(side) = self.wires.side(link, process) {
                    self.write_wire(link, side, frame);
                }
            }
            Sent::Keepalives(link, every) => {
                if let Some(accepted) = self.wires.side(link, process) {
                    self.queue.push(self.micros(), Happening::Wire(Wire::Keepalive { link, accepted, tick: 0, every }));
                }
            }
            Sent::Close(link) => {
                let Some(side) = self.wires.side(link, process) else { return };
                self.close_end(link, side);
                self.send_wire(link, !side, Wire::End { link, accepted: !side });
                self.wires.sweep();
            }
            Sent::Frame(..) | Sent::Closed(_) => {}
        }
    }

    fn close_end(&mut self, link: LinkId, side: bool) {
        if let Some(cable) = self.wires.cables.get_mut(&link) {
            cable.ends[usize::from(side)].open = false;
        }
    }

    fn dial(&mut self, at: usize, process: u64, (broker, shard, attempt): (BrokerId, u8, u64)) {
        let Some(to) = self.place_of(broker) else { return };
        if self.wires.is_cut(at, to) || self.wires.is_cut(to, at) {
            return self.dial_fails(process, (broker, shard, attempt), false);
        }
        self.wires.next += 1;
        let (link, from) = (self.wires.next, (process, self.brokers[at].broker));
        let delay = self.wire_delay();
        self.after(delay, Happening::Wire(Wire::Dial { link, from, to: broker, shard, attempt }));
    }

    fn dial_fails(&mut self, process: u64, (broker, shard, attempt): (BrokerId, u8, u64), refused: bool) {
        // Who gets no answer finds out late, or never.
        if !refused && self.net_dice.chance(50) {
            return;
        }
        let delay = if refused { self.wire_delay() } else { self.net_dice.between(1_000, 1_000_000) };
        let event = PeersEvent::Peer { broker, event: PeerEvent::DialFailed { shard, attempt, refused } };
        self.after(delay, Happening::Wire(Wire::Dialed { process, event: Box::new(event) }));
    }

    fn write_wire(&mut self, link: LinkId, side: bool, frame: Bytes) {
        let bytes = frame.len() + 4;
        let Some(cable) = self.wires.cables.get(&link) else { return };
        let (own, other) = (cable.ends[usize::from(side)].at, &cable.ends[usize::from(!side)]);
        let (to, other_open, is_dead) = (other.at, other.open, cable.dead);
        // A socket takes what leaves for a way that is cut, until it is full.
        let on_the_way = self.transmit(link, !side, bytes);
        if !self.wires.is_cut(own, to) || self.options.cluster.sockets_take {
            let delay = self.net_dice.below(200) + on_the_way;
            self.after(delay, Happening::Wire(Wire::Written { link, accepted: side, bytes }));
        }
        if is_dead || !other_open {
            // The other machine knows nothing of this connection, and says so if it can.
            if !self.brokers[to].off && !self.wires.is_cut(own, to) && !self.wires.is_cut(to, own) {
                let delay = self.wire_delay();
                self.after(2 * delay, Happening::Wire(Wire::End { link, accepted: side }));
            }
            return;
        }
        self.send_wire(link, !side, Wire::Frame { link, accepted: !side, frame });
    }

    pub(super) fn wire(&mut self, wire: Wire) {
        match wire {
            Wire::Dial { link, from, to, shard, attempt } => self.dialed(link, from, (to, shard, attempt)),
            Wire::Dialed { process, event } => {
                if let Some(at) = self.machine_of(process) {
                    self.with_process(at, |process, port| process.tell_peers(port, *event));
                }
            }
            Wire::Frame { link, accepted, frame } => self.arrive(link, accepted, frame),
            Wire::End { link, accepted } => {
                self.tell_end(link, accepted, |connection| PeerEvent::Closed { connection }, true)
            }
            Wire::Written { link, accepted, bytes } => {
                self.tell_end(link, accepted, |connection| PeerEvent::Written { connection, bytes }, false);
            }
            Wire::Progress { link, accepted } => {
                self.tell_end(link, accepted, |connection| PeerEvent::Progress { connection }, false);
            }
            Wire::Keepalive { link, accepted, tick, every } => self.keep_alive(link, accepted, tick, every),
        }
    }

    /// A dial has arrived.
    fn dialed(&mut self, link: LinkId, from: (u64, BrokerId), (broker, shard, attempt): (BrokerId, u8, u64)) {
        let (Some(at), Some(dialer)) = (self.place_of(broker), self.place_of(from.1)) else { return };
        let machine = &self.brokers[at];
        if machine.process.is_none() {
            let refused = !machine.off;
            return self.dial_fails(from.0, (broker, shard, attempt), refused);
        }
        let end = |at, process| End { at, process, open: true, last: 0, sent: 0, held: VecDeque::new() };
        let ends = [end(dialer, from.0), end(at, machine.number())];
        self.wires.cables.insert(link, Cable { ends, greeted: false, dead: false });
        let event = PeerEvent::Connected { shard, attempt, connection: link };
        let event = Box::new(PeersEvent::Peer { broker, event });
        self.send_wire(link, false, Wire::Dialed { process: from.0, event });
        if self.machine_of(from.0).is_none() {
            // Nobody waits for it any more.
            self.close_end(link, false);
            self.send_wire(link, true, Wire::End { link, accepted: true });
        }
    }

    fn arrive(&mut self, link: LinkId, accepted: bool, frame: Bytes) {
        let Some(cable) = self.wires.cables.get_mut(&link) else { return };
        let (end, other) = (&cable.ends[usize::from(accepted)], &cable.ends[usize::from(!accepted)]);
        if !end.open || cable.dead {
            return;
        }
        let (at, broker) = (end.at, self.brokers[other.at].broker);
        let first = accepted && !cable.greeted;
        cable.greeted |= accepted;
        self.trace.line(
            self.now.instant.as_micros(),
            format_args!("wire {link} {broker} to {} {} {:x}", self.brokers[at].broker, frame.len(), fnv(0, &frame)),
        );
        let event = if first {
            PeersEvent::Accepted { connection: link, frame }
        } else {
            PeersEvent::Peer { broker, event: PeerEvent::Frame { connection: link, frame } }
        };
        self.with_process(at, |process, port| process.tell_peers(port, event));
    }

    /// Something happens to an open end of a connection.
    fn tell_end(&mut self, link: LinkId, accepted: bool, event: impl FnOnce(LinkId) -> PeerEvent, closes: bool) {
        let Some(cable) = self.wires.cables.get_mut(&link) else { return };
        let broker = self.brokers[cable.ends[usize::from(!accepted)].at].broker;
        let end = &mut cable.ends[usize::from(accepted)];
        if !end.open {
            return;
        }
        end.open = !closes;
        let at = end.at;
        if !accepted || cable.greeted {
            let event = PeersEvent::Peer { broker, event: event(link) };
            self.with_process(at, |process, port| process.tell_peers(port, event));
        }
        if closes {
            self.wires.sweep();
        }
    }

    fn keep_alive(&mut self, link: LinkId, accepted: bool, tick: u64, every: Duration) {
        let Some(cable) = self.wires.cables.get(&link) else { return };
        let end = &cable.ends[usize::from(accepted)];
        if !end.open || self.machine_of(end.process).is_none() {
            return;
        }
        let clock = self.brokers[end.at].clock;
        let next = clock.moment(clock.now(self.micros()).instant.after(every));
        self.write_wire(link, accepted, keepalive_frame(tick).slice(4..));
        self.queue.push(next, Happening::Wire(Wire::Keepalive { link, accepted, tick: tick + 1, every }));
    }

    /// The connections of a process that has ended: a machine that goes on tells the other ends, one without power does not.
    pub(super) fn cut_off(&mut self, at: usize, process: u64, power: bool) {
        let ours = |cable: &Cable| cable.ends.iter().any(|end| end.at == at && end.process == process && end.open);
        let links: Vec<LinkId> =
            self.wires.cables.iter().filter(|(_, cable)| ours(cable)).map(|(link, _)| *link).collect();
        for link in links {
            let Some(side) = self.wires.side(link, process) else { continue };
            self.close_end(link, side);
            if !power {
                self.send_wire(link, !side, Wire::End { link, accepted: !side });
            }
        }
        self.wires.sweep();
    }

    /// The network forgets a connection; each end learns of it in its own time, or by itself.
    pub(super) fn reset_a_wire(&mut self) {
        let count = self.wires.cables.len() as u64;
        let chosen = usize::try_from(self.fault_dice.below(count)).unwrap_or(0);
        let Some((link, cable)) = self.wires.cables.iter_mut().nth(chosen) else { return };
        let link = *link;
        cable.dead = true;
        let told = self.fault_dice.pick(&[[true, true], [true, true], [true, false], [false, true], [false, false]]);
        self.trace.line(self.now.instant.as_micros(), format_args!("wire {link} is reset, told {told:?}"));
        for (side, _) in told.into_iter().enumerate().filter(|(_, told)| *told) {
            let slow = self.net_dice.pick(&[0, 1_000, 300_000]);
            let late = self.net_dice.below(slow + 1);
            self.after(late, Happening::Wire(Wire::End { link, accepted: side == 1 }));
        }
    }

    /// Cuts ways between machines for a while.
    pub(super) fn cut_ways(&mut self, at: usize) {
        let (count, kind) = (self.brokers.len(), self.fault_dice.below(5));
        let other = self.any_machine();
        let group: Vec<bool> = (0..count).map(|_| self.fault_dice.chance(50)).collect();
        let is_cut = |from: usize, to: usize| match kind {
            // Nothing to a machine, nothing from it, or neither.
            0 => to == at,
            1 => from == at,
            2 => from == at || to == at,
            // One way between two, or all ways between two groups.
            3 => (from, to) == (at, other),
            _ => group[from] != group[to],
        };
        self.wires.cuts += 1;
        let cut = self.wires.cuts;
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            if from != to && is_cut(from, to) {
                self.wires.cut.insert((from, to), cut);
            }
        }
        self.trace.line(self.now.instant.as_micros(), format_args!("cut {cut}: {:?}", self.wires.cut));
        let length = self.fault_dice.pick(&[10_000, 300_000, 1_000_000, 5_000_000]);
        let length = self.fault_dice.between(1_000, length);
        self.after(length, Happening::Mended(cut));
    }

    /// The ways of this cut are open again.
    pub(super) fn mend(&mut self, cut: u64) {
        self.wires.cut.retain(|_, number| *number != cut);
        self.release_held();
    }

    /// All ways are open.
    pub(super) fn mend_all(&mut self) {
        self.wires.cut.clear();
        self.release_held();
    }

    fn release_held(&mut self) {
        let mut waiting = Vec::new();
        for (link, cable) in &mut self.wires.cables {
            for side in [false, true] {
                let (from, to) = (cable.ends[usize::from(!side)].at, cable.ends[usize::from(side)].at);
                if !self.wires.cut.contains_key(&(from, to)) {
                    waiting.extend(cable.ends[usize::from(side)].held.drain(..).map(|wire| (*link, side, wire)));
                }
            }
        }
        for (link, side, wire) in waiting {
            self.send_wire(link, side, wire);
        }
    }
}
