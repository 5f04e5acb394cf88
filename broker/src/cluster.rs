//! What a broker that is not alone starts beside everything else: the sessions with the others, and their sockets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use millrace_node::Settings;
use millrace_node::peer::{LocalBroker, PeerSettings, Remembered, Start};
use millrace_node::peers::Peers;
use millrace_storage::{BootRecord, DataDir, QState};
use millrace_types::{BrokerId, DirectoryId};

use crate::actor::peers::Sessions;
use crate::config::{Members, PeerAddress};
use crate::error::StartError;
use crate::peer::thread::{Parts, PeerThread};
use crate::random;
use crate::shared::Shared;

/// Generation of the metadata log: nobody can raise it yet.
const GENERATION: u32 = 0;

/// Keepalives in the time after which a session is silent.
const KEEPALIVES: u32 = 4;

/// What the write-ahead store knows of this broker and of others, before the storage threads take it.
pub(crate) struct Identity {
    directory: DirectoryId,
    starts: Vec<Start>,
    seen: Vec<Remembered>,
    told: BTreeMap<BrokerId, Start>,
}

impl Identity {
    /// What the store of an open data directory knows; this start is durable in it.
    pub(crate) fn of(data_dir: &DataDir, qstate: &QState) -> Self {
        let start = |boot: &BootRecord| Start { incarnation: boot.incarnation, nonce: boot.nonce };
        let boots = qstate.boot().earlier.iter().chain([&qstate.boot().current]);
        let seen = qstate.seen().map(|seen| Remembered {
            broker: seen.broker,
            directory: seen.directory,
            start: Start { incarnation: seen.incarnation, nonce: seen.nonce },
        });
        let told = qstate.told().map(|told| {
            let start = Start { incarnation: told.incarnation, nonce: told.nonce };
            (told.broker, start)
        });
        Self {
            directory: data_dir.identity().directory_id,
            starts: boots.map(start).collect(),
            seen: seen.collect(),
            told: told.collect(),
        }
    }
}

/// Binds the address that other brokers connect to.
///
/// # Errors
/// When it has no address, or all of them are taken.
pub(crate) fn bind(members: &Members) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Bind { address: format!("{} (`peer.listener`)", members.bind), source };
    let addresses = resolve(&members.bind).map_err(failed)?;
    TcpListener::bind(addresses.as_slice()).map_err(failed)
}

fn resolve(address: &PeerAddress) -> std::io::Result<Vec<std::net::SocketAddr>> {
    address.listener().resolve()
}

/// The sessions with the other brokers; `None` for a broker that is alone.
pub(crate) fn sessions(shared: &Shared, identity: Identity) -> Option<Sessions> {
    let (orders, arrivals) = shared.peer_queues.as_ref()?;
    let members = shared.members.as_ref()?.load_full();
    let settings = &shared.node.settings;
    let tuned = tuned(settings);
    let local = LocalBroker {
        cluster_id: members.cluster_id.clone(),
        broker: settings.broker_id,
        directory: identity.directory,
        starts: identity.starts,
        told: identity.told,
        generation: GENERATION,
    };
    let directory = Arc::clone(&shared.node.directory);
    let brokers = members.brokers.keys().copied();
    let core = Peers::new(&local, brokers, &identity.seen, &tuned, directory, random::seed());
    Some(Sessions { core, orders: Arc::clone(orders), arrivals: Arc::clone(arrivals), beat: tuned.keepalive })
}

/// Starts the thread of the sockets; `None` for a broker that is alone.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(shared: &Shared, listener: TcpListener) -> Result<Option<PeerThread>, StartError> {
    let (Some((orders, arrivals)), Some(members)) = (&shared.peer_queues, &shared.members) else { return Ok(None) };
    let parts = Parts {
        listener,
        members: Arc::clone(members),
        orders: Arc::clone(orders),
        arrivals: Arc::clone(arrivals),
        meters: shared.meters.peers.clone(),
        pulse: Arc::clone(&shared.pulse),
    };
    PeerThread::start(parts).map(Some).map_err(StartError::Thread)
}

fn tuned(settings: &Settings) -> PeerSettings {
    let session_timeout = settings.peer_session_timeout;
    PeerSettings {
        shards: settings.replica_fetchers,
        session_timeout,
        keepalive: (session_timeout / KEEPALIVES).max(Duration::from_millis(1)),
        catch_up_rate: settings.catch_up_bytes_per_second,
        ..PeerSettings::default()
    }
}
