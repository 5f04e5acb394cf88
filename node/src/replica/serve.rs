//! A leader answers its followers with records (duty 6).
//!
//! What is not in memory is read in by a storage thread first, as for consumers; the answer waits for that. It says
//! nothing by then that was not true when it was decided, but for one that another epoch has overtaken: records may be
//! others there, so it is dropped, as if it was lost. Where much is queued for a broker, followers there wait as
//! well, those that are not in sync first: see [`super::Room`].

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{FetchBody, FetchResponse, Message, ReplicaKey, RoleKind};
use millrace_storage::ReadError;
use millrace_types::{Instant, Now, Offset};

use super::{Replica, ReplicaEffect};

/// Bytes of records in one answer (`replica.fetch.max.bytes`); one batch may be larger.
const MAX_BYTES: usize = 1 << 20;
/// How soon it is looked again whether there is room.
const ROOM_PAUSE: Duration = Duration::from_millis(50);
/// How often a range is read in that is not in memory: its pages may be lost again.
const MAX_WARM_ROUNDS: usize = 2;

/// Answers that wait until what they carry is in memory, or until there is room: one for each follower at most, since it asks once at a time.
#[derive(Debug, Default)]
pub(super) struct Warming {
    last: u64,
    waiting: BTreeMap<u64, Answer>,
    /// For room, each until when.
    crowded: BTreeMap<ReplicaKey, (Instant, Answer)>,
}

/// An answer on its way.
#[derive(Debug)]
struct Answer {
    to: ReplicaKey,
    response: FetchResponse,
    /// Times its records were read in.
    rounds: usize,
}

impl Warming {
    fn wait(&mut self, answer: Answer) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, answer);
        self.last
    }

    /// A later answer takes the place of one that waits.
    fn forget(&mut self, follower: ReplicaKey) {
        self.waiting.retain(|_, answer| answer.to != follower);
        self.crowded.remove(&follower);
    }

    /// When it is looked again whether there is room.
    pub(super) fn deadline(&self) -> Instant {
        self.crowded.values().map(|(until, _)| *until).min().unwrap_or(Instant::NEVER)
    }
}

impl Replica {
    /// Sends the response with as many records as fit.
    pub(super) fn serve(&mut self, now: Now, to: ReplicaKey, response: FetchResponse, out: &mut Vec<ReplicaEffect>) {
        self.warming.forget(to);
        let answer = Answer { to, response, rounds: 0 };
        let in_sync = || self.raft.in_sync_full().contains(&to);
        if self.room.is_full(to.broker, false) && (self.room.is_full(to.broker, true) || !in_sync()) {
            self.warming.crowded.insert(to, (now.instant.after(ROOM_PAUSE), answer));
        } else {
            self.respond(answer, out);
        }
    }

    /// Looks again whether there is room for answers that wait for it.
    pub(super) fn serve_crowded(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        while let Some((to, _)) = self.warming.crowded.iter().find(|(_, (until, _))| *until <= now.instant) {
            let to = *to;
            let Some((_, answer)) = self.warming.crowded.remove(&to) else { return };
            if self.may_answer(&answer) {
                self.serve(now, to, answer.response, out);
            }
        }
    }

    /// Whether the answer says what holds still.
    fn may_answer(&self, answer: &Answer) -> bool {
        let leads = self.is_running() && self.raft.role() == RoleKind::Leader;
        leads && self.raft.epoch() == answer.response.epoch
    }

    /// What an answer waits for was read in.
    pub(super) fn warmed(&mut self, token: u64, out: &mut Vec<ReplicaEffect>) {
        let Some(mut answer) = self.warming.waiting.remove(&token) else { return };
        if self.may_answer(&answer) {
            answer.rounds += 1;
            self.respond(answer, out);
        }
    }

    fn respond(&mut self, answer: Answer, out: &mut Vec<ReplicaEffect>) {
        let FetchBody::Records { upto, .. } = answer.response.body else {
            debug_assert!(false, "records are served");
            return;
        };
        let from = answer.response.position.offset;
        let (records, end) = match self.view.log.read(from, upto, MAX_BYTES, true) {
            Ok(slice) => match slice.cold {
                None => (slice.bytes, slice.next),
                Some(job) if answer.rounds < MAX_WARM_ROUNDS => {
                    let token = self.warming.wait(answer);
                    return out.push(ReplicaEffect::Warm { token, job });
                }
                // The follower asks again.
                Some(_) => (Bytes::new(), from),
            },
            Err(error) => self.not_read(from, &error),
        };
        let (records, end) = self.intact(from, records, end);
        if end == from && self.upkeep.is_damaged() {
            // The follower hears nothing until its leader is another one, or whole: it is reminded of who leads (R17), and asks.
            return;
        }
        let Answer { to, mut response, .. } = answer;
        response.limit(end);
        let catch_up = end < upto && !self.raft.in_sync_full().contains(&to);
        out.push(ReplicaEffect::Send { to, message: Message::FetchResponse(response), records, catch_up });
    }

    /// Nothing, for a follower that asks again.
    fn not_read(&self, from: Offset, error: &ReadError) -> (Bytes, Offset) {
        tracing::error!(partition = %self.partition, from, %error, "a follower cannot be served");
        (Bytes::new(), from)
    }
}
