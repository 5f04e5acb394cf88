//! Records at a rate, and when they are acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_client::{Delivery, Producer, ProducerConfig, ProducerRecord};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

use super::Failover;
use crate::clock;
use crate::error::BenchError;

/// Records that may wait for their acknowledgement: more than the longest trial sends.
const UNACKNOWLEDGED: usize = 1 << 20;

/// When the last acknowledgement came, and the longest time between two.
#[derive(Debug, Default)]
struct Acknowledged {
    count: u64,
    last_ns: u64,
    longest_ns: u64,
    failed: u64,
}

#[derive(Debug, Default)]
struct Shared {
    acknowledged: Mutex<Acknowledged>,
    changed: Condvar,
    sent: AtomicU64,
    stop: AtomicBool,
}

/// The load, on a thread of its own.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), BenchError>>,
}

impl Load {
    /// Starts to produce.
    pub(super) fn start(options: &Failover) -> Result<Self, BenchError> {
        let config = producer_config(options)?;
        let record = ProducerRecord::to(options.topic.as_str()).partition(options.partition).value(options.value());
        let shared = Arc::<Shared>::default();
        let (kept, rate) = (Arc::clone(&shared), options.rate);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.map_err(|_| BenchError::Worker)?;
            runtime.block_on(produce(config, record, rate, kept))
        });
        let load = Self { shared, thread };
        load.await_acknowledged(rate, super::PATIENCE)?;
        Ok(load)
    }

    /// Begins to measure anew; how many records were sent before.
    pub(super) fn begin(&self) -> u64 {
        let mut acknowledged = self.lock();
        acknowledged.longest_ns = 0;
        self.shared.sent.load(Ordering::Acquire)
    }

    /// The longest time without an acknowledgement since [`Load::begin`], the one that lasts included.
    pub(super) fn longest(&self) -> Duration {
        let acknowledged = self.lock();
        let lasting = clock::now_ns().saturating_sub(acknowledged.last_ns);
        Duration::from_nanos(acknowledged.longest_ns.max(lasting))
    }

    /// Waits until so many records are acknowledged; they are in the order of sending.
    pub(super) fn await_acknowledged(&self, count: u64, patience: Duration) -> Result<(), BenchError> {
        let lacking = |acknowledged: &mut Acknowledged| acknowledged.count < count && !self.thread.is_finished();
        let waited = self.shared.changed.wait_timeout_while(self.lock(), patience, lacking);
        let (acknowledged, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if acknowledged.count >= count {
            return Ok(());
        }
        let what = format!("{count} acknowledgements; there are {}", acknowledged.count);
        Err(BenchError::Timeout { what, seconds: patience.as_secs() })
    }

    /// Stops, and says how many records were given up.
    pub(super) fn stop(self) -> Result<u64, BenchError> {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| BenchError::Worker)??;
        let acknowledged = self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(acknowledged.failed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Acknowledged> {
        self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The producer's settings.
pub(super) fn producer_config(options: &Failover) -> Result<ProducerConfig, BenchError> {
    let mut config = ProducerConfig::new(&options.bootstrap);
    config.linger = Duration::ZERO;
    config.client.request_timeout = options.request_timeout;
    config.client.connect_timeout = options.request_timeout;
    config.client.retry_backoff = options.retry_backoff;
    config.client.retry_backoff_max = options.retry_backoff;
    config.client.reconnect_backoff = options.retry_backoff;
    config.client.reconnect_backoff_max = options.retry_backoff.max(Duration::from_millis(100));
    config.validate()?;
    Ok(config)
}

async fn produce(
    config: ProducerConfig,
    record: ProducerRecord,
    rate: u64,
    shared: Arc<Shared>,
) -> Result<(), BenchError> {
    let producer = Producer::connect(config).await?;
    let (deliveries, outcomes) = channel(UNACKNOWLEDGED);
    let (sent, ()) = tokio::join!(send(&producer, &record, rate, deliveries, &shared), collect(outcomes, &shared));
    sent
}

async fn send(
    producer: &Producer,
    record: &ProducerRecord,
    rate: u64,
    deliveries: Sender<Delivery>,
    shared: &Shared,
) -> Result<(), BenchError> {
    let mut tick = interval(Duration::from_nanos(1_000_000_000 / rate.max(1)).max(Duration::from_nanos(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !shared.stop.load(Ordering::Acquire) {
        tick.tick().await;
        let delivery = producer.send(record.clone()).await?;
        shared.sent.fetch_add(1, Ordering::AcqRel);
        if deliveries.send(delivery).await.is_err() {
            break;
        }
    }
    producer.flush().await?;
    Ok(())
}

async fn collect(mut outcomes: Receiver<Delivery>, shared: &Shared) {
    while let Some(delivery) = outcomes.recv().await {
        let outcome = delivery.await;
        let now = clock::now_ns();
        let mut acknowledged = shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome.is_err() {
            acknowledged.failed += 1;
        }
        let before = if acknowledged.count == 0 { now } else { acknowledged.last_ns };
        acknowledged.longest_ns = acknowledged.longest_ns.max(now.saturating_sub(before));
        acknowledged.last_ns = now;
        acknowledged.count += 1;
        drop(acknowledged);
        shared.changed.notify_all();
    }
}
