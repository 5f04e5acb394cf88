//! What all connections of one broker share besides the directory.

use std::sync::Arc;

use crate::directory::Directory;
use crate::fetch_session::FetchSessions;
use crate::producer_ids::ProducerIds;
use crate::settings::Settings;

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
}

impl Shared {
    /// What the connections of one process start share. `seed` is drawn by the host from its random source: fetch
    /// session ids of two process starts must not coincide.
    #[must_use]
    pub fn new(directory: Arc<Directory>, settings: Arc<Settings>, seed: u64) -> Self {
        let fetch_sessions = FetchSessions::new(settings.max_incremental_fetch_session_cache_slots, seed);
        let producer_ids = ProducerIds::new(settings.broker_id);
        Self { directory, settings, fetch_sessions, producer_ids }
    }
}
