//! The broker's sessions: a bounded number of slots, and who has to go when they are full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_types::Instant;
use parking_lot::Mutex;

use crate::call::ConnectionId;

use super::{FetchSession, NO_SESSION};

/// A session that is younger, or was used within this time, is not put out for another (KIP-227: two minutes).
const EVICTION: Duration = Duration::from_secs(120);

/// The most partitions of a session; a fetch of more is served outside a session.
const MAX_PARTITIONS: usize = 100_000;
/// The most partitions of all sessions: about 300 MB at the longest names.
const MAX_TOTAL_PARTITIONS: usize = 1_000_000;

/// A session as its users hold it. The lock is held within one step and never across two.
pub(crate) type SharedSession = Arc<Mutex<FetchSession>>;

/// The cache of all incremental fetch sessions of a broker.
///
/// Bounds: `slots` sessions (`max.incremental.fetch.session.cache.slots`) of at most 100,000 partitions, and
/// a million of them together. A client that finds no room is served by full fetches, as KIP-227 provides.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    cache: Mutex<Cache>,
}

/// Invariant: `partitions` is the sum over `entries`.
#[derive(Debug)]
struct Cache {
    entries: BTreeMap<i32, Entry>,
    partitions: usize,
    /// State of the id generator.
    seed: u64,
}

#[derive(Debug)]
struct Entry {
    session: SharedSession,
    created: Instant,
    used: Instant,
    partitions: usize,
}

impl FetchSessions {
    /// A cache with room for `slots` sessions. Ids are drawn from `seed`, so that a client that comes back after a
    /// restart does not meet another client's session under its old id.
    #[must_use]
    pub fn new(slots: usize, seed: u64) -> Self {
        Self { slots, cache: Mutex::new(Cache { entries: BTreeMap::new(), partitions: 0, seed }) }
    }

    /// Number of sessions, for the metric.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.lock().entries.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of partitions in all sessions, for the metric.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.cache.lock().partitions
    }

    /// Makes a session of `partitions` partitions, which the caller fills in; `None` when there is no room for it.
    pub(crate) fn create(
        &self,
        now: Instant,
        uses_topic_ids: bool,
        owner: ConnectionId,
        partitions: usize,
    ) -> Option<SharedSession> {
        if self.slots == 0 || partitions > MAX_PARTITIONS {
            return None;
        }
        let mut cache = self.cache.lock();
        if cache.entries.len() >= self.slots {
            let victim = cache.victim(now, partitions)?;
            cache.remove(victim);
        }
        if cache.partitions + partitions > MAX_TOTAL_PARTITIONS {
            return None;
        }
        let id = cache.draw_id();
        let session = Arc::new(Mutex::new(FetchSession::new(id, uses_topic_ids, owner)));
        let entry = Entry { session: Arc::clone(&session), created: now, used: now, partitions };
        cache.entries.insert(id, entry);
        cache.partitions += partitions;
        debug_assert!(cache.entries.len() <= self.slots, "sessions <= slots");
        Some(session)
    }

    /// The session with this id.
    pub(crate) fn get(&self, id: i32) -> Option<SharedSession> {
        self.cache.lock().entries.get(&id).map(|entry| Arc::clone(&entry.session))
    }

    /// The session was used and has `partitions` partitions. When that is more than there is room for, it is closed.
    #[must_use]
    pub(crate) fn touch(&self, id: i32, now: Instant, partitions: usize) -> bool {
        let mut cache = self.cache.lock();
        let Some(entry) = cache.entries.get_mut(&id) else { return true };
        entry.used = now;
        let former = std::mem::replace(&mut entry.partitions, partitions);
        cache.partitions = cache.partitions - former + partitions;
        let fits = partitions <= MAX_PARTITIONS && cache.partitions <= MAX_TOTAL_PARTITIONS;
        if !fits {
            cache.remove(id);
        }
        fits
    }

    /// Closes the session with this id, if there is one.
    pub(crate) fn remove(&self, id: i32) {
        self.cache.lock().remove(id);
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(removed) = self.entries.remove(&id) {
            self.partitions -= removed.partitions;
        }
    }

    /// The session that makes room for one of `partitions` partitions: the longest unused one if it is stale, else the
    /// smallest one that is smaller and not young.
    fn victim(&self, now: Instant, partitions: usize) -> Option<i32> {
        let (id, oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used)?;
        if now.since(oldest.used) > EVICTION {
            return Some(*id);
        }
        let mature = self.entries.iter().filter(|(_, entry)| now.since(entry.created) > EVICTION);
        let (id, smallest) = mature.min_by_key(|(_, entry)| entry.partitions)?;
        (smallest.partitions < partitions).then_some(*id)
    }

    /// A positive id that no session has. `entries` is far smaller than the range, so the loop ends soon.
    fn draw_id(&mut self) -> i32 {
        loop {
            let id = i32::try_from(split_mix(&mut self.seed) >> 33).unwrap_or(NO_SESSION);
            if id != NO_SESSION && !self.entries.contains_key(&id) {
                return id;
            }
        }
    }
}

/// The generator SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixes per number.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: ConnectionId = ConnectionId(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn create(cache: &FetchSessions, seconds: u64, partitions: usize) -> Option<i32> {
        cache.create(at(seconds), false, OWNER, partitions).map(|session| session.lock().id())
    }

    #[test]
    fn a_full_cache_keeps_young_sessions() {
        let cache = FetchSessions::new(1, 7);
        let first = create(&cache, 0, 1).expect("room");
        assert_eq!(create(&cache, 120, 50), None);
        assert!(cache.get(first).is_some());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn an_unused_session_makes_room() {
        let cache = FetchSessions::new(2, 7);
        let first = create(&cache, 0, 9).expect("room");
        let second = create(&cache, 0, 9).expect("room");
        assert!(cache.touch(first, at(100), 9));
        let third = create(&cache, 121, 1).expect("the second is stale");
        assert!(cache.get(first).is_some() && cache.get(second).is_none() && cache.get(third).is_some());
    }

    #[test]
    fn a_larger_session_displaces_the_smallest_mature_one() {
        let cache = FetchSessions::new(2, 7);
        let small = create(&cache, 0, 2).expect("room");
        let large = create(&cache, 0, 8).expect("room");
        for id in [small, large] {
            assert!(cache.touch(id, at(121), if id == small { 2 } else { 8 }));
        }
        assert_eq!(create(&cache, 122, 2), None, "not larger than the smallest");
        assert!(create(&cache, 122, 3).is_some());
        assert!(cache.get(small).is_none() && cache.get(large).is_some());
    }

    #[test]
    fn no_slots_and_too_many_partitions_give_no_session() {
        assert_eq!(create(&FetchSessions::new(0, 7), 0, 1), None);
        assert_eq!(create(&FetchSessions::new(5, 7), 0, MAX_PARTITIONS + 1), None);
    }

    #[test]
    fn all_sessions_together_are_bounded() {
        let cache = FetchSessions::new(100, 7);
        let ids: Vec<i32> = (0..10).map(|_| create(&cache, 0, MAX_PARTITIONS).expect("room")).collect();
        assert_eq!(cache.partitions(), MAX_TOTAL_PARTITIONS);
        assert_eq!(create(&cache, 0, 1), None);
        assert!(cache.touch(ids[0], at(0), MAX_PARTITIONS - 1));
        let last = create(&cache, 0, 1).expect("room for one partition");
        assert!(!cache.touch(last, at(0), 2), "a session that outgrows the room is closed");
        assert!(cache.get(last).is_none());
        cache.remove(ids[1]);
        assert_eq!(cache.partitions(), MAX_TOTAL_PARTITIONS - MAX_PARTITIONS - 1);
    }

    #[test]
    fn ids_are_positive_and_differ_between_seeds() {
        let (one, other) = (FetchSessions::new(100, 1), FetchSessions::new(100, 2));
        for _ in 0..100 {
            assert!(create(&one, 0, 1).is_some_and(|id| id > 0));
            assert!(create(&other, 0, 1).is_some_and(|id| id > 0));
        }
        assert_eq!(one.len(), 100);
        let common = one.cache.lock().entries.keys().filter(|id| other.get(**id).is_some()).count();
        assert_eq!(common, 0);
    }
}
