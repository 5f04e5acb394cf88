//! Commands of scripts, as `raft/tests/golden/README.md` lists them.

use std::time::Duration;

use millrace_raft::{
    AckPolicy, Change, Configuration, ConfigurationId, Event, FlushMode, Peer, Raft, Restored, UncleanRecovery, Voter,
    VoterRole,
};

use crate::host::key;
use crate::plan::Plan;
use crate::print;
use crate::store::{Disk, Records, Store};
use crate::world::World;

/// A cluster under a script.
pub(crate) struct Stage {
    world: World,
}

fn number(word: &str) -> usize {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
}

fn broker(word: &str) -> usize {
    number(word) - 1
}

/// The links that `1>2` or `1-2` names.
fn links(word: &str) -> Vec<(usize, usize)> {
    if let Some((from, to)) = word.split_once('>') {
        return vec![(broker(from), broker(to))];
    }
    let (a, b) = word.split_once('-').expect("1>2 or 1-2");
    vec![(broker(a), broker(b)), (broker(b), broker(a))]
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { world: Self::cluster(&["3"]) }
    }

    fn cluster(words: &[&str]) -> World {
        let mut plan = Plan::scripted(number(words[0]));
        for word in &words[1..] {
            match word.split_once('=') {
                Some(("min-isr", count)) => plan.settings.min_in_sync = number(count),
                Some(("spare", count)) => plan.spares = number(count),
                Some(("lag", millis)) => plan.settings.lag_max = Duration::from_millis(number(millis) as u64),
                None if *word == "witness" => plan.witness = true,
                None if *word == "quorum" => plan.settings.ack_policy = AckPolicy::Quorum,
                None if *word == "page-cache" => plan.settings.flush = FlushMode::PageCache,
                None if *word == "manual" => plan.settings.unclean_recovery = UncleanRecovery::Manual,
                _ => panic!("unknown option {word:?}"),
            }
        }
        let mut world = World::new(plan);
        world.keeps_trace = true;
        world.at(500, crate::world::Happening::Tick);
        world
    }

    /// Runs a command and returns what happened.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let before = self.world.trace.len();
        if words[0] == "cluster" {
            self.world = Self::cluster(&words[1..]);
            return String::new();
        }
        if words[0] == "state" {
            return self.state();
        }
        self.command(words[0], &words[1..]);
        let lines = self.world.trace[before..].join("\n");
        if lines.is_empty() { lines } else { lines + "\n" }
    }

    fn command(&mut self, name: &str, words: &[&str]) {
        let world = &mut self.world;
        match name {
            "start" if words.is_empty() => (0..world.hosts.len()).for_each(|at| world.boot(at)),
            "start" => words.iter().for_each(|word| world.boot(broker(word))),
            "run" => world.run_until(world.now + number(words[0]) as u64 * 1_000),
            "produce" => {
                if !world.produce(broker(words[0]), number(words[1]) as u64) {
                    let refusal = world.hosts[broker(words[0])].raft.as_ref().map(Raft::admission);
                    world.note(format!("{} refuses: {refusal:?}", words[0]));
                }
            }
            "kill" => self.crash(broker(words[0]), false, i64::MAX),
            "power-loss" => {
                let kept = words.get(1).map_or(0, |kept| number(kept) as i64);
                self.crash(broker(words[0]), true, kept);
            }
            "wipe" => self.wipe(broker(words[0])),
            "shed" => self.shed(broker(words[0])),
            "block" => world.blocked.extend(words.iter().flat_map(|word| links(word))),
            "isolate" => {
                let at = broker(words[0]);
                let others = (0..world.hosts.len()).filter(|other| *other != at);
                world.blocked.extend(others.flat_map(|other| [(at, other), (other, at)]));
            }
            "heal" => world.blocked.clear(),
            "keep" => links(words[0]).into_iter().for_each(|link| drop(world.kept.insert(link, Vec::new()))),
            "deliver" => self.deliver_kept(words[0], words.get(1).map_or(usize::MAX, |count| number(count))),
            "hold" => world.hosts[broker(words[0])].held = (true, true),
            "hold-flush" => world.hosts[broker(words[0])].held.1 = true,
            "hold-puts" => world.hosts[broker(words[0])].held.0 = true,
            "release" => {
                world.hosts[broker(words[0])].held = (false, false);
                world.schedule_flush(broker(words[0]));
            }
            "reset" => world.reset_connections(broker(words[0])),
            "refetch" => world.refetch(),
            "messages" => world.talkative = words[0] == "on",
            "retain" => {
                let (at, start) = (broker(words[0]), number(words[1]) as i64);
                world.raise_start(at, start);
                world.step(at, Event::LogStart { start });
            }
            _ => self.event(name, words),
        }
    }

    fn event(&mut self, name: &str, words: &[&str]) {
        let world = &mut self.world;
        let at = broker(words[0]);
        if name == "force" {
            // The operator gives up what may have been acknowledged.
            world.ghost = crate::invariant::Ghost::default();
        }
        let event = match name {
            "transfer" => Event::Transfer { to: world.hosts[broker(words[1])].key },
            "stall" => Event::Stalled(true),
            "unstall" => Event::Stalled(false),
            "poison" => Event::Poisoned,
            "resign" => Event::Resign,
            "hint" => Event::Hint { leader: world.hosts[broker(words[1])].key, epoch: number(words[2]) as i32 },
            "change" => {
                let key = world.hosts[broker(words[2])].key;
                Event::Change(match words[1] {
                    "+learner" => Change::AddLearner(key),
                    "-learner" => Change::RemoveLearner(key),
                    "+voter" => Change::AddVoter(Voter { key, role: VoterRole::Data }),
                    "+witness" => Change::AddVoter(Voter { key, role: VoterRole::Witness }),
                    "-voter" => Change::RemoveVoter(key),
                    // The directory that the broker had before it was wiped.
                    "-gone" => Change::RemoveVoter(crate::host::key(broker(words[2]), number(words[2]) as u128)),
                    other => panic!("unknown change {other:?}"),
                })
            }
            "force" => {
                let voter = |word: &&str| Voter { key: world.hosts[broker(word)].key, role: VoterRole::Data };
                let voters = words[1..].iter().map(voter).collect();
                let id = ConfigurationId { generation: 1, epoch: 0, version: 1 };
                Event::Force(Configuration { id, voters, learners: Vec::new() })
            }
            other => panic!("unknown command {other:?}"),
        };
        world.step(at, event);
    }

    fn crash(&mut self, at: usize, power: bool, kept: i64) {
        let world = &mut self.world;
        let kept = kept.clamp(world.hosts[at].disk.flushed, world.hosts[at].log.end());
        if power && kept < world.hosts[at].log.end() {
            world.lossy = Some(at);
        }
        world.crash(at, power, kept, 0);
        world.hosts[at].held = (false, false);
        for hearing in &mut world.hearing[at] {
            hearing.up = None;
        }
    }

    fn wipe(&mut self, at: usize) {
        self.crash(at, true, 0);
        let host = &mut self.world.hosts[at];
        host.key = key(at, 100 + at as u128);
        (host.log, host.disk, host.store, host.unclean) =
            (Records::default(), Disk::default(), Store::default(), false);
    }

    /// The log goes as when the replica has retired; its word stays, and its process goes on.
    fn shed(&mut self, at: usize) {
        let host = &mut self.world.hosts[at];
        let Store { epoch, voted_for, configuration, .. } = host.store.clone();
        host.raft = None;
        (host.log, host.disk) = (Records::default(), Disk::default());
        host.store = Store { epoch, voted_for, configuration: configuration.clone(), ..Store::default() };
        host.heard.clear();
        let me = Peer { key: host.key, incarnation: host.incarnation };
        let restored = Restored { epoch, voted_for, configuration, ..Restored::default() };
        host.raft = Some(Raft::new(me, restored, self.world.plan.settings, 1));
        self.world.step(at, Event::Start);
        self.world.note(format!("{} begins with nothing but its word", me.key));
    }

    fn deliver_kept(&mut self, word: &str, count: usize) {
        for link in links(word) {
            let mut kept = self.world.kept.remove(&link).unwrap_or_default();
            let rest = kept.split_off(count.min(kept.len()));
            for (envelope, payload) in kept {
                self.world.deliver(envelope, &payload);
            }
            if !rest.is_empty() {
                self.world.kept.insert(link, rest);
            }
        }
    }

    fn state(&self) -> String {
        let line = |host: &crate::host::Host| {
            let Some(raft) = &host.raft else { return format!("{} down\n", host.key) };
            let status = raft.status();
            let in_sync = if status.in_sync.is_empty() {
                String::new()
            } else {
                let latest = raft.latest().map_or_else(|| "not told".to_owned(), |latest| latest.to_string());
                format!(" in sync [{}] latest {latest}", print::list(&status.in_sync))
            };
            let recovering = if status.recovering { " recovering" } else { "" };
            let epochs: Vec<_> = raft.epochs().collect();
            let role = format!("{:?}", status.role).to_lowercase();
            format!(
                "{} {role} epoch {} log {}..{} epochs [{}] ack {} high watermark {}{in_sync}{recovering}\n",
                host.key,
                status.epoch,
                status.log_start,
                status.position.offset,
                print::list(&epochs),
                status.acknowledged,
                status.high_watermark,
            )
        };
        self.world.hosts.iter().map(line).collect()
    }
}
