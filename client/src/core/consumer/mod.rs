//! The consumer as a state machine: subscriptions and polls in, records and rebalances out.
//!
//! What the application has been given counts as processed when it polls again. So a rebalance that takes partitions
//! away, and a commit that nobody asked for, happen only around a poll.

mod fetcher;
mod group;
mod heartbeat;
mod join;
mod machine;
mod offsets;
mod positions;
mod reader;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::group::Rebalance;
pub use self::machine::ConsumerCore;
use self::reader::Reader;
use super::call::CallId;
use super::lookup::LookupId;
use crate::error::Result;
use crate::model::{ConsumerRecord, FoundOffset, OffsetAndMetadata, TopicPartition};

/// Errors kept for the application until it polls; later ones are dropped.
const ERRORS_MAX: usize = 16;

/// What the consumer tells its owner.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A poll may find something: records, an error or a rebalance.
    Changed,
    /// A commit that the application began has ended.
    Committed(CallId, Result<()>),
    /// Committed offsets that the application asked for.
    Offsets(CallId, Result<BTreeMap<TopicPartition, OffsetAndMetadata>>),
    /// Offsets looked up for the application.
    Found(LookupId, BTreeMap<TopicPartition, Result<FoundOffset>>),
    /// The consumer is out of its group.
    Left,
}

/// What a poll finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// Records, at most the number asked for.
    Records(Vec<ConsumerRecord>),
    /// Partitions come or go; [`ConsumerCore::rebalanced`] has to be called when the application has been told.
    Rebalance(Rebalance),
    /// Nothing yet.
    Nothing,
}

/// Why the consumer looks something up for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reset,
    Validate,
}

/// What the partitions are chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection {
    Nothing,
    Partitions,
    Topics(Vec<Arc<str>>),
}

#[cfg(test)]
mod tests;
