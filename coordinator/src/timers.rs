//! Deadlines by key: at most one per key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::Instant;

/// Deadlines of one shard. `queue = {(at, key) : by_key[key] = at}` always.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Instant>,
    queue: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Clone> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { by_key: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, instead of the one it had.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.queue.remove(&(old, key.clone()));
        }
        self.queue.insert((at, key));
        debug_assert_eq!(self.by_key.len(), self.queue.len(), "one deadline per key");
    }

    /// Takes the deadline of `key` back.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.queue.remove(&(at, key));
        }
    }

    /// The earliest deadline, [`Instant::NEVER`] when there is none.
    pub(crate) fn next(&self) -> Instant {
        self.queue.first().map_or(Instant::NEVER, |(at, _)| *at)
    }

    /// Takes the key with the earliest deadline out if it is not after `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        if self.next() > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_set_replaces_an_earlier_one() {
        let mut timers = Timers::new();
        timers.set("a", Instant::from_micros(5));
        timers.set("b", Instant::from_micros(7));
        timers.set("a", Instant::from_micros(9));
        assert_eq!(timers.next(), Instant::from_micros(7));
        assert_eq!(timers.pop(Instant::from_micros(6)), None);
        assert_eq!(timers.pop(Instant::from_micros(9)), Some("b"));
        assert_eq!(timers.pop(Instant::from_micros(9)), Some("a"));
        assert_eq!(timers.next(), Instant::NEVER);
    }

    #[test]
    fn a_cancelled_key_never_comes() {
        let mut timers = Timers::new();
        timers.set(1, Instant::from_micros(1));
        timers.cancel(&1);
        timers.cancel(&2);
        assert_eq!(timers.pop(Instant::NEVER), None);
    }
}
