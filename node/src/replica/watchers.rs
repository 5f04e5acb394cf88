//! Connections that wait for the high watermark to move.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::Offset;

use crate::call::ReplyTo;

/// The most registrations of one partition; a connection makes one.
const MAX_WATCHERS: usize = 65_536;

/// One-shot registrations, in the order of the offsets they wait to be passed.
///
/// Invariant: both maps hold the same registrations.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    by_offset: BTreeSet<(Offset, ReplyTo)>,
    by_caller: BTreeMap<ReplyTo, Offset>,
}

impl Watchers {
    /// Registers `from` for a high watermark above `beyond`; `false` when there is no room.
    #[must_use]
    pub(super) fn add(&mut self, from: ReplyTo, beyond: Offset) -> bool {
        if self.by_caller.len() >= MAX_WATCHERS {
            return false;
        }
        self.cancel(from);
        self.by_offset.insert((beyond, from));
        self.by_caller.insert(from, beyond);
        true
    }

    /// Takes back a registration; one that has fired or never was changes nothing.
    pub(super) fn cancel(&mut self, from: ReplyTo) {
        if let Some(beyond) = self.by_caller.remove(&from) {
            self.by_offset.remove(&(beyond, from));
        }
    }

    /// Takes the next registration that `high_watermark` has passed.
    pub(super) fn fire(&mut self, high_watermark: Offset) -> Option<ReplyTo> {
        let (beyond, from) = *self.by_offset.first()?;
        if beyond >= high_watermark {
            return None;
        }
        self.cancel(from);
        Some(from)
    }

    /// Takes all of them, in order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = ReplyTo> {
        self.by_caller.clear();
        std::mem::take(&mut self.by_offset).into_iter().map(|(_, from)| from)
    }

    /// The lowest offset a registration waits to be passed.
    pub(super) fn lowest(&self) -> Option<Offset> {
        self.by_offset.first().map(|(beyond, _)| *beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Caller, ConnectionId};

    fn from(token: u64) -> ReplyTo {
        ReplyTo { caller: Caller::Connection(ConnectionId(1)), token }
    }

    #[test]
    fn a_registration_fires_once_when_it_is_passed() {
        let mut watchers = Watchers::default();
        assert!(watchers.add(from(1), 5) && watchers.add(from(2), 4));
        assert_eq!(watchers.fire(4), None, "the high watermark must be above");
        assert_eq!(watchers.fire(6), Some(from(2)));
        assert_eq!(watchers.fire(6), Some(from(1)));
        assert_eq!(watchers.fire(6), None);
    }

    #[test]
    fn a_cancelled_registration_never_fires() {
        let mut watchers = Watchers::default();
        assert!(watchers.add(from(1), 5));
        watchers.cancel(from(1));
        watchers.cancel(from(2));
        assert_eq!(watchers.fire(100), None);
        assert_eq!(watchers.lowest(), None);
    }

    #[test]
    fn there_is_a_bound() {
        let mut watchers = Watchers::default();
        for token in 0..MAX_WATCHERS as u64 {
            assert!(watchers.add(from(token), 0));
        }
        assert!(!watchers.add(from(u64::MAX), 0));
        assert_eq!(watchers.take().count(), MAX_WATCHERS);
        assert!(watchers.add(from(0), 0));
    }
}
