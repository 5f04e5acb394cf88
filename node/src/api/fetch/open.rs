//! Which partitions a fetch is about: those it names, or those of its session that have to be looked at.

use std::sync::Arc;

use kafka_protocol::messages::FetchRequest;
use millrace_types::ErrorCode;

use super::{SESSION_FROM, TOPIC_ID_FROM};
use crate::api::Context;
use crate::fetch_session::{
    FINAL_EPOCH, INITIAL_EPOCH, NO_SESSION, PartitionKey, SharedSession, SlotId, TopicKey, Wanted,
};

/// The longest name of a topic, in bytes.
const MAX_NAME_LEN: usize = 249;

/// One partition of a fetch.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) key: PartitionKey,
    pub(super) wanted: Wanted,
    /// Its number in the session.
    pub(super) slot: Option<SlotId>,
}

/// The session a fetch runs in.
#[derive(Debug)]
pub(super) struct InSession {
    pub(super) session: SharedSession,
    /// The epoch of the fetch after this one; another one at the end means that the client has moved on.
    pub(super) next_epoch: i32,
}

/// A fetch that may begin.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) session: Option<InSession>,
    /// Whether the response names every partition, not only those with news.
    pub(super) full: bool,
    pub(super) targets: Vec<Target>,
}

impl Target {
    /// The partitions that a request names.
    pub(super) fn of_request(request: &FetchRequest, version: i16) -> Vec<Self> {
        let mut targets = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
        for topic in &request.topics {
            let key = topic_key(version, &topic.topic, topic.topic_id);
            targets.extend(topic.partitions.iter().map(|partition| Self {
                key: PartitionKey { topic: key.clone(), partition: partition.partition },
                wanted: Wanted {
                    offset: partition.fetch_offset,
                    max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
                    leader_epoch: partition.current_leader_epoch,
                    last_epoch: partition.last_fetched_epoch,
                },
                slot: None,
            }));
        }
        targets
    }
}

fn topic_key(version: i16, name: &str, id: uuid::Uuid) -> TopicKey {
    if version >= TOPIC_ID_FROM { TopicKey::Id(id) } else { TopicKey::Name(Arc::from(name)) }
}

/// Finds, makes or closes the session, as KIP-227 has it.
///
/// # Errors
/// The code for the whole request: the session is not known, or is not where the client thinks it is.
pub(super) fn open(cx: &mut Context<'_>, request: &FetchRequest) -> Result<Opened, ErrorCode> {
    let named = Target::of_request(request, cx.version);
    if request.topics.iter().any(|topic| topic.topic.len() > MAX_NAME_LEN) {
        // No such topic exists, and a session would keep the name.
        return Err(ErrorCode::InvalidTopicException);
    }
    match request.session_epoch {
        _ if cx.version < SESSION_FROM => Ok(outside(cx, named)),
        INITIAL_EPOCH | FINAL_EPOCH => {
            if request.session_id != NO_SESSION {
                cx.shared.fetch_sessions.remove(request.session_id);
            }
            Ok(if request.session_epoch == INITIAL_EPOCH { first(cx, named) } else { outside(cx, named) })
        }
        _ => further(cx, request, named),
    }
}

/// A fetch outside a session.
fn outside(cx: &mut Context<'_>, targets: Vec<Target>) -> Opened {
    belong_to(cx, NO_SESSION);
    cx.session.watches.take_fired();
    Opened { session: None, full: true, targets }
}

/// The full fetch that begins a session, if there is room for one.
fn first(cx: &mut Context<'_>, targets: Vec<Target>) -> Opened {
    let (owner, by_id) = (cx.session.connection, cx.version >= TOPIC_ID_FROM);
    let Some(session) = cx.shared.fetch_sessions.create(cx.now.instant, by_id, owner, targets.len()) else {
        return outside(cx, targets);
    };
    let mut locked = session.lock();
    belong_to(cx, locked.id());
    for target in targets {
        locked.want(target.key, target.wanted);
    }
    let targets = pending(&locked);
    let next_epoch = locked.epoch();
    drop(locked);
    Opened { session: Some(InSession { session, next_epoch }), full: true, targets }
}

/// A further fetch of a session: what changed, and what is pending.
fn further(cx: &mut Context<'_>, request: &FetchRequest, named: Vec<Target>) -> Result<Opened, ErrorCode> {
    let shared = Arc::clone(cx.shared);
    let session = shared.fetch_sessions.get(request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
    let mut locked = session.lock();
    if locked.epoch() != request.session_epoch {
        return Err(ErrorCode::InvalidFetchSessionEpoch);
    }
    if locked.uses_topic_ids() != (cx.version >= TOPIC_ID_FROM) {
        return Err(ErrorCode::FetchSessionTopicIdError);
    }
    if locked.owner() != cx.session.connection || cx.session.watches.session() != locked.id() {
        belong_to(cx, locked.id());
        locked.take_over(cx.session.connection);
    }
    for partition in cx.session.watches.take_fired() {
        locked.fired(&partition);
    }
    for target in named {
        locked.want(target.key, target.wanted);
    }
    for topic in &request.forgotten_topics_data {
        let topic_key = topic_key(cx.version, &topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            let key = PartitionKey { topic: topic_key.clone(), partition: *partition };
            if let Some(partition) = locked.forget(&key) {
                cx.unwatch(partition);
            }
        }
    }
    if locked.len() == 0 {
        shared.fetch_sessions.remove(locked.id());
        return Ok(outside(cx, Vec::new()));
    }
    if !shared.fetch_sessions.touch(locked.id(), cx.now.instant, locked.len()) {
        return Err(ErrorCode::FetchSessionIdNotFound);
    }
    locked.advance_epoch();
    let (targets, next_epoch) = (pending(&locked), locked.epoch());
    drop(locked);
    Ok(Opened { session: Some(InSession { session, next_epoch }), full: false, targets })
}

fn pending(session: &crate::fetch_session::FetchSession) -> Vec<Target> {
    let target = |(slot, key, wanted)| Target { key, wanted, slot: Some(slot) };
    session.pending().into_iter().map(target).collect()
}

/// The connection's registrations belong to `session` from here on; those of another are taken back.
fn belong_to(cx: &mut Context<'_>, session: i32) {
    if cx.session.watches.session() != session {
        let cancelled = cx.session.watches.assign(session);
        cx.out.cancelled.extend(cancelled);
    }
}
