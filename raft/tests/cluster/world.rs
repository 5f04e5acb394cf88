//! A cluster: its queue of happenings, and how a run goes.

use std::collections::{BTreeMap, BTreeSet};

use millrace_raft::{Configuration, ConfigurationId, Envelope, Event, ReplicaKey, Voter, VoterRole};
use millrace_types::Offset;

use crate::dice::Dice;
use crate::host::Host;
use crate::invariant::Ghost;
use crate::network::Hearing;
use crate::plan::{Plan, Profile};
use crate::store::Rec;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Happening {
    Deliver {
        envelope: Box<Envelope>,
        payload: Vec<Rec>,
    },
    PutDone {
        at: usize,
        incarnation: u64,
        token: u64,
    },
    FlushDone {
        at: usize,
        incarnation: u64,
        upto: Offset,
        cuts: u64,
    },
    CutDone {
        at: usize,
        incarnation: u64,
        to: Offset,
        cuts: u64,
    },
    Timer {
        at: usize,
        incarnation: u64,
    },
    /// Sessions, and what the cluster's operator looks at.
    Tick,
    Produce,
    Fault,
    Restart {
        at: usize,
    },
    Unblock {
        from: usize,
        to: usize,
    },
    Unstall {
        at: usize,
    },
    /// A follower that could not append asks again.
    Refetch {
        at: usize,
        incarnation: u64,
    },
}

/// Messages with their records.
pub(crate) type Parcels = Vec<(Envelope, Vec<Rec>)>;

/// A rule that was seen broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violated {
    pub(crate) invariant: &'static str,
    pub(crate) text: String,
}

/// A cluster under faults.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) hearing: Vec<Vec<Hearing>>,
    pub(crate) blocked: BTreeSet<(usize, usize)>,
    /// Links that keep what is sent on them, in scripts.
    pub(crate) kept: BTreeMap<(usize, usize), Parcels>,
    pub(crate) ghost: Ghost,
    pub(crate) violation: Option<Violated>,
    pub(crate) trace: Vec<String>,
    pub(crate) keeps_trace: bool,
    /// Whether the trace tells every message.
    pub(crate) talkative: bool,
    pub(crate) steps: u64,
    pub(crate) healed: bool,
    /// The one replica that has lost what it may have acknowledged, until it has recovered.
    pub(crate) lossy: Option<usize>,
    pub(crate) next_value: u64,
    /// Whether hosts remember that they recover: not with the mutation that forgets it.
    pub(crate) remembers_recovery: bool,
}

impl World {
    /// A cluster whose processes have not started.
    pub(crate) fn new(plan: Plan) -> Self {
        let (voters, count) = (plan.voters, plan.voters + plan.spares);
        let witness = |at| plan.witness && at + 1 == voters;
        let mut hosts: Vec<Host> = (0..count).map(|at| Host::new(at, witness(at))).collect();
        let role = |host: &Host| if host.witness { VoterRole::Witness } else { VoterRole::Data };
        let configuration = Configuration {
            id: ConfigurationId { generation: 0, epoch: 0, version: 1 },
            voters: hosts[..voters].iter().map(|host| Voter { key: host.key, role: role(host) }).collect(),
            learners: Vec::new(),
        };
        for host in &mut hosts[..voters] {
            host.store.configuration = configuration.clone();
        }
        Self {
            dice: Dice::new(plan.seed ^ 0x5eed),
            plan,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            hosts,
            hearing: vec![vec![Hearing::default(); count]; count],
            blocked: BTreeSet::new(),
            kept: BTreeMap::new(),
            ghost: Ghost::default(),
            violation: None,
            trace: Vec::new(),
            keeps_trace: false,
            talkative: false,
            steps: 0,
            healed: false,
            lossy: None,
            next_value: 0,
            remembers_recovery: true,
        }
    }

    pub(crate) fn at(&mut self, when: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((when, self.sequence), happening);
    }

    pub(crate) fn note(&mut self, line: String) {
        if self.keeps_trace {
            let millis = self.now as f64 / 1000.0;
            self.trace.push(format!("{millis:>8.1}  {line}"));
        }
    }

    pub(crate) fn violated(&mut self, invariant: &'static str, text: String) {
        self.note(format!("VIOLATED {invariant}: {text}"));
        self.violation.get_or_insert(Violated { invariant, text });
    }

    pub(crate) fn index(&self, key: ReplicaKey) -> usize {
        key.broker.0 as usize - 1
    }

    /// Hosts that lead, the one of the latest epoch last.
    pub(crate) fn leaders(&self) -> Vec<usize> {
        let mut leaders: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].is_leader()).collect();
        leaders.sort_by_key(|at| self.hosts[*at].raft.as_ref().map(|raft| raft.status().epoch));
        leaders
    }

    /// Lets happen what is due until `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        while self.violation.is_none() {
            match self.queue.first_key_value() {
                Some(((when, _), _)) if *when <= until => {}
                _ => break,
            }
            let ((when, _), happening) = self.queue.pop_first().expect("there is a first");
            self.now = self.now.max(when);
            self.happen(happening);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, happening: Happening) {
        let (owner, incarnation) = match &happening {
            Happening::Deliver { envelope, .. } => (Some(self.index(envelope.to)), None),
            Happening::PutDone { at, incarnation, .. }
            | Happening::FlushDone { at, incarnation, .. }
            | Happening::CutDone { at, incarnation, .. }
            | Happening::Timer { at, incarnation }
            | Happening::Refetch { at, incarnation } => (Some(*at), Some(*incarnation)),
            _ => (None, None),
        };
        if let Some(at) = owner {
            let host = &self.hosts[at];
            if incarnation.is_some_and(|incarnation| incarnation != host.incarnation) || host.raft.is_none() {
                return;
            }
            let put = matches!(happening, Happening::PutDone { .. }) && host.held.0;
            let flush = matches!(happening, Happening::FlushDone { .. }) && host.held.1;
            if host.paused_until > self.now || put || flush {
                let when = if put || flush { self.now + 1_000 } else { host.paused_until };
                return self.at(when, happening);
            }
        }
        match happening {
            Happening::Deliver { envelope, payload } => self.deliver(*envelope, &payload),
            Happening::PutDone { at, token, .. } => self.put_done(at, token),
            Happening::FlushDone { at, upto, cuts, .. } => self.flush_done(at, upto, cuts),
            Happening::CutDone { at, to, cuts, .. } => {
                if self.hosts[at].raft.is_some() && cuts > 0 {
                    self.cut_done(at, to);
                }
            }
            Happening::Timer { at, .. } => self.timer(at),
            Happening::Refetch { at, .. } => self.step(at, Event::Refetch),
            Happening::Tick => self.tick(),
            Happening::Produce => self.produce_somewhere(),
            Happening::Fault => self.fault(),
            Happening::Restart { at } => self.boot(at),
            Happening::Unblock { from, to } => {
                self.blocked.remove(&(from, to));
            }
            Happening::Unstall { at } => {
                self.hosts[at].stalled = false;
                self.step(at, Event::Stalled(false));
            }
        }
    }

    fn tick(&mut self) {
        self.at(self.now + 20_000, Happening::Tick);
        self.hear();
        if self.plan.produce_every != u64::MAX && self.dice.chance(300) {
            self.refetch();
        }
        if self.healed {
            self.replace_wiped();
        }
    }

    fn produce_somewhere(&mut self) {
        let pause = self.dice.between(1_000, self.plan.produce_every * 2);
        self.at(self.now + pause, Happening::Produce);
        let leaders = self.leaders();
        if !leaders.is_empty() {
            let (at, count) = (self.dice.pick(&leaders), self.dice.between(1, 3));
            if self.hosts[at].paused_until <= self.now && !self.hosts[at].stalled {
                self.produce(at, count);
            }
        }
    }

    /// Starts every process and everything that recurs.
    pub(crate) fn begin(&mut self) {
        for at in 0..self.hosts.len() {
            self.boot(at);
        }
        self.at(1_000, Happening::Tick);
        if self.plan.produce_every != u64::MAX {
            self.at(50_000, Happening::Produce);
        }
    }

    /// The whole run of a seed: faults, then none, and all must heal.
    pub(crate) fn run(&mut self) {
        self.begin();
        self.at(100_000, Happening::Fault);
        self.run_until(self.plan.faults_until);
        self.heal();
        for _ in 0..100 {
            if self.violation.is_some() || self.unhealed().is_none() {
                break;
            }
            self.run_until(self.now + 100_000);
        }
        if let Some(why) = self.unhealed() {
            for host in 0..self.hosts.len() {
                self.note(format!("{:?}", self.hosts[host].raft));
            }
            self.violated("L1", why);
        }
        if self.plan.profile == Profile::Calm {
            self.check_calm();
        }
    }
}
