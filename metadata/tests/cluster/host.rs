//! One broker: a log, and the journal that survives it.

use std::collections::BTreeMap;

use millrace_metadata::log::{Effect, Event, Log, LogOptions, Member, Members};
use millrace_metadata::{Broker, BrokerRole, Endpoint, Entry, Image, Local, Proposer, Replay};
use millrace_types::{BrokerId, DirectoryId, Instant};

use crate::dice::Dice;
use crate::plan::Plan;

/// A write that is not durable yet.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) token: u64,
    records: Vec<Vec<u8>>,
    snapshot: Option<Vec<Vec<u8>>>,
    replaces: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: BrokerId,
    pub(crate) directory: u128,
    pub(crate) incarnation: u64,
    /// Starts of this broker, of whatever directory: events of an earlier one are nobody's.
    pub(crate) boot: u64,
    pub(crate) log: Option<Log>,
    journal: Vec<Vec<u8>>,
    pub(crate) writing: Option<Writing>,
    pub(crate) timer: u64,
    /// The processes whose sessions this one has been told of.
    pub(crate) sessions: BTreeMap<BrokerId, Proposer>,
}

impl Host {
    pub(crate) fn new(id: i32) -> Self {
        Self {
            id: BrokerId(id),
            directory: id as u128 * 1_000,
            incarnation: 0,
            boot: 0,
            log: None,
            journal: Vec::new(),
            writing: None,
            timer: u64::MAX,
            sessions: BTreeMap::new(),
        }
    }

    pub(crate) fn process(&self) -> Proposer {
        Proposer { broker: self.id, directory: DirectoryId::from_u128(self.directory), incarnation: self.incarnation }
    }

    fn broker(&self) -> Broker {
        Broker {
            id: self.id,
            rack: None,
            endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: "h".to_owned(), port: 9092 }],
            directory: DirectoryId::from_u128(self.directory),
            incarnation: self.incarnation,
            role: BrokerRole::Data,
        }
    }

    /// Starts the process from what its journal holds, and tells what that is: a write may have become durable unseen.
    pub(crate) fn start(&mut self, plan: &Plan) -> (Image, Vec<Entry>) {
        self.incarnation += 1;
        self.boot += 1;
        let mut replay = Replay::new(Local { broker: Some(self.id), ..Local::default() });
        for record in &self.journal {
            replay.feed(record).expect("the journal replays");
        }
        let member = Member { host: "h".to_owned(), port: 1 };
        let options = LogOptions {
            cluster_id: "cluster".to_owned(),
            broker: self.broker(),
            members: Members::new((1..=plan.brokers as i32).map(|id| (BrokerId(id), member.clone())).collect()),
            settings: plan.settings.clone(),
            seed: u128::from(plan.seed) << 64 | self.directory << 20 | u128::from(self.boot),
        };
        let restored = replay.restore().expect("the journal is whole");
        let entries = restored.tail.iter().map(|(value, _)| Entry::decode(value).expect("it was applied")).collect();
        let image = restored.image.clone();
        self.log = Some(Log::new(options, restored));
        self.timer = u64::MAX;
        (image, entries)
    }

    /// The process ends. Of what was being written, any beginning is on the disk.
    pub(crate) fn crash(&mut self, dice: &mut Dice) {
        self.log = None;
        self.sessions.clear();
        self.boot += 1;
        let Some(writing) = self.writing.take() else { return };
        if writing.replaces {
            if dice.chance(500) {
                self.finish(writing);
            }
        } else {
            let kept = dice.below(writing.records.len() + 1);
            self.journal.extend(writing.records.into_iter().take(kept));
        }
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn wipe(&mut self) {
        self.journal.clear();
        self.directory += 1;
        self.incarnation = 0;
    }

    pub(crate) fn write(&mut self, effect: Effect) {
        assert!(self.writing.is_none(), "one write at a time");
        self.writing = Some(match effect {
            Effect::Persist { token, records, snapshot } => Writing { token, records, snapshot, replaces: false },
            Effect::Replace { token, snapshot } => {
                Writing { token, records: Vec::new(), snapshot: Some(snapshot), replaces: true }
            }
            other => unreachable!("{other:?} is no write"),
        });
    }

    /// The write is durable.
    pub(crate) fn finish(&mut self, writing: Writing) {
        self.journal.extend(writing.records);
        if let Some(snapshot) = writing.snapshot {
            self.journal = snapshot;
        }
    }

    pub(crate) fn step(&mut self, now: u64, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Some(log) = &mut self.log {
            log.step(Instant::from_micros(now), event, &mut out);
        }
        out
    }
}
