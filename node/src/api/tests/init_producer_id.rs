//! InitProducerId.

use kafka_protocol::messages::{InitProducerIdRequest, ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use millrace_storage::CrashKind;
use millrace_types::ErrorCode;

use crate::testing::World;

fn idempotent() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX)
}

fn transactional(id: &str, timeout: i32) -> InitProducerIdRequest {
    let id = TransactionalId(StrBytes::from_string(id.to_owned()));
    InitProducerIdRequest::default().with_transactional_id(Some(id)).with_transaction_timeout_ms(timeout)
}

#[test]
fn ids_are_never_given_twice() {
    let mut world = World::new(1);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let connection = world.connect();
        for version in 0..=5 {
            let response = world.request(connection, version, &idempotent());
            assert_eq!((response.error_code, response.producer_epoch), (0, 0));
            ids.push(response.producer_id.0);
        }
        world = world.crash(CrashKind::Process);
    }
    assert_eq!(ids[0], 1 << 44 | 1 << 24, "broker 1, start 1, counter 0");
    assert_eq!(ids[6], 1 << 44 | 2 << 24);
    ids.dedup();
    assert_eq!(ids.len(), 12);
}

#[test]
fn a_producer_that_names_its_id_gets_a_fresh_one() {
    let mut world = World::new(1);
    let connection = world.connect();
    let named = idempotent().with_producer_id(ProducerId(5)).with_producer_epoch(3);
    let response = world.request(connection, 4, &named);
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    assert_ne!(response.producer_id.0, 5);
    let half = idempotent().with_producer_id(ProducerId(5));
    assert_eq!(world.request(connection, 4, &half).error_code, ErrorCode::InvalidRequest.code());
}

#[test]
fn transactions_are_refused_for_good() {
    let mut world = World::new(1);
    let connection = world.connect();
    for (request, expected) in [
        (transactional("", 1_000), ErrorCode::InvalidRequest),
        (transactional("x", 0), ErrorCode::InvalidTransactionTimeout),
        (transactional("x", 900_001), ErrorCode::InvalidTransactionTimeout),
        (transactional("x", 60_000), ErrorCode::UnsupportedVersion),
    ] {
        let response = world.request(connection, 5, &request);
        assert_eq!(ErrorCode::from_code(response.error_code), expected);
        assert_eq!((response.producer_id.0, response.producer_epoch), (-1, -1));
    }
}
