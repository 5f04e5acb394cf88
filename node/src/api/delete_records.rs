//! `DeleteRecords` (key 21): moves the log start offset of partitions up.

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{ApiKey, DeleteRecordsRequest, DeleteRecordsResponse};
use millrace_metadata::Image;
use millrace_types::{ErrorCode, Instant, TopicPartition};

use super::{Api, Context, Resume, Step, Waiting, lookup};
use crate::call::{Answer, PartitionAnswer, PartitionOp};
use crate::deadline;
use crate::wire::{self, WireError};

/// The API `DeleteRecords`.
pub(super) const API: Api = Api { key: ApiKey::DeleteRecords, min: 0, advertised_min: 0, max: 2, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DeleteRecordsRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let deadline = deadline::after_ms(cx.now, request.timeout_ms);
    let mut waiting = Deleting { response: DeleteRecordsResponse::default(), slots: Vec::new(), first: 0, left: 0 };
    for (at, topic) in request.topics.into_iter().enumerate() {
        let mut results = Vec::with_capacity(topic.partitions.len());
        for (index, wanted) in topic.partitions.iter().enumerate() {
            let mut result = result(wanted.partition_index, ErrorCode::None);
            match begin(cx, &image, &topic.name, wanted, deadline) {
                Ok(token) => waiting.expect(token, (at, index)),
                Err(error) => result.error_code = error.code(),
            }
            results.push(result);
        }
        let topic = DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(results);
        waiting.response.topics.push(topic);
    }
    if waiting.left == 0 { cx.reply(&waiting.response) } else { Ok(Step::Wait(Box::new(waiting))) }
}

/// Asks the partition; returns the call's token.
fn begin(
    cx: &mut Context<'_>,
    image: &Image,
    topic: &str,
    wanted: &DeleteRecordsPartition,
    deadline: Instant,
) -> Result<u64, ErrorCode> {
    let topic = lookup::topic_by_name(image, topic)?;
    if topic.internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    let view = lookup::hosted(cx.directory, topic, wanted.partition_index)?;
    lookup::led(&view, -1)?;
    if !topic.settings.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    if wanted.offset < -1 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let partition = TopicPartition::new(topic.id, wanted.partition_index);
    Ok(cx.call_partition(partition, PartitionOp::DeleteRecords { before: wanted.offset, deadline }))
}

fn result(partition: i32, error: ErrorCode) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult::default()
        .with_partition_index(partition)
        .with_low_watermark(-1)
        .with_error_code(error.code())
}

/// A request whose partitions are being asked.
struct Deleting {
    response: DeleteRecordsResponse,
    /// Where in the response the answer to the call `first + n` belongs.
    slots: Vec<(usize, usize)>,
    first: u64,
    left: usize,
}

impl Deleting {
    fn expect(&mut self, token: u64, slot: (usize, usize)) {
        if self.slots.is_empty() {
            self.first = token;
        }
        debug_assert_eq!(token, self.first + self.slots.len() as u64, "the tokens of one step have no gap");
        self.slots.push(slot);
        self.left += 1;
    }

    fn slot(&mut self, token: u64) -> Option<&mut DeleteRecordsPartitionResult> {
        let call = usize::try_from(token.checked_sub(self.first)?).ok()?;
        let (topic, partition) = *self.slots.get(call)?;
        self.response.topics.get_mut(topic)?.partitions.get_mut(partition)
    }
}

impl Waiting for Deleting {
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        let Some(result) = self.slot(token) else {
            return Ok(Resume::Wait);
        };
        match answer {
            Answer::Partition(PartitionAnswer::Deleted { low_watermark }) => result.low_watermark = low_watermark,
            Answer::Partition(PartitionAnswer::Failed(error)) | Answer::Gone(error) => {
                result.error_code = error.code();
            }
            Answer::Partition(_) | Answer::Group(_) | Answer::Metadata(_) | Answer::Elected(_) => {
                result.error_code = ErrorCode::UnknownServerError.code();
            }
        }
        self.left -= 1;
        if self.left > 0 {
            return Ok(Resume::Wait);
        }
        Ok(Resume::Reply(wire::encode_body(&self.response, cx.version)?))
    }
}
