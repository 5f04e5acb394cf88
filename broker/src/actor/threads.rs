//! The arbiters: one thread each, with a router and whatever is hosted there.

use std::io;
use std::sync::Arc;

use actix_rt::Arbiter;
use millrace_node::metadata_store::MetadataStore;

use super::arbiter::Local;
use super::journal_thread::JournalThread;
use super::peers::Sessions;
use super::router::Router;
use super::supervisor::Supervisor;
use super::{metadata, peers};
use crate::pulse;
use crate::shared::Shared;

/// The arbiters of a broker.
#[derive(Debug)]
pub(crate) struct Arbiters(Vec<Arbiter>);

/// What the arbiter of the metadata store is given.
pub(crate) struct Metadata {
    /// The core.
    pub(crate) store: MetadataStore,
    /// Its journal.
    pub(crate) journal: JournalThread,
    /// Who starts the replicas it asks for.
    pub(crate) supervisor: Supervisor,
}

impl Arbiters {
    /// Starts as many arbiters as `shared` has inboxes, the metadata store on its own, the sessions with other brokers on
    /// theirs, and the thread that looks whether all of them get on.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(shared: &Arc<Shared>, metadata: Metadata, mut sessions: Option<Sessions>) -> io::Result<Self> {
        let mut arbiters = Vec::new();
        let mut metadata = Some(metadata);
        for number in 0..shared.placement.arbiters() {
            let arbiter = Arbiter::try_new()?;
            let shared = Arc::clone(shared);
            let hosted = if number == shared.placement.metadata() { metadata.take() } else { None };
            let sessions = if number == shared.placement.peers() { sessions.take() } else { None };
            let alive = arbiter.spawn_fn(move || {
                let local = Local::new(number, shared);
                Router::start(std::rc::Rc::clone(&local));
                if let Some(sessions) = sessions {
                    peers::start(&local, sessions);
                }
                if let Some(Metadata { store, journal, supervisor }) = hosted {
                    metadata::start(&local, store, journal, supervisor);
                }
            });
            if !alive {
                return Err(io::Error::other("an arbiter ended at its start"));
            }
            arbiters.push(arbiter);
        }
        pulse::start(shared)?;
        Ok(Self(arbiters))
    }

    /// Stops the arbiters and waits for their threads.
    pub(crate) fn stop(self) {
        for arbiter in &self.0 {
            arbiter.stop();
        }
        for arbiter in self.0 {
            if arbiter.join().is_err() {
                tracing::error!("an arbiter ended by a panic");
            }
        }
    }
}
