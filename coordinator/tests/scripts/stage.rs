//! A shard, its clock and its log.

use std::fmt::Write as _;
use std::time::Duration;

use millrace_coordinator::{CheckpointCursor, GroupConfig, GroupShard, Outcome, Record};
use millrace_types::{Instant, Now};

use crate::command::{Words, request};
use crate::names::Names;
use crate::print;

/// The wall clock at the script's start.
const WALL: i64 = 1_000_000;

/// What a script acts on.
pub(crate) struct Stage {
    shard: GroupShard,
    config: GroupConfig,
    names: Names,
    log: Vec<Record>,
    millis: u64,
    next_token: u64,
    starts: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let config = GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() };
        let mut stage = Self {
            shard: GroupShard::new(config.clone(), 1),
            config,
            names: Names::default(),
            log: Vec::new(),
            millis: 0,
            next_token: 1,
            starts: 1,
        };
        stage.shard.loaded(stage.now(), &mut Outcome::default());
        stage
    }

    /// Runs a command and prints what came of it.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let words = Words::new(line);
        let mut text = String::new();
        match line.split_whitespace().next() {
            Some("config") => {
                self.configure(&words);
                text.push_str(&self.restart());
            }
            Some("wait") => {
                let millis = words.plain().next().unwrap().parse::<u64>().unwrap();
                self.pass(self.millis + millis, &mut text);
            }
            Some("restart") => text.push_str(&self.restart()),
            Some("checkpoint") => text.push_str(&self.checkpoint()),
            _ => {
                let request = request(line, &self.names).unwrap_or_else(|| panic!("no such command: {line}"));
                let token = self.next_token;
                self.next_token += 1;
                let mut out = Outcome::default();
                self.shard.handle(self.now(), token, request, &mut out);
                self.show(out, token, &mut text);
                // What a delay of zero puts off is due at once.
                self.pass(self.millis, &mut text);
            }
        }
        if text.is_empty() {
            text.push_str("ok\n");
        }
        text
    }

    fn now(&self) -> Now {
        let wall = WALL + i64::try_from(self.millis).unwrap();
        Now { instant: Instant::from_micros(self.millis * 1_000), wall }
    }

    fn configure(&mut self, words: &Words<'_>) {
        let millis =
            |key, old: Duration| words.get(key).map_or(old, |value| Duration::from_millis(value.parse().unwrap()));
        let size = |key, old: usize| words.get(key).map_or(old, |value| value.parse().unwrap());
        let old = self.config.clone();
        self.config = GroupConfig {
            initial_rebalance_delay: millis("initial-delay", old.initial_rebalance_delay),
            offsets_retention: millis("retention", old.offsets_retention),
            offsets_retention_check_interval: millis("check-interval", old.offsets_retention_check_interval),
            max_group_size: size("max-size", old.max_group_size),
            max_groups: size("max-groups", old.max_groups),
            max_members: size("max-members", old.max_members),
            max_offsets: size("max-offsets", old.max_offsets),
            max_record_bytes: size("max-record", old.max_record_bytes),
            max_member_bytes: size("max-member-bytes", old.max_member_bytes),
            max_live_bytes: size("max-live-bytes", old.max_live_bytes),
            offset_metadata_max_bytes: size("max-metadata", old.offset_metadata_max_bytes),
            ..old
        };
    }

    /// Lets time pass, stopping at each deadline.
    fn pass(&mut self, until: u64, text: &mut String) {
        loop {
            let due = self.shard.next_deadline().as_micros().div_ceil(1_000);
            if due > until {
                break;
            }
            self.millis = self.millis.max(due);
            let mut out = Outcome::default();
            self.shard.on_timer(self.now(), &mut out);
            if !out.is_empty() {
                writeln!(text, "at {}:", self.millis).unwrap();
            }
            self.show(out, 0, text);
        }
        self.millis = until;
    }

    /// Prints an outcome; requests other than `token` are told apart by their number.
    fn show(&mut self, out: Outcome, token: u64, text: &mut String) {
        for record in &out.records {
            writeln!(text, "{}", print::record(record, &mut self.names)).unwrap();
        }
        self.log.extend(out.records);
        for (answered, response) in out.replies {
            let response = print::response(&response, &mut self.names);
            if answered == token { writeln!(text, "{response}") } else { writeln!(text, "to {answered}: {response}") }
                .unwrap();
        }
        if token != 0 && text.is_empty() {
            writeln!(text, "request {token} waits").unwrap();
        }
    }

    /// A new shard reads the log; requests that waited are gone.
    fn restart(&mut self) -> String {
        self.starts += 1;
        self.shard = GroupShard::new(self.config.clone(), self.starts);
        for record in &self.log {
            self.shard.replay(&record.key, record.value.as_deref()).unwrap();
        }
        let mut text = format!("replayed {} records\n", self.log.len());
        let mut out = Outcome::default();
        self.shard.loaded(self.now(), &mut out);
        self.show(out, 0, &mut text);
        text
    }

    /// The log becomes what a checkpoint writes.
    fn checkpoint(&mut self) -> String {
        self.log.clear();
        let mut cursor = Some(CheckpointCursor::default());
        while let Some(at) = cursor {
            cursor = self.shard.checkpoint(&at, 1, &mut self.log);
        }
        let Self { log, names, .. } = self;
        log.iter().map(|record| print::record(record, names) + "\n").collect()
    }
}
