//! Produce records at a rate and consume them: the time of each from the moment it was due to the moment it was read.
//!
//! A record's value starts with that moment and the record's number in its partition, so that loss and doubling show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::{Buf, Bytes};
use millrace_client::record::{BatchBuilder, Batches, RecordFields};
use millrace_types::{ErrorCode, Offset};

use super::{Field, on_threads};
use crate::cli::{Codec, EndToEnd};
use crate::clock::{now_ns, sleep_precisely, sleep_until, unix_ms};
use crate::error::BenchError;
use crate::raw::cluster::{LOG_END, offsets};
use crate::raw::fetch::{Fetched, Fetcher, Limits};
use crate::raw::payload::{Values, seal};
use crate::raw::produce::{Head, error_code};
use crate::raw::{Connection, Led, Receiver, Sender};
use crate::tally::{Outcome, Tally};

/// Requests closer together than this are joined, in nanoseconds.
const TICK_NS: f64 = 1e6;
/// How long the consumers wait for the last records.
const DRAIN_NS: u64 = 30_000_000_000;
/// Bytes that a value starts with.
const STAMP_BYTES: usize = 16;
/// Decompressed bytes of a batch: what this workload sends is far below.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Shared by producers and consumers.
#[derive(Debug, Default)]
struct Account {
    /// Records that were acknowledged.
    acknowledged: AtomicU64,
    /// Records that were read.
    received: AtomicU64,
    /// Whether nothing is sent any more.
    is_over: AtomicBool,
}

/// Runs the workload.
pub(crate) fn run(end_to_end: &EndToEnd, field: &Field, tally: &Arc<Tally>) -> Result<Outcome, BenchError> {
    let account = Account::default();
    let mut fetchers = Vec::new();
    for led in &field.leaders {
        // The positions are taken before the first record is sent.
        fetchers.push(fetcher(&field.topic, led)?);
    }
    std::thread::scope(|scope| {
        let consuming = scope.spawn(|| on_threads(fetchers, |fetcher| consume(fetcher, tally, &account)));
        let connections = field.connections(end_to_end.load.connections, true);
        let rate = end_to_end.rate / connections.len() as f64;
        let produced = on_threads(connections, |led| produce(end_to_end, &field.topic, &led, rate, (tally, &account)));
        account.is_over.store(true, Ordering::SeqCst);
        let consumed = consuming.join().map_err(|_| BenchError::Worker)?;
        let mut outcome = produced?;
        outcome.merge(consumed?);
        let (acknowledged, received) = (load(&account.acknowledged), load(&account.received));
        outcome.fault("acknowledged but not read", acknowledged.saturating_sub(received));
        Ok(outcome)
    })
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

/// Records that go out together and when they were due.
#[derive(Debug, Clone, Copy)]
struct Pending {
    correlation: i32,
    due: u64,
    records: u64,
}

/// Sends `rate` records per second over one connection, to its partitions in turn.
fn produce(
    end_to_end: &EndToEnd,
    topic: &str,
    led: &Led,
    rate: f64,
    (tally, account): (&Tally, &Account),
) -> Result<Outcome, BenchError> {
    let Connection { sender, receiver, .. } = Connection::open(&led.address)?;
    let in_flight = end_to_end.load.in_flight(true);
    let (waiting, due) = mpsc::sync_channel::<Pending>(in_flight.saturating_sub(1));
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || acknowledge(receiver, &due, tally, account));
        let mut producer = Producer { end_to_end, topic, led, sender, sent: 0, numbers: BTreeMap::new() };
        let sent = producer.run(rate, tally, &waiting);
        drop(waiting);
        let outcome = reading.join().map_err(|_| BenchError::Worker)?;
        let (sent, mut outcome) = (sent?, outcome?);
        outcome.merge(sent);
        Ok(outcome)
    })
}

/// Takes the answers of one connection.
fn acknowledge(
    mut receiver: Receiver,
    due: &mpsc::Receiver<Pending>,
    tally: &Tally,
    account: &Account,
) -> Result<Outcome, BenchError> {
    let mut outcome = Outcome::default();
    for pending in due {
        let code = error_code(receiver.receive(pending.correlation)?);
        match code.map_err(|_| receiver.malformed("Produce"))? {
            0 => {
                account.acknowledged.fetch_add(pending.records, Ordering::SeqCst);
                if tally.window.contains(pending.due) {
                    outcome.latency("ack", now_ns().saturating_sub(pending.due));
                }
            }
            code => outcome.refused(code),
        }
    }
    Ok(outcome)
}

struct Producer<'a> {
    end_to_end: &'a EndToEnd,
    topic: &'a str,
    led: &'a Led,
    sender: Sender,
    sent: usize,
    /// Number of the next record by partition.
    numbers: BTreeMap<i32, u64>,
}

impl Producer<'_> {
    fn run(&mut self, rate: f64, tally: &Tally, waiting: &mpsc::SyncSender<Pending>) -> Result<Outcome, BenchError> {
        let size = usize::try_from(self.end_to_end.load.record_size).unwrap_or(STAMP_BYTES);
        let filler = Values::new(1).value(size.saturating_sub(STAMP_BYTES));
        let gap = (1e9 / rate).max(TICK_NS);
        sleep_precisely();
        let mut outcome = Outcome::default();
        let (mut tick, mut records_sent) = (0.0, 0u64);
        loop {
            tick += 1.0;
            let due = tally.window.start + (tick * gap) as u64;
            if due >= tally.window.until {
                return Ok(outcome);
            }
            let records = ((tick * gap * rate / 1e9) as u64).saturating_sub(records_sent);
            if records == 0 {
                continue;
            }
            records_sent += records;
            sleep_until(due);
            let pending = Pending { correlation: i32::try_from(self.sent & 0x7fff_ffff).unwrap_or(0), due, records };
            if waiting.send(pending).is_err() {
                // The receiving thread has given up; its error is the one to show.
                return Ok(outcome);
            }
            self.send(pending, &filler)?;
            if tally.window.contains(due) {
                outcome.latency("send lag", now_ns().saturating_sub(due));
            }
        }
    }

    fn send(&mut self, pending: Pending, filler: &[u8]) -> Result<(), BenchError> {
        let at = self.sent % self.led.partitions.len().max(1);
        let partition = self.led.partitions.get(at).copied().unwrap_or(0);
        self.sent += 1;
        let number = self.numbers.entry(partition).or_default();
        let mut batch = BatchBuilder::with_capacity(STAMP_BYTES + filler.len() + 128);
        for _ in 0..pending.records {
            let value = [&pending.due.to_be_bytes()[..], &number.to_be_bytes()[..], filler].concat();
            batch.append(unix_ms(), &RecordFields { value: Some(&value), ..RecordFields::default() });
            *number += 1;
        }
        let batch = seal(batch, Codec::None)?;
        let mut head = Head::new(self.topic, partition, self.end_to_end.load.acks, &batch)?;
        head.send(&mut self.sender, pending.correlation, &batch)
    }
}

fn fetcher(topic: &str, led: &Led) -> Result<Fetcher, BenchError> {
    let mut connection = Connection::open(&led.address)?;
    let ends = offsets(&mut connection, topic, &led.partitions, LOG_END)?;
    let limits = Limits { wait_ms: 100, min_bytes: 1, partition_bytes: 1 << 20 };
    Ok(Fetcher::new(connection, topic, limits, ends, true))
}

/// Reads until everything that was acknowledged has been read.
fn consume(mut fetcher: Fetcher, tally: &Tally, account: &Account) -> Result<Outcome, BenchError> {
    let mut outcome = Outcome::default();
    let mut sequences = Sequences::default();
    let deadline = tally.window.until + DRAIN_NS;
    loop {
        let is_over = account.is_over.load(Ordering::SeqCst);
        if is_over && (load(&account.received) >= load(&account.acknowledged) || now_ns() >= deadline) {
            outcome.fault("out of order or doubled", sequences.faults);
            return Ok(outcome);
        }
        fetcher.fetch(|fetched| {
            let now = now_ns();
            read(&fetched, |due, number, bytes| {
                sequences.check(fetched.partition, number);
                account.received.fetch_add(1, Ordering::SeqCst);
                tally.add(now, 1, bytes);
                if tally.window.contains(due) {
                    outcome.latency("end to end", now.saturating_sub(due));
                }
            })
        })?;
    }
}

/// Visits the records of an answer with the moment they were due, their number and their size; returns the next offset.
fn read(fetched: &Fetched<'_>, mut visit: impl FnMut(u64, u64, u64)) -> Result<Option<Offset>, BenchError> {
    if fetched.error != 0 {
        let operation = format!("fetching partition {}", fetched.partition);
        return Err(BenchError::Refused { operation, code: ErrorCode::from_code(fetched.error) });
    }
    let wrong = |message: String| BenchError::Protocol { address: "fetched records".to_owned(), message };
    let mut next = None;
    for batch in Batches::new(Bytes::copy_from_slice(fetched.records)) {
        let batch = batch.map_err(|error| wrong(error.to_string()))?;
        for record in batch.records(BATCH_BYTES_MAX).map_err(|error| wrong(error.to_string()))? {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let mut value = record.value.unwrap_or_default();
            let bytes = value.len() as u64;
            if value.len() < STAMP_BYTES {
                return Err(wrong("a record of somebody else's: use a topic of its own".to_owned()));
            }
            visit(value.get_u64(), value.get_u64(), bytes);
        }
        next = Some(batch.header.last_offset() + 1);
    }
    Ok(next)
}

/// Numbers seen per partition.
#[derive(Debug, Default)]
struct Sequences {
    next: BTreeMap<i32, u64>,
    /// Records whose number was not the one due.
    faults: u64,
}

impl Sequences {
    fn check(&mut self, partition: i32, number: u64) {
        let next = self.next.entry(partition).or_default();
        if number != *next {
            self.faults += 1;
        }
        *next = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_follow_are_faults() {
        let mut sequences = Sequences::default();
        for number in [0, 1, 2, 2, 3, 5] {
            sequences.check(0, number);
        }
        sequences.check(1, 0);
        assert_eq!(sequences.faults, 2);
    }

    #[test]
    fn stamps_are_read_back() {
        let mut batch = BatchBuilder::with_capacity(64);
        for number in [4u64, 5] {
            let value = [&77u64.to_be_bytes()[..], &number.to_be_bytes()[..], b"rest"].concat();
            batch.append(1, &RecordFields { value: Some(&value), ..RecordFields::default() });
        }
        let bytes = seal(batch, Codec::None).unwrap();
        let mut seen = Vec::new();
        let fetched = Fetched { partition: 0, error: 0, high_watermark: 2, records: &bytes };
        let next = read(&fetched, |due, number, bytes| seen.push((due, number, bytes))).unwrap();
        assert_eq!((next, seen), (Some(2), vec![(77, 4, 20), (77, 5, 20)]));
    }
}
