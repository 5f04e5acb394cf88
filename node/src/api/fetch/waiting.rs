//! A fetch from its first look to its response.
//!
//! ```text
//! look at the targets -> enough, an error, or no wait -> (read in what is cold) -> respond
//!                     -> wait: a partition advances -> look at it again ...
//!                              the time is over     -> respond
//! ```

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::FetchRequest;
use millrace_types::{ErrorCode, Instant, TopicPartition};

use super::read::{self, Budget, Consumer, Outcome};
use super::{FOLLOWERS_FROM, Opened, READ_COMMITTED, Target, respond};
use crate::api::{Context, Resume, Waiting};
use crate::call::Answer;
use crate::deadline;
use crate::fetch_session::{NO_SESSION, Sent};
use crate::wire::WireError;

/// How often a fetch has cold ranges read in before it answers without them: pages may be lost again while it waits.
const MAX_WARM_ROUNDS: u32 = 3;

/// A fetch that is being served.
///
/// Invariant: `outcomes[n]` is what was found for `opened.targets[n]`, and `bytes` is the sum of their records.
#[derive(Debug)]
pub(super) struct Fetching {
    opened: Opened,
    outcomes: Vec<Outcome>,
    /// Position of a partition among the targets.
    positions: HashMap<TopicPartition, usize>,
    budget: Budget,
    bytes: usize,
    min_bytes: usize,
    consumer: Consumer,
    deadline: Instant,
    /// The targets whose cold ranges are being read in, by token; the response follows the last.
    warming: BTreeMap<u64, usize>,
    warm_rounds: u32,
}

impl Fetching {
    pub(super) fn new(cx: &Context<'_>, request: &FetchRequest, opened: Opened) -> Self {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(cx.settings.fetch_max_bytes);
        Self {
            outcomes: Vec::with_capacity(opened.targets.len()),
            opened,
            positions: HashMap::new(),
            budget: Budget { left: max_bytes, at_least_one: true, cold: 0 },
            bytes: 0,
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            consumer: Consumer {
                committed_only: request.isolation_level == READ_COMMITTED,
                any_replica: cx.version >= FOLLOWERS_FROM,
                rack: request.rack_id.clone(),
            },
            deadline: deadline::after_ms(cx.now, request.max_wait_ms),
            warming: BTreeMap::new(),
            warm_rounds: 0,
        }
    }

    /// Looks at every target.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        let image = cx.directory.image();
        for (at, target) in self.opened.targets.iter().enumerate() {
            let outcome = read::read(cx, &image, target, &self.consumer, &mut self.budget);
            self.bytes += outcome.records.len();
            if let Some(partition) = outcome.partition {
                self.positions.insert(partition, at);
            }
            self.outcomes.push(outcome);
        }
        let nothing_to_wait_for = self.opened.targets.is_empty() && self.opened.full;
        if nothing_to_wait_for || cx.now.instant >= self.deadline || self.is_enough() {
            return self.finish(cx);
        }
        self.watch(cx);
        Ok(Resume::Wait)
    }

    fn is_enough(&self) -> bool {
        let settled = |outcome: &Outcome| outcome.is_final() || outcome.cold.is_some();
        self.bytes >= self.min_bytes || self.outcomes.iter().any(settled)
    }

    /// Registers for the high watermark of every target; outside a session, registrations of other partitions go.
    fn watch(&self, cx: &mut Context<'_>) {
        if self.opened.session.is_none() {
            let foreign = |partition: &&TopicPartition| !self.positions.contains_key(partition);
            let foreign: Vec<TopicPartition> = cx.session.watches.armed().filter(foreign).copied().collect();
            for partition in foreign {
                cx.unwatch(partition);
            }
        }
        for outcome in &self.outcomes {
            if let Some(partition) = outcome.partition {
                cx.watch(partition, outcome.high_watermark);
            }
        }
    }

    /// Looks at one partition again.
    fn look_again(&mut self, cx: &mut Context<'_>, at: usize) {
        let (Some(target), Some(outcome)) = (self.opened.targets.get(at), self.outcomes.get_mut(at)) else { return };
        self.bytes -= outcome.records.len();
        self.budget.left += outcome.records.len();
        self.budget.at_least_one = self.bytes == 0;
        *outcome = read::read(cx, &cx.directory.image(), target, &self.consumer, &mut self.budget);
        self.bytes += outcome.records.len();
    }

    /// Position of a partition of this fetch; one that rested in the session joins the targets.
    fn position(&mut self, partition: TopicPartition) -> Option<usize> {
        if let Some(at) = self.positions.get(&partition) {
            return Some(*at);
        }
        let mut session = self.opened.session.as_ref()?.session.lock();
        let (slot, key, wanted) = session.fired(&partition).and_then(|slot| session.get(slot))?;
        drop(session);
        let at = self.opened.targets.len();
        self.opened.targets.push(Target { key, wanted, slot: Some(slot) });
        self.outcomes.push(Outcome::failed(Some(partition), ErrorCode::None));
        self.positions.insert(partition, at);
        Some(at)
    }

    /// Reads in what is cold, then responds.
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        self.deadline = Instant::NEVER;
        self.budget.cold = 0;
        self.warm_rounds += 1;
        if self.warm_rounds <= MAX_WARM_ROUNDS {
            let cold =
                self.outcomes.iter_mut().enumerate().filter_map(|(at, outcome)| Some((at, outcome.cold.take()?)));
            self.warming.extend(cold.map(|(at, job)| (cx.warm(job), at)));
        }
        if self.warming.is_empty() { self.respond(cx) } else { Ok(Resume::Wait) }
    }

    fn respond(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        let Some(in_session) = &self.opened.session else {
            let answers = self.opened.targets.iter().zip(&self.outcomes);
            let answers = answers.map(|(target, outcome)| (&target.key, outcome));
            return respond::response(cx, NO_SESSION, answers, self.consumer.committed_only).map(Resume::Reply);
        };
        let mut session = in_session.session.lock();
        if session.epoch() != in_session.next_epoch {
            return respond::refusal(cx, ErrorCode::InvalidFetchSessionEpoch).map(Resume::Reply);
        }
        let owned = session.owner() == cx.session.connection;
        let mut told = Vec::with_capacity(self.opened.targets.len());
        for (target, outcome) in self.opened.targets.iter().zip(&self.outcomes) {
            let Some(slot) = target.slot else { continue };
            if let Some(partition) = outcome.partition {
                session.resolve(slot, partition);
                let rests = owned && outcome.is_idle() && outcome.caught_up;
                if rests && cx.watch(partition, outcome.high_watermark) {
                    session.rest(slot);
                }
            }
            if !outcome.records.is_empty() {
                session.rotate(slot);
            }
            let sent = Sent { high_watermark: outcome.high_watermark, log_start: outcome.log_start };
            let news = session.tell(slot, sent);
            if news || self.opened.full || !outcome.is_idle() {
                told.push((&target.key, outcome));
            }
        }
        let id = session.id();
        drop(session);
        respond::response(cx, id, told.into_iter(), self.consumer.committed_only).map(Resume::Reply)
    }
}

impl Waiting for Fetching {
    fn resume(&mut self, _: &mut Context<'_>, _: u64, _: Answer) -> Result<Resume, WireError> {
        debug_assert!(false, "a fetch makes no calls but registrations, which come back as `advanced`");
        Ok(Resume::Wait)
    }

    fn advanced(&mut self, cx: &mut Context<'_>, partition: TopicPartition) -> Result<Resume, WireError> {
        if !self.warming.is_empty() {
            return Ok(Resume::Wait);
        }
        let Some(at) = self.position(partition) else {
            return Ok(Resume::Wait);
        };
        self.look_again(cx, at);
        if self.is_enough() {
            return self.finish(cx);
        }
        if let Some(outcome) = self.outcomes.get(at) {
            cx.watch(partition, outcome.high_watermark);
        }
        Ok(Resume::Wait)
    }

    fn warmed(&mut self, cx: &mut Context<'_>, token: u64) -> Result<Resume, WireError> {
        let Some(at) = self.warming.remove(&token) else {
            return Ok(Resume::Wait);
        };
        self.look_again(cx, at);
        if self.warming.is_empty() { self.finish(cx) } else { Ok(Resume::Wait) }
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The deadline is set only while the fetch waits for news, so nothing is being read in.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        let unwatched = |partition| cx.session.watches.is_refused(&partition);
        let unwatched: Vec<usize> = (0..self.outcomes.len())
            .filter(|at| self.outcomes.get(*at).and_then(|outcome| outcome.partition).is_some_and(unwatched))
            .collect();
        for at in unwatched {
            self.look_again(cx, at);
        }
        self.finish(cx)
    }
}
