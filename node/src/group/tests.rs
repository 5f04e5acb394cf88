//! The coordinator on a real replica over a simulated disk: what is answered when, what a start finds, and checkpoints.

mod moving;

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_coordinator::{CommitOffset, CommitOffsets, CommitTopic, FetchOffsets, FetchedOffsets, JoinGroup};
use millrace_coordinator::{GroupRequest, GroupResponse, Heartbeat, JoinProtocol, SyncGroup};
use millrace_storage::{BatchBuilder, BatchLimits, Codec, CrashKind, ValidBatches};
use millrace_types::{ErrorCode, Instant, TopicPartition};

use super::{GroupCoordinator, GroupEffect, GroupEvent};
use crate::call::{Acks, Answer, Call, Caller, ConnectionId, PartitionAnswer, PartitionOp, ReplyTo};
use crate::core::Core;
use crate::replica::mutation::{Mutation, with_broken};
use crate::testing::World;

/// What happens to the next append instead of what should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused; nothing is in the log.
    Refused(ErrorCode),
    /// It is in the log, but the coordinator is told that it took too long.
    TimedOut,
}

/// A coordinator and the broker around it.
struct Host {
    world: World,
    partition: TopicPartition,
    core: GroupCoordinator,
    responses: BTreeMap<u64, GroupResponse>,
    timer: Instant,
    fault: Option<Fault>,
    /// Calls answered with something else than their outcome.
    lied_about: Vec<u64>,
    stopped: bool,
    next: u64,
    /// Appends and deletions asked for.
    appends: usize,
    deletions: usize,
}

impl Host {
    fn new() -> Self {
        let mut world = World::new(1);
        let topic = world.topic("offsets", 1, &[]);
        Self::over(world, TopicPartition::new(topic, 0))
    }

    /// A process start on what is on the disk.
    fn over(world: World, partition: TopicPartition) -> Self {
        let view = world.shared.directory.partition(&partition).expect("the replica is there");
        let core = GroupCoordinator::new(view, &world.shared.settings, 7);
        let mut host = Self {
            world,
            partition,
            core,
            responses: BTreeMap::new(),
            timer: Instant::NEVER,
            fault: None,
            lied_about: Vec::new(),
            stopped: false,
            next: 0,
            appends: 0,
            deletions: 0,
        };
        host.step(GroupEvent::Start);
        host
    }

    fn crash(&self, kind: CrashKind) -> Self {
        Self::over(self.world.crash(kind), self.partition)
    }

    fn step(&mut self, event: GroupEvent) {
        let mut effects = Vec::new();
        self.core.step(self.world.now, event, &mut effects);
        for effect in effects {
            match effect {
                GroupEffect::Answer { to, response } => {
                    assert!(self.responses.insert(to.token, response).is_none(), "one answer each");
                }
                GroupEffect::Call { token, call: Call::Partition(partition, op) } => self.call(token, partition, op),
                GroupEffect::Call { call, .. } => panic!("{call:?} is not for a partition"),
                GroupEffect::Warm { token, job } => {
                    job.run();
                    self.step(GroupEvent::Warmed { token });
                }
                GroupEffect::Timer(at) => self.timer = at,
                GroupEffect::Stopped => self.stopped = true,
            }
        }
        self.settle();
    }

    fn call(&mut self, token: u64, partition: TopicPartition, op: PartitionOp) {
        self.deletions += usize::from(matches!(op, PartitionOp::DeleteRecords { .. }));
        if matches!(op, PartitionOp::Produce { .. }) {
            self.appends += 1;
            match self.fault.take() {
                Some(Fault::Refused(error)) => {
                    let answer = Answer::Partition(PartitionAnswer::Failed(error));
                    return self.step(GroupEvent::Answer { token, answer });
                }
                Some(Fault::TimedOut) => self.lied_about.push(token),
                None => {}
            }
        }
        self.world.call(partition, token, op);
    }

    /// Delivers answers and due timers until there are none.
    fn settle(&mut self) {
        while let Some((token, answer)) = self.world.answers.pop_first() {
            let answer = if self.lied_about.contains(&token) {
                PartitionAnswer::Failed(ErrorCode::RequestTimedOut)
            } else {
                answer
            };
            self.step(GroupEvent::Answer { token, answer: Answer::Partition(answer) });
        }
        if self.timer <= self.world.now.instant {
            self.timer = Instant::NEVER;
            self.step(GroupEvent::Timer);
        }
    }

    /// Does the storage work that was held back, one piece; false when there is none.
    fn work(&mut self) -> bool {
        let worked = self.world.work_once();
        self.settle();
        worked
    }

    fn advance(&mut self, ms: u64) {
        self.world.advance(ms);
        self.settle();
    }

    fn ask(&mut self, request: GroupRequest) -> u64 {
        self.next += 1;
        let from = ReplyTo { caller: Caller::Connection(ConnectionId(1)), token: self.next };
        self.step(GroupEvent::Request { from, request });
        self.next
    }

    fn answer(&mut self, request: GroupRequest) -> GroupResponse {
        let token = self.ask(request);
        self.responses.remove(&token).expect("it is answered at once")
    }

    /// The committed offsets by partition.
    fn offsets(&mut self) -> BTreeMap<i32, i64> {
        let GroupResponse::Fetch(FetchedOffsets { topics, .. }) = self.answer(fetch()) else { panic!("a fetch") };
        let offsets = topics.into_iter().flat_map(|topic| topic.partitions);
        offsets.map(|offset| (offset.partition, offset.offset)).collect()
    }

    fn offset(&mut self, partition: i32) -> i64 {
        self.offsets().get(&partition).copied().unwrap_or(-1)
    }
}

fn commit(offsets: &[(i32, i64)], metadata: &str) -> GroupRequest {
    let offset = |(partition, offset): &(i32, i64)| CommitOffset {
        partition: *partition,
        offset: *offset,
        leader_epoch: -1,
        metadata: metadata.into(),
        commit_timestamp: None,
    };
    GroupRequest::Commit(CommitOffsets {
        group: "g".into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        retention: None,
        knows_missing_group: false,
        topics: vec![CommitTopic { name: "t".into(), partitions: offsets.iter().map(offset).collect() }],
    })
}

fn fetch() -> GroupRequest {
    GroupRequest::Fetch(FetchOffsets { group: "g".into(), topics: None, require_stable: true })
}

fn is_committed(response: &GroupResponse) -> bool {
    let GroupResponse::Commit(topics) = response else { return false };
    topics.iter().flat_map(|topic| &topic.partitions).all(|(_, error)| *error == ErrorCode::None)
}

#[test]
fn a_commit_is_answered_when_it_is_durable_and_so_is_what_could_show_it() {
    let mut host = Host::new();
    host.world.hold = true;
    let committed = host.ask(commit(&[(0, 5)], ""));
    let fetched = host.ask(fetch());
    assert!(host.responses.is_empty(), "neither the commit nor a fetch that sees it is answered before the flush");
    while host.work() {}
    assert!(is_committed(&host.responses[&committed]));
    assert!(matches!(host.responses[&fetched], GroupResponse::Fetch(_)));
}

/// Whether an answered commit is there after a power loss in the middle of its flush.
fn answered_commits_are_durable() -> bool {
    let mut host = Host::new();
    host.world.hold = true;
    let token = host.ask(commit(&[(0, 5)], "m"));
    let answered = host.responses.contains_key(&token);
    // What of the unflushed pages survives is the disk's choice, another one at each crash.
    !answered || (0..20).all(|_| host.crash(CrashKind::Power).offset(0) == 5)
}

#[test]
fn an_answer_before_its_record_is_committed_is_caught() {
    assert!(answered_commits_are_durable());
    let durable = with_broken(Some(Mutation::AnswerGroupBeforeCommit), answered_commits_are_durable);
    assert!(!durable, "nobody would notice");
    println!("noticed AnswerGroupBeforeCommit: an_answer_before_its_record_is_committed_is_caught");
}

#[test]
fn commits_that_come_during_an_append_share_the_next() {
    let mut host = Host::new();
    host.world.hold = true;
    for offset in 0..20 {
        host.ask(commit(&[(0, offset)], ""));
    }
    while host.work() {}
    assert_eq!(host.responses.len(), 20);
    assert_eq!(host.appends, 2, "the first alone, all others together");
}

#[test]
fn a_start_turns_requests_away_until_everything_in_the_log_is_committed() {
    let mut host = Host::new();
    assert!(is_committed(&host.answer(commit(&[(0, 5)], ""))));
    host.world.hold = true;
    host.ask(commit(&[(0, 6)], ""));
    // The coordinator is made anew while its last batch is in the log and not yet durable.
    let Host { world, partition, .. } = host;
    let mut host = Host::over(world, partition);
    assert!(host.core.stats().loading);
    assert_eq!(host.answer(fetch()), GroupResponse::Failed(ErrorCode::CoordinatorLoadInProgress));
    while host.work() {}
    assert_eq!(host.offset(0), 6);
}

#[test]
fn a_coordinator_whose_log_has_rotted_answers_no_older_offset() {
    let mut host = Host::new();
    for offset in [5, 10, 15] {
        assert!(is_committed(&host.answer(commit(&[(0, offset)], ""))));
    }
    let size = host.world.replica(host.partition).view().log.size_bytes() / 3;
    let file = millrace_storage::partition_dir(host.partition).join(format!("{:020}.log", 0));
    let world = host.world.crash_after(CrashKind::Power, |disk| {
        disk.flip_bit(&file, size + 9, 0).expect("the file is there");
    });
    let mut host = Host::over(world, host.partition);
    while host.work() {}
    assert_eq!(host.answer(fetch()), GroupResponse::Failed(ErrorCode::CoordinatorLoadInProgress));
    assert!(host.core.stats().loading);
}

#[test]
fn a_failed_append_turns_everyone_away_and_what_the_log_has_is_served_again() {
    for (fault, code, offset) in [
        (Fault::Refused(ErrorCode::KafkaStorageError), ErrorCode::NotCoordinator, 5),
        (Fault::Refused(ErrorCode::NotEnoughReplicas), ErrorCode::CoordinatorNotAvailable, 5),
        (Fault::Refused(ErrorCode::RecordListTooLarge), ErrorCode::UnknownServerError, 5),
        (Fault::TimedOut, ErrorCode::CoordinatorNotAvailable, 6),
    ] {
        let mut host = Host::new();
        assert!(is_committed(&host.answer(commit(&[(0, 5)], ""))));
        let joining = host.ask(join());
        host.fault = Some(fault);
        let response = host.answer(commit(&[(0, 6)], ""));
        assert_eq!(response, GroupResponse::Failed(code), "{fault:?}");
        assert_eq!(host.responses.remove(&joining), Some(GroupResponse::Failed(code)), "a waiting join, {fault:?}");
        assert_eq!(host.offset(0), offset, "{fault:?}");
        assert!(is_committed(&host.answer(commit(&[(0, 7)], ""))));
        assert_eq!(host.offset(0), 7);
    }
}

fn join() -> GroupRequest {
    GroupRequest::Join(JoinGroup {
        group: "members".into(),
        member_id: "".into(),
        instance_id: None,
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![JoinProtocol { name: "range".into(), metadata: bytes::Bytes::new() }],
        requires_known_member_id: false,
        supports_skipping_assignment: true,
    })
}

#[test]
fn members_survive_a_start_and_their_sessions_begin_anew() {
    let mut host = Host::new();
    let joining = host.ask(join());
    host.advance(3_000);
    let Some(GroupResponse::Join(joined)) = host.responses.remove(&joining) else { panic!("joined") };
    let assignments = vec![(joined.member_id.clone(), bytes::Bytes::from_static(b"all"))];
    let sync = GroupRequest::Sync(SyncGroup {
        group: "members".into(),
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments,
    });
    assert!(matches!(host.answer(sync), GroupResponse::Sync(synced) if synced.assignment == "all"));
    host.advance(9_000);
    let mut host = host.crash(CrashKind::Power);
    host.advance(9_000);
    let heartbeat = |generation| {
        GroupRequest::Heartbeat(Heartbeat {
            group: "members".into(),
            member_id: joined.member_id.clone(),
            instance_id: None,
            generation,
        })
    };
    assert_eq!(host.answer(heartbeat(1)), GroupResponse::Heartbeat(ErrorCode::None));
    host.advance(10_000);
    assert_eq!(host.answer(heartbeat(1)), GroupResponse::Heartbeat(ErrorCode::UnknownMemberId));
    assert_eq!(host.core.stats().members, 0);
}

/// Partitions whose offsets are committed once; they come first and last in a checkpoint.
const EARLY: [i32; 2] = [0, 9_999];

/// The offset `round` for each of so many partitions that a checkpoint takes several pieces.
fn many(round: i64) -> GroupRequest {
    let offsets: Vec<_> = (1..101).map(|partition| (partition, round)).collect();
    commit(&offsets, &"x".repeat(4_000))
}

#[test]
fn a_checkpoint_keeps_the_log_short_and_the_state_whole() {
    let mut host = Host::new();
    assert!(is_committed(&host.answer(commit(&EARLY.map(|partition| (partition, 1)), ""))));
    for round in 0..60 {
        assert!(is_committed(&host.answer(many(round))));
    }
    let view = host.world.shared.directory.partition(&host.partition).expect("it is there");
    assert!(view.log.log_start() > 0, "the log before a checkpoint is deleted");
    let kept = view.log.log_end() - view.log.log_start();
    assert!(kept * 4_000 < 2 * (4 << 20), "{kept} records are kept of {}", view.log.log_end());
    let offsets = host.crash(CrashKind::Power).offsets();
    assert_eq!(offsets.len(), 102);
    assert_eq!(EARLY.map(|early| offsets[&early]), [1, 1], "what was committed once, long before, is still there");
    assert!((1..101).all(|partition| offsets[&partition] == 59));
}

#[test]
fn a_crash_at_any_moment_of_a_checkpoint_keeps_every_commit() {
    let mut host = Host::new();
    assert!(is_committed(&host.answer(commit(&EARLY.map(|partition| (partition, 1)), ""))));
    for round in 0..10 {
        assert!(is_committed(&host.answer(many(round))));
    }
    host.world.hold = true;
    for round in 10..14 {
        // The second waits while the first is appended, so that the checkpoint begins behind records that wait.
        let tokens = [host.ask(many(round)), host.ask(many(round))];
        loop {
            for kind in [CrashKind::Process, CrashKind::Power] {
                let offsets = host.crash(kind).offsets();
                let first = offsets[&1];
                assert!((round - 1..=round).contains(&first), "{first} after {} was acknowledged, {kind:?}", round - 1);
                assert!((1..101).all(|partition| (round - 1..=round).contains(&offsets[&partition])), "{kind:?}");
                assert_eq!(EARLY.map(|early| offsets.get(&early)), [Some(&1); 2], "{kind:?}");
            }
            if !host.work() {
                break;
            }
        }
        assert!(tokens.iter().all(|token| is_committed(&host.responses[token])));
    }
    assert!(host.deletions > 0, "a checkpoint was completed among the crashes");
}

#[test]
fn a_stop_answers_everyone_and_waits_for_the_append_under_way() {
    let mut host = Host::new();
    let joining = host.ask(join());
    host.world.hold = true;
    let committed = host.ask(commit(&[(0, 5)], ""));
    let queued = host.ask(commit(&[(0, 6)], ""));
    host.step(GroupEvent::Stop);
    assert!(!host.stopped, "an append is under way");
    let gone = GroupResponse::Failed(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(host.responses.get(&joining), Some(&gone));
    assert_eq!(host.responses.get(&queued), Some(&gone), "its record never got to the log");
    assert_eq!(host.answer(fetch()), GroupResponse::Failed(ErrorCode::NotCoordinator));
    while host.work() {}
    assert!(is_committed(&host.responses[&committed]));
    assert!(host.stopped);
}

#[test]
fn the_same_history_has_the_same_effects() {
    let run = || {
        let mut host = Host::new();
        let joining = host.ask(join());
        host.advance(3_000);
        host.ask(commit(&[(0, 1)], "m"));
        format!("{:?} {:?} {:?}", host.responses, host.timer, joining)
    };
    assert_eq!(run(), run());
}

#[test]
fn records_that_are_not_ours_are_skipped() {
    let mut host = Host::new();
    assert!(is_committed(&host.answer(commit(&[(0, 5)], ""))));
    let foreign = BatchBuilder::new(0, Codec::Gzip)
        .push(Some(b"\x00\x07of a later version"), Some(b"?"))
        .push(Some(b"no key of ours"), None)
        .push(Some(b"\x00\x02\x00\x01g"), Some(b"\x00\x03\x7f"));
    let batches = foreign.build().expect("it is built");
    let batches = ValidBatches::check(batches, &BatchLimits::default(), 0).expect("it is valid");
    let op = PartitionOp::Produce { batches, acks: Acks::All, deadline: Instant::NEVER };
    host.world.call(host.partition, 1_000_000, op);
    host.world.answers.clear();
    assert!(is_committed(&host.answer(commit(&[(1, 6)], ""))));
    assert_eq!(host.crash(CrashKind::Power).offsets(), BTreeMap::from([(0, 5), (1, 6)]));
}

#[test]
fn a_disk_far_behind_turns_requests_away() {
    let mut host = Host::new();
    host.world.hold = true;
    let away = loop {
        let token = host.ask(many(1));
        if let Some(response) = host.responses.remove(&token) {
            break response;
        }
        assert!(host.core.stats().queued_bytes < 80 << 20, "the queue has a bound");
    };
    assert_eq!(away, GroupResponse::Failed(ErrorCode::CoordinatorNotAvailable));
    while host.work() {}
    assert!(host.responses.values().all(is_committed), "those that were taken are answered");
    assert_eq!(host.core.stats().waiting_requests, 0);
    host.world.hold = false;
    assert!(is_committed(&host.answer(many(2))));
}
