//! Coordinators on the replicas of a partition: groups move with its leader.

use std::collections::{BTreeMap, BTreeSet};

use millrace_storage::LogConfig;

use super::*;
use crate::settings::Settings;
use crate::testing::Cluster;
use millrace_metadata::config::BrokerConfig;

/// A coordinator beside each replica of one partition.
struct Hosts {
    cluster: Cluster,
    cores: BTreeMap<usize, (GroupCoordinator, Instant, u64)>,
    /// Calls to replicas that have no answer yet: of which coordinator, under which token.
    calls: BTreeMap<u64, (usize, u64)>,
    responses: BTreeMap<u64, GroupResponse>,
    next: u64,
}

impl Hosts {
    fn new(seed: u64, min_in_sync: usize) -> Self {
        let cluster = Cluster::led(seed, 3, LogConfig::default(), min_in_sync);
        let (calls, responses) = Default::default();
        let mut hosts = Self { cluster, cores: BTreeMap::new(), calls, responses, next: 0 };
        (0..3).for_each(|at| hosts.start(at));
        hosts.run(50);
        hosts
    }

    /// Makes the coordinator of a process that has just started.
    fn start(&mut self, at: usize) {
        let config = BrokerConfig::new([("node.id", "1"), ("group.initial.rebalance.delay.ms", "0")]).expect("valid");
        let settings = Settings::new(&config, 1, "/data".to_owned());
        let core = GroupCoordinator::new(self.cluster.view(at), &settings, 7 + at as u64);
        self.cores.insert(at, (core, Instant::NEVER, 0));
        self.step(at, GroupEvent::Start);
    }

    fn crash(&mut self, at: usize) {
        self.cores.remove(&at);
        self.calls.retain(|_, (of, _)| *of != at);
        self.cluster.crash(at, CrashKind::Process);
    }

    fn step(&mut self, at: usize, event: GroupEvent) {
        let now = self.cluster.now;
        let Some((core, _, _)) = self.cores.get_mut(&at) else { return };
        let mut effects = Vec::new();
        core.step(now, event, &mut effects);
        for effect in effects {
            match effect {
                GroupEffect::Answer { to, response } => {
                    assert!(self.responses.insert(to.token, response).is_none(), "one answer each");
                }
                GroupEffect::Call { token, call: Call::Partition(_, op) } => {
                    let call = self.cluster.call(at, op);
                    self.calls.insert(call, (at, token));
                }
                GroupEffect::Call { call, .. } => panic!("{call:?} is not for a partition"),
                GroupEffect::Warm { token, job } => {
                    job.run();
                    self.step(at, GroupEvent::Warmed { token });
                }
                GroupEffect::Timer(due) => {
                    if let Some(core) = self.cores.get_mut(&at) {
                        core.1 = due;
                    }
                }
                GroupEffect::Stopped => panic!("nobody stops it"),
            }
        }
    }

    /// Delivers answers, due timers and changes of views.
    fn settle(&mut self) {
        let answered: BTreeSet<u64> =
            self.calls.keys().copied().filter(|call| self.cluster.answers.contains_key(call)).collect();
        for call in answered {
            let (Some((at, token)), Some(answer)) = (self.calls.remove(&call), self.cluster.answers.remove(&call))
            else {
                continue;
            };
            self.step(at, GroupEvent::Answer { token, answer: Answer::Partition(answer) });
        }
        for at in 0..3 {
            let Some((_, due, seen)) = self.cores.get_mut(&at) else { continue };
            let changes = self.cluster.view(at).changes();
            let is_due = *due <= self.cluster.now.instant;
            let is_news = std::mem::replace(seen, changes) != changes;
            if is_due {
                *due = Instant::NEVER;
                self.step(at, GroupEvent::Timer);
            }
            if is_news {
                self.step(at, GroupEvent::View);
            }
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.cluster.run(1);
            self.settle();
        }
    }

    fn ask(&mut self, at: usize, request: GroupRequest) -> u64 {
        self.next += 1;
        let from = ReplyTo { caller: Caller::Connection(ConnectionId(1)), token: self.next };
        self.step(at, GroupEvent::Request { from, request });
        self.next
    }

    /// The answer within two seconds.
    fn answer(&mut self, at: usize, request: GroupRequest) -> GroupResponse {
        let token = self.ask(at, request);
        for _ in 0..2_000 {
            if let Some(response) = self.responses.remove(&token) {
                return response;
            }
            self.run(1);
        }
        panic!("no answer at {at}");
    }

    /// Runs until another broker than `old` coordinates; says which.
    fn next_coordinator(&mut self, old: usize) -> usize {
        for _ in 0..20_000 {
            let leader = self.cluster.leader().filter(|at| *at != old);
            if let Some(at) = leader.filter(|at| self.cores.contains_key(at)) {
                let response = self.answer(at, fetch());
                if matches!(response, GroupResponse::Fetch(_)) {
                    return at;
                }
                assert_eq!(response, GroupResponse::Failed(ErrorCode::CoordinatorLoadInProgress));
            }
            self.run(1);
        }
        panic!("nobody coordinates");
    }

    /// Joins a group of one; returns the member.
    fn member(&mut self, at: usize) -> std::sync::Arc<str> {
        let GroupResponse::Join(joined) = self.answer(at, join()) else { panic!("joined") };
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
        assert!(matches!(self.answer(at, sync), GroupResponse::Sync(synced) if synced.assignment == "all"));
        joined.member_id
    }

    fn offset(&mut self, at: usize) -> i64 {
        let GroupResponse::Fetch(FetchedOffsets { topics, .. }) = self.answer(at, fetch()) else { panic!("a fetch") };
        topics.iter().flat_map(|topic| &topic.partitions).next().map_or(-1, |offset| offset.offset)
    }
}

fn heartbeat(member_id: &std::sync::Arc<str>) -> GroupRequest {
    GroupRequest::Heartbeat(Heartbeat {
        group: "members".into(),
        member_id: member_id.clone(),
        instance_id: None,
        generation: 1,
    })
}

#[test]
fn members_and_offsets_move_with_the_leader() {
    for seed in 0..10 {
        let mut hosts = Hosts::new(seed, 2);
        let old = hosts.cluster.leader().expect("led");
        let member = hosts.member(old);
        assert!(is_committed(&hosts.answer(old, commit(&[(0, 5)], ""))));
        for at in (0..3).filter(|at| *at != old) {
            assert_eq!(hosts.answer(at, fetch()), GroupResponse::Failed(ErrorCode::NotCoordinator), "it only follows");
        }
        hosts.crash(old);
        let new = hosts.next_coordinator(old);
        assert_eq!(hosts.offset(new), 5, "seed {seed}");
        assert_eq!(hosts.answer(new, heartbeat(&member)), GroupResponse::Heartbeat(ErrorCode::None), "seed {seed}");
        assert!(is_committed(&hosts.answer(new, commit(&[(0, 6)], ""))));
        // The old coordinator comes back as a follower and knows nothing.
        hosts.cluster.start(old);
        hosts.start(old);
        hosts.run(500);
        assert_eq!(hosts.answer(old, fetch()), GroupResponse::Failed(ErrorCode::NotCoordinator));
        assert_eq!(hosts.offset(new), 6);
    }
}

#[test]
fn who_waits_at_a_coordinator_that_is_cut_off_is_sent_away() {
    for seed in 0..10 {
        let mut hosts = Hosts::new(seed, 1);
        let old = hosts.cluster.leader().expect("led");
        let member = hosts.member(old);
        assert!(is_committed(&hosts.answer(old, commit(&[(0, 5)], ""))));
        hosts.cluster.isolate(old, false);
        let waiting = hosts.ask(old, commit(&[(0, 9)], ""));
        let new = hosts.next_coordinator(old);
        hosts.run(1_000);
        let response = hosts.responses.remove(&waiting).expect("it is not kept waiting");
        assert!(matches!(response, GroupResponse::Failed(ErrorCode::NotCoordinator)), "{response:?}");
        assert_eq!(hosts.answer(old, fetch()), GroupResponse::Failed(ErrorCode::NotCoordinator), "nothing stale");
        assert_eq!(hosts.answer(old, heartbeat(&member)), GroupResponse::Failed(ErrorCode::NotCoordinator));
        assert_eq!(hosts.offset(new), 5);
        hosts.cluster.isolate(old, true);
        hosts.run(1_000);
        assert_eq!(hosts.answer(new, heartbeat(&member)), GroupResponse::Heartbeat(ErrorCode::None));
        assert!(is_committed(&hosts.answer(new, commit(&[(0, 7)], ""))));
        assert_eq!(hosts.offset(new), 7, "what the old one could not commit is not there");
    }
}

#[test]
fn no_timer_of_a_group_outlives_its_coordinator() {
    let mut hosts = Hosts::new(3, 2);
    let old = hosts.cluster.leader().expect("led");
    hosts.member(old);
    hosts.cluster.isolate(old, false);
    hosts.next_coordinator(old);
    hosts.run(15_000);
    // The member's session ended at the new coordinator; the old one has said nothing of it.
    assert_eq!(hosts.cores[&old].0.stats().groups, 0);
    assert!(!hosts.cores[&old].0.stats().loading);
    assert!(hosts.cores.values().filter(|(core, _, _)| core.stats().groups > 0).count() == 1);
}
