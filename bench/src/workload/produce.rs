//! Produce prepared batches: as fast as answers come back, or at a rate that does not wait for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};

use super::{Field, on_threads};
use crate::cli::{Acks, Load, Produce};
use crate::clock::{now_ns, sleep_precisely, sleep_until};
use crate::error::BenchError;
use crate::raw::payload::{Prepared, prepare, records_per_batch};
use crate::raw::produce::{Head, error_code};
use crate::raw::{Connection, Led, Receiver, Sender};
use crate::tally::{Outcome, Tally};

/// Different batches that are sent in turn.
const BATCHES: u64 = 4;

/// Runs the workload.
pub(crate) fn run(produce: &Produce, field: &Field, tally: &Arc<Tally>) -> Result<Outcome, BenchError> {
    let load = &produce.load;
    let connections = field.connections(load.connections, false);
    let records = records_per_batch(load);
    let batches = (0..BATCHES).map(|seed| prepare(load, records, seed)).collect::<Result<Vec<_>, _>>()?;
    let gap = produce.rate.map(|rate| {
        let per_connection = rate / connections.len() as f64;
        (f64::from(records) / per_connection * 1e9) as u64
    });
    let count = connections.len() as u64;
    let workers: Vec<_> = connections.into_iter().zip(0u64..).collect();
    on_threads(workers, |(led, number)| {
        let worker = Worker::new(&led, &field.topic, load, &batches, tally, gap.is_some())?;
        match gap {
            // Connections start one after the other within a gap, so that they do not send all at once.
            Some(gap) => worker.paced(gap, tally.window.start + gap * number / count),
            None => worker.unpaced(),
        }
    })
}

/// Sends to one connection.
struct Worker<'a> {
    sender: Sender,
    receiver: Receiver,
    requests: Requests<'a>,
    acks: Acks,
    in_flight: usize,
    tally: &'a Tally,
}

/// The requests of one connection, in turn over its partitions.
struct Requests<'a> {
    heads: Vec<Vec<Head>>,
    batches: &'a [Prepared],
    sent: usize,
}

impl Requests<'_> {
    /// Sends the next request; its correlation id is the number of requests before it.
    fn send(&mut self, to: &mut Sender) -> Result<(), BenchError> {
        let at = self.sent % self.heads.len().max(1);
        let round = self.sent / self.heads.len().max(1) + at;
        let correlation = correlation(self.sent);
        self.sent += 1;
        let kind = round % self.batches.len().max(1);
        let head = self.heads.get_mut(at).and_then(|heads| heads.get_mut(kind));
        match (head, self.batches.get(kind)) {
            (Some(head), Some(batch)) => head.send(to, correlation, &batch.bytes),
            _ => Err(BenchError::Options("a connection without partitions".to_owned())),
        }
    }
}

/// What is known of a request when its answer is due.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Its correlation id.
    correlation: i32,
    /// When it was sent, or was to be sent.
    since: u64,
}

impl<'a> Worker<'a> {
    fn new(
        led: &Led,
        topic: &str,
        load: &Load,
        batches: &'a [Prepared],
        tally: &'a Tally,
        is_paced: bool,
    ) -> Result<Self, BenchError> {
        let Connection { sender, receiver, .. } = Connection::open(&led.address)?;
        let heads_of = |partition: i32| {
            batches.iter().map(|batch| Head::new(topic, partition, load.acks, &batch.bytes)).collect::<Result<_, _>>()
        };
        let heads = led.partitions.iter().map(|partition| heads_of(*partition)).collect::<Result<_, _>>()?;
        Ok(Self {
            sender,
            receiver,
            requests: Requests { heads, batches, sent: 0 },
            acks: load.acks,
            in_flight: load.in_flight(is_paced),
            tally,
        })
    }

    /// Keeps the allowed number of requests in flight until the end.
    fn unpaced(mut self) -> Result<Outcome, BenchError> {
        let mut outcome = Outcome::default();
        let mut pending = VecDeque::new();
        let until = self.tally.window.until;
        let size = size(self.requests.batches);
        while now_ns() < until {
            while pending.len() < self.in_flight {
                pending.push_back(Pending { correlation: correlation(self.requests.sent), since: now_ns() });
                self.requests.send(&mut self.sender)?;
                if self.acks == Acks::None {
                    pending.clear();
                    self.tally.add(now_ns(), size.0, size.1);
                    break;
                }
            }
            if let Some(next) = pending.pop_front() {
                receive(&mut self.receiver, next, size, self.tally, &mut outcome)?;
            }
        }
        for next in pending {
            receive(&mut self.receiver, next, size, self.tally, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// Sends a request every `gap` nanoseconds from `first` on, whatever the answers do, up to the number in flight.
    /// Latencies count from the moment a request was to be sent.
    fn paced(self, gap: u64, first: u64) -> Result<Outcome, BenchError> {
        let Self { mut sender, mut receiver, mut requests, acks, in_flight, tally } = self;
        let size = size(requests.batches);
        // The one request that the receiving thread waits for is not in the channel.
        let (waiting, due) = mpsc::sync_channel::<Pending>(in_flight.saturating_sub(1));
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut outcome = Outcome::default();
                for next in due {
                    if acks == Acks::None {
                        tally.add(now_ns(), size.0, size.1);
                    } else {
                        receive(&mut receiver, next, size, tally, &mut outcome)?;
                    }
                }
                Ok(outcome)
            });
            let sent = send_paced(&mut requests, &mut sender, &waiting, (gap, first, tally.window.until));
            drop(waiting);
            let outcome = reading.join().map_err(|_| BenchError::Worker)?;
            sent.and(outcome)
        })
    }
}

/// Sends at a rate; ends early when the receiving thread has given up, whose error then counts.
fn send_paced(
    requests: &mut Requests<'_>,
    sender: &mut Sender,
    waiting: &SyncSender<Pending>,
    (gap, first, until): (u64, u64, u64),
) -> Result<(), BenchError> {
    let mut next = first;
    sleep_precisely();
    while next < until {
        sleep_until(next);
        let pending = Pending { correlation: correlation(requests.sent), since: next };
        if waiting.send(pending).is_err() {
            return Ok(());
        }
        requests.send(sender)?;
        next = next.saturating_add(gap.max(1));
    }
    Ok(())
}

/// Takes the answer to a request and counts it.
fn receive(
    receiver: &mut Receiver,
    pending: Pending,
    (records, bytes): (u64, u64),
    tally: &Tally,
    outcome: &mut Outcome,
) -> Result<(), BenchError> {
    let code = error_code(receiver.receive(pending.correlation)?);
    let code = code.map_err(|_| receiver.malformed("Produce"))?;
    let now = now_ns();
    if code != 0 {
        outcome.refused(code);
        return Ok(());
    }
    tally.add(now, records, bytes);
    if tally.window.contains(now) {
        outcome.latency("ack", now.saturating_sub(pending.since));
    }
    Ok(())
}

/// Records and bytes of values in a request: the same for all batches.
fn size(batches: &[Prepared]) -> (u64, u64) {
    batches.first().map_or((0, 0), |batch| (batch.records, batch.value_bytes))
}

/// The correlation id of the request after `sent` others.
fn correlation(sent: usize) -> i32 {
    i32::try_from(sent & 0x7fff_ffff).unwrap_or(0)
}

/// Writes `bytes` bytes of values to a topic, as fast as it goes, and returns when all are acknowledged.
pub(crate) fn fill(load: &Load, field: &Field, bytes: u64) -> Result<(), BenchError> {
    let batch = [prepare(load, records_per_batch(load), 0)?];
    let total: usize = field.leaders.iter().map(|led| led.partitions.len()).sum();
    let per_batch = size(&batch).1.max(1) * total.max(1) as u64;
    let rounds = usize::try_from(bytes.div_ceil(per_batch)).unwrap_or(usize::MAX);
    on_threads(field.connections(1, false), |led| {
        let Connection { mut sender, mut receiver, .. } = Connection::open(&led.address)?;
        let mut heads = Vec::new();
        for partition in &led.partitions {
            heads.push(vec![Head::new(&field.topic, *partition, Acks::All, &batch[0].bytes)?]);
        }
        let requests = rounds.saturating_mul(heads.len());
        let mut queue = Requests { heads, batches: &batch, sent: 0 };
        for answered in 0..requests {
            while queue.sent < requests && queue.sent - answered < 5 {
                queue.send(&mut sender)?;
            }
            let code = error_code(receiver.receive(correlation(answered))?);
            match code.map_err(|_| receiver.malformed("Produce"))? {
                0 => {}
                code => {
                    let code = millrace_types::ErrorCode::from_code(code);
                    return Err(BenchError::Refused { operation: format!("filling {}", field.topic), code });
                }
            }
        }
        Ok(Outcome::default())
    })
    .map(drop)
}
