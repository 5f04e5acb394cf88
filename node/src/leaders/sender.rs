//! What one broker is told: everything when its session begins, then what changes, a few messages at a time.
//!
//! Full set and changes are one stream: the entries in the order of their versions, from 0 on. A receiver that is slow
//! is told less often and more at once, and what is on the way to it has a bound.

use millrace_types::BrokerId;

use super::codec::{LeadersMessage, MAX_ENTRIES};
use super::event::LeadersEffect;
use super::owned::Owned;

/// Updates on the way to one broker.
const WINDOW: u64 = 4;

/// The stream to one broker.
#[derive(Debug)]
pub(super) struct Sender {
    to: BrokerId,
    stream: u64,
    /// The version up to which everything was sent.
    sent: u64,
    /// Whether the receiver was told that it has everything.
    complete: bool,
    next: u64,
    taken: u64,
}

impl Sender {
    pub(super) const fn new(to: BrokerId, stream: u64) -> Self {
        Self { to, stream, sent: 0, complete: false, next: 0, taken: 0 }
    }

    /// The receiver has all updates up to `number`.
    pub(super) fn taken(&mut self, stream: u64, number: u64) {
        if stream == self.stream && (self.taken..self.next).contains(&number) {
            self.taken = number.saturating_add(1);
        }
    }

    /// Sends what there is room for.
    pub(super) fn advance(&mut self, owned: &Owned, out: &mut Vec<LeadersEffect>) {
        while self.next - self.taken < WINDOW && !(self.complete && owned.is_told(self.sent)) {
            let (entries, upto) = owned.since(self.sent, MAX_ENTRIES);
            self.sent = upto;
            let complete = !self.complete && owned.is_told(upto);
            self.complete |= complete;
            let update = LeadersMessage::Update { stream: self.stream, number: self.next, complete, entries };
            self.next += 1;
            out.push(LeadersEffect::Send { to: self.to, message: update.encode() });
        }
    }
}
