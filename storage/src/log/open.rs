//! Opening a log after whatever happened to it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use millrace_types::{Now, TopicPartition};

use super::flush::FlushState;
use super::prepare::Ahead;
use super::{Log, LogConfig, LogError};
use crate::disk::Disk;
use crate::flusher::FlushWork;
use crate::poison::Poison;
use crate::recovery::{Known, Recovery, open};
use crate::segment::Home;
use crate::view::Shared;

impl Log {
    /// Opens the log in `dir`, a directory of its own below the disk's root, after whatever happened to it. No file is
    /// touched when the directory does not exist: it is made by the first append.
    ///
    /// The caller makes `Recovery::records` durable before anything is appended or acknowledged, and runs
    /// `Recovery::flush` before it calls [`Log::flushed`] with the log end offset. It may block on the device.
    ///
    /// # Errors
    /// When the disk fails. Damage is no error, see `Recovery::damaged`.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        partition: TopicPartition,
        config: LogConfig,
        known: &Known,
        now: Now,
    ) -> Result<(Self, Recovery), LogError> {
        let home = Home { disk: disk.clone(), dir: dir.to_owned(), pool: config.open_segments.clone() };
        let opened = open(&home, partition, &config, known, now)?;
        let mut recovery = opened.recovery;
        let latest_epoch = opened.epochs.latest();
        let Some(active) = opened.segments.last().cloned() else {
            return Err(LogError::Layout(format!("{}: no segment to append to", dir.display())));
        };
        let mut flush = FlushState::new(opened.flushed);
        let shared = Shared::new(opened.segments, opened.epochs, opened.start, opened.end);
        if let Some(rot) = &recovery.damaged {
            shared.damage.store(Some(Arc::new(rot.clone())));
        } else {
            flush.recovered(&shared.segments.load(), now.instant);
            let work = flush.take(opened.end, latest_epoch, &home)?;
            recovery.flush = work.map(|work| FlushWork { rewritten: opened.rewritten, ..work });
        }
        for rot in &recovery.holes {
            shared.open_hole(rot.offset..rot.flushed);
        }
        shared.set_first_undecided(opened.producers.first_undecided());
        let ahead = Ahead::new(opened.unfinished);
        let (producers, poison, removed) = (opened.producers, Poison::default(), VecDeque::new());
        let log = Self {
            home,
            partition,
            config,
            shared,
            active,
            latest_epoch,
            producers,
            flush,
            poison,
            ahead,
            grown_from: opened.end,
            scrub_at: None,
            removed,
        };
        Ok((log, recovery))
    }
}
