//! Many seeds, on several threads: what they come to together, and those that violate something.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{panic, thread};

use crate::history::Violation;
use crate::options::{Kinds, Profile};
use crate::{Counts, Report, mutation, run};

thread_local! {
    /// The seed that this thread runs, for the message of a panic.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// The seed that this thread runs.
#[must_use]
pub fn seed() -> u64 {
    SEED.get()
}

/// What to sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The first seed, and the first behind the last.
    pub seeds: std::ops::Range<u64>,
    /// How many brokers.
    pub profile: Profile,
    /// Which faults.
    pub kinds: Kinds,
    /// Print what happens.
    pub trace: bool,
    /// How many threads.
    pub threads: usize,
    /// Go on after a violation.
    pub go_on: bool,
    /// The rule that is broken.
    pub mutation: Option<String>,
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// What happened in all of them.
    pub counts: Counts,
    /// The traces of all seeds, added.
    pub trace: u64,
    /// What was violated, by seed.
    pub failed: Vec<Report>,
}

impl Totals {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.counts += report.counts;
        self.trace = self.trace.wrapping_add(report.trace);
        if report.violation.is_some() {
            self.failed.push(report);
        }
    }
}

impl Sweep {
    /// Runs one seed. Where a panic unwinds it is a violation like any other: a formula of a core that does not hold.
    fn run_one(&self, seed: u64) -> Report {
        let ran = panic::catch_unwind(|| run(seed, self.profile, self.kinds, self.trace));
        ran.unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("of something that is no text");
            Report::broken(seed, Violation { invariant: "panic", text: text.to_owned() })
        })
    }

    /// Runs every seed, or as many as there are up to the first violation; `told` hears of each that is through.
    ///
    /// # Errors
    /// There is no such rule to break.
    pub fn run(&self, told: impl Fn(&Report) + Sync) -> Result<Totals, String> {
        let (next, stop) = (AtomicU64::new(self.seeds.start), AtomicBool::new(false));
        let totals = Mutex::new(Totals::default());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    break;
                }
                SEED.set(seed);
                let report = self.run_one(seed);
                told(&report);
                if report.violation.is_some() && !self.go_on {
                    stop.store(true, Ordering::Relaxed);
                }
                totals.lock().unwrap_or_else(PoisonError::into_inner).add(report);
            }
        };
        let broken = || mutation::with_broken(self.mutation.as_deref(), work);
        let results: Vec<Result<(), String>> = thread::scope(|scope| {
            let workers: Vec<_> = (1..self.threads.max(1)).map(|_| scope.spawn(broken)).collect();
            let own = broken();
            // A worker that panicked has printed its seed, and the process ends with it.
            workers.into_iter().filter_map(|worker| worker.join().ok()).chain([own]).collect()
        });
        results.into_iter().collect::<Result<(), String>>()?;
        let mut totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
        totals.failed.sort_by_key(|report| report.seed);
        Ok(totals)
    }
}
