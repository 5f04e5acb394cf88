//! `Fetch` (key 1): record batches from many partitions, with long poll and incremental sessions (KIP-227).
//!
//! Reads go to the partitions' published views and hand out slices of the mapping; no mailbox is entered. Only a fetch
//! that finds too little registers with the replicas and waits. In a session, a partition that was found empty stays
//! registered until its high watermark moves, and no fetch looks at it before: a session of a thousand idle partitions
//! costs what its one busy partition costs.

mod open;
mod read;
mod respond;
mod waiting;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, FetchRequest};
use millrace_types::ErrorCode;

use self::open::{Opened, Target};
use self::read::Outcome;
use self::waiting::Fetching;
use super::{Api, Context, Resume, Step};
use crate::wire::{self, WireError};

/// The API `Fetch`.
pub(super) const API: Api = Api { key: ApiKey::Fetch, min: 4, advertised_min: 4, max: 16, handle };

/// First version with fetch sessions.
const SESSION_FROM: i16 = 7;
/// First version that can be sent to a follower, and says where the consumer stands (KIP-392).
const FOLLOWERS_FROM: i16 = 11;
/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 13;
/// First version that carries the replica's id in a tagged field.
const REPLICA_STATE_FROM: i16 = 15;
/// First version with the leaders' endpoints (KIP-951).
const LEADER_FROM: i16 = 16;

/// `READ_COMMITTED` on the wire.
const READ_COMMITTED: i8 = 1;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: FetchRequest = wire::decode(body, cx.version)?;
    if is_follower(&request, cx.version) {
        return refuse_follower(cx, &request);
    }
    let opened = match open::open(cx, &request) {
        Ok(opened) => opened,
        Err(error) => return Ok(Step::Reply(respond::refusal(cx, error)?)),
    };
    let mut fetching = Box::new(Fetching::new(cx, &request, opened));
    match fetching.begin(cx)? {
        Resume::Wait => Ok(Step::Wait(fetching)),
        Resume::Reply(frame) => Ok(Step::Reply(frame)),
        Resume::Silent => Ok(Step::Silent),
        Resume::Close(why) => Ok(Step::Close(why)),
    }
}

/// Consumers have a negative replica id; replicas of Millrace follow by messages of their own.
fn is_follower(request: &FetchRequest, version: i16) -> bool {
    let replica = if version >= REPLICA_STATE_FROM { request.replica_state.replica_id } else { request.replica_id };
    replica.0 >= 0
}

/// Answers every partition of a follower with `INVALID_REQUEST`.
fn refuse_follower(cx: &mut Context<'_>, request: &FetchRequest) -> Result<Step, WireError> {
    let targets = Target::of_request(request, cx.version);
    let outcomes = targets.iter().map(|_| Outcome::failed(None, ErrorCode::InvalidRequest)).collect::<Vec<_>>();
    let answers = targets.iter().zip(&outcomes).map(|(target, outcome)| (&target.key, outcome));
    Ok(Step::Reply(respond::response(cx, crate::fetch_session::NO_SESSION, answers, false)?))
}
