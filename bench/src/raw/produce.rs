//! Produce requests with a prepared batch, and their answers.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};

use super::cluster::text;
use super::connection::{encode, set_correlation};
use super::reader::{Reader, Truncated};
use super::{PRODUCE, Sender};
use crate::cli::Acks;
use crate::error::BenchError;

const ANSWER_TIMEOUT_MS: i32 = 30_000;

impl Acks {
    /// The number on the wire.
    pub(crate) const fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// A request for one partition: all but the batch, which is its last field in this version.
#[derive(Debug)]
pub(crate) struct Head(BytesMut);

impl Head {
    /// The head of a request that carries `batch`, or one of the same length.
    pub(crate) fn new(topic: &str, partition: i32, acks: Acks, batch: &Bytes) -> Result<Self, BenchError> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.clone()));
        let data = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks.number())
            .with_timeout_ms(ANSWER_TIMEOUT_MS)
            .with_topic_data(vec![data]);
        let mut frame = encode(&request, PRODUCE)?;
        frame.truncate(frame.len() - batch.len());
        Ok(Self(frame))
    }

    /// Sends the request with its batch.
    pub(crate) fn send(&mut self, to: &mut Sender, correlation: i32, batch: &[u8]) -> Result<(), BenchError> {
        set_correlation(&mut self.0, correlation);
        to.send(&self.0, batch)
    }
}

/// The first error code in an answer, 0 when there is none.
pub(crate) fn error_code(body: &[u8]) -> Result<i16, Truncated> {
    let mut reader = Reader(body);
    let mut first = 0;
    for _ in 0..reader.length()? {
        reader.skip_string()?;
        for _ in 0..reader.length()? {
            reader.i32()?;
            let code = reader.i16()?;
            // Base offset, time of the append and log start offset.
            reader.take(24)?;
            if first == 0 {
                first = code;
            }
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ProduceResponse;
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

    use super::*;

    #[test]
    fn a_head_and_its_batch_are_a_request() {
        let batch = Bytes::from_static(b"not a batch, but bytes");
        let head = Head::new("topic", 3, Acks::All, &batch).unwrap();
        let mut frame = Bytes::from([&head.0[..], &batch[..]].concat());
        let length = i32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), frame.len() - 4);
        drop(frame.split_to(4));
        let version = <ProduceRequest as HeaderVersion>::header_version(PRODUCE);
        kafka_protocol::messages::RequestHeader::decode(&mut frame, version).unwrap();
        let request = ProduceRequest::decode(&mut frame, PRODUCE).unwrap();
        let data = &request.topic_data[0].partition_data[0];
        assert_eq!((request.acks, data.index, data.records.as_ref()), (-1, 3, Some(&batch)));
    }

    #[test]
    fn the_first_error_of_an_answer_is_found() {
        let partitions = [0, 6, 3].map(|code| PartitionProduceResponse::default().with_error_code(code));
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(text("t")))
            .with_partition_responses(partitions.to_vec());
        let answer = ProduceResponse::default().with_responses(vec![topic]);
        let mut body = BytesMut::new();
        answer.encode(&mut body, PRODUCE).unwrap();
        assert_eq!(error_code(&body), Ok(6));
        for length in 0..body.len() - 4 {
            assert_eq!(error_code(&body[..length]), Err(Truncated), "{length}");
        }
    }
}
