//! The group APIs at every version, from the bytes of the request to those of the response, on real shards.

mod deleted_topics;
mod oldest_commit;
mod repeated;

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Request};
use millrace_coordinator::{GroupConfig, GroupShard, Outcome};
use millrace_metadata::{Command, CommandResult};

use super::*;
use crate::api::api;
use crate::call::ConnectionId;
use crate::connection::{Origin, Outbox, Session};
use crate::testing::{LISTENER, World};

/// A connection's side of the handlers, and coordinators that answer at once.
struct Desk {
    world: World,
    session: Session,
    out: Outbox,
    shards: BTreeMap<i32, GroupShard>,
    /// What coordinators answer instead of what they should.
    failure: Option<ErrorCode>,
}

impl Desk {
    fn new() -> Self {
        let mut world = World::new(1);
        world.topic("t", 2, &[]);
        let origin = Origin { listener: LISTENER.into(), client_host: "127.0.0.1".into() };
        let session = Session::new(ConnectionId(1), origin);
        Self { world, session, out: Outbox::default(), shards: BTreeMap::new(), failure: None }
    }

    fn with_offsets_topic() -> Self {
        let mut desk = Self::new();
        desk.create_offsets_topic();
        desk
    }

    fn create_offsets_topic(&mut self) {
        self.world.change(Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() });
    }

    fn context<'a>(world: &'a World, session: &'a mut Session, out: &'a mut Outbox, version: i16) -> Context<'a> {
        let shared = &world.shared;
        let (directory, settings) = (&shared.directory, &*shared.settings);
        Context { now: world.now, directory, settings, session, version, client_id: "app", shared, out }
    }

    /// Sends a request and returns its response.
    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).expect("the request is encoded");
        let mut frame = self.send(R::KEY, version, body.freeze());
        let response = R::Response::decode(&mut frame, version).expect("the response is decoded");
        assert!(frame.is_empty(), "nothing follows the response");
        response
    }

    /// Sends the body of a request and returns that of its response.
    fn send(&mut self, key: i16, version: i16, body: Bytes) -> Bytes {
        let api = api(key).expect("it is served");
        assert!((api.min..=api.max).contains(&version));
        let cx = &mut Self::context(&self.world, &mut self.session, &mut self.out, version);
        match (api.handle)(cx, body).expect("the request is understood") {
            Step::Reply(frame) => frame.to_bytes(),
            Step::Wait(mut waiting) => self.wait(version, &mut *waiting),
            Step::Silent | Step::Close(_) => panic!("a response is due"),
        }
    }

    fn wait(&mut self, version: i16, waiting: &mut dyn Waiting) -> Bytes {
        let mut calls = VecDeque::from(std::mem::take(&mut self.out.calls));
        while let Some((token, call)) = calls.pop_front() {
            let answer = self.answer(token, call);
            let cx = &mut Self::context(&self.world, &mut self.session, &mut self.out, version);
            match waiting.resume(cx, token, answer).expect("the response is encoded") {
                Resume::Wait => calls.extend(self.out.calls.drain(..)),
                Resume::Reply(frame) => return frame.to_bytes(),
                Resume::Silent | Resume::Close(_) => panic!("a response is due"),
            }
        }
        panic!("the request still waits")
    }

    fn answer(&mut self, token: u64, call: Call) -> Answer {
        let (partition, request) = match call {
            Call::Group(partition, request) => (partition, request),
            Call::Metadata(Command::EnsureInternalTopic { .. }) if self.failure.is_none() => {
                self.create_offsets_topic();
                let image = self.world.shared.directory.image();
                let topic = image.topic(CONSUMER_OFFSETS).expect("it is created");
                let partitions = topic.partition_count();
                return Answer::Metadata(CommandResult::InternalTopic { id: topic.id, partitions });
            }
            Call::Metadata(command @ Command::DeleteTopics(_)) => {
                return Answer::Metadata(self.world.carry_out(command));
            }
            Call::Metadata(_) => return Answer::Gone(self.failure.expect("set")),
            Call::Partition(..) | Call::Elect { .. } => panic!("no partition is asked"),
        };
        if let Some(error) = self.failure {
            return Answer::Group(GroupResponse::Failed(error));
        }
        let config = GroupConfig { initial_rebalance_delay: std::time::Duration::ZERO, ..GroupConfig::default() };
        let shard = self.shards.entry(partition).or_insert_with(|| GroupShard::new(config, 1));
        let mut out = Outcome::default();
        shard.handle(self.world.now, token, request, &mut out);
        shard.on_timer(self.world.now, &mut out);
        let reply = out.replies.into_iter().find(|(answered, _)| *answered == token);
        Answer::Group(reply.expect("it is answered at once").1)
    }
}

fn group(id: &str) -> GroupId {
    GroupId(string(id))
}

fn topic(name: &str) -> TopicName {
    TopicName(string(name))
}

fn join(version: i16, member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(string("range"));
    let metadata = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0]);
    JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(if version >= 1 { 60_000 } else { -1 })
        .with_member_id(string(member_id))
        .with_protocol_type(string("consumer"))
        .with_protocols(vec![protocol.with_metadata(metadata)])
}

fn commit(version: i16, member_id: &StrBytes, generation: i32, topics: &[(&str, i32)]) -> OffsetCommitRequest {
    let of_topic = |(name, partition): &(&str, i32)| {
        let offset = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(42)
            .with_committed_leader_epoch(if version >= 6 { 3 } else { -1 })
            .with_committed_metadata(Some(string("note")));
        OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![offset])
    };
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_member_id(member_id.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_topics(topics.iter().map(of_topic).collect())
}

fn fetch_old(topics: Option<&[&str]>) -> OffsetFetchRequest {
    let of_topic =
        |name: &&str| OffsetFetchRequestTopic::default().with_name(topic(name)).with_partition_indexes(vec![0, 1]);
    OffsetFetchRequest::default()
        .with_group_id(group("g"))
        .with_topics(topics.map(|topics| topics.iter().map(of_topic).collect()))
}

fn fetch_new(groups: &[&str], topics: Option<&[&str]>) -> OffsetFetchRequest {
    let of_topic =
        |name: &&str| OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(vec![0, 1]);
    let of_group = |id: &&str| {
        OffsetFetchRequestGroup::default()
            .with_group_id(group(id))
            .with_topics(topics.map(|topics| topics.iter().map(of_topic).collect()))
    };
    OffsetFetchRequest::default().with_groups(groups.iter().map(of_group).collect())
}

/// Joins and syncs alone at these versions; returns the member id.
fn become_member(desk: &mut Desk, join_version: i16, sync_version: i16) -> StrBytes {
    let mut joined = desk.ask(join_version, &join(join_version, ""));
    if join_version >= 4 {
        assert_eq!(joined.error_code, ErrorCode::MemberIdRequired.code());
        joined = desk.ask(join_version, &join(join_version, &joined.member_id));
    }
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), (join_version >= 7).then_some("consumer"));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    assert!(joined.member_id.starts_with("app-"));
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"all"));
    let expects = |name| (sync_version >= 5).then(|| string(name));
    let sync = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(1)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(expects("consumer"))
        .with_protocol_name(expects("range"))
        .with_assignments(vec![assignment]);
    let synced = desk.ask(sync_version, &sync);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
    joined.member_id
}

#[test]
fn groups_are_placed_as_by_java() {
    // "polygenelubricants".hashCode() is Integer.MIN_VALUE, of which Kafka's abs makes 0.
    assert_eq!(partition_for("polygenelubricants", 50), Some(0));
    // "test".hashCode() = 3556498 and "ä".hashCode() = 228.
    assert_eq!(partition_for("test", 50), Some(48));
    assert_eq!(partition_for("ä", 50), Some(28));
    assert_eq!(partition_for("", 50), Some(0));
    // A character outside the basic plane is two units in Java.
    assert_eq!(partition_for("\u{1f600}", 50), Some((0xd83d * 31 + 0xde00) % 50));
    // "hello world".hashCode() = 1794106052; of a negative one the absolute value counts: "zzzzzz" = -685785664.
    assert_eq!(partition_for("hello world", 50), Some(2));
    assert_eq!(partition_for("zzzzzz", 50), Some(14));
    assert_eq!(partition_for("test", 0), None);
}

#[test]
fn a_member_lives_at_every_version() {
    for version in 0..=9 {
        let mut desk = Desk::with_offsets_topic();
        let member = become_member(&mut desk, version, version.min(5));
        let heartbeat =
            HeartbeatRequest::default().with_group_id(group("g")).with_generation_id(1).with_member_id(member.clone());
        assert_eq!(desk.ask(version.min(4), &heartbeat).error_code, 0);
        let leave_version = version.min(5);
        let mut leave = LeaveGroupRequest::default().with_group_id(group("g"));
        if leave_version >= 3 {
            let stranger = MemberIdentity::default().with_member_id(string("nobody"));
            leave.members = vec![MemberIdentity::default().with_member_id(member.clone()), stranger];
        } else {
            leave.member_id = member.clone();
        }
        let left = desk.ask(leave_version, &leave);
        assert_eq!(left.error_code, 0);
        let errors: Vec<_> = left.members.iter().map(|member| member.error_code).collect();
        assert_eq!(errors, if leave_version >= 3 { vec![0, ErrorCode::UnknownMemberId.code()] } else { vec![] });
        let again = desk.ask(leave_version, &leave);
        let of_members: Vec<_> = again.members.iter().map(|member| member.error_code).collect();
        let gone = ErrorCode::UnknownMemberId.code();
        assert!(again.error_code == gone || of_members == [gone, gone], "{version}");
        assert_eq!(desk.ask(version.min(4), &heartbeat).error_code, gone);
    }
}

#[test]
fn an_instance_id_is_kept_where_the_version_has_one() {
    for version in 5..=9 {
        let mut desk = Desk::with_offsets_topic();
        let request = join(version, "").with_group_instance_id(Some(string("i")));
        let joined = desk.ask(version, &request);
        assert_eq!(joined.error_code, 0);
        assert_eq!(joined.members[0].group_instance_id.as_deref(), Some("i"));
        assert!(joined.member_id.starts_with("i-"));
        let described = desk.ask(5, &DescribeGroupsRequest::default().with_groups(vec![group("g")]));
        assert_eq!(described.groups[0].members[0].group_instance_id.as_deref(), Some("i"));
        let described = desk.ask(3, &DescribeGroupsRequest::default().with_groups(vec![group("g")]));
        assert_eq!(described.groups[0].members[0].group_instance_id, None, "version 3 has no place for it");
    }
}

#[test]
fn offsets_are_committed_and_fetched_at_every_version() {
    for version in 2..=9 {
        let mut desk = Desk::with_offsets_topic();
        let member = become_member(&mut desk, 9, 5);
        let asked = [("t", 1), ("nowhere", 0), ("t", 7), ("t", 0)];
        let committed = desk.ask(version, &commit(version, &member, 1, &asked));
        let errors: Vec<_> = committed.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(errors, [0, unknown, unknown, 0], "the order is that of the request");
        let refused = desk.ask(version, &commit(version, &member, 9, &asked));
        assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::IllegalGeneration.code());
        assert_eq!(refused.topics[1].partitions[0].error_code, unknown);
    }
    for version in 1..=7 {
        let mut desk = Desk::with_offsets_topic();
        desk.ask(9, &commit(9, &string(""), -1, &[("t", 1)]));
        let fetched = desk.ask(version, &fetch_old(Some(&["t", "u"])));
        assert_eq!((fetched.error_code, fetched.topics.len()), (0, 2));
        let partitions = &fetched.topics[0].partitions;
        assert_eq!((partitions[0].committed_offset, partitions[1].committed_offset), (-1, 42));
        assert_eq!(partitions[1].metadata.as_deref(), Some("note"));
        assert_eq!(partitions[1].committed_leader_epoch, if version >= 5 { 3 } else { -1 });
        if version >= 2 {
            let all = desk.ask(version, &fetch_old(None));
            assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (1, 1));
        }
    }
    for version in 8..=9 {
        let mut desk = Desk::with_offsets_topic();
        desk.ask(9, &commit(9, &string(""), -1, &[("t", 1)]));
        let fetched = desk.ask(version, &fetch_new(&["g", "none"], Some(&["t"])));
        let offset = |at: usize| fetched.groups[at].topics[0].partitions[1].committed_offset;
        assert_eq!((offset(0), offset(1)), (42, -1));
        let all = desk.ask(version, &fetch_new(&["none", "g"], None));
        assert_eq!((all.groups[0].topics.len(), all.groups[1].topics.len()), (0, 1));
        assert_eq!(all.groups[1].topics[0].partitions[0].committed_leader_epoch, 3);
    }
}

#[test]
fn administrators_see_and_delete_groups_at_every_version() {
    for version in 0..=5 {
        let mut desk = Desk::with_offsets_topic();
        become_member(&mut desk, 9, 5);
        let groups = ["none", "g", "other"].map(group).to_vec();
        let mut request = DescribeGroupsRequest::default().with_groups(groups);
        request.include_authorized_operations = version >= 3;
        let described = desk.ask(version, &request);
        let seen: Vec<_> = described.groups.iter().map(|g| (&**g.group_id, &*g.group_state, g.members.len())).collect();
        assert_eq!(seen, [("none", "Dead", 0), ("g", "Stable", 1), ("other", "Dead", 0)]);
        let operations = described.groups[1].authorized_operations;
        assert_eq!(operations, if version >= 3 { (1 << 3) | (1 << 6) | (1 << 8) | (3 << 10) } else { i32::MIN });
        let member = &described.groups[1].members[0];
        assert_eq!((&*member.client_id, &*member.client_host), ("app", "/127.0.0.1"));
        assert_eq!(&member.member_assignment[..], b"all");
    }
    for version in 0..=4 {
        let mut desk = Desk::with_offsets_topic();
        become_member(&mut desk, 9, 5);
        let mut other = commit(9, &string(""), -1, &[("t", 0)]);
        other.group_id = group("a");
        desk.ask(9, &other);
        let listed = desk.ask(version, &ListGroupsRequest::default());
        let seen: Vec<_> = listed.groups.iter().map(|g| (&**g.group_id, &*g.protocol_type, &*g.group_state)).collect();
        let state = |name| if version >= 4 { name } else { "" };
        assert_eq!(seen, [("a", "", state("Empty")), ("g", "consumer", state("Stable"))], "in the order of the ids");
        if version >= 4 {
            let stable = ListGroupsRequest::default().with_states_filter(vec![string("stable")]);
            assert_eq!(desk.ask(version, &stable).groups.len(), 1);
        }
    }
    for version in 0..=2 {
        let mut desk = Desk::with_offsets_topic();
        become_member(&mut desk, 9, 5);
        let mut other = commit(9, &string(""), -1, &[("t", 0)]);
        other.group_id = group("a");
        desk.ask(9, &other);
        let names = ["g", "a", "none", "a"].map(group).to_vec();
        let deleted = desk.ask(version, &DeleteGroupsRequest::default().with_groups_names(names));
        let seen: Vec<_> =
            deleted.results.iter().map(|r| (&**r.group_id, ErrorCode::from_code(r.error_code))).collect();
        let (full, missing) = (ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound);
        assert_eq!(seen, [("a", ErrorCode::None), ("g", full), ("none", missing)]);
    }
}

#[test]
fn offsets_of_subscribed_and_unknown_topics_are_not_deleted() {
    let mut desk = Desk::with_offsets_topic();
    desk.world.topic("u", 1, &[]);
    let member = become_member(&mut desk, 9, 5);
    desk.ask(9, &commit(9, &member, 1, &[("t", 0), ("u", 0)]));
    let of_topic = |name: &str| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition])
    };
    let topics = ["nowhere", "t", "u"].map(of_topic).to_vec();
    let request = OffsetDeleteRequest::default().with_group_id(group("g")).with_topics(topics);
    let deleted = desk.ask(0, &request);
    let errors: Vec<_> = deleted.topics.iter().map(|t| ErrorCode::from_code(t.partitions[0].error_code)).collect();
    let (unknown, subscribed) = (ErrorCode::UnknownTopicOrPartition, ErrorCode::GroupSubscribedToTopic);
    assert_eq!(errors, [unknown, subscribed, ErrorCode::None]);
    let missing = desk.ask(0, &OffsetDeleteRequest::default().with_group_id(group("none")));
    assert_eq!(missing.error_code, ErrorCode::GroupIdNotFound.code());
}

#[test]
fn a_coordinator_is_found_and_its_topic_created() {
    for version in 0..=4 {
        let mut desk = Desk::new();
        let mut request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec![string("g"), string("h")];
        } else {
            request.key = string("g");
        }
        desk.failure = Some(ErrorCode::RequestTimedOut);
        let failed = desk.ask(version, &request);
        let error = failed.coordinators.first().map_or(failed.error_code, |found| found.error_code);
        assert_eq!(error, ErrorCode::CoordinatorNotAvailable.code());
        desk.failure = None;
        for _ in 0..2 {
            let found = desk.ask(version, &request);
            if version >= 4 {
                let seen: Vec<_> =
                    found.coordinators.iter().map(|c| (&*c.key, c.node_id.0, &*c.host, c.port)).collect();
                assert_eq!(seen, [("g", 1, "broker.test", 9092), ("h", 1, "broker.test", 9092)]);
            } else {
                assert_eq!((found.error_code, found.node_id.0, &*found.host, found.port), (0, 1, "broker.test", 9092));
            }
        }
    }
}

#[test]
fn a_transactional_producer_is_refused_for_good() {
    let (early, late) = (ErrorCode::TransactionalIdAuthorizationFailed, ErrorCode::UnsupportedVersion);
    for (key_type, early, late) in [(1, early, late), (9, ErrorCode::InvalidRequest, ErrorCode::InvalidRequest)] {
        let mut desk = Desk::new();
        for version in 1..=3 {
            let request = FindCoordinatorRequest::default().with_key_type(key_type).with_key(string("tx"));
            let found = desk.ask(version, &request);
            assert_eq!((found.error_code, found.node_id.0), (early.code(), -1), "{version}");
            assert!(found.error_message.is_some(), "the text says why");
        }
        let request =
            FindCoordinatorRequest::default().with_key_type(key_type).with_coordinator_keys(vec![string("tx")]);
        let found = desk.ask(4, &request);
        assert_eq!(found.coordinators[0].error_code, late.code());
        assert!(found.coordinators[0].error_message.is_some());
    }
}

/// Asks every API at every version; `refused` looks at what comes back.
fn every_request(desk: &mut Desk, error: ErrorCode) {
    let error = error.code();
    for version in 0..=9 {
        assert_eq!(desk.ask(version, &join(version, "m")).error_code, error);
    }
    for version in 0..=5 {
        let mut sync = SyncGroupRequest::default().with_group_id(group("g"));
        if version >= 5 {
            sync = sync.with_protocol_type(Some(string("consumer"))).with_protocol_name(Some(string("range")));
        }
        assert_eq!(desk.ask(version, &sync).error_code, error);
        assert_eq!(desk.ask(version, &LeaveGroupRequest::default().with_group_id(group("g"))).error_code, error);
        let described = desk.ask(version, &DescribeGroupsRequest::default().with_groups(vec![group("g")]));
        assert_eq!((described.groups[0].error_code, &**described.groups[0].group_id), (error, "g"));
    }
    for version in 0..=4 {
        // A group that is being loaded expels nobody, as in Kafka.
        let beat = if error == ErrorCode::CoordinatorLoadInProgress.code() { 0 } else { error };
        assert_eq!(desk.ask(version, &HeartbeatRequest::default().with_group_id(group("g"))).error_code, beat);
    }
    for version in 2..=9 {
        let committed = desk.ask(version, &commit(version, &string("m"), 1, &[("t", 0)]));
        assert_eq!(committed.topics[0].partitions[0].error_code, error);
    }
    // Version 1 has no error but those of the partitions.
    let fetched = desk.ask(1, &fetch_old(Some(&["t"])));
    assert_eq!(
        (fetched.topics[0].partitions[0].error_code, fetched.topics[0].partitions[0].committed_offset),
        (error, -1)
    );
    for version in 2..=7 {
        assert_eq!(desk.ask(version, &fetch_old(None)).error_code, error);
    }
    for version in 8..=9 {
        assert_eq!(desk.ask(version, &fetch_new(&["g"], None)).groups[0].error_code, error);
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
        assert_eq!(desk.ask(version, &request).results[0].error_code, error);
    }
    assert_eq!(desk.ask(0, &OffsetDeleteRequest::default().with_group_id(group("g"))).error_code, error);
}

#[test]
fn a_coordinator_that_cannot_answer_is_reported_where_each_version_reports_it() {
    let mut desk = Desk::with_offsets_topic();
    desk.failure = Some(ErrorCode::CoordinatorLoadInProgress);
    every_request(&mut desk, ErrorCode::CoordinatorLoadInProgress);
    for version in 0..=4 {
        let listed = desk.ask(version, &ListGroupsRequest::default());
        assert_eq!(listed.error_code, ErrorCode::CoordinatorLoadInProgress.code(), "a part is not the whole");
    }
}

#[test]
fn without_the_offsets_topic_no_group_has_a_coordinator_and_none_is_listed() {
    let mut desk = Desk::new();
    every_request(&mut desk, ErrorCode::NotCoordinator);
    for version in 0..=4 {
        let listed = desk.ask(version, &ListGroupsRequest::default());
        assert_eq!((listed.error_code, listed.groups.len()), (0, 0));
    }
}

#[test]
fn a_member_of_version_5_must_say_what_it_expects() {
    let mut desk = Desk::with_offsets_topic();
    let synced = desk.ask(5, &SyncGroupRequest::default().with_group_id(group("g")));
    assert_eq!(synced.error_code, ErrorCode::InconsistentGroupProtocol.code());
}
