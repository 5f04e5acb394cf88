//! What a session with another broker is tuned by.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_types::{BrokerId, DirectoryId};

use super::Start;

/// Who this broker is, for as long as the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBroker {
    /// Id of the cluster, at most 255 bytes.
    pub cluster_id: String,
    /// Its id.
    pub broker: BrokerId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// The last starts of that directory, the oldest first; the last one is this process, and it is durable.
    pub starts: Vec<Start>,
    /// The newest start of it that other brokers are known to remember.
    pub told: BTreeMap<BrokerId, Start>,
    /// Generation of the metadata log.
    pub generation: u32,
}

/// Times, bounds and rates of the sessions with one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// `num.replica.fetchers`: connections that carry partitions, control and the catch-up shard apart; 1 to 64. Counts at the broker
    /// that dials.
    pub shards: u8,
    /// A connection that brings nothing for so long is given up, and with the control connection the session.
    pub session_timeout: Duration,
    /// A keepalive leaves on each connection so often.
    pub keepalive: Duration,
    /// A dial or a handshake that takes longer is given up, and so is a session one of whose shards is missing for longer.
    pub handshake_timeout: Duration,
    /// The first pause between two dials; it doubles with each failure. Half of it is drawn at random.
    pub backoff_min: Duration,
    /// The longest pause between two dials.
    pub backoff_max: Duration,
    /// The pause after a refusal, which is not over soon.
    pub refused_pause: Duration,
    /// `replica.catch.up.bytes.per.second`: bytes per second of the catch-up shard, 1 or more.
    pub catch_up_rate: u64,
    /// Bytes that a connection may have handed to its socket and not seen leave: what the most urgent message waits for.
    pub window: usize,
    /// Bytes in a frame; a single message may be longer.
    pub frame_bytes: usize,
    /// Messages in a frame, at most [`super::MAX_MESSAGES`].
    pub frame_messages: usize,
    /// Memory for what waits for a connection, records included; a single message may take more. It has room for several messages of
    /// each partition that two brokers share: else a session would end as soon as all of them speak.
    pub queue_bytes: usize,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            shards: 2,
            session_timeout: Duration::from_millis(400),
            keepalive: Duration::from_millis(100),
            handshake_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(250),
            refused_pause: Duration::from_secs(1),
            catch_up_rate: 100 << 20,
            window: 1 << 20,
            frame_bytes: 1 << 20,
            frame_messages: 4_096,
            queue_bytes: 256 << 20,
        }
    }
}
