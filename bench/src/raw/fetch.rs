//! Fetch requests with or without a session (KIP-227), and their answers walked in place.

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use millrace_types::{ErrorCode, Offset};

use super::cluster::text;
use super::connection::{encode, set_correlation};
use super::reader::{Reader, Truncated};
use super::{Connection, FETCH};
use crate::error::BenchError;

/// What a fetch asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long the broker waits for `min_bytes`, in milliseconds.
    pub(crate) wait_ms: i32,
    /// Bytes worth an answer before that time.
    pub(crate) min_bytes: i32,
    /// Largest answer per partition.
    pub(crate) partition_bytes: i32,
}

/// Largest answer.
const ANSWER_BYTES: i32 = 50 << 20;

/// Errors after which a new session is asked for.
const SESSION_LOST: ErrorCode = ErrorCode::FetchSessionIdNotFound;
const SESSION_EPOCH: ErrorCode = ErrorCode::InvalidFetchSessionEpoch;

/// Positions in the partitions that one broker leads, and the session in which they are fetched.
#[derive(Debug)]
pub(crate) struct Fetcher {
    connection: Connection,
    topic: String,
    limits: Limits,
    /// Next offset by partition.
    positions: BTreeMap<i32, Offset>,
    /// Partitions whose position the session does not know.
    moved: Vec<i32>,
    session: Option<Session>,
    correlation: i32,
}

/// An incremental fetch session: id and number of the next request. The id is 0 until the broker gives one.
#[derive(Debug, Clone, Copy)]
struct Session {
    id: i32,
    epoch: i32,
}

/// What an answer says of one partition.
#[derive(Debug)]
pub(crate) struct Fetched<'a> {
    /// The partition.
    pub(crate) partition: i32,
    /// Its error code, 0 for none.
    pub(crate) error: i16,
    /// Its high watermark.
    pub(crate) high_watermark: Offset,
    /// Whole batches, and perhaps a part of one more.
    pub(crate) records: &'a [u8],
}

impl Fetcher {
    /// A fetcher that starts at `positions`, in a session when `in_session`.
    pub(crate) fn new(
        connection: Connection,
        topic: &str,
        limits: Limits,
        positions: BTreeMap<i32, Offset>,
        in_session: bool,
    ) -> Self {
        let session = in_session.then_some(Session { id: 0, epoch: 0 });
        Self { connection, topic: topic.to_owned(), limits, positions, moved: Vec::new(), session, correlation: 0 }
    }

    /// Fetches once: `visit` sees each partition of the answer and returns the offset to go on from.
    pub(crate) fn fetch(
        &mut self,
        mut visit: impl FnMut(Fetched<'_>) -> Result<Option<Offset>, BenchError>,
    ) -> Result<(), BenchError> {
        let request = self.request();
        let mut frame = encode(&request, FETCH)?;
        self.correlation = self.correlation.wrapping_add(1);
        set_correlation(&mut frame, self.correlation);
        self.connection.sender.send(&frame, &[])?;
        let body = self.connection.receiver.receive(self.correlation)?;
        let mut failed = None;
        let mut moved = Vec::new();
        let positions = &mut self.positions;
        let walked = walk(body, |fetched| {
            let partition = fetched.partition;
            match visit(fetched) {
                Ok(Some(next)) => {
                    positions.insert(partition, next);
                    moved.push(partition);
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        });
        let (error, id) = walked.map_err(|Truncated| self.connection.receiver.malformed("Fetch"))?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !matches!(ErrorCode::from_code(error), ErrorCode::None | SESSION_LOST | SESSION_EPOCH) {
            return Err(BenchError::Refused { operation: "fetch".to_owned(), code: ErrorCode::from_code(error) });
        }
        self.moved = moved;
        self.session = self.session.map(|session| next_session(session, error, id));
        Ok(())
    }

    fn request(&mut self) -> FetchRequest {
        let whole = self.session.is_none_or(|session| session.epoch == 0);
        let asked: Vec<i32> =
            if whole { self.positions.keys().copied().collect() } else { std::mem::take(&mut self.moved) };
        let partitions: Vec<FetchPartition> = asked
            .iter()
            .filter_map(|partition| {
                let position = *self.positions.get(partition)?;
                Some(
                    FetchPartition::default()
                        .with_partition(*partition)
                        .with_fetch_offset(position)
                        .with_partition_max_bytes(self.limits.partition_bytes),
                )
            })
            .collect();
        let topic = FetchTopic::default().with_topic(TopicName(text(&self.topic))).with_partitions(partitions);
        let topics = if topic.partitions.is_empty() { Vec::new() } else { vec![topic] };
        let session = self.session.unwrap_or(Session { id: 0, epoch: -1 });
        FetchRequest::default()
            .with_max_wait_ms(self.limits.wait_ms)
            .with_min_bytes(self.limits.min_bytes)
            .with_max_bytes(ANSWER_BYTES)
            .with_session_id(session.id)
            .with_session_epoch(session.epoch)
            .with_topics(topics)
    }
}

/// The session after an answer: a broker that refuses or forgets it is asked for a new one.
fn next_session(session: Session, error: i16, id: i32) -> Session {
    match (error, id) {
        (0, id) if id != 0 => Session { id, epoch: if session.epoch == i32::MAX { 1 } else { session.epoch + 1 } },
        _ => Session { id: 0, epoch: 0 },
    }
}

/// Visits the partitions of an answer; returns its error code and session id.
fn walk<'a>(body: &'a [u8], mut visit: impl FnMut(Fetched<'a>)) -> Result<(i16, i32), Truncated> {
    let mut reader = Reader(body);
    reader.i32()?;
    let (error, session) = (reader.i16()?, reader.i32()?);
    for _ in 0..reader.length()? {
        reader.skip_string()?;
        for _ in 0..reader.length()? {
            let (partition, error, high_watermark) = (reader.i32()?, reader.i16()?, reader.i64()?);
            // Last stable offset and log start offset.
            reader.take(16)?;
            let aborted = reader.length()?;
            reader.take(aborted.checked_mul(16).ok_or(Truncated)?)?;
            reader.i32()?;
            let length = reader.length()?;
            visit(Fetched { partition, error, high_watermark, records: reader.take(length)? });
        }
    }
    Ok((error, session))
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
    use kafka_protocol::protocol::Encodable;

    use super::*;

    fn body() -> BytesMut {
        let partitions = [(0, "abc"), (7, "")].map(|(partition, records)| {
            PartitionData::default()
                .with_partition_index(partition)
                .with_high_watermark(9)
                .with_aborted_transactions(Some(vec![AbortedTransaction::default()]))
                .with_records(Some(Bytes::from_static(records.as_bytes())))
        });
        let topic =
            FetchableTopicResponse::default().with_topic(TopicName(text("t"))).with_partitions(partitions.to_vec());
        let answer = FetchResponse::default().with_session_id(5).with_responses(vec![topic]);
        let mut body = BytesMut::new();
        answer.encode(&mut body, FETCH).unwrap();
        body
    }

    #[test]
    fn an_answer_is_walked_in_place() {
        let body = body();
        let mut seen = Vec::new();
        let walked = walk(&body, |f| seen.push((f.partition, f.error, f.high_watermark, f.records.to_vec())));
        assert_eq!(walked, Ok((0, 5)));
        assert_eq!(seen, [(0, 0, 9, b"abc".to_vec()), (7, 0, 9, Vec::new())]);
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        let body = body();
        for length in 0..body.len() {
            assert_eq!(walk(&body[..length], |_| ()), Err(Truncated), "{length}");
        }
    }

    #[test]
    fn a_session_counts_its_requests_and_starts_again_when_lost() {
        let step = |session: Session, error, id| {
            let next = next_session(session, error, id);
            (next.id, next.epoch)
        };
        assert_eq!(step(Session { id: 0, epoch: 0 }, 0, 5), (5, 1));
        assert_eq!(step(Session { id: 5, epoch: 1 }, 0, 5), (5, 2));
        assert_eq!(step(Session { id: 5, epoch: i32::MAX }, 0, 5), (5, 1));
        assert_eq!(step(Session { id: 5, epoch: 2 }, 70, 0), (0, 0));
        assert_eq!(step(Session { id: 0, epoch: 0 }, 0, 0), (0, 0), "a broker without sessions");
    }
}
