//! The administrative client as a state machine: calls and lookups under way, nothing else.

pub(crate) mod read;
pub(crate) mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::{Instant, Now, Offset};

pub(crate) use request::{AdminRequest, build};

use super::call::{CallId, Calls};
use super::cluster::Target;
pub use super::lookup::LookupId as LookupKey;
use super::lookup::{Ask, LookupId, Lookups, Told};
use super::{Cluster, Machine, Random};
use crate::config::{ClientConfig, Isolation};
use crate::error::Result;
use crate::model::{OffsetSpec, TopicPartition};

/// What became of something the application asked for.
#[derive(Debug)]
pub enum AdminEvent {
    /// A call was answered or given up.
    Call(CallId, Box<Result<ResponseKind>>),
    /// A lookup is complete.
    Lookup(LookupId, BTreeMap<TopicPartition, Result<crate::model::FoundOffset>>),
}

/// The administrative client.
#[derive(Debug)]
pub struct AdminCore {
    cluster: Cluster,
    calls: Calls,
    lookups: Lookups,
}

impl AdminCore {
    /// A client with this configuration.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: ClientConfig, random: Random) -> Result<Self> {
        config.validate()?;
        let cluster = Cluster::new(config, random, 100, false);
        Ok(Self { cluster, calls: Calls::default(), lookups: Lookups::default() })
    }

    /// Begins a call. Each try takes `timeout` at most, all of them the configured time of an API call.
    pub(crate) fn call(&mut self, now: Now, target: Target, request: RequestKind) -> CallId {
        let deadline = self.deadline_of_a_call(now);
        self.calls.begin(&self.cluster, target, request, deadline, None)
    }

    /// Begins to look up offsets.
    pub fn offsets(&mut self, now: Now, specs: &BTreeMap<TopicPartition, OffsetSpec>) -> LookupId {
        let asks = specs.iter().map(|(partition, spec)| (partition.clone(), Ask::Offset(spec.wire())));
        let deadline = self.deadline_of_a_call(now);
        self.lookups.begin(&self.cluster, asks, Isolation::ReadUncommitted, deadline)
    }

    /// Begins to delete the records below an offset of each partition.
    pub fn delete_records(&mut self, now: Now, offsets: &BTreeMap<TopicPartition, Offset>) -> LookupId {
        let asks = offsets.iter().map(|(partition, offset)| (partition.clone(), Ask::Delete(*offset)));
        let deadline = self.deadline_of_a_call(now);
        self.lookups.begin(&self.cluster, asks, Isolation::ReadUncommitted, deadline)
    }

    /// The coordinator of `group`, when it is known.
    pub(crate) fn coordinator(&self, group: &str) -> Option<i32> {
        self.cluster.coordinator(group)
    }

    /// Takes what a Metadata answer says about brokers in, so that they can be asked one by one.
    pub(crate) fn learn_brokers(&mut self, brokers: &[crate::model::Broker]) {
        for broker in brokers {
            self.cluster.metadata.add_node(broker.id, &broker.host, i32::from(broker.port), broker.rack.as_deref());
        }
    }

    /// Forgets a call nobody waits for any more.
    pub fn cancel_call(&mut self, id: CallId) {
        self.calls.cancel(id);
    }

    /// Forgets a lookup nobody waits for any more.
    pub fn cancel_lookup(&mut self, id: LookupId) {
        self.lookups.cancel(id);
    }

    /// Closes the connections.
    pub fn close(&mut self, now: Now) {
        self.cluster.stop(now.instant);
    }

    fn deadline_of_a_call(&self, now: Now) -> Instant {
        now.instant.after(self.cluster.config.api_timeout)
    }
}

impl Machine for AdminCore {
    type Event = AdminEvent;

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn advance(&mut self, now: Now) {
        // Answers may make calls due, which may be answered at once: until nothing is left to take in.
        loop {
            self.cluster.advance(now.instant);
            self.lookups.advance(now.instant, &mut self.cluster);
            self.calls.advance(now.instant, &mut self.cluster);
            let Some(answer) = self.cluster.poll_answer() else { break };
            let rest = self.calls.answered(now.instant, &mut self.cluster, answer.id, answer.result);
            if let Some(result) = rest {
                let _late = self.lookups.answered(now.instant, &mut self.cluster, answer.id, result);
            }
        }
        self.cluster.advance(now.instant);
    }

    fn deadline(&self, now: Now) -> Instant {
        self.cluster.deadline(now.instant).min(self.calls.deadline()).min(self.lookups.deadline(now.instant))
    }

    fn poll_event(&mut self) -> Option<AdminEvent> {
        let call = self.calls.poll().map(|(id, result)| AdminEvent::Call(id, Box::new(result)));
        call.or_else(|| self.lookups.poll().map(|(id, told): (LookupId, Told)| AdminEvent::Lookup(id, told)))
    }
}

/// The target of requests about `group`.
pub(crate) fn coordinator_of(group: &str) -> Target {
    Target::Coordinator(Arc::from(group))
}
