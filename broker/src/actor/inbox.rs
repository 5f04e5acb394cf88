//! What other threads have for one arbiter, and the one wake-up that tells it.
//!
//! Two lanes. *Parcels* come from other arbiters, a batch at a time: one lock and at most one wake-up for all that an
//! actor's turn sends to this arbiter. Calls are refused above a bound; answers are always taken, since each belongs to
//! a call that was counted when it was made. *Completions* come from the storage threads over a bounded channel: a
//! storage thread waits when it is full, an arbiter never does, so that neither is lost nor the other stuck.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::parcel::{Completion, Parcel};

/// Parcels above which calls are refused.
pub(crate) const PARCEL_BOUND: usize = 65_536;

/// Completions above which storage threads wait.
pub(crate) const COMPLETION_BOUND: usize = 16_384;

/// The inbox of one arbiter.
#[derive(Debug)]
pub(crate) struct Inbox {
    parcels: Mutex<Vec<Parcel>>,
    completed: Sender<Completion>,
    completions: Receiver<Completion>,
    waker: AtomicWaker,
    woken: AtomicBool,
}

impl Inbox {
    /// An empty inbox.
    pub(crate) fn new() -> Arc<Self> {
        let (completed, completions) = bounded(COMPLETION_BOUND);
        Arc::new(Self {
            parcels: Mutex::default(),
            completed,
            completions,
            waker: AtomicWaker::new(),
            woken: AtomicBool::new(false),
        })
    }

    /// Takes a batch, in order, and leaves in `batch` the calls that found no room.
    pub(crate) fn send(&self, batch: &mut Vec<Parcel>) {
        let mut refused = Vec::new();
        {
            let mut parcels = self.parcels.lock();
            for parcel in batch.drain(..) {
                if parcel.is_refusable() && parcels.len() >= PARCEL_BOUND {
                    refused.push(parcel);
                } else {
                    parcels.push(parcel);
                }
            }
        }
        *batch = refused;
        self.wake();
    }

    /// Takes a completion; waits while the arbiter is far behind. To be called on storage threads only.
    pub(crate) fn complete(&self, completion: Completion) {
        // The receiver lives as long as the inbox.
        let _sent = self.completed.send(completion);
        self.wake();
    }

    /// Takes all parcels that wait, in order, into `into`, which must be empty.
    pub(crate) fn take_parcels(&self, into: &mut Vec<Parcel>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.parcels.lock(), into);
    }

    /// The next completion that waits.
    pub(crate) fn take_completion(&self) -> Option<Completion> {
        self.completions.try_recv().ok()
    }

    /// Numbers of parcels and completions that wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        (self.parcels.lock().len(), self.completions.len())
    }

    /// Has the router look again.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

/// Yields once for each wake-up of an inbox.
pub(crate) struct Arrivals(pub(crate) Arc<Inbox>);

impl Stream for Arrivals {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if self.0.woken.swap(false, Ordering::AcqRel) {
            return Poll::Ready(Some(()));
        }
        self.0.waker.register(cx.waker());
        // What arrived between the look and the registration would wake nobody.
        if self.0.woken.swap(false, Ordering::AcqRel) { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}
