//! What keeps a disk from taking what the replica has for it: it hangs, or it has no room.
//!
//! A disk that hangs says nothing: a flush, or a put, is simply not done (consensus rules, 4.2). A disk without room says so with
//! every append, and leaves the log as it was; votes and the like still find the room that the write-ahead store keeps.

use std::time::Duration;

use millrace_storage::AppendError;
use millrace_types::{Instant, Now};

use super::Replica;
use super::mutation::{Mutation, broken};

/// How long a flush or a put may be outstanding before the disk is taken to hang.
pub(crate) const STALL: Duration = Duration::from_secs(3);
/// How long appends are refused for want of room before leadership is handed over; as long after the last of them there is
/// room again, if one was taken since.
const FULL: Duration = Duration::from_secs(2);
/// How soon a follower asks again that could not append; each time in a row that it cannot, it takes twice as long.
const REFETCH: Duration = Duration::from_millis(200);
/// The longest that this grows to.
const REFETCH_MAX: Duration = Duration::from_secs(5);

/// What is known of the replica's disk.
#[derive(Debug, Default)]
pub(super) struct DiskHealth {
    /// Flushes that were begun.
    pub(super) flushes: u64,
    flush: Awaited,
    put: Awaited,
    hangs: bool,
    /// Whether the host says that the process hangs.
    unwell: bool,
    room: Option<NoRoom>,
    /// How long a follower that could not append has waited last.
    pause: Duration,
}

/// Something that the disk is to do, by its number, and since when it is.
#[derive(Debug, Default)]
struct Awaited(Option<(u64, Instant)>);

/// Appends that were refused for want of room.
#[derive(Debug, Clone, Copy)]
struct NoRoom {
    /// When the first was.
    since: Instant,
    /// When the last was.
    last: Instant,
    /// Whether one was taken since the last.
    took: bool,
    /// Whether they have been refused for [`FULL`].
    lasts: bool,
}

impl Awaited {
    /// Notes what is awaited now. Where that is something else than before, the disk has got on.
    fn note(&mut self, now: Instant, what: Option<u64>) {
        if self.0.map(|(known, _)| known) != what {
            self.0 = what.map(|what| (what, now));
        }
    }

    fn overdue_at(&self) -> Instant {
        self.0.map_or(Instant::NEVER, |(_, since)| since.after(STALL))
    }
}

impl DiskHealth {
    /// Whether the disk, or the process, hangs.
    pub(super) const fn hangs(&self) -> bool {
        self.hangs || self.unwell
    }

    /// Whether there has been no room for a while.
    pub(super) fn is_full(&self) -> bool {
        self.room.is_some_and(|room| room.lasts)
    }

    pub(super) const fn set_unwell(&mut self, unwell: bool) {
        self.unwell = unwell;
    }

    /// An append was taken.
    pub(super) const fn appended(&mut self) {
        self.pause = Duration::ZERO;
        if let Some(room) = &mut self.room {
            room.took = true;
        }
    }

    /// An append was refused for want of room; says whether it is the first.
    fn refused(&mut self, now: Instant) -> bool {
        let is_first = self.room.is_none();
        let room = self.room.get_or_insert(NoRoom { since: now, last: now, took: false, lasts: false });
        (room.last, room.took) = (now, false);
        room.lasts |= room.since.after(FULL) <= now;
        is_first
    }

    /// How long a follower waits that could not append.
    pub(super) fn pause(&mut self) -> Duration {
        self.pause = (self.pause * 2).clamp(REFETCH, REFETCH_MAX);
        if broken(Mutation::NoPause) { REFETCH } else { self.pause }
    }

    /// When something changes that no event brings.
    pub(super) fn deadline(&self) -> Instant {
        let overdue = if self.hangs { Instant::NEVER } else { self.overdue_at() };
        overdue.min(self.room.map_or(Instant::NEVER, NoRoom::over_at))
    }

    fn overdue_at(&self) -> Instant {
        self.flush.overdue_at().min(self.put.overdue_at())
    }
}

impl NoRoom {
    fn over_at(self) -> Instant {
        if self.took { self.last.after(FULL) } else { Instant::NEVER }
    }
}

impl Replica {
    /// Looks whether the disk gets on. Where the topic lets records be acknowledged from the page cache nobody waits for a
    /// flush, and one may be long.
    pub(super) fn watch_disk(&mut self, now: Now) {
        let now = now.instant;
        let is_awaited = self.flushing && self.log.config().flush_messages <= 1;
        self.health.flush.note(now, is_awaited.then_some(self.health.flushes));
        self.health.put.note(now, self.puts.oldest());
        let hangs = self.health.overdue_at() <= now && !broken(Mutation::NeverStalled);
        if std::mem::replace(&mut self.health.hangs, hangs) != hangs {
            let (flush, put) = (self.health.flush.0.is_some(), self.health.put.0.is_some());
            tracing::debug!(partition = %self.partition, hangs, flush, put, "what the disk does takes long");
        }
        if self.health.room.is_some_and(|room| room.over_at() <= now) {
            self.health.room = None;
            tracing::info!(partition = %self.partition, "there is room for records again");
        }
        self.view.set_disk(hangs, self.health.is_full());
    }

    /// An append was refused for want of room.
    pub(super) fn lacks_room(&mut self, now: Now, error: &AppendError) {
        if self.health.refused(now.instant) {
            tracing::warn!(partition = %self.partition, %error, "there is no room for records: they are refused");
        }
    }
}
