//! `ListOffsets` (key 2): the offset for a timestamp, or for one of the special ones.
//!
//! A search by timestamp looks at batches. Those that are not in memory are read in by a storage thread first, a few
//! partitions at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};
use millrace_metadata::Image;
use millrace_storage::{ByTime, WarmJob};
use millrace_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::{Api, Context, Resume, Step, Waiting, lookup};
use crate::call::Answer;
use crate::wire::{self, Frame, WireError};

/// The API `ListOffsets`.
pub(super) const API: Api = Api { key: ApiKey::ListOffsets, min: 1, advertised_min: 1, max: 8, handle };

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

/// First version that knows [`MAX_TIMESTAMP`] (KIP-734).
const MAX_TIMESTAMP_FROM: i16 = 7;
/// First version that knows [`EARLIEST_LOCAL`] (KIP-405).
const EARLIEST_LOCAL_FROM: i16 = 8;
/// First version with leader epochs (KIP-320).
const EPOCH_FROM: i16 = 4;
/// First version that knows `OFFSET_NOT_AVAILABLE` (KIP-207).
const NOT_AVAILABLE_FROM: i16 = 5;

/// `READ_COMMITTED` on the wire.
const READ_COMMITTED: i8 = 1;

/// Partitions of one request that are read in at once.
const MAX_COLD: usize = 16;
/// How often a partition is read in before the client is told to come again: pages may be lost again while it waits.
const MAX_WARM_ROUNDS: u32 = 3;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ListOffsetsRequest = wire::decode(body, cx.version)?;
    let mut listing = Listing::new(request);
    listing.begin(cx);
    if listing.warming.is_empty() { Ok(Step::Reply(listing.reply(cx)?)) } else { Ok(Step::Wait(Box::new(listing))) }
}

/// Place of a partition in the request, and in the response: that of its topic, and its own within.
type Place = (usize, usize);

/// A request that is being answered.
///
/// Invariant: `response` has a partition for each of `request`, at the same place. While `cold` holds places,
/// `warming` does too.
struct Listing {
    request: ListOffsetsRequest,
    response: ListOffsetsResponse,
    /// What is being read in, by token, and how often it was before.
    warming: BTreeMap<u64, (Place, u32)>,
    /// Places whose turn to be read in has not come.
    cold: VecDeque<Place>,
}

impl Listing {
    fn new(request: ListOffsetsRequest) -> Self {
        let topics = request.topics.iter().map(|topic| {
            let partitions = vec![ListOffsetsPartitionResponse::default(); topic.partitions.len()];
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        let response = ListOffsetsResponse::default().with_topics(topics.collect());
        Self { request, response, warming: BTreeMap::new(), cold: VecDeque::new() }
    }

    /// Looks at every partition.
    fn begin(&mut self, cx: &mut Context<'_>) {
        let image = cx.directory.image();
        let twice = named_twice(&self.request);
        let named = |place: &Place| {
            let topic = self.request.topics.get(place.0)?;
            Some((&topic.name[..], topic.partitions.get(place.1)?.partition_index))
        };
        let places = self.request.topics.iter().enumerate();
        let places = places.flat_map(|(topic, wanted)| (0..wanted.partitions.len()).map(move |at| (topic, at)));
        let (invalid, valid): (Vec<Place>, Vec<Place>) =
            places.partition(|place| named(place).is_some_and(|key| twice.contains(&key)));
        for place in invalid {
            self.put(cx.version, place, Err(ErrorCode::InvalidRequest));
        }
        for place in valid {
            self.look(cx, &image, place, 0);
        }
    }

    /// Looks at one partition, which was read in `rounds` times.
    fn look(&mut self, cx: &mut Context<'_>, image: &Image, place: Place, rounds: u32) {
        let committed_only = self.request.isolation_level == READ_COMMITTED;
        let Some(topic) = self.request.topics.get(place.0) else { return };
        let Some(wanted) = topic.partitions.get(place.1) else { return };
        let answer = match find(cx, image, &topic.name, wanted, committed_only) {
            Ok(ByTime::Cold(_)) if rounds >= MAX_WARM_ROUNDS => Err(ErrorCode::OffsetNotAvailable),
            Ok(ByTime::Cold(job)) => return self.warm(cx, place, rounds, job),
            Ok(ByTime::Found(found)) => Ok(found),
            Err(error) => Err(error),
        };
        self.put(cx.version, place, answer);
    }

    /// Has a partition read in, or leaves that for later.
    fn warm(&mut self, cx: &mut Context<'_>, place: Place, rounds: u32, job: WarmJob) {
        if self.warming.len() < MAX_COLD {
            self.warming.insert(cx.warm(job), (place, rounds + 1));
        } else {
            self.cold.push_back(place);
        }
    }

    /// Puts the answer of a partition into the response.
    fn put(&mut self, version: i16, place: Place, answer: Result<Found, ErrorCode>) {
        let topic = self.request.topics.get(place.0);
        let Some(index) = topic.and_then(|topic| topic.partitions.get(place.1)).map(|wanted| wanted.partition_index)
        else {
            return;
        };
        let topic = self.response.topics.get_mut(place.0);
        if let Some(slot) = topic.and_then(|topic| topic.partitions.get_mut(place.1)) {
            *slot = partition_response(version, index, answer);
        }
    }

    fn reply(&self, cx: &Context<'_>) -> Result<Frame, WireError> {
        wire::encode_body(&self.response, cx.version)
    }
}

impl Waiting for Listing {
    fn resume(&mut self, _: &mut Context<'_>, _: u64, _: Answer) -> Result<Resume, WireError> {
        debug_assert!(false, "the request makes no calls");
        Ok(Resume::Wait)
    }

    fn warmed(&mut self, cx: &mut Context<'_>, token: u64) -> Result<Resume, WireError> {
        let Some((place, rounds)) = self.warming.remove(&token) else { return Ok(Resume::Wait) };
        let image = cx.directory.image();
        self.look(cx, &image, place, rounds);
        while self.warming.len() < MAX_COLD
            && let Some(place) = self.cold.pop_front()
        {
            self.look(cx, &image, place, 0);
        }
        if self.warming.is_empty() { self.reply(cx).map(Resume::Reply) } else { Ok(Resume::Wait) }
    }
}

/// The partitions that the request names more than once; Kafka answers each of them with `INVALID_REQUEST`.
fn named_twice(request: &ListOffsetsRequest) -> BTreeSet<(&str, i32)> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (&topic.name[..], partition.partition_index);
            if !seen.insert(key) {
                twice.insert(key);
            }
        }
    }
    twice
}

/// What was found: the record's timestamp, its offset and the leader epoch it was written in; `None` when no record
/// fits the timestamp.
type Found = Option<(Timestamp, Offset, LeaderEpoch)>;

fn find(
    cx: &Context<'_>,
    image: &Image,
    topic: &str,
    wanted: &ListOffsetsPartition,
    committed_only: bool,
) -> Result<ByTime, ErrorCode> {
    let topic = lookup::topic_by_name(image, topic)?;
    let view = lookup::hosted(cx.directory, topic, wanted.partition_index)?;
    let epoch = lookup::led(&view, wanted.current_leader_epoch)?;
    let log = &view.log;
    let end = if committed_only { log.last_stable_offset() } else { log.high_watermark() };
    let hidden = view.hides(end);
    let readable = end.min(view.readable_end());
    let epoch_at = |offset: Offset| log.epoch_at(offset).unwrap_or(epoch);
    // The start of the log is known; its end, and what lies below it, is so when the epoch's start is committed (KIP-207).
    if !view.tells_latest() && !matches!(wanted.timestamp, EARLIEST | EARLIEST_LOCAL) {
        return Err(ErrorCode::OffsetNotAvailable);
    }
    let known = |timestamp, offset, epoch| Ok(ByTime::Found(Some((timestamp, offset, epoch))));
    let found = match wanted.timestamp {
        LATEST if hidden => return Err(ErrorCode::KafkaStorageError),
        LATEST => return known(-1, end, epoch),
        EARLIEST => return known(-1, log.log_start(), epoch_at(log.log_start())),
        EARLIEST_LOCAL if cx.version >= EARLIEST_LOCAL_FROM => {
            return known(-1, log.log_start(), epoch_at(log.log_start()));
        }
        MAX_TIMESTAMP if cx.version >= MAX_TIMESTAMP_FROM && hidden => return Err(ErrorCode::KafkaStorageError),
        MAX_TIMESTAMP if cx.version >= MAX_TIMESTAMP_FROM => log.max_timestamp(readable),
        timestamp if timestamp >= 0 => log.offset_for_timestamp(timestamp, readable),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    match found.map_err(|error| error.error_code())? {
        // The record may be among those that cannot be read.
        ByTime::Found(None) if hidden => Err(ErrorCode::KafkaStorageError),
        found => Ok(found),
    }
}

fn partition_response(version: i16, partition: i32, answer: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(partition);
    match answer {
        Ok(Some((timestamp, offset, epoch))) => {
            let response = response.with_timestamp(timestamp).with_offset(offset);
            if version >= EPOCH_FROM { response.with_leader_epoch(epoch) } else { response }
        }
        Ok(None) => response.with_timestamp(-1).with_offset(-1),
        Err(ErrorCode::OffsetNotAvailable) if version < NOT_AVAILABLE_FROM => {
            response.with_error_code(ErrorCode::LeaderNotAvailable.code()).with_timestamp(-1).with_offset(-1)
        }
        Err(error) => response.with_error_code(error.code()).with_timestamp(-1).with_offset(-1),
    }
}
