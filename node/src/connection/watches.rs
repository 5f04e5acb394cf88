//! The high watermarks a connection waits for, one registration per partition, kept across requests.
//!
//! A registration is one-shot: the replica answers it once and forgets it. It stays armed when the fetch that made it
//! is answered for another reason, so that a session of a thousand idle partitions registers each of them once and
//! not with every fetch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use millrace_types::TopicPartition;

/// The registrations of one connection.
///
/// Invariant: `armed` and `tokens` hold the same pairs, and no partition is both armed and fired.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// The fetch session the registrations belong to; 0 for fetches outside a session.
    session: i32,
    armed: BTreeMap<TopicPartition, u64>,
    tokens: HashMap<u64, TopicPartition>,
    /// Partitions whose registration has been answered since the session's last look.
    fired: BTreeSet<TopicPartition>,
    /// Those of `fired` whose answer was a refusal: asking again at once would only be refused again.
    refused: BTreeSet<TopicPartition>,
}

impl Watches {
    /// The fetch session the registrations belong to.
    pub(crate) const fn session(&self) -> i32 {
        self.session
    }

    /// Hands the registrations to another fetch session; returns those to cancel.
    #[must_use]
    pub(crate) fn assign(&mut self, session: i32) -> Vec<(u64, TopicPartition)> {
        self.session = session;
        self.fired.clear();
        self.refused.clear();
        self.tokens.clear();
        std::mem::take(&mut self.armed).into_iter().map(|(partition, token)| (token, partition)).collect()
    }

    /// Whether the partition is watched and nothing has come yet.
    pub(crate) fn is_armed(&self, partition: &TopicPartition) -> bool {
        self.armed.contains_key(partition)
    }

    /// Remembers a registration made under `token`.
    pub(crate) fn arm(&mut self, partition: TopicPartition, token: u64) {
        debug_assert!(!self.armed.contains_key(&partition), "one registration per partition");
        self.fired.remove(&partition);
        self.armed.insert(partition, token);
        self.tokens.insert(token, partition);
    }

    /// Whether the partition's replica has refused the last registration.
    pub(crate) fn is_refused(&self, partition: &TopicPartition) -> bool {
        self.refused.contains(partition)
    }

    /// The registration `token` was answered, by the news (`advanced`) or a refusal: its partition, or `None` when it
    /// is no registration of this connection.
    pub(crate) fn fire(&mut self, token: u64, advanced: bool) -> Option<TopicPartition> {
        let partition = self.tokens.remove(&token)?;
        self.armed.remove(&partition);
        self.fired.insert(partition);
        if !advanced {
            self.refused.insert(partition);
        }
        Some(partition)
    }

    /// Forgets the partition; returns the token of the registration to cancel.
    #[must_use]
    pub(crate) fn disarm(&mut self, partition: &TopicPartition) -> Option<u64> {
        self.fired.remove(partition);
        let token = self.armed.remove(partition)?;
        self.tokens.remove(&token);
        Some(token)
    }

    /// The partitions that fired since the last call, in order. Those that were refused may be asked again.
    pub(crate) fn take_fired(&mut self) -> BTreeSet<TopicPartition> {
        self.refused.clear();
        std::mem::take(&mut self.fired)
    }

    /// The armed partitions, in order.
    pub(crate) fn armed(&self) -> impl Iterator<Item = &TopicPartition> {
        self.armed.keys()
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::TopicId;
    use uuid::Uuid;

    use super::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new(TopicId(Uuid::from_u128(7)), partition)
    }

    #[test]
    fn a_registration_fires_once() {
        let mut watches = Watches::default();
        watches.arm(tp(0), 10);
        assert!(watches.is_armed(&tp(0)));
        assert_eq!(watches.fire(10, true), Some(tp(0)));
        assert!(!watches.is_armed(&tp(0)));
        assert_eq!(watches.fire(10, true), None);
        assert_eq!(watches.take_fired().into_iter().collect::<Vec<_>>(), [tp(0)]);
        assert!(watches.take_fired().is_empty());
    }

    #[test]
    fn a_disarmed_registration_does_not_fire() {
        let mut watches = Watches::default();
        watches.arm(tp(0), 10);
        assert_eq!(watches.disarm(&tp(0)), Some(10));
        assert_eq!(watches.fire(10, true), None);
        assert_eq!(watches.disarm(&tp(0)), None);
    }

    #[test]
    fn a_refusal_holds_until_the_next_look() {
        let mut watches = Watches::default();
        watches.arm(tp(0), 10);
        assert_eq!(watches.fire(10, false), Some(tp(0)));
        assert!(watches.is_refused(&tp(0)) && !watches.is_armed(&tp(0)));
        assert_eq!(watches.take_fired().len(), 1);
        assert!(!watches.is_refused(&tp(0)));
    }

    #[test]
    fn another_session_cancels_everything() {
        let mut watches = Watches::default();
        watches.arm(tp(1), 11);
        watches.arm(tp(0), 10);
        assert_eq!(watches.assign(5), [(10, tp(0)), (11, tp(1))]);
        assert_eq!(watches.session(), 5);
        assert_eq!(watches.fire(10, true), None);
    }
}
