//! What goes between the actor of the sessions and the thread of their sockets, a batch and a wake-up at a time.
//!
//! Neither side waits for the other. *Orders* are few: the sessions hand over at most a window and a frame for each
//! connection, and above a bound a connection is given up, which they hear of. *Arrivals* are bounded by what is
//! charged to each connection: its reader stops until the actor has taken what came before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millrace_node::peer::LinkId;
use millrace_node::peers::PeersEvent;
use millrace_node::wire::Frame;
use millrace_types::BrokerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::actor::inbox::Inbox;

/// Orders that wait above which connections are given up instead of being written to.
pub(crate) const ORDER_BOUND: usize = 65_536;

/// Bytes of frames of one connection that the actor has not taken, above which nothing more is read from it.
const READ_BOUND: usize = 4 << 20;

/// What a frame takes beside its bytes.
const FRAME_COST: usize = 256;

/// What the sessions want of the thread.
#[derive(Debug)]
pub(crate) enum Order {
    /// Connect to a broker.
    Dial {
        /// The broker.
        broker: BrokerId,
        /// The shard it is for.
        shard: u8,
        /// Number of the dial.
        attempt: u64,
    },
    /// Write a frame behind the earlier ones.
    Write {
        /// The connection.
        connection: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// Say at once and at this interval that the process lives.
    Keepalives {
        /// The connection.
        connection: LinkId,
        /// The interval.
        every: Duration,
    },
    /// Close when what was written has left.
    Close {
        /// The connection.
        connection: LinkId,
        /// Why.
        why: &'static str,
    },
    /// Reset, and report that: a frame found no room.
    GiveUp {
        /// The connection.
        connection: LinkId,
    },
}

/// Orders on their way to the thread.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    queue: Mutex<Vec<Order>>,
    changed: Notify,
    stopped: AtomicBool,
}

impl Orders {
    /// Takes a batch, in order; `batch` is empty then.
    pub(crate) fn send(&self, batch: &mut Vec<Order>) {
        if batch.is_empty() {
            return;
        }
        {
            let mut queue = self.queue.lock();
            for order in batch.drain(..) {
                let order = match order {
                    Order::Write { connection, .. } if queue.len() >= ORDER_BOUND => Order::GiveUp { connection },
                    order => order,
                };
                queue.push(order);
            }
        }
        self.changed.notify_one();
    }

    /// No order follows.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits for orders and moves them into `into`, which must be empty; says whether more may follow.
    pub(crate) async fn take(&self, into: &mut Vec<Order>) -> bool {
        loop {
            let stopped = self.stopped.load(Ordering::Acquire);
            std::mem::swap(&mut *self.queue.lock(), into);
            if stopped || !into.is_empty() {
                return !stopped;
            }
            self.changed.notified().await;
        }
    }

    /// Number of orders that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().len()
    }
}

/// What the frames of one connection take until the actor has handled them.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// Waits until there is room. A frame is taken whatever its length when no other is there.
    pub(crate) async fn room(&self) {
        while self.used.load(Ordering::Acquire) >= READ_BOUND {
            self.freed.notified().await;
        }
    }

    /// Charges a frame.
    pub(crate) fn charge(self: &Arc<Self>, length: usize) -> Charge {
        let bytes = length + FRAME_COST;
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Charge { budget: Arc::clone(self), bytes }
    }
}

/// The share of a frame in the [`Budget`] of its connection; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        if before >= READ_BOUND {
            self.budget.freed.notify_one();
        }
    }
}

/// Something for the sessions.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// What happened.
    pub(crate) event: PeersEvent,
    /// What it takes until it is handled.
    pub(crate) charge: Option<Charge>,
}

impl From<PeersEvent> for Arrival {
    fn from(event: PeersEvent) -> Self {
        Self { event, charge: None }
    }
}

/// Arrivals on their way to the actor.
#[derive(Debug)]
pub(crate) struct Arrivals {
    queue: Mutex<VecDeque<Arrival>>,
    /// That of the actor's arbiter, which is woken.
    inbox: Arc<Inbox>,
}

impl Arrivals {
    /// An empty queue to the arbiter whose inbox this is.
    pub(crate) fn new(inbox: Arc<Inbox>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), inbox })
    }

    /// Takes an arrival.
    pub(crate) fn push(&self, arrival: impl Into<Arrival>) {
        self.queue.lock().push_back(arrival.into());
        self.inbox.wake();
    }

    /// Everything that has arrived, in order.
    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut *self.queue.lock())
    }

    /// Number of arrivals that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn write(connection: LinkId) -> Order {
        Order::Write { connection, frame: Frame::from(Bytes::from_static(b"x")) }
    }

    #[test]
    fn a_write_without_room_gives_its_connection_up() {
        let orders = Orders::default();
        orders.send(&mut (0..ORDER_BOUND).map(|_| write(1)).collect());
        orders.send(&mut vec![Order::Dial { broker: BrokerId(2), shard: 0, attempt: 1 }, write(7)]);
        let mut taken = Vec::new();
        assert_eq!(orders.take(&mut taken).now_or_never(), Some(true));
        assert!(matches!(taken.as_slice(), [.., Order::Dial { .. }, Order::GiveUp { connection: 7 }]));
        taken.clear();
        assert_eq!(orders.take(&mut taken).now_or_never(), None, "nothing is there");
        orders.stop();
        assert_eq!(orders.take(&mut taken).now_or_never(), Some(false));
    }

    #[test]
    fn a_reader_waits_until_what_it_has_read_is_handled() {
        let budget = Arc::new(Budget::default());
        let large = budget.charge(2 * READ_BOUND);
        assert_eq!(budget.room().now_or_never(), None);
        let small = budget.charge(1);
        drop(large);
        assert_eq!(budget.room().now_or_never(), Some(()), "a small one does not hold it up");
        drop(small);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_waiting_reader_is_woken() {
        let budget = Arc::new(Budget::default());
        let charge = budget.charge(READ_BOUND);
        let mut waiting = Box::pin(budget.room());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        drop(charge);
        assert_eq!(waiting.now_or_never(), Some(()));
    }
}
