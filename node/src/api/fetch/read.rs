//! One partition's part of a fetch.

use bytes::Bytes;
use millrace_metadata::Image;
use millrace_storage::{ReadError, WarmJob};
use millrace_types::{ErrorCode, Offset, TopicPartition};

use super::Target;
use crate::api::{Context, lookup};
use crate::directory::PartitionView;
use crate::fetch_session::TopicKey;

/// The most cold ranges one fetch has read in: each is a job for a storage thread.
const MAX_COLD: usize = 8;

/// What was found in a partition.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The partition; `None` when what the client named does not exist here.
    pub(super) partition: Option<TopicPartition>,
    pub(super) error: ErrorCode,
    pub(super) high_watermark: Offset,
    pub(super) last_stable: Offset,
    pub(super) log_start: Offset,
    pub(super) records: Bytes,
    /// Whether there was nothing to read at the offset; else empty records only say that the fetch had no room left.
    pub(super) caught_up: bool,
    /// Set when the records have to be read in from the disk first; `records` is empty until then.
    pub(super) cold: Option<WarmJob>,
}

/// What a fetch may still return.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes left of the request's limit.
    pub(super) left: usize,
    /// Whether the next batch is returned even if it is larger: no batch has been found yet (KIP-74).
    pub(super) at_least_one: bool,
    /// Cold ranges found so far.
    pub(super) cold: usize,
}

impl Outcome {
    pub(super) fn failed(partition: Option<TopicPartition>, error: ErrorCode) -> Self {
        Self {
            partition,
            error,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            records: Bytes::new(),
            caught_up: false,
            cold: None,
        }
    }

    /// Whether there is nothing to tell: neither records nor an error.
    pub(super) fn is_idle(&self) -> bool {
        self.error == ErrorCode::None && self.records.is_empty()
    }
}

/// Reads one partition and takes what it returns from the budget.
pub(super) fn read(
    cx: &Context<'_>,
    image: &Image,
    target: &Target,
    committed_only: bool,
    budget: &mut Budget,
) -> Outcome {
    let topic = match &target.key.topic {
        TopicKey::Name(name) => lookup::topic_by_name(image, name),
        TopicKey::Id(id) => lookup::topic_by_id(image, *id),
    };
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => return Outcome::failed(None, error),
    };
    let partition = TopicPartition::new(topic.id, target.key.partition);
    let view = match lookup::hosted(cx.directory, topic, target.key.partition) {
        Ok(view) => view,
        Err(error) => return Outcome::failed(Some(partition), error),
    };
    let led = lookup::led(&view, target.wanted.leader_epoch);
    let found = led.and_then(|_| slice(&view, target, committed_only, budget));
    found.unwrap_or_else(|error| Outcome::failed(Some(partition), error))
}

fn slice(
    view: &PartitionView,
    target: &Target,
    committed_only: bool,
    budget: &mut Budget,
) -> Result<Outcome, ErrorCode> {
    let log = &view.log;
    let (high_watermark, last_stable) = (log.high_watermark(), log.last_stable_offset());
    let end = if committed_only { last_stable } else { high_watermark };
    let (from, log_start) = (target.wanted.offset, log.log_start());
    let readable = view.readable_end();
    if (readable..Offset::MAX).contains(&from) && (from != end || view.hides(from)) {
        return Err(ErrorCode::KafkaStorageError);
    }
    if from < log_start || from > log.log_end().max(end) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let mut outcome = Outcome {
        partition: Some(view.partition),
        error: ErrorCode::None,
        high_watermark,
        last_stable,
        log_start,
        records: Bytes::new(),
        caught_up: from >= end,
        cold: None,
    };
    let max_bytes = target.wanted.max_bytes.min(budget.left);
    let spent = max_bytes == 0 && !budget.at_least_one;
    if from < end && !spent && budget.cold < MAX_COLD {
        let slice = log.read(from, end.min(readable), max_bytes, budget.at_least_one).map_err(read_error)?;
        budget.take(slice.bytes.len(), slice.cold.is_some());
        outcome.records = slice.bytes;
        outcome.cold = slice.cold;
    }
    Ok(outcome)
}

impl Budget {
    fn take(&mut self, bytes: usize, cold: bool) {
        self.left = self.left.saturating_sub(bytes);
        self.at_least_one &= bytes == 0;
        self.cold += usize::from(cold);
    }
}

fn read_error(error: ReadError) -> ErrorCode {
    let code = error.error_code();
    if code == ErrorCode::KafkaStorageError {
        tracing::error!(%error, "a segment cannot be read");
    }
    code
}
