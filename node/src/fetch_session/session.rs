//! One session: its partitions, which of them have to be looked at, and what the client was told last.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_types::{Offset, TopicPartition};
use uuid::Uuid;

use crate::call::ConnectionId;

use super::{INITIAL_EPOCH, next_epoch};

/// A topic as the client names it: by name below Fetch version 13, by id from then on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition as the client names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionKey {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
}

/// What the client wants of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) offset: Offset,
    pub(crate) max_bytes: usize,
    /// The leader epoch the client knows, `-1` when it does not say.
    pub(crate) leader_epoch: i32,
    /// The epoch of the record before the offset, `-1` when the client does not say (KIP-320).
    pub(crate) last_epoch: i32,
}

/// What the client was told about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
}

/// Number of a partition in its session.
pub(crate) type SlotId = u64;

#[derive(Debug)]
struct Slot {
    key: PartitionKey,
    wanted: Wanted,
    sent: Option<Sent>,
    /// Its place in `pending`.
    turn: Option<u64>,
    /// The partition it was when it was last looked at.
    resolved: Option<TopicPartition>,
}

/// One session.
///
/// A partition is *pending* when a fetch has to look at it: it had data, an error or no answer yet, or its registration
/// fired. All others are watched by the connection that owns the session, and cost a fetch nothing.
#[derive(Debug)]
pub(crate) struct FetchSession {
    id: i32,
    epoch: i32,
    uses_topic_ids: bool,
    owner: ConnectionId,
    slots: BTreeMap<SlotId, Slot>,
    by_key: HashMap<PartitionKey, SlotId>,
    by_partition: HashMap<TopicPartition, SlotId>,
    /// The slots to look at, in their turn. Invariant: `pending[t] == s` exactly when `slots[s].turn == Some(t)`.
    pending: BTreeMap<u64, SlotId>,
    next_slot: SlotId,
    next_turn: u64,
}

impl FetchSession {
    /// A session with the partitions of a full fetch, of which the client names one twice at most by mistake.
    pub(crate) fn new(id: i32, uses_topic_ids: bool, owner: ConnectionId) -> Self {
        Self {
            id,
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            owner,
            slots: BTreeMap::new(),
            by_key: HashMap::new(),
            by_partition: HashMap::new(),
            pending: BTreeMap::new(),
            next_slot: 0,
            next_turn: 0,
        }
    }

    pub(crate) const fn id(&self) -> i32 {
        self.id
    }

    /// The epoch the next fetch of the session must have.
    pub(crate) const fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(crate) const fn uses_topic_ids(&self) -> bool {
        self.uses_topic_ids
    }

    pub(crate) const fn owner(&self) -> ConnectionId {
        self.owner
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The fetch of the current epoch has begun.
    pub(crate) fn advance_epoch(&mut self) {
        self.epoch = next_epoch(self.epoch);
    }

    /// Another connection uses the session: no partition is watched by it yet.
    pub(crate) fn take_over(&mut self, owner: ConnectionId) {
        self.owner = owner;
        let slots: Vec<SlotId> = self.slots.keys().copied().collect();
        for slot in slots {
            self.set_pending(slot);
        }
    }

    /// Adds a partition or changes what is wanted of it.
    pub(crate) fn want(&mut self, key: PartitionKey, wanted: Wanted) {
        if let Some(&slot) = self.by_key.get(&key) {
            if let Some(known) = self.slots.get_mut(&slot) {
                known.wanted = wanted;
            }
            return self.set_pending(slot);
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        self.by_key.insert(key.clone(), slot);
        self.slots.insert(slot, Slot { key, wanted, sent: None, turn: None, resolved: None });
        self.set_pending(slot);
    }

    /// Removes a partition; returns the partition it was resolved to, whose registration is to be taken back.
    pub(crate) fn forget(&mut self, key: &PartitionKey) -> Option<TopicPartition> {
        let slot = self.by_key.remove(key)?;
        let removed = self.slots.remove(&slot)?;
        removed.turn.map(|turn| self.pending.remove(&turn));
        let partition = removed.resolved?;
        self.by_partition.remove(&partition);
        Some(partition)
    }

    /// The high watermark of `partition` moved: it has to be looked at.
    pub(crate) fn fired(&mut self, partition: &TopicPartition) -> Option<SlotId> {
        let slot = *self.by_partition.get(partition)?;
        self.set_pending(slot);
        Some(slot)
    }

    /// Remembers which partition a slot is.
    pub(crate) fn resolve(&mut self, slot: SlotId, partition: TopicPartition) {
        if let Some(known) = self.slots.get_mut(&slot) {
            if known.resolved != Some(partition) {
                known.resolved.map(|former| self.by_partition.remove(&former));
                known.resolved = Some(partition);
            }
            self.by_partition.insert(partition, slot);
        }
    }

    /// The partitions to look at, in their turn.
    pub(crate) fn pending(&self) -> Vec<(SlotId, PartitionKey, Wanted)> {
        self.pending.values().filter_map(|slot| self.get(*slot)).collect()
    }

    /// What the client wants of a slot.
    pub(crate) fn get(&self, slot: SlotId) -> Option<(SlotId, PartitionKey, Wanted)> {
        self.slots.get(&slot).map(|known| (slot, known.key.clone(), known.wanted))
    }

    /// Whether the client knows other numbers than `sent`; it is told them in this response.
    pub(crate) fn tell(&mut self, slot: SlotId, sent: Sent) -> bool {
        self.slots.get_mut(&slot).is_some_and(|known| known.sent.replace(sent) != Some(sent))
    }

    /// The slot has been looked at and is watched: no fetch looks at it until it fires.
    pub(crate) fn rest(&mut self, slot: SlotId) {
        if let Some(turn) = self.slots.get_mut(&slot).and_then(|known| known.turn.take()) {
            self.pending.remove(&turn);
        }
    }

    /// The slot had data in this response: the others come before it in the next.
    pub(crate) fn rotate(&mut self, slot: SlotId) {
        self.rest(slot);
        self.set_pending(slot);
    }

    fn set_pending(&mut self, slot: SlotId) {
        if let Some(known) = self.slots.get_mut(&slot)
            && known.turn.is_none()
        {
            known.turn = Some(self.next_turn);
            self.pending.insert(self.next_turn, slot);
            self.next_turn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::TopicId;

    use super::*;

    const WANTED: Wanted = Wanted { offset: 0, max_bytes: 1024, leader_epoch: -1, last_epoch: -1 };

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic: TopicKey::Name(Arc::from("t")), partition }
    }

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new(TopicId(Uuid::from_u128(1)), partition)
    }

    fn session(partitions: i32) -> FetchSession {
        let mut session = FetchSession::new(9, false, ConnectionId(1));
        for partition in 0..partitions {
            session.want(key(partition), WANTED);
        }
        session
    }

    fn pending(session: &FetchSession) -> Vec<i32> {
        session.pending().into_iter().map(|(_, key, _)| key.partition).collect()
    }

    #[test]
    fn a_resting_partition_comes_back_when_it_fires_or_is_wanted_anew() {
        let mut session = session(3);
        for slot in 0..3 {
            session.resolve(slot, tp(i32::try_from(slot).expect("small")));
            session.rest(slot);
        }
        assert!(pending(&session).is_empty());
        assert_eq!(session.fired(&tp(2)), Some(2));
        session.want(key(0), Wanted { offset: 5, ..WANTED });
        assert_eq!(pending(&session), [2, 0]);
        assert_eq!(session.fired(&tp(7)), None);
    }

    #[test]
    fn a_partition_that_was_served_comes_last() {
        let mut session = session(3);
        session.rotate(0);
        assert_eq!(pending(&session), [1, 2, 0]);
        session.want(key(0), WANTED);
        assert_eq!(pending(&session), [1, 2, 0], "being wanted again does not change the turn");
    }

    #[test]
    fn a_forgotten_partition_is_gone_for_good() {
        let mut session = session(2);
        session.resolve(1, tp(1));
        assert_eq!(session.forget(&key(1)), Some(tp(1)));
        assert_eq!(session.forget(&key(1)), None);
        assert_eq!(session.fired(&tp(1)), None);
        assert_eq!(pending(&session), [0]);
        assert_eq!(session.len(), 1);
    }

    #[test]
    fn another_connection_looks_at_everything() {
        let mut session = session(2);
        session.rest(0);
        session.rest(1);
        session.take_over(ConnectionId(2));
        assert_eq!(pending(&session), [0, 1]);
    }

    #[test]
    fn the_client_is_told_a_number_once() {
        let mut session = session(1);
        let sent = Sent { high_watermark: 4, log_start: 0 };
        assert!(session.tell(0, sent));
        assert!(!session.tell(0, sent));
        assert!(session.tell(0, Sent { high_watermark: 5, log_start: 0 }));
    }
}
