//! Records on their way into the write-ahead store, and what follows when they are durable.

use std::collections::VecDeque;

use millrace_types::{LeaderEpoch, Offset};

use crate::configuration::Configuration;
use crate::effect::{Effect, Record};
use crate::identity::ReplicaKey;
use crate::message::Message;

/// What follows when records are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// The replica takes part.
    Start,
    /// A vote leaves.
    Send { to: ReplicaKey, message: Message },
    /// The candidate of this epoch has its own vote, and asks for the others'.
    SelfVote(LeaderEpoch),
    /// The markers up to this epoch count.
    Markers(LeaderEpoch),
    /// The configuration is in force.
    Configure(Configuration),
    /// The cut or reset that is noted may be carried out.
    Cut,
    /// Records may be acknowledged from the page cache, or no longer.
    Volatile(bool),
    /// The witness's log ends here.
    WitnessEnd(Offset),
}

/// What is not durable yet, oldest first. Puts become durable in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Puts {
    last_token: u64,
    waiting: VecDeque<(u64, After)>,
    done_token: u64,
}

impl Puts {
    /// Asks for `records` to be made durable, and notes what follows.
    pub(crate) fn put(&mut self, records: Vec<Record>, after: Vec<After>, out: &mut Vec<Effect>) {
        self.last_token += 1;
        self.waiting.extend(after.into_iter().map(|after| (self.last_token, after)));
        out.push(Effect::Put { token: self.last_token, records });
    }

    /// Notes what follows when everything put so far is durable; false when it is so already.
    pub(crate) fn when_durable(&mut self, after: After) -> bool {
        let waits = self.done_token < self.last_token;
        if waits {
            self.waiting.push_back((self.last_token, after));
        }
        waits
    }

    /// Everything up to `token` is durable: takes what follows.
    pub(crate) fn done(&mut self, token: u64) -> Vec<After> {
        self.done_token = self.done_token.max(token.min(self.last_token));
        let due = self.waiting.partition_point(|(waits_for, _)| *waits_for <= token);
        self.waiting.drain(..due).map(|(_, after)| after).collect()
    }
}
