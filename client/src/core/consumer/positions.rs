//! How partitions come to their positions: committed offsets, offsets looked up, and the check after a change of
//! leaders (KIP-320).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::Instant;

use super::fetcher::reset_stage;
use super::reader::Stage;
use super::{ConsumerCore, Purpose};
use crate::config::OffsetReset;
use crate::core::admin::read::committed;
use crate::core::admin::request::offset_fetch;
use crate::core::call::CallId;
use crate::core::cluster::Target;
use crate::core::lookup::{Ask, LookupId, Told};
use crate::error::{ClientError, Result};
use crate::model::{FoundOffset, TopicPartition};

impl ConsumerCore {
    /// Begins what partitions without a position need.
    pub(super) fn locate(&mut self, now: Instant) {
        self.fetch_committed(now);
        self.look_up(now);
        self.validate(now);
    }

    fn fetch_committed(&mut self, now: Instant) {
        if self.committed_call.is_some() {
            return;
        }
        let wanting: Vec<TopicPartition> = self
            .readers
            .iter()
            .filter(|(_, r)| r.stage == Stage::Committed && r.retry_at <= now)
            .map(|(p, _)| p.clone())
            .collect();
        let Some(group) = self.group_id() else {
            for partition in wanting {
                let stage = reset_stage(self.config.offset_reset, &partition);
                if let Some(reader) = self.readers.get_mut(&partition) {
                    reader.find(stage);
                }
            }
            return;
        };
        if wanting.is_empty() {
            return;
        }
        let request = RequestKind::OffsetFetch(offset_fetch(&group, Some(&wanting)));
        let deadline = now.after(self.config.client.api_timeout);
        let call = self.calls.begin(&self.cluster, Target::Coordinator(group), request, deadline, None);
        self.committed_call = Some((call, wanting));
    }

    /// The group's committed offsets came.
    pub(super) fn committed_answered(
        &mut self,
        now: Instant,
        partitions: &[TopicPartition],
        result: Result<ResponseKind>,
    ) {
        self.committed_call = None;
        match result.and_then(committed) {
            Ok(offsets) => {
                for partition in partitions {
                    let stage = reset_stage(self.config.offset_reset, partition);
                    let Some(reader) = self.readers.get_mut(partition).filter(|r| r.stage == Stage::Committed) else {
                        continue;
                    };
                    match offsets.get(partition) {
                        Some(found) => reader.start_at(found.offset, found.leader_epoch),
                        None => reader.find(stage),
                    }
                }
            }
            Err(error) => {
                for partition in partitions {
                    let wanting = self.readers.get_mut(partition).filter(|r| r.stage == Stage::Committed);
                    if let Some(reader) = wanting {
                        reader.retry_at = now.after(self.config.client.retry_backoff_max);
                    }
                }
                self.tell(error);
            }
        }
        self.changed = true;
    }

    fn look_up(&mut self, now: Instant) {
        let mut asks = BTreeMap::new();
        for (partition, reader) in &self.readers {
            if let Stage::Reset(spec, None) = &reader.stage
                && reader.retry_at <= now
            {
                asks.insert(partition.clone(), Ask::Offset(spec.wire()));
            }
        }
        let Some(id) = self.begin_lookup(now, asks.clone(), Purpose::Reset) else { return };
        for partition in asks.keys() {
            if let Some(reader) = self.readers.get_mut(partition)
                && let Stage::Reset(_, lookup) = &mut reader.stage
            {
                *lookup = Some(id);
            }
        }
    }

    /// Positions whose leader changed since they were found good are checked before anything is fetched from it.
    fn validate(&mut self, now: Instant) {
        let mut asks = BTreeMap::new();
        for (partition, reader) in &mut self.readers {
            let leader = self.cluster.metadata.leader(&partition.topic, partition.partition);
            let Some((_, epoch)) = leader.filter(|(_, epoch)| *epoch > reader.checked_epoch) else { continue };
            if reader.stage != Stage::Reading || reader.fetching.is_some() || reader.retry_at > now {
                continue;
            }
            // A position without an epoch cannot be checked, and one of the current epoch need not be.
            if reader.leader_epoch < 0 || reader.leader_epoch >= epoch {
                reader.checked_epoch = epoch;
            } else {
                asks.insert(partition.clone(), Ask::EpochEnd(reader.leader_epoch));
            }
        }
        let Some(id) = self.begin_lookup(now, asks.clone(), Purpose::Validate) else { return };
        for partition in asks.keys() {
            if let Some(reader) = self.readers.get_mut(partition) {
                reader.stage = Stage::Validating(id);
            }
        }
    }

    fn begin_lookup(
        &mut self,
        now: Instant,
        asks: BTreeMap<TopicPartition, Ask>,
        purpose: Purpose,
    ) -> Option<LookupId> {
        if asks.is_empty() {
            return None;
        }
        let deadline = now.after(self.config.client.api_timeout);
        let id = self.lookups.begin(&self.cluster, asks, self.config.isolation, deadline);
        self.purposes.insert(id, purpose);
        Some(id)
    }

    /// A lookup of the consumer's own is complete.
    pub(super) fn looked_up(&mut self, now: Instant, id: LookupId, purpose: Purpose, told: Told) {
        for (partition, row) in told {
            match purpose {
                Purpose::Reset => self.found(now, id, &partition, row),
                Purpose::Validate => self.validated(id, &partition, row),
            }
        }
        self.changed = true;
    }

    fn found(&mut self, now: Instant, id: LookupId, partition: &TopicPartition, row: Result<FoundOffset>) {
        let Some(reader) = self.readers.get_mut(partition) else { return };
        let Stage::Reset(spec, Some(lookup)) = reader.stage.clone() else { return };
        if lookup != id {
            return;
        }
        match row {
            // No record has that timestamp or a later one: what comes next will.
            Ok(found) if found.offset < 0 => reader.stage = Stage::Reset(crate::model::OffsetSpec::Latest, None),
            Ok(found) => reader.start_at(found.offset, found.leader_epoch),
            Err(error) => {
                reader.stage = Stage::Reset(spec, None);
                reader.retry_at = now.after(self.config.client.retry_backoff_max);
                self.tell(error);
            }
        }
    }

    fn validated(&mut self, id: LookupId, partition: &TopicPartition, row: Result<FoundOffset>) {
        let epoch = self.cluster.metadata.leader(&partition.topic, partition.partition).map_or(-1, |(_, epoch)| epoch);
        let Some(reader) = self.readers.get_mut(partition).filter(|r| r.stage == Stage::Validating(id)) else { return };
        reader.stage = Stage::Reading;
        match row {
            Ok(found) if found.offset >= 0 && found.offset < reader.position => {
                let truncated = ClientError::Truncated {
                    topic: Arc::clone(&partition.topic),
                    partition: partition.partition,
                    position: reader.position,
                    end_offset: found.offset,
                };
                if self.config.offset_reset == OffsetReset::None {
                    reader.find(Stage::Failed(truncated));
                } else {
                    tracing::warn!(%truncated, "continuing at the end of the shared log");
                    reader.start_at(found.offset, found.leader_epoch);
                }
            }
            Ok(_) => {}
            // A broker that cannot tell leaves the position as good as it was.
            Err(ClientError::UnsupportedVersion { .. }) => {}
            Err(error) if error.is_retriable() => return,
            Err(error) => self.tell(error),
        }
        if let Some(reader) = self.readers.get_mut(partition) {
            reader.checked_epoch = epoch;
        }
    }

    /// Tells the application an error at its next poll.
    pub(super) fn tell(&mut self, error: ClientError) {
        if self.errors.len() < super::ERRORS_MAX {
            self.errors.push_back(error);
        }
        self.changed = true;
    }

    /// Takes the end of a call in that the consumer began for itself; gives back what the application asked for.
    pub(super) fn own_call(
        &mut self,
        now: Instant,
        id: CallId,
        result: Result<ResponseKind>,
    ) -> Option<Result<ResponseKind>> {
        if let Some((_, partitions)) = self.committed_call.take_if(|(call, _)| *call == id) {
            self.committed_answered(now, &partitions, result);
            return None;
        }
        self.group_call(now, id, result)
    }
}
