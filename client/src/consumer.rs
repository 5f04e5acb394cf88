//! The consumer on tokio: `poll` and a stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use millrace_types::Offset;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::config::ConsumerConfig;
use crate::core::Random;
use crate::core::admin::LookupKey;
use crate::core::call::CallId;
use crate::core::consumer::{ConsumerCore, ConsumerEvent, Polled, Rebalance};
use crate::error::{ClientError, Result};
use crate::model::{ConsumerRecord, FoundOffset, OffsetAndMetadata, OffsetSpec, TopicPartition};
use crate::net::{Front, Host, seed};

type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;
type Found = BTreeMap<TopicPartition, Result<FoundOffset>>;

/// Is told when partitions come and go. Called inside [`Consumer::poll`]; the rebalance waits for it, and tells it
/// again when the poll was cancelled meanwhile.
pub trait RebalanceListener: Send + Sync {
    /// These partitions are this consumer's from here on.
    fn assigned<'a>(&'a self, consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()>;
    /// These partitions are about to be given up: the last moment to commit their offsets.
    fn revoked<'a>(&'a self, consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()>;
    /// These partitions belong to somebody else already: committing is too late.
    fn lost<'a>(&'a self, consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()>;
}

/// The core and who waits for it.
struct ConsumerFront {
    core: ConsumerCore,
    commits: BTreeMap<CallId, oneshot::Sender<Result<()>>>,
    offsets: BTreeMap<CallId, oneshot::Sender<Result<Offsets>>>,
    lookups: BTreeMap<LookupKey, oneshot::Sender<Found>>,
    leaving: Vec<oneshot::Sender<()>>,
    changed: Arc<Notify>,
}

impl Front for ConsumerFront {
    type Machine = ConsumerCore;

    fn machine(&mut self) -> &mut ConsumerCore {
        &mut self.core
    }

    fn deliver(&mut self, event: ConsumerEvent) {
        // A receiver that is gone has lost interest: nothing is left to do.
        match event {
            ConsumerEvent::Changed => self.changed.notify_waiters(),
            ConsumerEvent::Committed(id, result) => {
                if let Some(waiting) = self.commits.remove(&id) {
                    let _gone = waiting.send(result);
                }
            }
            ConsumerEvent::Offsets(id, result) => {
                if let Some(waiting) = self.offsets.remove(&id) {
                    let _gone = waiting.send(result);
                }
            }
            ConsumerEvent::Found(id, found) => {
                if let Some(waiting) = self.lookups.remove(&id) {
                    let _gone = waiting.send(found);
                }
            }
            ConsumerEvent::Left => {
                for waiting in self.leaving.drain(..) {
                    let _gone = waiting.send(());
                }
            }
        }
    }
}

/// Reads records. Clones share one position per partition; the connections end with the last of them.
#[derive(Clone)]
pub struct Consumer {
    host: Arc<Host<ConsumerFront>>,
    changed: Arc<Notify>,
    listener: Arc<Mutex<Option<Arc<dyn RebalanceListener>>>>,
    max_poll_records: usize,
    /// A poll that waits reports itself to the core this often.
    patience: Duration,
    api_timeout: Duration,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl Consumer {
    /// A consumer with this configuration. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The configuration contradicts itself. That no broker can be reached shows at the first poll that needs one.
    #[expect(clippy::unused_async, reason = "the signature says that a runtime is needed")]
    pub async fn connect(config: ConsumerConfig) -> Result<Self> {
        let client = config.client.clone();
        let (max_poll_records, patience) = (config.max_poll_records, config.max_poll_interval / 3);
        let changed = Arc::new(Notify::new());
        let front = ConsumerFront {
            core: ConsumerCore::new(config, Random::new(seed()))?,
            commits: BTreeMap::new(),
            offsets: BTreeMap::new(),
            lookups: BTreeMap::new(),
            leaving: Vec::new(),
            changed: Arc::clone(&changed),
        };
        let host = Host::start(front, &client);
        let listener = Arc::new(Mutex::new(None));
        Ok(Self { host, changed, listener, max_poll_records, patience, api_timeout: client.api_timeout })
    }

    /// Joins the group for these topics at the next poll, in place of an earlier subscription.
    ///
    /// # Errors
    /// There is no group id, or partitions were assigned.
    pub fn subscribe(&self, topics: &[&str]) -> Result<()> {
        self.host.with(|front, now| front.core.subscribe(now, topics))
    }

    /// The same, with a listener.
    ///
    /// # Errors
    /// There is no group id, or partitions were assigned.
    pub fn subscribe_with(&self, topics: &[&str], listener: Arc<dyn RebalanceListener>) -> Result<()> {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
        self.subscribe(topics)
    }

    /// Leaves the group and gives up all partitions.
    ///
    /// # Errors
    /// The consumer is closed.
    pub async fn unsubscribe(&self) -> Result<()> {
        let (send, receive) = oneshot::channel();
        self.host.with(|front, now| {
            front.leaving.push(send);
            front.core.leave(now);
        });
        receive.await.map_err(|_| ClientError::Closed)
    }

    /// Reads these partitions, without a group's assignment. Each begins at the group's committed offset if there is
    /// a group and one, else where `offset_reset` says.
    ///
    /// # Errors
    /// The consumer is subscribed.
    pub fn assign(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.host.with(|front, now| front.core.assign(now, partitions))
    }

    /// The partitions this consumer reads, in order.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.host.peek(|front, _| front.core.assignment())
    }

    /// Records in the order of their offsets per partition; empty after `timeout`. What earlier polls returned counts
    /// as processed.
    ///
    /// # Errors
    /// What the application has to know; reading goes on at the next poll unless
    /// [`is_fatal`](ClientError::is_fatal).
    pub async fn poll(&self, timeout: Duration) -> Result<Vec<ConsumerRecord>> {
        let end = Instant::now() + timeout;
        self.host.with(|front, now| front.core.poll_begun(now));
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the core is asked, so that no change is missed in between.
            changed.as_mut().enable();
            match self.host.with(|front, _| front.core.poll(self.max_poll_records))? {
                Polled::Records(records) => return Ok(records),
                Polled::Rebalance(rebalance) => {
                    self.tell(&rebalance).await;
                    self.host.with(|front, now| front.core.rebalanced(now));
                    continue;
                }
                Polled::Nothing => {}
            }
            let report = Instant::now() + self.patience;
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(end.min(report)) => {
                    if Instant::now() >= end {
                        return Ok(Vec::new());
                    }
                    self.host.with(|front, now| front.core.poll_begun(now));
                }
            }
        }
    }

    async fn tell(&self, rebalance: &Rebalance) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(listener) = listener else { return };
        match rebalance {
            Rebalance::Assigned(partitions) => listener.assigned(self, partitions).await,
            Rebalance::Revoked(partitions) => listener.revoked(self, partitions).await,
            Rebalance::Lost(partitions) => listener.lost(self, partitions).await,
        }
    }

    /// The records as a stream that ends when the consumer is closed or of no use any more. A record counts as
    /// processed when the records of its poll have all been taken and the stream is asked for the next.
    pub fn stream(&self) -> impl Stream<Item = Result<ConsumerRecord>> + Send + use<> {
        let state = (self.clone(), VecDeque::<ConsumerRecord>::new(), false);
        futures_util::stream::unfold(state, |(consumer, mut records, ended)| async move {
            if ended {
                return None;
            }
            loop {
                if let Some(record) = records.pop_front() {
                    return Some((Ok(record), (consumer, records, false)));
                }
                match consumer.poll(consumer.patience).await {
                    Ok(more) => records.extend(more),
                    Err(ClientError::Closed) => return None,
                    Err(error) => {
                        let ended = error.is_fatal();
                        return Some((Err(error), (consumer, records, ended)));
                    }
                }
            }
        })
    }

    /// Continues at `offset`.
    ///
    /// # Errors
    /// The partition is not being read.
    pub fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.host.with(|front, _| front.core.seek(partition, offset))
    }

    /// Continues at the offset that `spec` names, found at the next poll.
    ///
    /// # Errors
    /// The partition is not being read.
    pub fn seek_to(&self, partition: &TopicPartition, spec: OffsetSpec) -> Result<()> {
        self.host.with(|front, _| front.core.seek_to(partition, spec))
    }

    /// Stops fetching these partitions until [`Consumer::resume`].
    ///
    /// # Errors
    /// A partition is not being read.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.host.with(|front, _| partitions.iter().try_for_each(|partition| front.core.pause(partition, true)))
    }

    /// Fetches these partitions again.
    ///
    /// # Errors
    /// A partition is not being read.
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.host.with(|front, _| partitions.iter().try_for_each(|partition| front.core.pause(partition, false)))
    }

    /// Offset of the next record `poll` returns; waits until it is known.
    ///
    /// # Errors
    /// The partition is not being read, or its position did not become known in time.
    pub async fn position(&self, partition: &TopicPartition) -> Result<Offset> {
        let found = tokio::time::timeout(self.api_timeout, self.position_when_known(partition)).await;
        found.unwrap_or_else(|_| Err(ClientError::timeout("finding a position", None)))
    }

    async fn position_when_known(&self, partition: &TopicPartition) -> Result<Offset> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(offset) = self.host.with(|front, _| front.core.position(partition))? {
                return Ok(offset);
            }
            changed.await;
        }
    }

    /// Commits the positions after the records returned by `poll` and waits for the answer.
    ///
    /// # Errors
    /// There is no group, this consumer is out of it, or the coordinator did not answer in time.
    pub async fn commit(&self) -> Result<()> {
        self.commit_async()?.await
    }

    /// Commits these offsets and waits for the answer.
    ///
    /// # Errors
    /// There is no group, this consumer is out of it, or the coordinator did not answer in time.
    pub async fn commit_offsets(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<()> {
        self.begin_commit(offsets)?.await
    }

    /// Sends a commit of the positions; the returned future need not be awaited.
    ///
    /// # Errors
    /// There is no group, or this consumer is out of it.
    pub fn commit_async(&self) -> Result<BoxFuture<'static, Result<()>>> {
        let positions = self.host.peek(|front, _| front.core.positions());
        self.begin_commit(&positions)
    }

    fn begin_commit(&self, offsets: &Offsets) -> Result<BoxFuture<'static, Result<()>>> {
        if offsets.is_empty() {
            return Ok(Box::pin(std::future::ready(Ok(()))));
        }
        let (send, receive) = oneshot::channel();
        self.host.with(|front, now| {
            let id = front.core.commit(now, offsets)?;
            front.commits.insert(id, send);
            Ok(())
        })?;
        Ok(Box::pin(async move { receive.await.unwrap_or(Err(ClientError::Closed)) }))
    }

    /// The offsets the group has committed; partitions without one are left out.
    ///
    /// # Errors
    /// There is no group, or the coordinator did not answer in time.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        let (send, receive) = oneshot::channel();
        self.host.with(|front, now| {
            let id = front.core.committed(now, partitions)?;
            front.offsets.insert(id, send);
            Ok(())
        })?;
        receive.await.unwrap_or(Err(ClientError::Closed))
    }

    /// The offsets that `specs` name; a partition without a record that fits has offset -1.
    ///
    /// # Errors
    /// A leader did not answer in time, or refused.
    pub async fn offsets(
        &self,
        specs: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<BTreeMap<TopicPartition, FoundOffset>> {
        let (send, receive) = oneshot::channel();
        self.host.with(|front, now| {
            let id = front.core.look_up_offsets(now, specs);
            front.lookups.insert(id, send);
        });
        let found = receive.await.map_err(|_| ClientError::Closed)?;
        found.into_iter().map(|(partition, found)| Ok((partition, found?))).collect()
    }

    /// The high watermarks of the assigned partitions, as far as fetches have told them.
    #[must_use]
    pub fn high_watermarks(&self) -> BTreeMap<TopicPartition, Offset> {
        self.host.peek(|front, _| front.core.high_watermarks())
    }

    /// Commits what was returned when `auto_commit` says so, leaves the group and closes the connections.
    ///
    /// # Errors
    /// The commit failed. The consumer is closed all the same.
    pub async fn close(self) -> Result<()> {
        let committing = self.host.peek(|front, _| front.core.commits_at_close());
        let committed = if committing { self.commit().await } else { Ok(()) };
        let left = self.unsubscribe().await;
        self.host.with(|front, now| front.core.close(now));
        self.host.shut();
        committed.and(left)
    }
}
