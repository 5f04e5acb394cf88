//! The producer on tokio.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use millrace_types::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::config::ProducerConfig;
use crate::core::Random;
use crate::core::producer::{Appended, BatchId, ProducerCore, ProducerEvent, Written};
use crate::error::{ClientError, Result};
use crate::model::{PartitionDescription, ProducerRecord, RecordMetadata};
use crate::net::{Front, Host, seed};

/// The outcome of a batch, shared by the deliveries of its records.
type Outcome = Shared<oneshot::Receiver<Result<Written>>>;

/// The core and who waits for it.
struct ProducerFront {
    core: ProducerCore,
    batches: BTreeMap<BatchId, (oneshot::Sender<Result<Written>>, Outcome)>,
    flushes: BTreeMap<u64, oneshot::Sender<()>>,
    changed: Arc<Notify>,
}

impl Front for ProducerFront {
    type Machine = ProducerCore;

    fn machine(&mut self) -> &mut ProducerCore {
        &mut self.core
    }

    fn deliver(&mut self, event: ProducerEvent) {
        // A receiver that is gone has lost interest: nothing is left to do.
        match event {
            ProducerEvent::Batch(id, result) => {
                if let Some((waiting, _)) = self.batches.remove(&id) {
                    let _gone = waiting.send(result);
                }
            }
            ProducerEvent::Flushed(flush) => {
                if let Some(waiting) = self.flushes.remove(&flush) {
                    let _gone = waiting.send(());
                }
            }
            ProducerEvent::Changed => self.changed.notify_waiters(),
        }
    }
}

impl ProducerFront {
    fn outcome(&mut self, batch: BatchId) -> Outcome {
        let begin = || {
            let (send, receive) = oneshot::channel();
            (send, receive.shared())
        };
        self.batches.entry(batch).or_insert_with(begin).1.clone()
    }
}

/// The outcome of one record, ready when its batch is acknowledged or given up. Dropping it cancels nothing.
#[derive(Debug)]
pub struct Delivery {
    outcome: Outcome,
    topic: Arc<str>,
    partition: i32,
    position: i32,
    timestamp: Timestamp,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(outcome) = self.outcome.poll_unpin(context) else { return Poll::Pending };
        let written = outcome.unwrap_or(Err(ClientError::Closed))?;
        Poll::Ready(Ok(RecordMetadata {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: if written.base_offset < 0 { -1 } else { written.base_offset + i64::from(self.position) },
            timestamp: if written.log_append_time < 0 { self.timestamp } else { written.log_append_time },
        }))
    }
}

/// Sends records. Clones share one connection set, one buffer and one producer id, which end with the last of them:
/// call [`Producer::flush`] or [`Producer::close`] before that.
#[derive(Clone)]
pub struct Producer {
    host: Arc<Host<ProducerFront>>,
    changed: Arc<Notify>,
    max_block: Duration,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// A producer with this configuration. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The configuration contradicts itself. That no broker can be reached shows at the first record.
    #[expect(clippy::unused_async, reason = "the signature says that a runtime is needed")]
    pub async fn connect(config: ProducerConfig) -> Result<Self> {
        let (client, max_block) = (config.client.clone(), config.max_block);
        let changed = Arc::new(Notify::new());
        let front = ProducerFront {
            core: ProducerCore::new(config, Random::new(seed()))?,
            batches: BTreeMap::new(),
            flushes: BTreeMap::new(),
            changed: Arc::clone(&changed),
        };
        Ok(Self { host: Host::start(front, &client), changed, max_block })
    }

    /// Puts `record` into the buffer, waiting for metadata and room, and returns its outcome to come.
    ///
    /// # Errors
    /// The record cannot be sent at all, or metadata or room did not come within `max_block`.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery> {
        // The usual case first, without a timer and a registration.
        match self.append(&record) {
            Ok(Some(delivery)) => return Ok(delivery),
            Ok(None) | Err(ClientError::BufferFull) => {}
            Err(error) => return Err(error),
        }
        let what = |cause| ClientError::timeout("waiting for the topic's metadata or for room in the buffer", cause);
        let waited = tokio::time::timeout(self.max_block, self.append_when_possible(&record)).await;
        waited.unwrap_or_else(|_| {
            let cause = self.host.peek(|front, _| front.core.topic_error(&record.topic));
            let full = || self.append(&record).err();
            Err(what(cause.or_else(full)))
        })
    }

    async fn append_when_possible(&self, record: &ProducerRecord) -> Result<Delivery> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the core is asked, so that no change is missed in between.
            changed.as_mut().enable();
            match self.append(record) {
                Ok(Some(delivery)) => return Ok(delivery),
                Ok(None) | Err(ClientError::BufferFull) => {}
                Err(error) => return Err(error),
            }
            // What waits must go out, and metadata must be asked for.
            self.host.with(|_, _| ());
            changed.await;
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// [`ClientError::BufferFull`] when there is no room, [`ClientError::State`] while the topic's metadata is not
    /// known, and what [`Producer::send`] fails with.
    pub fn try_send(&self, record: &ProducerRecord) -> Result<Delivery> {
        let missing = || {
            self.host.with(|_, _| ());
            ClientError::State { reason: "the topic's metadata is not known yet" }
        };
        self.append(record)?.ok_or_else(missing)
    }

    fn append(&self, record: &ProducerRecord) -> Result<Option<Delivery>> {
        let append = |front: &mut ProducerFront, now| {
            let appended = front.core.append(now, record)?;
            Ok(appended.map(|appended| (appended, front.outcome(appended.batch))))
        };
        let Some((appended, outcome)) = self.host.peek(append)? else { return Ok(None) };
        if appended.wake {
            self.host.with(|_, _| ());
        }
        let Appended { partition, position, timestamp, .. } = appended;
        Ok(Some(Delivery { outcome, topic: Arc::clone(&record.topic), partition, position, timestamp }))
    }

    /// Sends what waits and returns when every record sent before is acknowledged or given up.
    ///
    /// # Errors
    /// The producer is closed. What became of a record its own delivery tells.
    pub async fn flush(&self) -> Result<()> {
        let (send, receive) = oneshot::channel();
        self.host.with(|front, _| {
            let flush = front.core.flush();
            front.flushes.insert(flush, send);
        });
        receive.await.map_err(|_| ClientError::Closed)
    }

    /// The partitions of `topic`, waiting until they are known.
    ///
    /// # Errors
    /// The topic is not there and not created within `max_block`.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<PartitionDescription>> {
        let topic: Arc<str> = Arc::from(topic);
        let known = tokio::time::timeout(self.max_block, self.partitions_when_known(&topic)).await;
        known.unwrap_or_else(|_| {
            let cause = self.host.peek(|front, _| front.core.topic_error(&topic));
            Err(ClientError::timeout("waiting for the topic's metadata", cause))
        })
    }

    async fn partitions_when_known(&self, topic: &Arc<str>) -> Result<Vec<PartitionDescription>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Some(partitions) = self.host.with(|front, now| front.core.partitions(now, topic))? else {
                changed.await;
                continue;
            };
            let described = partitions.into_iter().zip(0..).map(|(partition, number)| PartitionDescription {
                partition: number,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas,
                in_sync: partition.in_sync,
            });
            return Ok(described.collect());
        }
    }

    /// Bytes of the buffer in use.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.host.peek(|front, _| front.core.buffered_bytes())
    }

    /// Flushes and closes the connections; what other clones send afterwards fails.
    ///
    /// # Errors
    /// The producer was closed before.
    pub async fn close(self) -> Result<()> {
        let flushed = self.flush().await;
        self.host.with(|front, now| front.core.close(now));
        self.host.shut();
        flushed
    }
}
