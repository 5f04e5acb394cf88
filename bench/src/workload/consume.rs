//! Read a filled topic round and round: every connection fetches its partitions from the log start to the high watermark.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millrace_client::record::{BatchHeader, Batches};
use millrace_types::{ErrorCode, Offset};

use super::{Field, on_threads, produce};
use crate::cli::Consume;
use crate::clock::now_ns;
use crate::error::BenchError;
use crate::raw::cluster::{LOG_START, offsets};
use crate::raw::fetch::{Fetched, Fetcher, Limits};
use crate::raw::{Connection, Led};
use crate::tally::{Outcome, Tally};

/// Writes what is to be read.
pub(crate) fn fill(consume: &Consume, field: &Field) -> Result<(), BenchError> {
    produce::fill(&consume.load, field, u64::from(consume.fill_mib) << 20)
}

/// Runs the workload.
pub(crate) fn run(consume: &Consume, field: &Field, tally: &Arc<Tally>) -> Result<Outcome, BenchError> {
    on_threads(field.connections(consume.load.connections, false), |led| worker(consume, &field.topic, &led, tally))
}

fn worker(consume: &Consume, topic: &str, led: &Led, tally: &Tally) -> Result<Outcome, BenchError> {
    let mut connection = Connection::open(&led.address)?;
    let starts = offsets(&mut connection, topic, &led.partitions, LOG_START)?;
    let limits = Limits { wait_ms: 100, min_bytes: 1, partition_bytes: consume.fetch_bytes };
    let mut fetcher = Fetcher::new(connection, topic, limits, starts.clone(), false);
    let mut outcome = Outcome::default();
    let mut reader = Reader { starts: &starts, verify: consume.verify, next: starts.clone() };
    while now_ns() < tally.window.until {
        let sent = now_ns();
        let (mut records, mut bytes) = (0, 0);
        fetcher.fetch(|fetched| {
            let read = reader.read(&fetched)?;
            records += read.records;
            bytes += read.bytes;
            Ok(Some(read.next))
        })?;
        let now = now_ns();
        tally.add(now, records, bytes);
        if tally.window.contains(now) {
            outcome.latency("fetch", now - sent);
        }
    }
    Ok(outcome)
}

/// What one partition's answer held.
struct Read {
    records: u64,
    bytes: u64,
    next: Offset,
}

/// Checks that batches follow each other, and starts again at the end.
struct Reader<'a> {
    starts: &'a BTreeMap<i32, Offset>,
    verify: bool,
    next: BTreeMap<i32, Offset>,
}

impl Reader<'_> {
    fn read(&mut self, fetched: &Fetched<'_>) -> Result<Read, BenchError> {
        if fetched.error != 0 {
            let operation = format!("fetching partition {}", fetched.partition);
            return Err(BenchError::Refused { operation, code: ErrorCode::from_code(fetched.error) });
        }
        let wrong = |message: String| BenchError::Protocol { address: "fetched records".to_owned(), message };
        let at = self.next.get(&fetched.partition).copied().unwrap_or(0);
        let mut read = Read { records: 0, bytes: 0, next: at };
        let mut rest = fetched.records;
        while let Ok(header) = BatchHeader::read(rest) {
            let Some((batch, tail)) = rest.split_at_checked(header.total_bytes()) else { break };
            if self.verify {
                verify(batch).map_err(wrong)?;
            }
            // The first batch holds the position, the others follow without a gap.
            let follows = if read.records == 0 { header.base_offset <= at } else { header.base_offset == read.next };
            if !follows || header.last_offset() < read.next {
                return Err(wrong(format!("batch at offset {} where {} is due", header.base_offset, read.next)));
            }
            read.records += u64::try_from(header.count).unwrap_or(0);
            read.bytes += batch.len() as u64;
            read.next = header.last_offset() + 1;
            rest = tail;
        }
        if read.next >= fetched.high_watermark {
            read.next = self.starts.get(&fetched.partition).copied().unwrap_or(0);
        }
        self.next.insert(fetched.partition, read.next);
        Ok(read)
    }
}

fn verify(batch: &[u8]) -> Result<(), String> {
    for batch in Batches::new(Bytes::copy_from_slice(batch)) {
        batch.and_then(|batch| batch.verify()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_client::record::{BatchBuilder, RecordFields};

    use super::*;
    use crate::cli::Codec;
    use crate::raw::payload::seal;

    fn batch(base: Offset, records: u32) -> Vec<u8> {
        let mut builder = BatchBuilder::with_capacity(64);
        for _ in 0..records {
            builder.append(1, &RecordFields { value: Some(b"value"), ..RecordFields::default() });
        }
        let mut bytes = seal(builder, Codec::None).unwrap().to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    fn read(reader: &mut Reader<'_>, records: &[u8]) -> Result<(u64, Offset), BenchError> {
        let fetched = Fetched { partition: 0, error: 0, high_watermark: 5, records };
        reader.read(&fetched).map(|read| (read.records, read.next))
    }

    #[test]
    fn batches_are_counted_until_the_end_and_then_again() {
        let starts = BTreeMap::from([(0, 0)]);
        let mut reader = Reader { starts: &starts, verify: true, next: starts.clone() };
        let (first, second) = (batch(0, 3), batch(3, 2));
        let cut = [&first[..], &second[..second.len() - 1]].concat();
        assert_eq!(read(&mut reader, &cut).unwrap(), (3, 3), "a batch that is cut off is not counted");
        assert_eq!(read(&mut reader, &second).unwrap(), (2, 0), "the high watermark is reached");
        assert_eq!(read(&mut reader, &first).unwrap(), (3, 3));
    }

    #[test]
    fn a_gap_and_a_bad_checksum_are_errors() {
        let starts = BTreeMap::from([(0, 0)]);
        let mut reader = Reader { starts: &starts, verify: true, next: starts.clone() };
        assert!(read(&mut reader, &batch(1, 3)).is_err());
        let mut broken = batch(0, 3);
        *broken.last_mut().unwrap() ^= 1;
        assert!(read(&mut reader, &broken).is_err());
        assert!(read(&mut reader, &[batch(0, 2), batch(3, 1)].concat()).is_err());
    }
}
