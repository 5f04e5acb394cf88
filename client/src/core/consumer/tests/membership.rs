//! Joining, rebalancing (eager and cooperative), committing, being expelled, leaving.

use kafka_protocol::messages::RequestKind;

use super::*;
use crate::config::Assignor;
use crate::core::assignor::protocol;

fn group(assignor: Assignor) -> ConsumerConfig {
    let mut config = config();
    config.group_id = Some("g".to_owned());
    config.assignors = vec![assignor];
    config
}

fn subscribed(config: ConsumerConfig, net: &mut Net) -> ConsumerCore {
    let mut core = ConsumerCore::new(config, Random::new(1)).expect("valid");
    core.subscribe(net.now, &["t"]).expect("there is a group");
    assert_eq!(poll(&mut core, net), Ok(Polled::Nothing));
    net.pass(&mut core, 10 * MILLI);
    core
}

fn join_request(net: &mut Net) -> (Sent, m::JoinGroupRequest) {
    let sent = net.next_of(ApiKey::JoinGroup).expect("a join");
    let RequestKind::JoinGroup(request) = sent.request.clone() else { panic!("{sent:?}") };
    (sent, request)
}

/// Answers a join, as a follower, and the sync with these partitions.
fn join(core: &mut ConsumerCore, net: &mut Net, generation: i32, assigned: &[TopicPartition]) {
    let (sent, request) = join_request(net);
    let response = m::JoinGroupResponse::default()
        .with_generation_id(generation)
        .with_protocol_name(Some(request.protocols[0].name.clone()))
        .with_leader(text("leader"))
        .with_member_id(text("me"));
    net.answer(core, &sent, ResponseKind::JoinGroup(response));
    net.run(core);
    let sent = net.next_of(ApiKey::SyncGroup).expect("a sync");
    let response = m::SyncGroupResponse::default().with_assignment(protocol::write_assignment(assigned));
    net.answer(core, &sent, ResponseKind::SyncGroup(response));
    net.run(core);
}

fn heartbeat(core: &mut ConsumerCore, net: &mut Net, code: ErrorCode) {
    net.pass(core, Duration::from_secs(3));
    let sent = net.next_of(ApiKey::Heartbeat).expect("a heartbeat");
    let response = m::HeartbeatResponse::default().with_error_code(code.code());
    net.answer(core, &sent, ResponseKind::Heartbeat(response));
    net.run(core);
}

/// Answers the question for committed offsets with none, or with this one for partition 0.
fn committed(core: &mut ConsumerCore, net: &mut Net, offset: Option<i64>) {
    let Some(sent) = net.next_of(ApiKey::OffsetFetch) else { return };
    let rows = offset
        .map(|offset| m::offset_fetch_response::OffsetFetchResponsePartitions::default().with_committed_offset(offset));
    let topic = m::offset_fetch_response::OffsetFetchResponseTopics::default()
        .with_name(TopicName(text("t")))
        .with_partitions(rows.into_iter().collect());
    let group = m::offset_fetch_response::OffsetFetchResponseGroup::default().with_topics(vec![topic]);
    net.answer(core, &sent, ResponseKind::OffsetFetch(m::OffsetFetchResponse::default().with_groups(vec![group])));
    net.run(core);
    answer_lookups(core, net, 0);
}

fn commit_request(net: &mut Net) -> Option<(Sent, m::OffsetCommitRequest)> {
    let sent = net.next_of(ApiKey::OffsetCommit)?;
    let RequestKind::OffsetCommit(request) = sent.request.clone() else { panic!("{sent:?}") };
    Some((sent, request))
}

fn answer_commit(core: &mut ConsumerCore, net: &mut Net, sent: &Sent, code: ErrorCode) {
    let row = m::offset_commit_response::OffsetCommitResponsePartition::default().with_error_code(code.code());
    let topic = m::offset_commit_response::OffsetCommitResponseTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![row]);
    let response = m::OffsetCommitResponse::default().with_topics(vec![topic]);
    net.answer(core, sent, ResponseKind::OffsetCommit(response));
    net.run(core);
}

fn told(core: &mut ConsumerCore, net: &mut Net) -> Rebalance {
    let Ok(Polled::Rebalance(rebalance)) = poll(core, net) else { panic!("no rebalance") };
    core.rebalanced(net.now);
    net.run(core);
    rebalance
}

/// A member with partition 0 that reads from offset 3 on.
pub(super) fn member(assignor: Assignor, net: &mut Net) -> ConsumerCore {
    let mut core = subscribed(group(assignor), net);
    join(&mut core, net, 1, &[partition(0)]);
    assert_eq!(told(&mut core, net), Rebalance::Assigned(vec![partition(0)]));
    committed(&mut core, net, Some(3));
    core
}

#[test]
fn a_member_id_is_taken_and_the_committed_offset_read() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = subscribed(group(Assignor::Range), &mut net);
    let (sent, request) = join_request(&mut net);
    assert!(request.member_id.is_empty());
    let response = m::JoinGroupResponse::default()
        .with_error_code(ErrorCode::MemberIdRequired.code())
        .with_member_id(text("given"));
    net.answer(&mut core, &sent, ResponseKind::JoinGroup(response));
    net.run(&mut core);
    let (sent, request) = join_request(&mut net);
    assert_eq!(&*request.member_id, "given");
    net.sent.push_front(sent);
    join(&mut core, &mut net, 1, &[partition(0)]);
    assert_eq!(told(&mut core, &mut net), Rebalance::Assigned(vec![partition(0)]));
    committed(&mut core, &mut net, Some(3));
    assert_eq!(wanted(&net.next_of(ApiKey::Fetch).expect("a fetch")), [(0, 3)]);
}

#[test]
fn the_leader_plans_for_all_members() {
    let mut net = Net::new(&[("t", &[(1, 1), (1, 1)])]);
    let mut core = subscribed(group(Assignor::Range), &mut net);
    let (sent, request) = join_request(&mut net);
    let member = |id: &str| {
        m::join_group_response::JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_metadata(request.protocols[0].metadata.clone())
    };
    let response = m::JoinGroupResponse::default()
        .with_generation_id(1)
        .with_protocol_name(Some(text("range")))
        .with_leader(text("me"))
        .with_member_id(text("me"))
        .with_members(vec![member("me"), member("other")]);
    net.answer(&mut core, &sent, ResponseKind::JoinGroup(response));
    net.run(&mut core);
    let sent = net.next_of(ApiKey::SyncGroup).expect("a sync");
    let RequestKind::SyncGroup(sync) = &sent.request else { panic!("{sent:?}") };
    let plan: Vec<(String, Vec<TopicPartition>)> = sync
        .assignments
        .iter()
        .map(|row| (row.member_id.to_string(), protocol::read_assignment(row.assignment.clone()).expect("read")))
        .collect();
    assert_eq!(plan, [("me".to_owned(), vec![partition(0)]), ("other".to_owned(), vec![partition(1)])]);
}

#[test]
fn an_eager_rebalance_waits_for_the_poll_commits_and_gives_everything_up() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = member(Assignor::Range, &mut net);
    let fetch = net.next_of(ApiKey::Fetch).expect("a fetch");
    net.answer(&mut core, &fetch, fetched(1, 0, ErrorCode::None, batch(3, &["a"])));
    assert_eq!(values(poll(&mut core, &mut net).expect("records")), [(3, "a".to_owned())]);
    heartbeat(&mut core, &mut net, ErrorCode::RebalanceInProgress);
    assert!(commit_request(&mut net).is_none(), "the application still works on the record");
    assert!(net.next_of(ApiKey::JoinGroup).is_none());
    assert_eq!(poll(&mut core, &mut net), Ok(Polled::Nothing));
    net.pass(&mut core, 10 * MILLI);
    let (sent, request) = commit_request(&mut net).expect("processed by coming back");
    assert_eq!(request.topics[0].partitions[0].committed_offset, 4);
    assert_eq!((request.generation_id_or_member_epoch, &*request.member_id), (1, "me"));
    answer_commit(&mut core, &mut net, &sent, ErrorCode::None);
    assert_eq!(told(&mut core, &mut net), Rebalance::Revoked(vec![partition(0)]));
    assert!(core.assignment().is_empty());
    join(&mut core, &mut net, 2, &[partition(0)]);
    assert_eq!(told(&mut core, &mut net), Rebalance::Assigned(vec![partition(0)]));
}

#[test]
fn a_cooperative_rebalance_keeps_what_stays_and_joins_again_after_giving_up() {
    let mut net = Net::new(&[("t", &[(1, 1), (1, 1)])]);
    let mut core = subscribed(group(Assignor::CooperativeSticky), &mut net);
    join(&mut core, &mut net, 1, &[partition(0), partition(1)]);
    assert_eq!(told(&mut core, &mut net), Rebalance::Assigned(vec![partition(0), partition(1)]));
    committed(&mut core, &mut net, None);
    heartbeat(&mut core, &mut net, ErrorCode::RebalanceInProgress);
    net.run(&mut core);
    let (sent, request) = join_request(&mut net);
    let subscription = protocol::read_subscription(request.protocols[0].metadata.clone()).expect("read");
    assert_eq!(subscription.owned, [partition(0), partition(1)], "joins while it goes on reading");
    assert_eq!(subscription.generation, 1);
    assert_eq!(core.assignment().len(), 2);
    net.sent.push_front(sent);
    join(&mut core, &mut net, 2, &[partition(0)]);
    if let Some((sent, _)) = commit_request(&mut net) {
        answer_commit(&mut core, &mut net, &sent, ErrorCode::None);
    }
    assert_eq!(told(&mut core, &mut net), Rebalance::Revoked(vec![partition(1)]));
    assert_eq!(core.assignment(), [partition(0)]);
    let (_, request) = join_request(&mut net);
    let subscription = protocol::read_subscription(request.protocols[0].metadata.clone()).expect("read");
    assert_eq!(subscription.owned, [partition(0)], "the second phase");
}

#[test]
fn an_expelled_member_loses_its_partitions_and_joins_anew() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = member(Assignor::Range, &mut net);
    heartbeat(&mut core, &mut net, ErrorCode::UnknownMemberId);
    assert_eq!(told(&mut core, &mut net), Rebalance::Lost(vec![partition(0)]));
    assert!(commit_request(&mut net).is_none(), "too late to commit");
    let (_, request) = join_request(&mut net);
    assert!(request.member_id.is_empty());
}

#[test]
fn a_fenced_static_member_ends() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = group(Assignor::Range);
    config.group_instance_id = Some("i".to_owned());
    let mut core = subscribed(config, &mut net);
    let (sent, request) = join_request(&mut net);
    assert_eq!(request.group_instance_id.as_deref(), Some("i"));
    let response = m::JoinGroupResponse::default().with_error_code(ErrorCode::FencedInstanceId.code());
    net.answer(&mut core, &sent, ResponseKind::JoinGroup(response));
    for _ in 0..2 {
        assert!(poll(&mut core, &mut net).expect_err("fenced").is_fatal());
    }
}

#[test]
fn a_consumer_that_does_not_poll_leaves() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = group(Assignor::Range);
    config.max_poll_interval = Duration::from_secs(2);
    let mut core = subscribed(config, &mut net);
    join(&mut core, &mut net, 1, &[partition(0)]);
    assert_eq!(told(&mut core, &mut net), Rebalance::Assigned(vec![partition(0)]));
    committed(&mut core, &mut net, Some(3));
    net.pass(&mut core, Duration::from_secs(2));
    let sent = net.next_of(ApiKey::LeaveGroup).expect("it leaves");
    net.answer(&mut core, &sent, ResponseKind::LeaveGroup(m::LeaveGroupResponse::default()));
    assert_eq!(told(&mut core, &mut net), Rebalance::Lost(vec![partition(0)]));
    assert!(net.next_of(ApiKey::JoinGroup).is_some(), "and comes back with the next poll");
}

#[test]
fn offsets_are_committed_by_the_clock_and_by_order() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = member(Assignor::Range, &mut net);
    let fetch = net.next_of(ApiKey::Fetch).expect("a fetch");
    net.answer(&mut core, &fetch, fetched(1, 0, ErrorCode::None, batch(3, &["a"])));
    poll(&mut core, &mut net).expect("records");
    let id = core.commit(net.now, &core.positions()).expect("a member");
    net.run(&mut core);
    let (sent, request) = commit_request(&mut net).expect("by order");
    assert_eq!(request.topics[0].partitions[0].committed_offset, 4);
    assert_eq!(request.topics[0].partitions[0].committed_leader_epoch, 1);
    answer_commit(&mut core, &mut net, &sent, ErrorCode::RebalanceInProgress);
    let ended = std::iter::from_fn(|| core.poll_event())
        .find_map(|event| if let ConsumerEvent::Committed(call, result) = event { Some((call, result)) } else { None });
    let (call, result) = ended.expect("told");
    assert_eq!((call, result.expect_err("refused").code()), (id, Some(ErrorCode::RebalanceInProgress)));
    net.now.instant = net.now.instant.after(Duration::from_secs(5));
    core.poll_begun(net.now);
    net.run(&mut core);
    assert!(commit_request(&mut net).is_some(), "by the clock");
}

#[test]
fn leaving_tells_the_coordinator_once() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = member(Assignor::Range, &mut net);
    core.leave(net.now);
    net.run(&mut core);
    let sent = net.next_of(ApiKey::LeaveGroup).expect("it leaves");
    net.answer(&mut core, &sent, ResponseKind::LeaveGroup(m::LeaveGroupResponse::default()));
    net.run(&mut core);
    assert!(std::iter::from_fn(|| core.poll_event()).any(|event| matches!(event, ConsumerEvent::Left)));
    net.pass(&mut core, Duration::from_secs(10));
    assert!(net.next_of(ApiKey::JoinGroup).is_none() && net.next_of(ApiKey::Heartbeat).is_none());
}

#[test]
fn a_coordinator_that_moved_is_found_again_without_leaving() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = member(Assignor::Range, &mut net);
    heartbeat(&mut core, &mut net, ErrorCode::NotCoordinator);
    heartbeat(&mut core, &mut net, ErrorCode::None);
    assert_eq!(core.assignment(), [partition(0)]);
    assert!(net.next_of(ApiKey::JoinGroup).is_none());
}
