//! What a connection remembers between its requests.

use std::sync::Arc;

use crate::call::ConnectionId;

use super::watches::Watches;

/// Where a connection came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Name of the listener that accepted it; Metadata answers with the addresses advertised for it.
    pub listener: Arc<str>,
    /// Address of the client without its port, as `127.0.0.1`.
    pub client_host: Arc<str>,
}

/// What a connection remembers between its requests.
#[derive(Debug)]
pub struct Session {
    /// Number of the connection.
    pub connection: ConnectionId,
    /// Where it came from.
    pub origin: Origin,
    /// The high watermarks this connection waits for.
    pub(crate) watches: Watches,
}

impl Session {
    /// The session of a connection that has not sent anything.
    #[must_use]
    pub fn new(connection: ConnectionId, origin: Origin) -> Self {
        Self { connection, origin, watches: Watches::default() }
    }
}
