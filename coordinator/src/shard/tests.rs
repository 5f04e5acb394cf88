//! Random histories of requests, time, restarts and checkpoints, with the invariants checked after each step.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::outcome::Record;
use crate::request::*;
use crate::response::GroupResponse;

/// One step of a history; its numbers are taken modulo what there is to choose from.
type Step = (u8, u8, u8, u16);

/// A shard, its log, and what its clients know.
struct Stage {
    shard: GroupShard,
    config: GroupConfig,
    now: Now,
    log: Vec<Record>,
    /// Member ids that were given out, by group.
    known: Vec<(Arc<str>, Arc<str>)>,
    waiting: BTreeSet<u64>,
    next_token: u64,
    /// A checkpoint in progress: where it began in the log, and how far it is.
    checkpoint: Option<(usize, CheckpointCursor)>,
    starts: u64,
}

fn config() -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay: Duration::from_millis(100),
        offsets_retention: Duration::from_secs(60),
        offsets_retention_check_interval: Duration::from_secs(10),
        max_group_size: 3,
        max_members: 6,
        max_groups: 3,
        max_offsets: 12,
        ..GroupConfig::default()
    }
}

fn whole(shard: &GroupShard) -> Vec<Record> {
    let mut records = Vec::new();
    assert_eq!(shard.checkpoint(&CheckpointCursor::default(), usize::MAX, &mut records), None);
    records
}

fn replayed(config: &GroupConfig, log: &[Record]) -> GroupShard {
    let mut shard = GroupShard::new(config.clone(), 99);
    for record in log {
        shard.replay(&record.key, record.value.as_deref()).unwrap();
    }
    shard
}

impl Stage {
    fn new() -> Self {
        let mut stage = Self {
            shard: GroupShard::new(config(), 1),
            config: config(),
            now: Now { instant: Instant::from_micros(1), wall: 1_000_000 },
            log: Vec::new(),
            known: Vec::new(),
            waiting: BTreeSet::new(),
            next_token: 0,
            checkpoint: None,
            starts: 1,
        };
        stage.shard.loaded(stage.now, &mut Outcome::default());
        stage
    }

    fn step(&mut self, (kind, who, which, number): Step) {
        let group: Arc<str> = ["a", "b", "c", "d"][usize::from(who) % 4].into();
        let ids: Vec<_> = self.known.iter().filter(|(known, _)| *known == group).map(|(_, id)| id.clone()).collect();
        let member_id = match ids.len() {
            0 => "".into(),
            len if which % 5 > 0 => ids[usize::from(which) % len].clone(),
            _ => "".into(),
        };
        let instance_id = (which % 7 == 0).then(|| Arc::from(["i", "j"][usize::from(which) % 2]));
        let generation = self.shard.groups.get(&group).map_or(1, |group| match group.describe() {
            _ if number.is_multiple_of(9) => i32::from(number),
            _ => self.generation(group),
        });
        match kind % 12 {
            0..=2 => self.join(group, member_id, instance_id, number),
            3 | 4 => {
                let assignments = ids.iter().map(|id| (id.clone(), Bytes::from(number.to_string()))).collect();
                let (protocol_type, protocol) = (None, None);
                let sync =
                    SyncGroup { group, member_id, instance_id, generation, protocol_type, protocol, assignments };
                self.request(GroupRequest::Sync(sync));
            }
            5 => self.request(GroupRequest::Heartbeat(Heartbeat { group, member_id, instance_id, generation })),
            6 => {
                let members = vec![LeavingMember { member_id, instance_id }];
                self.request(GroupRequest::Leave(LeaveGroup { group, members }));
            }
            7 => self.commit(group, member_id, generation, which, number),
            8 => {
                let topics = vec![TopicPartitions { name: topic(which), partitions: vec![0, 1] }];
                self.request(GroupRequest::DeleteOffsets(DeleteOffsets { group, topics }));
            }
            9 if which % 4 == 0 => self.request(GroupRequest::DeleteGroups(vec![group])),
            9 if which % 4 == 1 => self.restart(),
            9 if which % 4 == 2 => self.request(GroupRequest::ForgetTopics(vec![topic(which)])),
            9 | 10 => self.pass(u64::from(number) * 5),
            _ => self.checkpoint(usize::from(which)),
        }
        self.check();
    }

    fn generation(&self, group: &Group) -> i32 {
        let record = group.metadata_record().and_then(|record| record.value);
        let written = record.map_or(0, |value| crate::record::GroupValue::decode(&value).unwrap().generation);
        // While a generation is being completed its number is above the one written last.
        written + i32::from(group.state() == GroupState::CompletingRebalance)
    }

    fn join(&mut self, group: Arc<str>, member_id: Arc<str>, instance_id: Option<Arc<str>>, number: u16) {
        let offers = [&["range"][..], &["range", "sticky"], &["sticky", "range"], &["sticky"]];
        let offered = offers[usize::from(number) % offers.len()];
        let metadata = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0]);
        self.request(GroupRequest::Join(JoinGroup {
            group,
            member_id,
            instance_id,
            client_id: "app".into(),
            client_host: "/h".into(),
            session_timeout: Duration::from_secs(10 + u64::from(number % 30)),
            rebalance_timeout: Duration::from_secs(u64::from(number % 40)),
            protocol_type: "consumer".into(),
            protocols: offered
                .iter()
                .map(|name| JoinProtocol { name: (*name).into(), metadata: metadata.clone() })
                .collect(),
            requires_known_member_id: number.is_multiple_of(3),
            supports_skipping_assignment: number.is_multiple_of(2),
        }));
    }

    fn commit(&mut self, group: Arc<str>, member_id: Arc<str>, generation: i32, which: u8, number: u16) {
        let generation = if member_id.is_empty() { -1 } else { generation };
        let partition = i32::from(number % 3);
        let commit_timestamp = number.is_multiple_of(5).then_some(self.now.wall - 1_000);
        let (offset, metadata) = (i64::from(number), "m".into());
        let offset = CommitOffset { partition, offset, leader_epoch: 1, metadata, commit_timestamp };
        self.request(GroupRequest::Commit(CommitOffsets {
            group,
            member_id,
            instance_id: None,
            generation,
            retention: number.is_multiple_of(4).then(|| Duration::from_secs(20)),
            knows_missing_group: false,
            topics: vec![CommitTopic { name: topic(which), partitions: vec![offset] }],
        }));
    }

    fn request(&mut self, request: GroupRequest) {
        let token = self.next_token;
        self.next_token += 1;
        self.waiting.insert(token);
        let group = match &request {
            GroupRequest::Join(join) => Some(join.group.clone()),
            _ => None,
        };
        let mut out = Outcome::default();
        self.shard.handle(self.now, token, request, &mut out);
        for (_, response) in &out.replies {
            if let (GroupResponse::Join(joined), Some(group)) = (response, &group)
                && !joined.member_id.is_empty()
            {
                self.known.push((group.clone(), joined.member_id.clone()));
            }
        }
        self.take(out);
    }

    fn take(&mut self, out: Outcome) {
        self.log.extend(out.records);
        for (token, _) in out.replies {
            assert!(self.waiting.remove(&token), "request {token} is answered twice");
        }
    }

    fn pass(&mut self, millis: u64) {
        let until = self.now.instant.after(Duration::from_millis(millis));
        while self.shard.next_deadline() <= until {
            let at = self.shard.next_deadline().max(self.now.instant);
            self.clock(at);
            let mut out = Outcome::default();
            self.shard.on_timer(self.now, &mut out);
            self.take(out);
        }
        self.clock(until);
    }

    fn clock(&mut self, to: Instant) {
        let passed = to.since(self.now.instant).as_millis();
        self.now = Now { instant: to, wall: self.now.wall + i64::try_from(passed).unwrap() };
    }

    /// A new process reads the log; what waited is gone with the old one.
    fn restart(&mut self) {
        self.starts += 1;
        let before = whole(&self.shard);
        self.shard = replayed(&self.config, &self.log);
        assert_eq!(whole(&self.shard), before, "the log is the state");
        self.shard.ids = MemberIds::new(self.starts);
        self.waiting.clear();
        self.checkpoint = None;
        let mut out = Outcome::default();
        self.shard.loaded(self.now, &mut out);
        self.take(out);
    }

    /// Writes the next piece of a checkpoint; when it is complete the log before it goes.
    fn checkpoint(&mut self, bytes: usize) {
        let (start, cursor) = self.checkpoint.take().unwrap_or_else(|| (self.log.len(), CheckpointCursor::default()));
        match self.shard.checkpoint(&cursor, bytes, &mut self.log) {
            Some(next) => self.checkpoint = Some((start, next)),
            None => drop(self.log.drain(..start)),
        }
    }

    fn check(&self) {
        let mut sum = Weight::default();
        for group in self.shard.groups.values() {
            group.assert_invariants();
            assert!(!group.is_nothing(), "a group that is nothing is forgotten");
            sum.change(Weight::default(), group.weight());
        }
        assert_eq!(self.shard.weight, sum);
        assert!(self.shard.len() <= 3 && self.shard.members() <= 6 && self.shard.offsets() <= 12, "the bounds hold");
        let waiting: usize = self.shard.groups.values().map(Group::waiting_requests).sum();
        assert_eq!(self.waiting.len(), waiting, "a request is answered or waits in its group");
        let state = whole(&self.shard);
        assert_eq!(whole(&replayed(&self.config, &self.log)), state, "the log is the state");
        let bytes: usize = state.iter().map(|record| record.size() + 16).sum();
        assert_eq!(self.shard.live_bytes(), bytes, "the live bytes are those of the records");
    }
}

fn topic(which: u8) -> Arc<str> {
    ["t", "u", "v"][usize::from(which) % 3].into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_every_history(steps in proptest::collection::vec(any::<Step>(), 1..120)) {
        let mut stage = Stage::new();
        for step in steps {
            stage.step(step);
        }
    }

    #[test]
    fn records_of_anybody_are_replayed_or_refused(
        keys in proptest::collection::vec((0_u8..4, proptest::collection::vec(any::<u8>(), 0..12), 0_u8..5,
            proptest::collection::vec(any::<u8>(), 0..60)), 0..20)
    ) {
        let mut shard = GroupShard::new(config(), 1);
        for (kind, key, version, value) in keys {
            let key: Vec<_> = [0, kind].into_iter().chain([0, 1, b'g']).chain(key).collect();
            let value: Vec<_> = [0, version].into_iter().chain(value).collect();
            let _ = shard.replay(&key, Some(&value));
            shard.groups.values().for_each(Group::assert_invariants);
        }
        let mut out = Outcome::default();
        shard.loaded(Now::default(), &mut out);
        shard.on_timer(Now { instant: Instant::from_micros(u64::MAX - 1), wall: i64::MAX }, &mut out);
        shard.groups.values().for_each(Group::assert_invariants);
    }
}

/// A member of a group whose record says two members with one instance id, or one member twice, must not be counted
/// twice.
#[test]
fn a_contradictory_record_leaves_a_sound_group() {
    use crate::record::{GroupValue, MemberValue, group_key};
    let member = |id: &str| MemberValue {
        member_id: id.into(),
        instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "h".into(),
        rebalance_timeout_ms: -1,
        session_timeout_ms: -1,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
    };
    let value = GroupValue {
        protocol_type: "consumer".into(),
        generation: i32::MAX,
        protocol: Some("range".into()),
        leader: Some("nobody".into()),
        state_timestamp: -1,
        members: vec![member("a"), member("a"), member("b")],
    };
    let mut shard = GroupShard::new(config(), 1);
    shard.replay(&group_key("g"), Some(&value.encode())).unwrap();
    shard.groups.values().for_each(Group::assert_invariants);
    let mut out = Outcome::default();
    shard.loaded(Now::default(), &mut out);
    shard.on_timer(Now { instant: Instant::from_micros(1_000_000_000), wall: 0 }, &mut out);
    assert_eq!(shard.members(), 0, "the sessions end");
    assert!(shard.is_empty(), "without members and offsets the group is deleted at the next look");
    assert_eq!(out.records.last().map(|record| &record.value), Some(&None));
}
