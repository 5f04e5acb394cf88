//! A start on a data directory whose changes are forgotten, as far as the logs.

use std::collections::BTreeSet;
use std::path::Path;

use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{Image, Local, Replay};
use millrace_node::log_config;
use millrace_storage::{
    DataDir, DiskError, Journal, JournalOptions, Known, LogConfig, METADATA_DIR, NewBoot, QSTATE_DIR, QState,
    QStateError, Severity, TOPICS_DIR, check_log, parse_partition_dir, partition_dir,
};
use millrace_types::TopicPartition;

use super::report::{REFUSES, Report};
use crate::clock::Clock;

/// Checks all of `data_dir`, which must be one to inspect.
pub(super) fn check(data_dir: &DataDir, config: &BrokerConfig, report: &mut Report) {
    if !data_dir.was_clean() && !data_dir.is_fresh() {
        let what = "the last process did not stop cleanly";
        report.add(Severity::Recovery, Path::new("clean"), what, "checks what is not known to be flushed");
    }
    let qstate = write_ahead_store(data_dir, report);
    let image = metadata(data_dir, config, qstate.as_ref(), report);
    let Some(qstate) = qstate else { return };
    let partitions = match partitions(data_dir) {
        Ok(partitions) => partitions,
        Err(error) => return report.add(Severity::Damage, Path::new(TOPICS_DIR), error.to_string(), REFUSES),
    };
    let remembered: BTreeSet<_> = qstate.partitions().map(|(partition, _)| partition).collect();
    for partition in partitions.union(&remembered) {
        let topic = image.as_ref().and_then(|image| image.topic_by_id(partition.topic));
        match (&image, topic) {
            (Some(image), None) if !image.cluster_id().is_empty() => {
                let what = "the metadata does not know the topic: it was deleted";
                report.add(Severity::Recovery, &partition_dir(*partition), what, "forgets and removes the partition");
            }
            (Some(image), Some(topic)) => {
                log(data_dir, &qstate, *partition, &log_config(&topic.settings, image), report)
            }
            _ => log(data_dir, &qstate, *partition, &LogConfig::default(), report),
        }
    }
}

/// Opens the write-ahead store as the next start does.
fn write_ahead_store(data_dir: &DataDir, report: &mut Report) -> Option<QState> {
    let directory = data_dir.identity().directory_id;
    let boot = NewBoot { directory, boot_id: data_dir.boot_id().to_owned(), nonce: 0 };
    let options = JournalOptions { create: data_dir.is_fresh(), ..JournalOptions::default() };
    match QState::open(data_dir.disk(), Path::new(QSTATE_DIR), options, boot) {
        Ok(qstate) => {
            report.add_journal(QSTATE_DIR, "qstate", qstate.report());
            Some(qstate)
        }
        Err(QStateError::Journal(error)) => {
            report.add_bad_journal(QSTATE_DIR, &error);
            None
        }
        Err(error) => {
            report.add(Severity::Damage, Path::new(QSTATE_DIR), error.to_string(), REFUSES);
            None
        }
    }
}

/// Replays the metadata as the next start does.
fn metadata(data_dir: &DataDir, config: &BrokerConfig, qstate: Option<&QState>, report: &mut Report) -> Option<Image> {
    let dir = Path::new(METADATA_DIR);
    let create = data_dir.is_fresh() || qstate.is_some_and(|qstate| qstate.partitions().next().is_none());
    let options = JournalOptions { create, ..JournalOptions::default() };
    let disk = data_dir.disk();
    let opened = disk.create_dir(dir).map_err(Into::into).and_then(|()| Journal::open(disk, dir, "metadata", options));
    let (_, records, found) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report.add_bad_journal(METADATA_DIR, &error);
            return None;
        }
    };
    report.add_journal(METADATA_DIR, "metadata", &found);
    let mut replay = Replay::new(Local { broker: None, config: config.clone() });
    let replayed = records.iter().try_for_each(|record| replay.feed(record)).and_then(|()| replay.finish());
    match replayed {
        Ok(image) => {
            let (journal, directory) = (image.cluster_id(), &data_dir.identity().cluster_id);
            if !journal.is_empty() && journal != directory {
                let what = format!("the metadata are of cluster {journal}, the directory is of cluster {directory}");
                report.add(Severity::Damage, dir, what, REFUSES);
            }
            Some(image)
        }
        Err(error) => {
            report.add(Severity::Damage, dir, error.to_string(), REFUSES);
            None
        }
    }
}

/// The partitions that have a directory.
fn partitions(data_dir: &DataDir) -> Result<BTreeSet<TopicPartition>, DiskError> {
    let entries = match data_dir.disk().list(Path::new(TOPICS_DIR)) {
        Err(error) if error.is_not_found() => Vec::new(),
        entries => entries?,
    };
    let dirs = entries.iter().filter(|entry| entry.is_dir);
    Ok(dirs.filter_map(|entry| parse_partition_dir(&entry.name)).collect())
}

fn log(data_dir: &DataDir, qstate: &QState, partition: TopicPartition, config: &LogConfig, report: &mut Report) {
    let clean = data_dir.was_clean() || qstate.boot().same_boot();
    // As a start takes a partition that the store has never heard of: nothing of it was ever acknowledged.
    let unknown = Known { clean: true, ..Known::default() };
    let known = qstate.partition(partition).map_or(unknown, |state| Known::from_state(state, clean));
    let dir = partition_dir(partition);
    match check_log(data_dir.disk(), &dir, partition, config, &known, Clock::start().now()) {
        Ok(found) => report.add_log(found),
        Err(error) => report.add(Severity::Damage, &dir, error.to_string(), "leaves the partition offline"),
    }
}
