//! Connections, routing and coordinators, in virtual time.

use std::collections::BTreeMap;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse, ListGroupsRequest, ListGroupsResponse};

use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use millrace_types::{Instant, Now};

use super::*;
use crate::config::ClientConfig;
use crate::core::testing::Net;
use crate::core::{Machine, Random};
use crate::error::ClientError;

/// A machine that is a cluster and nothing else.
struct Bare(Cluster, BTreeMap<RequestId, Result<ResponseKind>>);

impl Machine for Bare {
    type Event = ();
    fn cluster(&mut self) -> &mut Cluster {
        &mut self.0
    }
    fn advance(&mut self, now: Now) {
        self.0.advance(now.instant);
        while let Some(answer) = self.0.poll_answer() {
            self.1.insert(answer.id, answer.result);
        }
    }
    fn deadline(&self, now: Now) -> Instant {
        self.0.deadline(now.instant)
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
}

fn bare(bootstrap: &str) -> Bare {
    Bare(Cluster::new(ClientConfig::new(bootstrap), Random::new(1), 5, true), BTreeMap::new())
}

fn list() -> RequestKind {
    RequestKind::ListGroups(ListGroupsRequest::default())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_dead_address_is_passed_over() {
    let mut net = Net::new(&[]);
    net.dead = vec![7001];
    let mut machine = bare("x:7001,y:7002");
    let id = machine.0.send(net.now.instant, Target::Any, list(), SECOND * 5);
    net.pass(&mut machine, SECOND);
    let sent = net.next();
    assert_eq!(sent.port, 7002);
    net.answer(&mut machine, &sent, ResponseKind::ListGroups(ListGroupsResponse::default()));
    net.run(&mut machine);
    assert!(matches!(machine.1.get(&id), Some(Ok(ResponseKind::ListGroups(_)))));
}

#[test]
fn an_address_that_takes_connections_and_says_nothing_is_passed_over() {
    let mut net = Net::new(&[]);
    net.stopped = vec![7001, 7002];
    for seed in 1..6 {
        let config = ClientConfig::new("x:7001,y:7002,z:7003");
        let mut machine = Bare(Cluster::new(config, Random::new(seed), 5, true), BTreeMap::new());
        net.pass(&mut machine, Duration::from_millis(1_050));
        assert!(!machine.0.metadata.nodes.is_empty(), "seed {seed}: asked after two silence time-outs at the latest");
    }
}

#[test]
fn a_broker_that_halts_before_it_tells_of_others_is_not_waited_for() {
    let mut net = Net::new(&[]);
    net.manual = true;
    let mut machine = bare("x:7001,y:7002");
    net.run(&mut machine);
    let asked = net.next();
    assert!(matches!(asked.request, RequestKind::Metadata(_)));
    net.stopped = vec![asked.port];
    net.pass(&mut machine, Duration::from_millis(510));
    let again = net.next();
    assert!(matches!(again.request, RequestKind::Metadata(_)) && again.port != asked.port, "{again:?}");
}

#[test]
fn without_any_broker_the_last_reason_is_told_in_time() {
    let mut net = Net::new(&[]);
    net.dead = vec![7001];
    let mut machine = bare("x:7001");
    let id = machine.0.send(net.now.instant, Target::Any, list(), SECOND);
    net.pass(&mut machine, SECOND / 2);
    assert!(machine.1.is_empty());
    net.pass(&mut machine, SECOND);
    let error = machine.1.remove(&id).expect("answered").expect_err("nobody there");
    assert!(matches!(&error, ClientError::NoBroker { addresses, .. } if &**addresses == "x:7001"), "{error}");
}

#[test]
fn a_broker_is_reached_at_its_advertised_address() {
    let mut net = Net::new(&[]);
    let mut machine = bare("x:7001");
    net.run(&mut machine);
    machine.0.send(net.now.instant, Target::Broker(2), list(), SECOND);
    net.run(&mut machine);
    assert_eq!(net.next().port, 9002);
}

#[test]
fn what_any_broker_may_answer_is_asked_of_all_of_them() {
    let mut net = Net::new(&[]);
    let mut machine = bare("x:7001");
    net.run(&mut machine);
    let mut asked = std::collections::BTreeSet::new();
    for step in 0..18 {
        let target = if step < 2 { Target::Broker(step + 1) } else { Target::Any };
        machine.0.send(net.now.instant, target, list(), SECOND);
        net.run(&mut machine);
        let sent = net.next();
        net.answer(&mut machine, &sent, ResponseKind::ListGroups(ListGroupsResponse::default()));
        net.run(&mut machine);
        asked.extend((step >= 2).then_some(sent.port));
    }
    assert!(asked.contains(&9001) && asked.contains(&9002), "{asked:?}");
}

#[test]
fn a_silent_broker_is_given_up_with_its_connection() {
    let mut net = Net::new(&[]);
    let mut machine = bare("x:7001");
    net.run(&mut machine);
    let late = machine.0.send(net.now.instant, Target::Broker(1), list(), SECOND);
    let behind = machine.0.send(net.now.instant, Target::Broker(1), list(), SECOND * 30);
    net.pass(&mut machine, SECOND * 2);
    for id in [late, behind] {
        assert!(matches!(machine.1.get(&id), Some(Err(ClientError::Disconnected { .. }))), "{:?}", machine.1.get(&id));
    }
}

#[test]
fn a_group_has_its_own_connection_and_moves_with_its_coordinator() {
    let mut net = Net::new(&[]);
    let mut machine = bare("x:7001");
    let heartbeat = || RequestKind::Heartbeat(HeartbeatRequest::default());
    machine.0.send(net.now.instant, Target::Broker(1), list(), SECOND * 9);
    machine.0.send(net.now.instant, Target::Coordinator(Arc::from("g")), heartbeat(), SECOND * 9);
    net.pass(&mut machine, SECOND);
    let (data, group) = (net.next(), net.next());
    assert_eq!((data.port, group.port), (9001, 9001));
    assert_ne!(data.connection, group.connection, "a long poll must not hold heartbeats up");
    assert_eq!(machine.0.coordinator("g"), Some(1));
    net.cut(&mut machine, group.connection);
    net.run(&mut machine);
    assert_eq!(machine.0.coordinator("g"), None, "it is looked up again");
    let again = machine.0.send(net.now.instant, Target::Coordinator(Arc::from("g")), heartbeat(), SECOND * 9);
    net.pass(&mut machine, SECOND);
    let sent = net.next();
    let sent = if matches!(sent.request, RequestKind::Heartbeat(_)) { sent } else { net.next() };
    net.answer(&mut machine, &sent, ResponseKind::Heartbeat(HeartbeatResponse::default()));
    net.run(&mut machine);
    assert!(matches!(machine.1.get(&again), Some(Ok(_))));
}

#[test]
fn waiting_requests_are_bounded() {
    let mut net = Net::new(&[]);
    net.dead = vec![7001];
    let mut machine = bare("x:7001");
    let ids: Vec<RequestId> =
        (0..=QUEUE_MAX).map(|_| machine.0.send(net.now.instant, Target::Any, list(), SECOND)).collect();
    net.run(&mut machine);
    assert!(matches!(machine.1.get(&ids[QUEUE_MAX]), Some(Err(ClientError::State { .. }))));
    assert!(!machine.1.contains_key(&ids[0]));
}

#[test]
fn an_idle_connection_is_closed() {
    let mut net = Net::new(&[]);
    let mut machine = bare("x:7001");
    machine.0.config.metadata_max_age = Duration::from_secs(10_000);
    net.run(&mut machine);
    assert_eq!(machine.0.connections.len(), 1);
    net.pass(&mut machine, Duration::from_secs(541));
    assert!(machine.0.connections.keys().all(|id| id.0 > 3), "the first connection is gone");
}
