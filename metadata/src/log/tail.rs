//! The last entries, kept for brokers that are behind.

use std::collections::VecDeque;

use crate::chain::ChainHash;
use crate::entry::Entry;
use crate::identity::Proposal;

use super::ballot::Value;
use super::settings::Settings;

/// The last entries as they were chosen, each with the hash chain after it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Epoch before the first entry.
    base: u64,
    entries: VecDeque<(Value, ChainHash)>,
    bytes: usize,
}

impl Tail {
    /// Nothing, behind the epoch `base`.
    pub(super) fn behind(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    pub(super) fn push(&mut self, value: Value, hash: ChainHash, settings: &Settings) {
        self.bytes += value.len();
        self.entries.push_back((value, hash));
        while self.entries.len() > settings.tail_entries.max(1) || self.bytes > settings.tail_bytes.max(1) {
            let Some((value, _)) = self.entries.pop_front() else { break };
            self.bytes -= value.len();
            self.base += 1;
        }
    }

    /// Takes back what is behind `epoch`.
    pub(super) fn truncate(&mut self, epoch: u64) {
        while self.base + self.entries.len() as u64 > epoch {
            let Some((value, _)) = self.entries.pop_back() else {
                self.base = epoch;
                break;
            };
            self.bytes -= value.len();
        }
    }

    fn get(&self, epoch: u64) -> Option<&(Value, ChainHash)> {
        self.entries.get(usize::try_from(epoch.checked_sub(self.base + 1)?).ok()?)
    }

    /// The hash chain after `epoch`, if it is known.
    pub(super) fn hash(&self, epoch: u64) -> Option<ChainHash> {
        Some(self.get(epoch)?.1)
    }

    /// Which proposal the entry of `epoch` is; the outer `None` when the entry is not kept.
    pub(super) fn proposal(&self, epoch: u64) -> Option<Option<Proposal>> {
        let (value, _) = self.get(epoch)?;
        Some(Entry::decode(value).ok().and_then(|entry| entry.proposal()))
    }

    /// The entries behind `after` up to `last`, as many as fit into `limit` bytes, and the hash after them. `None` when there is
    /// none, the first is not kept, or it alone is larger.
    pub(super) fn after(&self, after: u64, last: u64, limit: usize) -> Option<(Vec<Value>, ChainHash)> {
        let mut values = Vec::new();
        let mut size = 0;
        let mut hash = None;
        for epoch in after + 1..=last {
            let Some((value, chain)) = self.get(epoch) else { break };
            size += value.len() + 4;
            if size > limit {
                break;
            }
            values.push(value.clone());
            hash = Some(*chain);
        }
        hash.map(|hash| (values, hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::from(text.as_bytes())
    }

    #[test]
    fn the_tail_keeps_the_last_entries_within_its_bounds() {
        let settings = Settings { tail_entries: 3, tail_bytes: 5, ..Settings::default() };
        let mut tail = Tail::behind(7);
        let hash = ChainHash::default();
        for text in ["[]", "[1]", "[]"] {
            tail.push(value(text), hash.extend(text.as_bytes()), &settings);
        }
        assert_eq!(tail.hash(8), None, "seven bytes are too many");
        assert_eq!(tail.hash(9), Some(hash.extend(b"[1]")));
        assert_eq!(tail.after(8, 10, 100).unwrap().0, [value("[1]"), value("[]")]);
        assert_eq!(tail.after(8, 10, 8).unwrap().0, [value("[1]")]);
        assert_eq!(tail.after(8, 10, 6), None, "the first is larger");
        assert_eq!(tail.after(7, 10, 100), None, "the first is not kept");
        tail.truncate(9);
        assert_eq!((tail.hash(9).is_some(), tail.hash(10)), (true, None));
        tail.truncate(3);
        assert_eq!(tail.after(3, 10, 100), None);
    }
}
