//! Leaders and coordinators that say nothing any more.

use kafka_protocol::messages::RequestKind;

use super::*;

/// Lets time pass until such a request goes to broker 2; returns it and how long that took.
fn sent_to_the_next(core: &mut ConsumerCore, net: &mut Net, api: ApiKey) -> (Sent, Duration) {
    let begun = net.now.instant;
    for _ in 0..5_000 {
        net.pass(core, MILLI);
        let is_it =
            |sent: &Sent| sent.port == 9002 && crate::wire::api_of(&sent.request).map(|(api, _)| api) == Some(api);
        if let Some(at) = net.sent.iter().position(is_it) {
            return (net.sent.remove(at).expect("found"), net.now.instant.since(begun));
        }
    }
    panic!("{api:?} is not sent to broker 2");
}

#[test]
fn a_fetch_is_not_left_with_a_leader_that_is_stopped() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = ConsumerCore::new(config(), Random::new(1)).expect("valid");
    core.assign(net.now, &[partition(0)]).expect("no subscription");
    net.run(&mut core);
    answer_lookups(&mut core, &mut net, 10);
    assert!(net.sent.iter().any(|sent| matches!(sent.request, RequestKind::Fetch(_)) && sent.port == 9001));
    net.stopped = vec![9001];
    net.topics = vec![("t", vec![(2, 2)])];
    let (fetch, took) = sent_to_the_next(&mut core, &mut net, ApiKey::Fetch);
    let patience = core.config.fetch_max_wait + core.config.client.silence_timeout;
    assert!(took >= patience && took < patience + 200 * MILLI, "{took:?}");
    assert_eq!(wanted(&fetch), [(0, 10)]);
}

#[test]
fn a_member_finds_the_next_coordinator_and_stays() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = super::membership::member(crate::config::Assignor::Range, &mut net);
    net.stopped = vec![9001];
    net.pass(&mut core, Duration::from_secs(3));
    assert!(net.sent.iter().any(|sent| sent.port == 9001 && matches!(sent.request, RequestKind::Heartbeat(_))));
    net.coordinator = 2;
    let (sent, took) = sent_to_the_next(&mut core, &mut net, ApiKey::Heartbeat);
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    net.answer(&mut core, &sent, ResponseKind::Heartbeat(m::HeartbeatResponse::default()));
    net.run(&mut core);
    assert_eq!(core.assignment(), [partition(0)], "no rebalance");
    assert!(net.next_of(ApiKey::JoinGroup).is_none());
}
