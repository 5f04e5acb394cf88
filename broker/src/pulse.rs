//! Whether the process gets on. A disk that hangs blocks whoever touches it, the arbiters among them: they append to mapped
//! files. So each arbiter says from time to time that it lives, and a thread that never touches a disk listens (consensus
//! rules, 4.2).
//!
//! While an arbiter is silent the broker leaves everything to the others: the thread of the sockets closes those to other
//! brokers, so that they elect leaders, the replicas of the arbiters that are well resign, and clients
//! are sent away, since no thread would answer them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

use millrace_types::Instant;
use parking_lot::{Condvar, Mutex};

use crate::shared::Shared;

/// How often an arbiter says that it lives, and how often it is looked whether it has.
pub(crate) const BEAT: Duration = Duration::from_millis(100);

/// An arbiter that has been silent for longer hangs.
const SILENCE: Duration = Duration::from_secs(1);

/// The most that one look adds to a silence: when the thread itself did not run, the process did not, or the machine.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// What is known of the process; anybody may look.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// How often each arbiter has said that it lives.
    beats: Vec<AtomicU64>,
    /// Arbiters that hang.
    silent: AtomicUsize,
    /// Replicas that wait too long for the disk.
    hung: AtomicUsize,
    /// Replicas that have no room.
    full: AtomicUsize,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Pulse {
    /// Of so many arbiters, which have not begun.
    pub(crate) fn new(arbiters: usize) -> Self {
        Self {
            beats: (0..arbiters).map(|_| AtomicU64::new(0)).collect(),
            silent: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
            full: AtomicUsize::new(0),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        }
    }

    /// The arbiter lives.
    pub(crate) fn beat(&self, arbiter: usize) {
        if let Some(beats) = self.beats.get(arbiter) {
            beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether an arbiter hangs.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent() > 0
    }

    /// How many arbiters hang.
    pub(crate) fn silent(&self) -> usize {
        self.silent.load(Ordering::Acquire)
    }

    /// How many replicas wait too long for the disk.
    pub(crate) fn hung(&self) -> usize {
        self.hung.load(Ordering::Acquire)
    }

    /// How many replicas have no room.
    pub(crate) fn full(&self) -> usize {
        self.full.load(Ordering::Acquire)
    }

    /// Whether nothing waits too long.
    pub(crate) fn is_well(&self) -> bool {
        !self.is_silent() && self.hung() == 0
    }

    /// A replica's disk was, and is: whether it hangs, and whether it has no room.
    pub(crate) fn replica(&self, was: (bool, bool), is: (bool, bool)) {
        let count = |counter: &AtomicUsize, was: bool, is: bool| match (was, is) {
            (false, true) => drop(counter.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(counter.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        };
        count(&self.hung, was.0, is.0);
        count(&self.full, was.1, is.1);
    }

    /// Nobody listens from here on: the arbiters are about to end.
    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.stop.notify_all();
        self.silent.store(0, Ordering::Release);
    }

    /// Waits until the next look is due; says whether there is one.
    fn wait(&self) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            let _due = self.stop.wait_for(&mut stopped, BEAT);
        }
        !*stopped
    }
}

/// What was seen of each arbiter.
struct Watch {
    last: Instant,
    /// Its count, and for how long it has been this.
    seen: Vec<(u64, Duration)>,
}

impl Watch {
    fn new(pulse: &Pulse, now: Instant) -> Self {
        Self { last: now, seen: vec![(0, Duration::ZERO); pulse.beats.len()] }
    }

    /// The arbiters that hang. One that has not begun does not.
    fn look(&mut self, pulse: &Pulse, now: Instant) -> Vec<usize> {
        let passed = now.since(std::mem::replace(&mut self.last, now)).min(LOOK_MAX);
        let mut silent = Vec::new();
        for (arbiter, (beats, seen)) in pulse.beats.iter().zip(&mut self.seen).enumerate() {
            let count = beats.load(Ordering::Relaxed);
            *seen = if count == seen.0 { (count, seen.1 + passed) } else { (count, Duration::ZERO) };
            if count > 0 && seen.1 > SILENCE {
                silent.push(arbiter);
            }
        }
        silent
    }
}

/// Starts the thread that listens; it ends after [`Pulse::stop`].
///
/// # Errors
/// When the process can start no thread.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    Builder::new().name("pulse".to_owned()).spawn(move || listen(&shared)).map(drop)
}

fn listen(shared: &Shared) {
    let pulse = &shared.pulse;
    let mut watch = Watch::new(pulse, shared.clock.instant());
    let (mut silent, mut hung) = (Since::default(), Since::default());
    let mut waited = false;
    while pulse.wait() {
        let now = shared.clock.instant();
        let arbiters = watch.look(pulse, now);
        // The log may go to the disk that hangs: whoever has to know is told first.
        pulse.silent.store(arbiters.len(), Ordering::Release);
        if shared.leaves_clients() {
            shared.cuts.cut_all();
        }
        match silent.note(now, !arbiters.is_empty()) {
            Some(None) => {
                tracing::error!(?arbiters, "threads hang, as with a disk that does not answer: others lead meanwhile")
            }
            Some(Some(seconds)) => tracing::info!(seconds, "no thread hangs any more"),
            None => {}
        }
        // An arbiter that gets on after a hang finds flushes overdue that are over.
        let waits = pulse.hung() > 0;
        match hung.note(now, waits && std::mem::replace(&mut waited, waits)) {
            Some(None) => {
                tracing::error!(replicas = pulse.hung(), "the disk hangs: a flush or a write has not ended for 3 s");
            }
            Some(Some(seconds)) => tracing::info!(seconds, "the disk does not hang any more"),
            None => {}
        }
    }
}

/// Since when something is so.
#[derive(Default)]
struct Since(Option<Instant>);

impl Since {
    /// When that has changed: nothing where it begins, and where it ends for how many seconds it was so.
    fn note(&mut self, now: Instant, is: bool) -> Option<Option<u64>> {
        match (self.0, is) {
            (None, true) => {
                self.0 = Some(now);
                Some(None)
            }
            (Some(since), false) => {
                self.0 = None;
                Some(Some(now.since(since).as_secs()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(ms))
    }

    #[test]
    fn an_arbiter_that_does_not_beat_hangs() {
        let pulse = Pulse::new(3);
        let mut watch = Watch::new(&pulse, at(0));
        pulse.beat(0);
        pulse.beat(1);
        for ms in (100..=1_100).step_by(100) {
            pulse.beat(0);
            assert!(watch.look(&pulse, at(ms)).is_empty(), "at {ms}");
        }
        pulse.beat(0);
        assert_eq!(watch.look(&pulse, at(1_200)), [1], "the third has not begun");
        pulse.beat(1);
        assert!(watch.look(&pulse, at(1_300)).is_empty());
    }

    #[test]
    fn a_process_that_did_not_run_does_not_hang() {
        let pulse = Pulse::new(1);
        let mut watch = Watch::new(&pulse, at(0));
        pulse.beat(0);
        watch.look(&pulse, at(100));
        for round in 1..4 {
            assert!(watch.look(&pulse, at(round * 60_000)).is_empty());
        }
    }

    #[test]
    fn replicas_are_counted_once() {
        let pulse = Pulse::new(1);
        pulse.replica((false, false), (true, true));
        pulse.replica((true, true), (true, false));
        assert_eq!((pulse.hung(), pulse.full()), (1, 0));
        assert!(!pulse.is_well());
        pulse.replica((true, false), (false, false));
        assert!(pulse.is_well());
    }

    #[test]
    fn each_change_is_said_once() {
        let mut since = Since::default();
        assert_eq!(since.note(at(0), false), None);
        assert_eq!(since.note(at(1_000), true), Some(None));
        assert_eq!(since.note(at(2_000), true), None);
        assert_eq!(since.note(at(9_000), false), Some(Some(8)));
        assert_eq!(since.note(at(9_500), false), None);
    }
}
