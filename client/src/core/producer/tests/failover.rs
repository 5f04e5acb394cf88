//! Leaders that die, and leaders that say nothing any more.

use super::*;

/// Lets time pass until a produce request goes to broker 2; returns it and how long that took.
fn sent_to_the_next(core: &mut ProducerCore, net: &mut Net) -> (Sent, Duration) {
    let begun = net.now.instant;
    for _ in 0..3_000 {
        net.pass(core, MILLI);
        let is_it = |sent: &&Sent| sent.port == 9002 && matches!(sent.request, RequestKind::Produce(_));
        if net.sent.iter().any(|sent| is_it(&sent)) {
            let at = net.sent.iter().position(|sent| is_it(&sent)).expect("found");
            return (net.sent.remove(at).expect("found"), net.now.instant.since(begun));
        }
    }
    panic!("nothing is sent to the new leader");
}

/// Acknowledges batch by batch at broker 2 and returns their sequence numbers and values.
fn taken(core: &mut ProducerCore, net: &mut Net, first: Sent) -> Vec<(i32, String)> {
    let mut taken = Vec::new();
    let mut next = Some(first);
    while let Some(sent) = next {
        assert_eq!(sent.port, 9002);
        taken.extend(stamps(&sent).iter().map(|stamp| stamp.2).zip(values(&sent)));
        net.answer(core, &sent, reply(&sent, ErrorCode::None, 10));
        net.run(core);
        let at = net.sent.iter().position(|sent| sent.port == 9002);
        next = at.and_then(|at| net.sent.remove(at));
    }
    taken
}

fn in_order() -> Vec<(i32, String)> {
    (0..).zip(["a", "b", "c"].map(str::to_owned)).collect()
}

fn all_acknowledged(core: &mut ProducerCore) {
    let outcomes = outcomes(core);
    assert_eq!(outcomes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(outcomes.iter().all(|(_, result)| result.is_ok()), "{outcomes:?}");
}

#[test]
fn a_leader_that_is_stopped_costs_little_more_than_the_silence_time_out() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, _unanswered) = three_in_flight(&mut net);
    net.stopped = vec![9001];
    // The others notice and elect within 700 ms.
    net.pass(&mut core, 700 * MILLI);
    assert!(core.cluster().metadata.leader("t", 0).is_some());
    net.topics = vec![("t", vec![(2, 2)])];
    let (first, took) = sent_to_the_next(&mut core, &mut net);
    assert!(took < 500 * MILLI, "{took:?} after the election");
    assert_eq!(taken(&mut core, &mut net, first), in_order(), "in order, under the numbers they had");
    all_acknowledged(&mut core);
}

#[test]
fn a_leader_that_is_slow_is_waited_for() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.pass(&mut core, Duration::from_secs(20));
    for sent in &sent {
        net.answer(&mut core, sent, reply(sent, ErrorCode::None, 5));
        net.run(&mut core);
    }
    all_acknowledged(&mut core);
}

#[test]
fn a_leader_that_dies_costs_an_election_and_one_question() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.dead = vec![9001];
    net.topics = vec![("t", vec![(-1, -1)])];
    net.cut(&mut core, sent[0].connection);
    net.pass(&mut core, 150 * MILLI);
    net.topics = vec![("t", vec![(2, 2)])];
    let (first, took) = sent_to_the_next(&mut core, &mut net);
    assert!(took < 60 * MILLI, "{took:?} after the election");
    assert_eq!(taken(&mut core, &mut net, first), in_order());
    all_acknowledged(&mut core);
}

#[test]
fn the_leader_named_with_an_error_is_turned_to_at_once() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.manual = true;
    let ResponseKind::Produce(mut response) = reply(&sent[0], ErrorCode::NotLeaderOrFollower, -1) else { panic!() };
    let row = &mut response.responses[0].partition_responses[0];
    row.current_leader.leader_id = 2.into();
    row.current_leader.leader_epoch = 2;
    net.answer(&mut core, &sent[0], ResponseKind::Produce(response));
    let (first, took) = sent_to_the_next(&mut core, &mut net);
    assert!(took <= 2 * MILLI, "{took:?}: no metadata, no pause");
    // What the old leader says of the others does not count any more.
    for sent in &sent[1..] {
        net.answer(&mut core, sent, reply(sent, ErrorCode::NotLeaderOrFollower, -1));
    }
    net.run(&mut core);
    assert_eq!(taken(&mut core, &mut net, first), in_order());
    all_acknowledged(&mut core);
}

#[test]
fn a_stopped_leader_behind_the_bootstrap_address_is_not_asked_about_itself() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, _unanswered) = three_in_flight(&mut net);
    net.stopped = vec![9001, 7001];
    net.topics = vec![("t", vec![(2, 2)])];
    let (_, took) = sent_to_the_next(&mut core, &mut net);
    assert!(took <= 510 * MILLI, "{took:?}: one silence time-out, not two");
}

#[test]
fn metadata_that_a_silent_broker_owes_is_asked_of_another() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, _unanswered) = three_in_flight(&mut net);
    // The connection that has fewest requests is that of the bootstrap address.
    net.stopped = vec![9001, 7001];
    core.cluster().metadata.invalidate();
    net.pass(&mut core, 200 * MILLI);
    assert!(core.cluster().metadata.asking.is_some(), "asked where no answer comes from");
    net.topics = vec![("t", vec![(2, 2)])];
    let (_, took) = sent_to_the_next(&mut core, &mut net);
    assert!(took < 500 * MILLI, "{took:?}");
}
