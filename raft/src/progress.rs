//! One replica as its leader sees it.

use std::time::Duration;

use millrace_types::{Incarnation, Instant, LeaderEpoch, Offset};

use crate::configuration::ConfigurationId;
use crate::message::FetchRequest;
use crate::mutation::{Mutation, broken};
use crate::position::Acknowledged;

/// How a replica falls behind: it has caught up with what the log was at `since`, and is asked for `target`.
#[derive(Debug, Clone, Copy)]
struct Lag {
    since: Instant,
    target: Offset,
    noted: Instant,
}

/// What a leader knows of one replica.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) incarnation: Incarnation,
    /// Everything below is durable there, as a prefix of the leader's log; `None` until it holds the epoch's marker.
    pub(crate) matched: Option<Offset>,
    pub(crate) recovering: bool,
    /// Whether it had better not lead.
    pub(crate) unfit: bool,
    /// The configuration that is durable there.
    pub(crate) configuration: ConfigurationId,
    /// Its log start offset, as it last said.
    pub(crate) log_start: Offset,
    /// Whether it has fetched since the leader last looked.
    pub(crate) has_fetched: bool,
    /// The fetch that waits for news.
    pub(crate) parked: Option<FetchRequest>,
    lag: Option<Lag>,
}

impl Progress {
    pub(crate) const fn new(incarnation: Incarnation) -> Self {
        let configuration = ConfigurationId { generation: 0, epoch: 0, version: 0 };
        Self {
            incarnation,
            matched: None,
            recovering: false,
            unfit: false,
            configuration,
            log_start: 0,
            has_fetched: false,
            parked: None,
            lag: None,
        }
    }

    /// Takes an acknowledgement (rule R4): it counts when it comes with the leader's epoch, and not from a replica that
    /// may have lost what it had acknowledged. What one incarnation holds it keeps, so a late frame lowers nothing.
    pub(crate) fn acknowledge(&mut self, epoch: LeaderEpoch, acknowledged: Acknowledged, recovering: bool) {
        let counts = acknowledged.epoch == epoch || broken(Mutation::CountEarlierEpoch);
        if counts && (!recovering || broken(Mutation::CountRecovering)) {
            self.matched = self.matched.max(Some(acknowledged.offset));
        }
        self.recovering = recovering && (self.matched.is_none() || broken(Mutation::CountRecovering));
        if let Some(parked) = &mut self.parked {
            (parked.acknowledged, parked.recovering) = (acknowledged, recovering);
        }
    }

    /// Notes at `now`, when the leader's log ends at `end`, how far behind the replica is.
    pub(crate) fn track(&mut self, now: Instant, end: Offset) {
        let matched = self.matched.unwrap_or(Offset::MIN);
        self.lag = match self.lag {
            _ if matched >= end => None,
            None => Some(Lag { since: now, target: end, noted: now }),
            Some(lag) if matched >= lag.target => Some(Lag { since: lag.noted, target: end, noted: now }),
            Some(lag) => Some(lag),
        };
    }

    /// Counts as caught up from `now` on.
    pub(crate) const fn forget_lag(&mut self) {
        self.lag = None;
    }

    /// When it will have been behind for too long.
    pub(crate) fn lag_deadline(&self, lag_max: Duration) -> Instant {
        self.lag.map_or(Instant::NEVER, |lag| lag.since.after(lag_max))
    }
}
