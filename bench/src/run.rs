//! One run: the topic, the load, the meters around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::{Target, Workload};
use crate::clock::{Window, now_ns, unix_ms};
use crate::error::BenchError;
use crate::process::{self, BrokerUse, Meter};
use crate::raw::Cluster;
use crate::stats::{LatencySummary, ratio};
use crate::tally::{Outcome, Tally};
use crate::workload::{self, Field};
use crate::{machine, progress};

/// Time for the workers to connect before the load starts, in nanoseconds.
const LEAD_NS: u64 = 200_000_000;

/// What one run measured. Bytes are those of record values, for `consume` those of the batches as they are fetched.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunResult {
    /// Name of the cluster.
    pub(crate) label: String,
    /// Its bootstrap addresses.
    pub(crate) bootstrap: String,
    /// Name of the workload.
    pub(crate) name: &'static str,
    /// The workload with all settings.
    pub(crate) workload: Workload,
    /// When it started, in milliseconds since the Unix epoch.
    pub(crate) started_unix_ms: i64,
    /// Seconds that count.
    pub(crate) seconds: f64,
    /// Records in them.
    pub(crate) records: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
    /// Records per second.
    pub(crate) records_per_s: f64,
    /// Megabytes (10^6) per second.
    pub(crate) mb_per_s: f64,
    /// Latencies by what they measure.
    pub(crate) latencies: BTreeMap<&'static str, LatencySummary>,
    /// Faults by their name; a run with faults is no result.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The brokers' use in the seconds that count, when their processes are on this machine.
    pub(crate) broker: Option<BrokerUse>,
    /// CPU seconds of the brokers per 10^9 bytes.
    pub(crate) broker_cpu_s_per_gb: Option<f64>,
    /// CPU microseconds of the brokers per record.
    pub(crate) broker_cpu_us_per_record: Option<f64>,
    /// CPU seconds of the load generator in the seconds that count.
    pub(crate) client_cpu_s: f64,
    /// CPU seconds that the hypervisor gave to other machines.
    pub(crate) stolen_s: Option<f64>,
    /// Records and bytes of each second since the start, warm-up included.
    pub(crate) timeline: Vec<(u64, u64)>,
}

/// What the meters showed.
struct Metered {
    broker: Option<BrokerUse>,
    client_cpu_s: f64,
    stolen_s: Option<f64>,
}

/// Runs a workload against a cluster.
pub(crate) fn run(target: &Target, workload: &Workload, quiet: bool) -> Result<RunResult, BenchError> {
    let load = workload.load();
    let mut cluster = Cluster::open(&target.bootstrap)?;
    let started_unix_ms = unix_ms();
    let topic =
        load.topic.clone().unwrap_or_else(|| format!("millrace-bench-{started_unix_ms}-{}", std::process::id()));
    let is_new = !cluster.has_topic(&topic)?;
    if is_new {
        cluster.create_topic(&topic, load)?;
    }
    let leaders = cluster.leaders(&topic)?;
    let field = Field { bootstrap: target.bootstrap.clone(), topic, leaders };
    let measured = measure(target, workload, &field, is_new, quiet);
    if is_new && !load.keep_topic {
        // The filling and the load took their time: an idle connection may be closed by then.
        let deleted = Cluster::open(&target.bootstrap).and_then(|mut cluster| cluster.delete_topic(&field.topic));
        if let Err(error) = deleted {
            eprintln!("millrace-bench: {error}");
        }
    }
    let (tally, outcome, metered) = measured?;
    Ok(result(target, workload, started_unix_ms, &tally, outcome, metered))
}

fn measure(
    target: &Target,
    workload: &Workload,
    field: &Field,
    is_new: bool,
    quiet: bool,
) -> Result<(Arc<Tally>, Outcome, Metered), BenchError> {
    let load = workload.load();
    workload::prepare(workload, field, is_new)?;
    let pids = if target.pids.is_empty() { process::listening(&target.bootstrap) } else { target.pids.clone() };
    let window = Window::new(now_ns() + LEAD_NS, load.warm_up, load.duration);
    let tally = Arc::new(Tally::new(window));
    let title = format!("{} {}", target.label, workload.name());
    std::thread::scope(|scope| {
        let driving = scope.spawn(|| workload::drive(workload, field, &tally));
        let is_done = || driving.is_finished();
        progress::watch(&tally, window.from, &title, quiet, &is_done);
        let (meter, client, stolen) = (Meter::start(&pids), process::own_cpu_seconds(), machine::stolen_seconds());
        progress::watch(&tally, window.until, &title, quiet, &is_done);
        let metered = Metered {
            broker: meter.stop(),
            client_cpu_s: process::own_cpu_seconds() - client,
            stolen_s: machine::stolen_seconds().zip(stolen).map(|(after, before)| after - before),
        };
        let outcome = driving.join().map_err(|_| BenchError::Worker)??;
        Ok((Arc::clone(&tally), outcome, metered))
    })
}

fn result(
    target: &Target,
    workload: &Workload,
    started_unix_ms: i64,
    tally: &Tally,
    outcome: Outcome,
    metered: Metered,
) -> RunResult {
    let seconds = tally.window.seconds();
    let (records, bytes) = (tally.records(), tally.bytes());
    let per = |divisor: f64| metered.broker.as_ref().and_then(|used| ratio(used.cpu_s, divisor));
    RunResult {
        label: target.label.clone(),
        bootstrap: target.bootstrap.clone(),
        name: workload.name(),
        workload: workload.clone(),
        started_unix_ms,
        seconds,
        records,
        bytes,
        records_per_s: records as f64 / seconds,
        mb_per_s: bytes as f64 / seconds / 1e6,
        latencies: outcome.latencies.iter().map(|(what, latencies)| (*what, latencies.summary())).collect(),
        errors: outcome.errors,
        broker_cpu_s_per_gb: per(bytes as f64 / 1e9),
        broker_cpu_us_per_record: per(records as f64 / 1e6),
        broker: metered.broker,
        client_cpu_s: metered.client_cpu_s,
        stolen_s: metered.stolen_s,
        timeline: tally.timeline(),
    }
}

#[cfg(test)]
mod tests;
