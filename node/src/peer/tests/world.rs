//! The host of the test: time, connections, disks, and the carrying out of effects.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_types::{DirectoryId, Instant, Now};

use super::invariant;
use super::network::{Connection, name, of_name};
use super::plan::{Plan, Profile};
use super::process::{CATCH_UP, CLASSES, CONTROL, Disk, Process, SLOTS, message, shard};
use crate::core::Core;
use crate::peer::{
    Hello, LENGTH_LEN, LinkId, Outgoing, PeerEffect, PeerEvent, PeerFrame, Remembered, decode, keepalive_frame,
};
use crate::testing::Dice;
use crate::wire::Frame;

/// When faults end.
pub(crate) const FAULTS_END: u64 = 1_800_000;
/// When the last messages are sent.
pub(crate) const PROBE: u64 = 4_600_000;
const END: u64 = 5_400_000;
const TURN: u64 = 25_000;
const CHECK: u64 = 50_000;

/// What was violated.
#[derive(Debug, Clone)]
pub(crate) struct Violated {
    pub(crate) invariant: &'static str,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) enum Action {
    Dial { process: usize, shard: u8, attempt: u64 },
    Bytes { connection: usize, end: usize, frame: Bytes },
    Reset { connection: usize, end: usize },
    Keepalive { connection: usize, end: usize, every: u64 },
    Timer { process: usize, number: u64 },
    Written { process: usize, link: LinkId, bytes: usize },
    Put { process: usize, token: u64, seen: Remembered },
    Turn { process: usize },
    Fault,
    Restart { side: usize, disk: usize },
    Probe,
    Check,
}

/// Everything.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    number: u64,
    pub(crate) actions: BTreeMap<(u64, u64), Action>,
    pub(crate) processes: Vec<Process>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) connections: Vec<Connection>,
    /// Nothing arrives at the side before.
    pub(crate) blocked: [u64; 2],
    /// The last hello that a side has accepted.
    pub(crate) hellos: [Option<Hello>; 2],
    pub(crate) snapshots: [Option<Disk>; 2],
    pub(crate) restarts: u64,
    pub(crate) steps: u64,
    pub(crate) delivered: u64,
    pub(crate) seen: BTreeMap<&'static str, u64>,
    pub(crate) violation: Option<Violated>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let dice = Dice::new(plan.seed.wrapping_add(77));
        let mut world = Self {
            plan,
            dice,
            now: 1_000,
            number: 0,
            actions: BTreeMap::new(),
            processes: Vec::new(),
            disks: Vec::new(),
            connections: Vec::new(),
            blocked: [0; 2],
            hellos: [None, None],
            snapshots: [None, None],
            restarts: 0,
            steps: 0,
            delivered: 0,
            seen: BTreeMap::new(),
            violation: None,
        };
        for side in 0..2 {
            let disk = world.format();
            world.boot(side, disk);
        }
        world.after(CHECK, Action::Check);
        world
    }

    /// A new, empty disk.
    pub(crate) fn format(&mut self) -> usize {
        let directory = DirectoryId::from_u128(0xd000 + self.disks.len() as u128);
        let (remembered, accepted) = (BTreeMap::new(), BTreeMap::new());
        self.disks.push(Disk { directory, starts: Vec::new(), told: None, remembered, accepted });
        self.disks.len() - 1
    }

    /// Starts a process on a disk.
    pub(crate) fn boot(&mut self, side: usize, disk: usize) -> usize {
        let nonce = self.dice.roll(1 << 30);
        let settings = self.plan.settings[side].clone();
        let mut process = Process::new(side, disk, &mut self.disks[disk], settings, nonce);
        process.born = self.now;
        self.processes.push(process);
        let process = self.processes.len() - 1;
        self.step(process, PeerEvent::Start);
        self.after(TURN, Action::Turn { process });
        process
    }

    pub(crate) fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    pub(crate) fn after(&mut self, delay: u64, action: Action) {
        self.number += 1;
        self.actions.insert((self.now + delay, self.number), action);
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, text: String) {
        let text = format!("at {} us: {text}", self.now);
        self.violation.get_or_insert(Violated { invariant, text });
    }

    /// Runs the whole plan.
    pub(crate) fn run(&mut self) {
        if self.plan.profile != Profile::Calm {
            let pause = self.dice.roll(self.plan.pause * 2);
            self.after(pause, Action::Fault);
        }
        self.after(PROBE, Action::Probe);
        self.run_until(END);
        if self.violation.is_none() {
            invariant::at_end(self);
        }
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(((at, number), action)) = self.actions.pop_first() {
            if at > end || self.violation.is_some() {
                self.actions.insert((at, number), action);
                break;
            }
            self.now = at;
            self.act(action);
        }
        self.now = self.now.max(end);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { process, shard, attempt } => self.dial(process, shard, attempt),
            Action::Bytes { connection, end, frame } => self.arrive(connection, end, frame),
            Action::Reset { connection, end } => self.reset(connection, end),
            Action::Keepalive { connection, end, every } => {
                let (process, closed) =
                    (self.connections[connection].ends[end], self.connections[connection].closed[end]);
                if process.is_some_and(|process| self.processes[process].alive) && !closed {
                    self.transmit(connection, end, keepalive_frame(self.now));
                    self.after(every, Action::Keepalive { connection, end, every });
                }
            }
            Action::Timer { process, number } if self.processes[process].timer == number => {
                self.step(process, PeerEvent::Timer);
            }
            Action::Timer { .. } => {}
            Action::Written { process, link, bytes } => {
                self.step(process, PeerEvent::Written { connection: link, bytes })
            }
            Action::Put { process, token, seen } if self.processes[process].alive => {
                let disk = self.processes[process].disk;
                self.disks[disk].remembered.insert(seen.directory, seen.start);
                self.step(process, PeerEvent::Remembered { token });
            }
            Action::Put { .. } => {}
            Action::Turn { process } => self.turn(process),
            Action::Fault => self.fault(),
            Action::Restart { side, disk } => {
                self.boot(side, disk);
            }
            Action::Probe => {
                for process in 0..self.processes.len() {
                    (0..SLOTS).for_each(|slot| self.say(process, slot));
                    self.step(process, PeerEvent::Flush);
                }
            }
            Action::Check => {
                invariant::at_rest(self);
                self.after(CHECK, Action::Check);
            }
        }
    }

    /// A dial comes through to some process of the other side, or to none.
    fn dial(&mut self, process: usize, shard: u8, attempt: u64) {
        let other = 1 - self.processes[process].side;
        let living: Vec<usize> = (0..self.processes.len())
            .filter(|at| self.processes[*at].side == other && self.processes[*at].alive)
            .collect();
        let Some(drawn) =
            self.dice.roll(living.len().max(1) as u64).try_into().ok().and_then(|at: usize| living.get(at))
        else {
            return self.step(process, PeerEvent::DialFailed { shard, attempt, refused: true });
        };
        self.connections.push(Connection::new(Some(process), *drawn, shard));
        let connection = name(self.connections.len() - 1, 0);
        self.step(process, PeerEvent::Connected { shard, attempt, connection });
    }

    /// Sends a frame from an end of a connection to the other.
    fn transmit(&mut self, connection: usize, from: usize, frame: Bytes) {
        let at = self.arrival(connection, 1 - from);
        if !self.connections[connection].mute[1 - from] {
            self.after(at - self.now, Action::Bytes { connection, end: 1 - from, frame });
        }
    }

    /// When something that is sent to the end now arrives: behind all before.
    fn arrival(&mut self, connection: usize, end: usize) -> u64 {
        let delay = 1 + self.dice.roll(self.plan.delay);
        let Some(process) = self.connections[connection].ends[end] else { return self.now + delay };
        let blocked = self.blocked[self.processes[process].side];
        let arrived = &mut self.connections[connection].arrived[end];
        let at = (self.now + delay).max(blocked).max(arrived.as_micros());
        *arrived = Instant::from_micros(at);
        at
    }

    fn arrive(&mut self, connection: usize, end: usize, frame: Bytes) {
        let Some(process) = self.connections[connection].ends[end] else { return };
        let greets = end == 1 && !std::mem::replace(&mut self.connections[connection].greeted, true);
        let frame = frame.slice(LENGTH_LEN..);
        let frames = &mut self.connections[connection].frames[end];
        *frames = (frames.0 + 1, Instant::from_micros(self.now));
        let link = name(connection, end);
        if !greets {
            return self.step(process, PeerEvent::Frame { connection: link, frame });
        }
        let Ok(PeerFrame::Hello(hello)) = decode(frame) else { panic!("the first frame is a hello") };
        self.hellos[self.processes[process].side] = Some(hello.clone());
        self.step(process, PeerEvent::Accepted { connection: link, hello });
    }

    /// The end learns that the connection is no more.
    pub(crate) fn reset(&mut self, connection: usize, end: usize) {
        let Some(process) = self.connections[connection].ends[end] else { return };
        if !std::mem::replace(&mut self.connections[connection].closed[end], true) {
            self.step(process, PeerEvent::Closed { connection: name(connection, end) });
        }
    }

    /// Some replicas speak, and the turn ends.
    fn turn(&mut self, process: usize) {
        if !self.processes[process].alive {
            return;
        }
        if self.now < PROBE - 1_000_000 {
            for _ in 0..self.dice.roll(self.plan.messages + 1) {
                let slot = usize::try_from(self.dice.roll(SLOTS as u64)).expect("small");
                self.say(process, slot);
            }
            self.step(process, PeerEvent::Applied(self.now / 100_000));
            self.step(process, PeerEvent::Flush);
            self.after(TURN, Action::Turn { process });
        }
    }

    /// A replica says something, if the broker is heard.
    pub(crate) fn say(&mut self, process: usize, slot: usize) {
        let length = usize::try_from(self.dice.roll(self.plan.records)).expect("small");
        let speaker = &mut self.processes[process];
        if !speaker.up || !speaker.alive {
            return;
        }
        speaker.sent[slot] += 1;
        let (serial, class) = (speaker.sent[slot], slot % CLASSES);
        let records = if class == CONTROL { Frame::new() } else { Frame::from(Bytes::from(vec![1; length])) };
        let message = message(slot, process, serial, records);
        self.step(process, PeerEvent::Send(vec![Outgoing { message, catch_up: class == CATCH_UP }]));
    }

    /// Delivers an event to a process and carries out what it asks for.
    pub(crate) fn step(&mut self, process: usize, event: PeerEvent) {
        if !self.processes[process].alive || self.violation.is_some() {
            return;
        }
        self.steps += 1;
        let mut effects = Vec::new();
        let now = Now { instant: self.instant(), wall: 0 };
        self.processes[process].core.step(now, event, &mut effects);
        for effect in effects {
            invariant::at_effect(self, process, &effect);
            self.carry_out(process, effect);
        }
        invariant::after_step(self, process);
    }

    fn carry_out(&mut self, process: usize, effect: PeerEffect) {
        match effect {
            PeerEffect::Dial { shard, attempt } => {
                let delay = 1 + self.dice.roll(self.plan.delay);
                self.after(delay, Action::Dial { process, shard, attempt });
            }
            PeerEffect::Write { connection: link, frame } => {
                let (connection, end) = of_name(link);
                let (delay, bytes) = (self.dice.roll(2_000), frame.len());
                self.after(delay, Action::Written { process, link, bytes });
                self.transmit(connection, end, frame.to_bytes());
            }
            PeerEffect::Keepalives { connection: link, every } => {
                let ((connection, end), every) = (of_name(link), u64::try_from(every.as_micros()).expect("small"));
                self.after(0, Action::Keepalive { connection, end, every });
            }
            PeerEffect::Close { connection: link, .. } => {
                let (connection, end) = of_name(link);
                self.connections[connection].closed[end] = true;
                let at = self.arrival(connection, 1 - end);
                if !self.connections[connection].mute[1 - end] {
                    self.after(at - self.now, Action::Reset { connection, end: 1 - end });
                }
            }
            PeerEffect::Remember { token, seen } => {
                let at = (self.now + 1 + self.dice.roll(self.plan.put)).max(self.processes[process].put);
                self.processes[process].put = at;
                self.after(at - self.now, Action::Put { process, token, seen });
            }
            PeerEffect::Told(start) => {
                let disk = self.processes[process].disk;
                self.disks[disk].told = Some(start);
            }
            PeerEffect::SessionUp(_) => {
                let process = &mut self.processes[process];
                process.up = true;
                process.sessions += 1;
                process.tell(|_| true);
            }
            PeerEffect::SessionDown { .. } => {
                let process = &mut self.processes[process];
                process.up = false;
                process.tell(|_| true);
            }
            PeerEffect::Deliver { messages, .. } => self.delivered += messages.len() as u64,
            PeerEffect::Refetch(lost) => {
                *self.seen.entry("refetch").or_default() += 1;
                self.processes[process].tell(|slot| shard(slot, lost.shards) == lost.shard);
            }
            PeerEffect::Refused { reason, .. } => {
                let name = match reason {
                    crate::peer::Refusal::Stale { .. } => "stale",
                    crate::peer::Refusal::History { .. } => "history",
                    crate::peer::Refusal::Cloned => "cloned",
                    crate::peer::Refusal::Taken => "taken",
                    _ => "another refusal",
                };
                *self.seen.entry(name).or_default() += 1;
            }
            PeerEffect::Ahead { .. } | PeerEffect::Plane { .. } => {}
            PeerEffect::Timer(at) => {
                self.number += 1;
                let (number, at) = (self.number, at.as_micros().max(self.now + 1_000));
                self.processes[process].timer = number;
                if at < u64::MAX / 2 {
                    self.after(at - self.now, Action::Timer { process, number });
                }
            }
        }
    }
}
