//! What a group sees of its shard while it does something.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_types::Now;

use crate::config::GroupConfig;
use crate::outcome::{Outcome, Record};
use crate::response::GroupResponse;
use crate::timers::Timers;

/// What a deadline of a shard is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A member, or one that has been given an id, has been silent for its session timeout.
    Session(Arc<str>, Arc<str>),
    /// A group has waited long enough for its members to join.
    Join(Arc<str>),
    /// A group has waited long enough for its members to ask for their assignments.
    Sync(Arc<str>),
    /// Time to look for offsets that have expired.
    Expiry,
}

/// How much a group counts against the bounds of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    /// Members and ids given out.
    pub(crate) members: usize,
    /// Bytes of the members' names, metadata and assignments, with the group's name for each of them.
    pub(crate) member_bytes: usize,
    /// Committed offsets.
    pub(crate) offsets: usize,
    /// Bytes of the records that hold what the log has of the group.
    pub(crate) record_bytes: usize,
}

impl Weight {
    /// Replaces a group's earlier weight `before` by `after` in a sum.
    pub(crate) fn change(&mut self, before: Self, after: Self) {
        debug_assert!(self.members >= before.members && self.record_bytes >= before.record_bytes, "a sum of weights");
        self.members = self.members - before.members + after.members;
        self.member_bytes = self.member_bytes - before.member_bytes + after.member_bytes;
        self.offsets = self.offsets - before.offsets + after.offsets;
        self.record_bytes = self.record_bytes - before.record_bytes + after.record_bytes;
    }
}

/// The time, the settings, the deadlines and the outcome, for the time of one call.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a GroupConfig,
    pub(crate) timers: &'a mut Timers<Timer>,
    pub(crate) out: &'a mut Outcome,
}

impl Work<'_> {
    pub(crate) fn set_timer(&mut self, timer: Timer, delay: Duration) {
        self.timers.set(timer, self.now.instant.after(delay));
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        self.timers.cancel(timer);
    }

    pub(crate) fn reply(&mut self, token: u64, response: GroupResponse) {
        self.out.reply(token, response);
    }

    pub(crate) fn append(&mut self, key: Bytes, value: Option<Bytes>) {
        self.out.records.push(Record { key, value });
    }
}
