//! The clients of a run: the client library's own cores, hosted by the event queue, and what they ask for.

mod admin;
mod consumer;
mod group;
mod member;
mod moves;
mod offsets;
mod probe;
mod producer;
mod raw;

pub use admin::Admin;
pub use consumer::Consumer;
pub use group::{GROUP, group_partition};
pub use member::Member;
pub use offsets::CommittedOffsets;
pub use probe::Probe;
pub use producer::Producer;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::core::{ConnectionId, Machine, NetOutput};
use millrace_client::{ClientConfig, ClientError};
use millrace_types::{Instant, LeaderEpoch, Now, Offset};

use crate::dice::Dice;
use crate::history::{History, Part, Value};
use crate::options::Options;

/// Address of the first broker.
pub const BOOTSTRAP: &str = "b1:9092";

/// The network side of a client.
pub trait Wire {
    /// The connection is made.
    fn opened(&mut self, now: Now, connection: ConnectionId);
    /// A frame arrived, without its length.
    fn frame(&mut self, now: Now, connection: ConnectionId, frame: Bytes);
    /// The connection ended or could not be made.
    fn closed(&mut self, now: Now, connection: ConnectionId);
    /// Does what is due.
    fn advance(&mut self, now: Now);
    /// When it has to be called again.
    fn deadline(&self, now: Now) -> Instant;
    /// The next thing to do on the network.
    fn output(&mut self) -> Option<NetOutput>;
}

impl<M: Machine> Wire for M {
    fn opened(&mut self, now: Now, connection: ConnectionId) {
        Machine::opened(self, now, connection);
    }

    fn frame(&mut self, now: Now, connection: ConnectionId, frame: Bytes) {
        Machine::frame(self, now, connection, frame);
    }

    fn closed(&mut self, now: Now, connection: ConnectionId) {
        let reason = ClientError::Disconnected { address: BOOTSTRAP.into() };
        Machine::closed(self, now, connection, &reason);
    }

    fn advance(&mut self, now: Now) {
        Machine::advance(self, now);
    }

    fn deadline(&self, now: Now) -> Instant {
        Machine::deadline(self, now)
    }

    fn output(&mut self) -> Option<NetOutput> {
        self.poll_output()
    }
}

/// What a client works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The present.
    pub now: Now,
    /// What happened so far.
    pub history: &'a mut History,
    /// The run's options.
    pub options: &'a Options,
    /// The faults are over: what is under way is brought to its end.
    pub calm: bool,
    /// The epochs in which the broker whose answer this is has coordinated the group, and since when; the latest last.
    pub coordinated: &'a [(Instant, LeaderEpoch)],
}

/// A client and what it does.
pub trait Client {
    /// Its network side.
    fn wire(&mut self) -> &mut dyn Wire;
    /// Takes in what its core tells and asks for more; whether it did anything.
    fn work(&mut self, cx: &mut Context<'_>) -> bool;
    /// When it wants to be called, whatever its network side needs.
    fn wake(&self) -> Instant;
    /// Whether it has done all it must, with these high watermarks; otherwise what is missing.
    fn missing(&mut self, ends: &BTreeMap<Part, Offset>) -> Option<String>;
    /// The client was remade since the last call: its former connections are gone.
    fn take_remade(&mut self) -> bool {
        false
    }
}

/// The settings of a client, drawn.
pub(crate) fn client_config(dice: &mut Dice, name: &str, options: &Options) -> ClientConfig {
    let addresses: Vec<String> = (1..=options.cluster.brokers).map(|broker| format!("b{broker}:9092")).collect();
    let mut config = ClientConfig::new(&addresses.join(","));
    config.client_id = name.to_owned();
    config.request_timeout = Duration::from_millis(dice.pick(&[300, 1_000, 5_000]));
    config.api_timeout = Duration::from_secs(dice.pick(&[5, 20]));
    config.connect_timeout = Duration::from_millis(dice.pick(&[300, 2_000]));
    config.reconnect_backoff = Duration::from_millis(dice.pick(&[1, 20]));
    config.reconnect_backoff_max = Duration::from_millis(dice.pick(&[50, 500]));
    config.retry_backoff = Duration::from_millis(dice.pick(&[1, 50]));
    config.retry_backoff_max = Duration::from_millis(dice.pick(&[100, 500]));
    config.metadata_max_age = Duration::from_millis(dice.pick(&[500, 60_000]));
    config
}

/// The bytes of a value: its number, then padding.
pub(crate) fn encode(value: Value, padding: u64) -> Bytes {
    let mut bytes = value.to_be_bytes().to_vec();
    let padding = usize::try_from(padding).unwrap_or(0);
    bytes.extend((0..padding).map(|at| u8::try_from((at as u64 ^ value) & 0xff).unwrap_or(0)));
    bytes.into()
}

/// The number of a value, if its bytes are whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<Value> {
    let (number, padding) = bytes.split_first_chunk::<8>()?;
    let value = Value::from_be_bytes(*number);
    let right = |(at, byte): (usize, &u8)| u64::from(*byte) == (at as u64 ^ value) & 0xff;
    padding.iter().enumerate().all(right).then_some(value)
}
