//! Arbitrary frames and hellos at a core with a session: nothing panics, and what its check demands holds.

use bytes::Bytes;
use millrace_types::{Instant, Now};

use super::stories::{accepted_hello, local_core};
use crate::core::Core;
use crate::peer::codec::sealed;
use crate::peer::{PeerEvent, PeerSettings, Start};

/// An event out of what the fuzzer gives.
fn event(choice: u8, number: u8, bytes: &[u8]) -> PeerEvent {
    let connection = 10 + u64::from(number % 8);
    let mut hello = accepted_hello(number % 4);
    match choice % 9 {
        0 => PeerEvent::Timer,
        1 => PeerEvent::Closed { connection },
        2 => PeerEvent::Remembered { token: number.into() },
        3 => {
            hello.attempt = bytes.len() as u64;
            hello.starts.extend(bytes.iter().map(|byte| Start { incarnation: u64::from(*byte), nonce: 1 }));
            PeerEvent::Accepted { connection, hello }
        }
        4 => PeerEvent::Frame { connection, frame: Bytes::copy_from_slice(bytes) },
        5 => PeerEvent::Frame { connection, frame: sealed(1, 3, &[0; 8]) },
        6 => PeerEvent::Written { connection, bytes: bytes.len() },
        7 => PeerEvent::Progress { connection },
        _ => PeerEvent::Frame { connection, frame: sealed(1, 1 + number % 4, bytes) },
    }
}

#[test]
fn arbitrary_events_break_nothing() {
    bolero::check!().with_iterations(2_000).with_type::<Vec<(u8, u8, Vec<u8>)>>().for_each(|events| {
        for side in 0..2 {
            let (mut core, mut out) = (local_core(side, PeerSettings::default()), Vec::new());
            for (at, (choice, number, bytes)) in (0_u64..).zip(events) {
                let instant = Instant::from_micros(1_000_000 + at * 50_000);
                core.step(Now { instant, wall: 0 }, event(*choice, *number, bytes), &mut out);
                let connected = out.drain(..).find_map(|effect| match effect {
                    crate::peer::PeerEffect::Dial { shard, attempt } => Some((shard, attempt)),
                    _ => None,
                });
                if let Some((shard, attempt)) = connected {
                    let connection = 10 + u64::from(*number % 8);
                    core.step(Now { instant, wall: 0 }, PeerEvent::Connected { shard, attempt, connection }, &mut out);
                }
            }
        }
    });
}
