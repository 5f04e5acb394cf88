//! The cluster: hosts, the network between them, and time.

use std::collections::{BTreeMap, BTreeSet};

use millrace_metadata::Proposer;
use millrace_metadata::log::{Effect, Event, Message};
use millrace_types::BrokerId;

use crate::dice::Dice;
use crate::history::History;
use crate::host::Host;
use crate::plan::Plan;

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub(crate) struct Violated {
    pub(crate) invariant: &'static str,
    pub(crate) text: String,
}

#[derive(Debug)]
enum What {
    Deliver { to: usize, from: Proposer, bytes: Vec<u8> },
    Written { host: usize, boot: u64, token: u64, refused: bool },
    Timer { host: usize, at: u64 },
    Sessions,
    Command,
    Fault,
    Start { host: usize },
    Heal { from: usize, to: usize },
}

/// How often sessions are looked at.
const SESSION_TICK: u64 = 10_000;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), What>,
    sequence: u64,
    pub(crate) hosts: Vec<Host>,
    /// Links that lose everything, since when.
    pub(crate) cuts: BTreeMap<(usize, usize), u64>,
    pub(crate) history: History,
    pub(crate) violation: Option<Violated>,
    pub(crate) trace: Vec<String>,
    pub(crate) keeps_trace: bool,
    pub(crate) steps: u64,
    pub(crate) seen: BTreeSet<&'static str>,
    pub(crate) wipes: usize,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut world = Self {
            dice: Dice::new(plan.seed ^ 0x5eed),
            hosts: (1..=plan.brokers as i32).map(Host::new).collect(),
            plan,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            cuts: BTreeMap::new(),
            history: History::new(),
            violation: None,
            trace: Vec::new(),
            keeps_trace: false,
            steps: 0,
            seen: BTreeSet::new(),
            wipes: 0,
        };
        for host in 0..world.hosts.len() {
            let after = world.dice.between(0, 50_000);
            world.at(after, What::Start { host });
        }
        world.at(1, What::Sessions);
        world.at(20_000, What::Command);
        world.at(30_000, What::Fault);
        world
    }

    pub(crate) fn say(&mut self, text: impl FnOnce() -> String) {
        if self.keeps_trace {
            let line = format!("{:>8} {}", self.now / 1_000, text());
            self.trace.push(line);
        }
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, text: String) {
        self.say(|| format!("VIOLATED {invariant}: {text}"));
        self.violation.get_or_insert(Violated { invariant, text });
    }

    fn at(&mut self, after: u64, what: What) {
        self.sequence += 1;
        self.queue.insert((self.now.saturating_add(after), self.sequence), what);
    }

    pub(crate) fn start_later(&mut self, host: usize, after: u64) {
        self.at(after, What::Start { host });
    }

    pub(crate) fn heal_later(&mut self, (from, to): (usize, usize), after: u64) {
        self.at(after, What::Heal { from, to });
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.now < self.plan.faults_until
    }

    /// Runs faults, then lets the cluster come to rest and asks it for commits.
    pub(crate) fn run(&mut self) {
        self.run_until(self.plan.faults_until);
        self.end_faults();
        self.run_until(self.now + 4_000_000);
        self.contend();
        self.run_until(self.now + 2_000_000);
        self.check_answered();
        self.run_until(self.now + 2_000_000);
        self.check_end();
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while self.violation.is_none() {
            let Some(entry) = self.queue.first_entry() else { break };
            if entry.key().0 > end {
                break;
            }
            let ((at, _), what) = entry.remove_entry();
            self.now = at;
            self.happen(what);
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { to, from, bytes } => {
                // The session layer delivers what the process it has shaken hands with has sent, and nothing else.
                if self.hosts[to].sessions.get(&from.broker) == Some(&from) {
                    let message = Message::decode(&bytes).expect("what is sent can be read");
                    self.say(|| format!("{} <- {}: {}", to + 1, from.broker, brief(&message)));
                    self.step(to, Event::Receive { from, message });
                }
            }
            What::Written { host, boot, token, refused } => {
                let here = self.hosts[host].boot == boot && self.hosts[host].log.is_some();
                if let Some(writing) = self.hosts[host].writing.take_if(|one| here && one.token == token) {
                    if refused {
                        self.say(|| format!("{} is refused a write", host + 1));
                        self.seen.insert("refused");
                        self.step(host, Event::Refused { token });
                    } else {
                        self.hosts[host].finish(writing);
                        self.step(host, Event::Persisted { token });
                    }
                }
            }
            What::Timer { host, at } => {
                if self.hosts[host].timer == at && self.hosts[host].log.is_some() {
                    self.hosts[host].timer = u64::MAX;
                    self.step(host, Event::Timer);
                }
            }
            What::Sessions => {
                self.look_at_sessions();
                self.at(SESSION_TICK, What::Sessions);
            }
            What::Command => {
                if self.has_faults() {
                    self.command();
                    let after = self.dice.between(1, self.plan.commands_every * 2);
                    self.at(after, What::Command);
                }
            }
            What::Fault => {
                if self.has_faults() {
                    self.fault();
                    let after = self.dice.between(1, self.plan.fault_every * 2);
                    self.at(after, What::Fault);
                }
            }
            What::Start { host } => self.start(host),
            What::Heal { from, to } => {
                self.cuts.remove(&(from, to));
            }
        }
    }

    pub(crate) fn start(&mut self, host: usize) {
        if self.hosts[host].log.is_some() {
            return;
        }
        let (image, entries) = self.hosts[host].start(&self.plan);
        if image.epoch() > 0
            && let Err(violated) = self.history.applied(&image, &entries)
        {
            self.violate(violated.invariant, format!("broker {} starts: {}", host + 1, violated.text));
        }
        let process = self.hosts[host].process();
        self.say(|| format!("{} starts: {process}", host + 1));
        self.step(host, Event::Start);
    }

    /// What the session layer would know by now.
    fn look_at_sessions(&mut self) {
        for host in 0..self.hosts.len() {
            for other in 0..self.hosts.len() {
                if host == other || self.hosts[host].log.is_none() {
                    continue;
                }
                let peer = self.hosts[other].log.as_ref().map(|_| self.hosts[other].process());
                let id = self.hosts[other].id;
                let known = self.hosts[host].sessions.get(&id).copied();
                let silent =
                    |link| self.cuts.get(&link).is_some_and(|since| self.now - since >= self.plan.session_timeout);
                let cut = self.cuts.contains_key(&(host, other)) || self.cuts.contains_key(&(other, host));
                let lost = known.is_some() && (peer != known || silent((host, other)) || silent((other, host)));
                if lost && self.dice.chance(500) {
                    self.down(host, id);
                } else if let (None, Some(peer), false) = (known, peer, cut)
                    && self.dice.chance(500)
                {
                    self.hosts[host].sessions.insert(id, peer);
                    self.say(|| format!("{} hears {peer}", host + 1));
                    self.step(host, Event::SessionUp(peer));
                }
            }
        }
    }

    fn down(&mut self, host: usize, id: BrokerId) {
        self.hosts[host].sessions.remove(&id);
        self.say(|| format!("{} does not hear {id}", host + 1));
        self.step(host, Event::SessionDown(id));
    }

    pub(crate) fn step(&mut self, host: usize, event: Event) {
        self.steps += 1;
        let effects = self.hosts[host].step(self.now, event);
        for effect in effects {
            self.carry_out(host, effect);
        }
        let deadline = self.hosts[host].log.as_ref().map_or(u64::MAX, |log| log.deadline().as_micros());
        if deadline != u64::MAX && deadline != self.hosts[host].timer {
            let at = deadline.max(self.now + 1);
            self.hosts[host].timer = at;
            self.at(at - self.now, What::Timer { host, at });
        }
    }

    fn carry_out(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Persist { token, .. } | Effect::Replace { token, .. } => {
                let refused = self.has_faults() && self.dice.chance(self.plan.refusals);
                self.hosts[host].write(effect);
                let after = self.dice.between(self.plan.disk.0, self.plan.disk.1);
                let boot = self.hosts[host].boot;
                self.at(after, What::Written { host, boot, token, refused });
            }
            Effect::Send { to, message } => self.send(host, to.0 as usize - 1, &message),
            Effect::Applied { image, entries } => {
                self.say(|| format!("{} applies {} {:?}", host + 1, image.epoch(), entries));
                if let Err(violated) = self.history.applied(&image, &entries) {
                    self.violate(violated.invariant, format!("broker {}: {}", host + 1, violated.text));
                }
            }
            Effect::Replaced { image } => {
                self.seen.insert("snapshot");
                self.say(|| format!("{} has the snapshot of {}", host + 1, image.epoch()));
                if let Err(violated) = self.history.replaced(&image) {
                    self.violate(violated.invariant, format!("broker {}: {}", host + 1, violated.text));
                }
            }
            Effect::Answer { ticket, epoch, result } => {
                self.say(|| format!("{} answers {ticket} at {epoch}: {result:?}", host + 1));
                self.history.answered(self.now, ticket, epoch, result);
            }
            Effect::Halted(reason) => self.violate("I15", format!("broker {} stops: {reason}", host + 1)),
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        self.note(message);
        let faults = self.has_faults();
        if self.cuts.contains_key(&(from, to)) || faults && self.dice.chance(self.plan.loss) {
            return;
        }
        let copies = if faults && self.dice.chance(self.plan.duplicates) { 2 } else { 1 };
        let bytes = message.encode();
        for _ in 0..copies {
            let after = self.dice.between(self.plan.delay.0, self.plan.delay.1);
            let process = self.hosts[from].process();
            self.at(after, What::Deliver { to, from: process, bytes: bytes.clone() });
        }
    }

    fn note(&mut self, message: &Message) {
        self.seen.insert(match message {
            Message::Promise { accepted: Some(_), .. } => "promise of accepted",
            Message::Nack { .. } => "nack",
            Message::Accept { ballot, .. } if ballot.n == 0 => "fast path",
            Message::Behind { .. } => "behind",
            Message::NotAcceptor { .. } => "not acceptor",
            Message::Head { undecided: true, .. } => "undecided",
            Message::Forwarded { outcome: Some(_), .. } => "forwarded",
            Message::Forwarded { outcome: None, .. } => "forward refused",
            _ => "else",
        });
    }
}

fn brief(message: &Message) -> String {
    let text = format!("{message:?}");
    text.chars().take(220).collect()
}
