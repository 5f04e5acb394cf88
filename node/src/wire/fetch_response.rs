//! Writes a Fetch response with its record batches left where they are.
//!
//! The codec copies records into its buffer. This writer puts the same bytes, the fields between the batches into small
//! buffers and each partition's batches as the slice of the mapping they are; the test holds it against the codec.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData, SnapshotId,
};
use kafka_protocol::protocol::Encodable;

use super::{Frame, WireError};

/// From this version lengths are compact and tagged fields follow.
const FLEXIBLE_FROM: i16 = 12;
/// Records shorter than this are copied: a chunk of its own costs more than the copy.
const COPY_BELOW: usize = 512;

/// Writes the body of a Fetch response at `version` (4 to 18).
///
/// # Errors
/// When a field is set that the version does not have, or a part is too long.
pub fn encode_fetch(response: &FetchResponse, version: i16) -> Result<Frame, WireError> {
    let mut writer = Writer { frame: Frame::new(), buffer: BytesMut::with_capacity(256), version };
    writer.response(response)?;
    writer.cut();
    Ok(writer.frame)
}

struct Writer {
    frame: Frame,
    buffer: BytesMut,
    version: i16,
}

impl Writer {
    fn failed(&self, error: &dyn std::fmt::Display) -> WireError {
        WireError::Encode { version: self.version, reason: error.to_string() }
    }

    fn flexible(&self) -> bool {
        self.version >= FLEXIBLE_FROM
    }

    /// Moves what is buffered into the frame.
    fn cut(&mut self) {
        self.frame.push(self.buffer.split().freeze());
    }

    fn response(&mut self, response: &FetchResponse) -> Result<(), WireError> {
        self.buffer.put_i32(response.throttle_time_ms);
        if self.version >= 7 {
            self.buffer.put_i16(response.error_code);
            self.buffer.put_i32(response.session_id);
        } else if response.session_id != 0 {
            return Err(self.failed(&"session_id before version 7"));
        }
        self.length(Some(response.responses.len()))?;
        for topic in &response.responses {
            self.topic(topic)?;
        }
        if self.flexible() {
            let endpoints = if self.version >= 16 { &response.node_endpoints[..] } else { &[] };
            self.node_endpoints(endpoints)?;
        }
        Ok(())
    }

    fn topic(&mut self, topic: &FetchableTopicResponse) -> Result<(), WireError> {
        if self.version <= 12 {
            let name = topic.topic.as_bytes();
            if self.flexible() {
                self.length(Some(name.len()))?;
            } else {
                let length = i16::try_from(name.len()).map_err(|error| self.failed(&error))?;
                self.buffer.put_i16(length);
            }
            self.buffer.put_slice(name);
        } else {
            self.buffer.put_slice(topic.topic_id.as_bytes());
        }
        self.length(Some(topic.partitions.len()))?;
        for partition in &topic.partitions {
            self.partition(partition)?;
        }
        if self.flexible() {
            self.varint(0);
        }
        Ok(())
    }

    fn partition(&mut self, partition: &PartitionData) -> Result<(), WireError> {
        self.buffer.put_i32(partition.partition_index);
        self.buffer.put_i16(partition.error_code);
        self.buffer.put_i64(partition.high_watermark);
        self.buffer.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.buffer.put_i64(partition.log_start_offset);
        }
        self.length(partition.aborted_transactions.as_ref().map(Vec::len))?;
        for aborted in partition.aborted_transactions.iter().flatten() {
            self.put(aborted)?;
        }
        if self.version >= 11 {
            self.buffer.put_i32(partition.preferred_read_replica.0);
        }
        self.length(partition.records.as_ref().map(Bytes::len))?;
        self.records(partition.records.as_ref());
        if self.flexible() { self.partition_tags(partition) } else { Ok(()) }
    }

    fn records(&mut self, records: Option<&Bytes>) {
        match records {
            Some(records) if records.len() >= COPY_BELOW => {
                self.cut();
                self.frame.push(records.clone());
            }
            Some(records) => self.buffer.put_slice(records),
            None => {}
        }
    }

    fn partition_tags(&mut self, partition: &PartitionData) -> Result<(), WireError> {
        let diverging = partition.diverging_epoch != EpochEndOffset::default();
        let leader = partition.current_leader != LeaderIdAndEpoch::default();
        let snapshot = partition.snapshot_id != SnapshotId::default();
        self.varint(u32::from(diverging) + u32::from(leader) + u32::from(snapshot));
        if diverging {
            self.tagged(0, &partition.diverging_epoch)?;
        }
        if leader {
            self.tagged(1, &partition.current_leader)?;
        }
        if snapshot {
            self.tagged(2, &partition.snapshot_id)?;
        }
        Ok(())
    }

    fn node_endpoints(&mut self, endpoints: &[NodeEndpoint]) -> Result<(), WireError> {
        if endpoints.is_empty() {
            self.varint(0);
            return Ok(());
        }
        let mut outer = std::mem::take(&mut self.buffer);
        self.length(Some(endpoints.len()))?;
        for endpoint in endpoints {
            self.put(endpoint)?;
        }
        std::mem::swap(&mut outer, &mut self.buffer);
        let size = u32::try_from(outer.len()).map_err(|error| self.failed(&error))?;
        self.varint(1);
        self.varint(0);
        self.varint(size);
        self.buffer.put_slice(&outer);
        Ok(())
    }

    fn tagged<T: Encodable>(&mut self, tag: u32, value: &T) -> Result<(), WireError> {
        let size = value.compute_size(self.version).map_err(|error| self.failed(&error))?;
        let size = u32::try_from(size).map_err(|error| self.failed(&error))?;
        self.varint(tag);
        self.varint(size);
        self.put(value)
    }

    fn put<T: Encodable>(&mut self, value: &T) -> Result<(), WireError> {
        let version = self.version;
        value.encode(&mut self.buffer, version).map_err(|error| self.failed(&error))
    }

    /// The length of an array, of records or of a compact string; `None` is null.
    fn length(&mut self, length: Option<usize>) -> Result<(), WireError> {
        let length = length.map(i32::try_from).transpose().map_err(|error| self.failed(&error))?;
        if self.flexible() {
            self.varint(length.map_or(0, |length| length.unsigned_abs() + 1));
        } else {
            self.buffer.put_i32(length.unwrap_or(-1));
        }
        Ok(())
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::AbortedTransaction;
    use kafka_protocol::messages::{BrokerId, ProducerId, TopicName};
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn response(version: i16, records: usize) -> FetchResponse {
        let mut partition = PartitionData::default()
            .with_partition_index(3)
            .with_error_code(1)
            .with_high_watermark(70)
            .with_last_stable_offset(69)
            .with_records(Some(Bytes::from(vec![7; records])))
            .with_aborted_transactions(Some(vec![
                AbortedTransaction::default().with_producer_id(ProducerId(5)).with_first_offset(66),
            ]));
        if version >= 5 {
            partition.log_start_offset = 11;
        }
        if version >= 12 {
            partition.current_leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(9);
        }
        let empty = PartitionData::default().with_records(Some(Bytes::new())).with_aborted_transactions(None);
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition.clone(), empty, partition]);
        let topic = if version <= 12 {
            topic.with_topic(TopicName(StrBytes::from_static_str("a-topic")))
        } else {
            topic.with_topic_id(uuid::Uuid::from_u128(77))
        };
        let mut response = FetchResponse::default().with_throttle_time_ms(4).with_responses(vec![topic.clone(), topic]);
        if version >= 7 {
            response.session_id = 99;
            response.error_code = 70;
        }
        if version >= 16 {
            response.node_endpoints = vec![
                NodeEndpoint::default()
                    .with_node_id(BrokerId(2))
                    .with_host(StrBytes::from_static_str("h"))
                    .with_port(9),
            ];
        }
        response
    }

    #[test]
    fn writes_what_the_codec_writes() {
        for version in 4..=18 {
            for records in [0, 10, COPY_BELOW, 100_000] {
                let response = response(version, records);
                let mut expected = BytesMut::new();
                response.encode(&mut expected, version).expect("valid response");
                let frame = encode_fetch(&response, version).expect("valid response");
                assert_eq!(frame.to_bytes(), expected.freeze(), "version {version}, {records} bytes of records");
            }
        }
    }

    #[test]
    fn long_records_are_not_copied() {
        let response = response(12, 100_000);
        let records = response.responses[0].partitions[0].records.clone().expect("set");
        let frame = encode_fetch(&response, 12).expect("valid response");
        assert!(frame.chunks().iter().any(|chunk| chunk.as_ptr() == records.as_ptr()));
    }
}
