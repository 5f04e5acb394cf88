//! What one broker is told: everything when its session begins, then what changes, a few messages at a time.
//!
//! Full set and changes are one stream: the entries in the order of their versions, from 0 on. A receiver that is slow
//! is told less often and more at once, and what is on the way to it has a bound.

use std::collections::VecDeque;

use millrace_types::BrokerId;

use super::codec::{LeadersMessage, MAX_ENTRIES};
use super::event::LeadersEffect;
use super::owned::Owned;

/// Updates on the way to one broker.
const WINDOW: usize = 4;

/// The stream to one broker.
///
/// Invariant: `known <= sent`.
#[derive(Debug)]
pub(super) struct Sender {
    to: BrokerId,
    stream: u64,
    /// The version up to which everything was sent.
    sent: u64,
    /// The version up to which the receiver has everything.
    known: u64,
    /// Whether the receiver was told that it has everything.
    complete: bool,
    next: u64,
    /// Updates on the way: number, and the version up to which everything was sent with it.
    under_way: VecDeque<(u64, u64)>,
}

impl Sender {
    pub(super) const fn new(to: BrokerId, stream: u64) -> Self {
        Self { to, stream, sent: 0, known: 0, complete: false, next: 0, under_way: VecDeque::new() }
    }

    /// The receiver has all updates up to `number`.
    pub(super) fn taken(&mut self, stream: u64, number: u64) {
        if stream != self.stream {
            return;
        }
        while let Some((_, upto)) = self.under_way.pop_front_if(|(first, _)| *first <= number) {
            self.known = upto;
        }
    }

    /// The version up to which the receiver has everything.
    pub(super) const fn known(&self) -> u64 {
        self.known
    }

    /// Sends what there is room for.
    pub(super) fn advance(&mut self, owned: &Owned, out: &mut Vec<LeadersEffect>) {
        while self.under_way.len() < WINDOW && !(self.complete && owned.is_told(self.sent)) {
            let (entries, upto) = owned.since(self.sent, MAX_ENTRIES);
            self.sent = upto;
            let complete = !self.complete && owned.is_told(upto);
            self.complete |= complete;
            let update = LeadersMessage::Update { stream: self.stream, number: self.next, complete, entries };
            self.under_way.push_back((self.next, upto));
            self.next += 1;
            out.push(LeadersEffect::Send { to: self.to, message: update.encode() });
        }
    }
}
