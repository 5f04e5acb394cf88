//! Writes operations down, in the order of their time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::event::{Event, Key, Op, Phase, write};
use crate::clock;

/// What is known so far.
#[derive(Debug)]
struct Written {
    out: BufWriter<File>,
    fault: Option<io::Error>,
    /// The highest offset that was acknowledged or read, by partition.
    highest: BTreeMap<Key, i64>,
    /// Who has been given partitions by a group, in the order of time: process, and how many.
    rebalances: Vec<(u32, usize)>,
}

/// A history that is being written.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Written>);

impl Recorder {
    /// Begins a history in a file of its own.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let out = BufWriter::new(File::create(path)?);
        let written = Written { out, fault: None, highest: BTreeMap::new(), rebalances: Vec::new() };
        Ok(Self(Mutex::new(written)))
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what is known of an operation now.
    pub(crate) fn note(&self, process: u32, phase: Phase, op: Op) {
        self.write(process, phase, op, None);
    }

    /// The same, with a reason.
    pub(crate) fn explain(&self, process: u32, phase: Phase, op: Op, error: &dyn std::fmt::Display) {
        self.write(process, phase, op, Some(error.to_string()));
    }

    fn write(&self, process: u32, phase: Phase, op: Op, error: Option<String>) {
        let mut written = self.lock();
        // Under the lock, so that lines stand in the order of their time.
        let event = Event { process, at: clock::now_ns(), phase, op, error };
        written.learn(&event);
        if let Err(fault) = write(&event, &mut written.out) {
            written.fault.get_or_insert(fault);
        }
    }

    /// The highest offset that anybody knows of, by partition.
    pub(crate) fn highest(&self) -> BTreeMap<Key, i64> {
        self.lock().highest.clone()
    }

    /// Who was given how many partitions by a group, from the first time on.
    pub(crate) fn rebalances(&self) -> Vec<(u32, usize)> {
        self.lock().rebalances.clone()
    }

    /// Has everything in the file.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut written = self.lock();
        let flushed = written.out.flush();
        written.fault.take().map_or(flushed, Err)
    }
}

impl Written {
    fn learn(&mut self, event: &Event) {
        match (&event.op, event.phase) {
            (Op::Send { sends }, Phase::Ok) => {
                for sent in sends {
                    self.reach(&sent.key, sent.offset);
                }
            }
            (Op::Poll { polls }, Phase::Ok) => {
                for (key, records) in polls {
                    self.reach(key, records.iter().map(|(offset, _)| *offset).max());
                }
            }
            (Op::Rebalance { keys }, _) => self.rebalances.push((event.process, keys.len())),
            _ => {}
        }
    }

    fn reach(&mut self, key: &Key, offset: Option<i64>) {
        let Some(offset) = offset else { return };
        let highest = self.highest.entry(key.clone()).or_insert(offset);
        *highest = offset.max(*highest);
    }
}
