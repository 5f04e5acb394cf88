//! What all connections of one broker share besides the directory.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use millrace_types::Now;

use crate::directory::Directory;
use crate::fetch_session::FetchSessions;
use crate::producer_ids::ProducerIds;
use crate::settings::Settings;

/// How often it is said that groups cannot be served, in milliseconds.
const WARNING_INTERVAL_MS: i64 = 60_000;

/// One value per broker, handed to each connection when it is made.
#[derive(Debug)]
pub struct Shared {
    /// Metadata image and partition views.
    pub directory: Arc<Directory>,
    /// The broker's settings.
    pub settings: Arc<Settings>,
    /// The cache of incremental fetch sessions (KIP-227).
    pub fetch_sessions: FetchSessions,
    /// The source of producer ids (KIP-98).
    pub producer_ids: ProducerIds,
    /// Since when [`Shared::warn_of_offsets`] is silent, in milliseconds since the Unix epoch.
    warned: AtomicI64,
}

impl Shared {
    /// What the connections of one process start share. `seed` is drawn by the host from its random source: fetch
    /// session ids of two process starts must not coincide.
    #[must_use]
    pub fn new(directory: Arc<Directory>, settings: Arc<Settings>, seed: u64) -> Self {
        let fetch_sessions = FetchSessions::new(settings.max_incremental_fetch_session_cache_slots, seed);
        let producer_ids = ProducerIds::new(settings.broker_id);
        Self { directory, settings, fetch_sessions, producer_ids, warned: AtomicI64::new(i64::MIN) }
    }

    /// Warns, once a minute at most, that groups have no coordinator: members of a group only wait, and say nothing.
    pub(crate) fn warn_of_offsets(&self, now: Now, why: &str) {
        let last = self.warned.load(Relaxed);
        let due = now.wall.saturating_sub(last) >= WARNING_INTERVAL_MS || now.wall < last;
        if due && self.warned.compare_exchange(last, now.wall, Relaxed, Relaxed).is_ok() {
            tracing::warn!(
                why,
                "__consumer_offsets cannot be created, so no consumer group can be served; see offsets.topic.replication.factor"
            );
        }
    }
}
