//! Arbitrary frames and requests of the right shape with arbitrary content: nothing panics, every request is answered
//! or closes the connection, and nothing is left waiting for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use millrace_types::ErrorCode;

use super::{Connection, ConnectionEffect, ConnectionEvent, Origin};
use crate::api::APIS;
use crate::call::{Answer, ConnectionId};
use crate::core::Core;
use crate::shared::Shared;
use crate::testing::{LISTENER, World, at_ms};
use crate::wire::write_shape;

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Closed,
    /// Neither: right for Produce with acks 0 alone.
    Silent,
}

/// Delivers a frame to a connection of its own; every other core answers that it is gone.
fn deliver(shared: &Arc<Shared>, frame: Bytes) -> Fate {
    let origin = Origin { listener: LISTENER.into(), client_host: "127.0.0.1".into() };
    let mut connection = Connection::new(ConnectionId(9_999), origin, Arc::clone(shared));
    let mut effects = Vec::new();
    let mut events = vec![ConnectionEvent::Frame(frame)];
    let mut fate = Fate::Silent;
    // Every deadline of a request lies below the largest time-out a request can ask for.
    let late = at_ms(u64::from(u32::MAX));
    while let Some(event) = events.pop() {
        let now = if matches!(event, ConnectionEvent::Timer) { late } else { at_ms(0) };
        connection.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                ConnectionEffect::Send(_) => fate = Fate::Answered,
                ConnectionEffect::Close(_) => fate = Fate::Closed,
                ConnectionEffect::Call { token, .. } => {
                    events.push(ConnectionEvent::Answer { token, answer: Answer::Gone(ErrorCode::NotCoordinator) });
                }
                ConnectionEffect::Warm { token, .. } => events.push(ConnectionEvent::Warmed { token }),
                ConnectionEffect::Timer(_) => events.insert(0, ConnectionEvent::Timer),
                ConnectionEffect::CancelWatch { .. } => {}
            }
        }
    }
    fate
}

/// The fuzzer demands to know that a panic leaves nothing broken behind; a panic ends the test here.
fn shared() -> AssertUnwindSafe<Arc<Shared>> {
    let mut world = World::new(1);
    world.topic("topic", 2, &[]);
    AssertUnwindSafe(Arc::clone(&world.shared))
}

#[test]
fn arbitrary_frames_are_answered_or_close_the_connection() {
    let shared = shared();
    bolero::check!().with_iterations(4_000).for_each(|frame: &[u8]| {
        let fate = deliver(&shared, Bytes::copy_from_slice(frame));
        let produce = frame.starts_with(&[0, 0]);
        assert!(fate != Fate::Silent || produce, "neither answered nor closed");
    });
}

#[test]
fn requests_of_the_right_shape_are_answered_or_close_the_connection() {
    let shared = shared();
    bolero::check!().with_iterations(2_000).with_type::<(u8, u8, Vec<u8>)>().for_each(|(api, version, bits)| {
        let api = &APIS[usize::from(*api) % APIS.len()];
        let version = api.min + i16::from(*version) % (api.max - api.min + 1);
        let mut frame = BytesMut::new();
        frame.put_i16(api.key as i16);
        frame.put_i16(version);
        frame.put_i32(7);
        frame.put_i16(-1);
        if api.key.request_header_version(version) >= 2 {
            frame.put_u8(0);
        }
        frame.put_slice(&write_shape(api.key as i16, version, bits));
        let fate = deliver(&shared, frame.freeze());
        assert!(fate != Fate::Silent || api.key == ApiKey::Produce, "{:?} {version}: {fate:?}", api.key);
    });
}
