//! How long a partition takes no record when its leader ends: the longest time without an acknowledgement, trial by trial.
//!
//! The tool starts the brokers itself, produces at a rate with an idempotent producer and `acks=all`, does something to
//! the leader, waits until records sent after that are acknowledged, and puts the cluster in order again.
//!
//! With `--leaders` it is one broker that leads many partitions, and the time until the last of them takes records again.

mod brokers;
mod load;
mod options;
mod result;
mod wave;

use std::time::Duration;

use crate::clock;
use crate::error::BenchError;
use crate::raw::Cluster;
use brokers::Brokers;
use load::Load;
pub(crate) use options::Failover;
use result::{Summary, Trial};

/// How long a trial may take until records are acknowledged again, and the cluster until it is in order.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a state that nobody announces is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Runs the trials and writes what came of them.
///
/// # Errors
/// When the cluster does not come up, or not back in order.
pub(crate) fn run(options: &Failover) -> Result<(), BenchError> {
    let mut brokers = Brokers::start(&options.brokers()?)?;
    if let Some(partitions) = options.leaders {
        return wave::run(options, partitions, &mut brokers);
    }
    let cluster = Watched { bootstrap: &options.bootstrap, topic: &options.topic, partition: options.partition };
    cluster.create(options)?;
    cluster.in_order(options.replicas())?;
    let load = Load::start(options)?;
    let mut trials = Vec::new();
    for number in 1..=options.trials {
        pause(options.settle);
        let trial = trial(options, &mut brokers, &cluster, &load)?;
        if !options.quiet {
            eprintln!("trial {number}: broker {} {:?}, {:.1} ms", trial.leader, options.action, trial.longest_ms);
        }
        trials.push(trial);
        cluster.in_order(options.replicas())?;
    }
    let failed = load.stop()?;
    Summary::new(options, trials, failed).publish(options.json.as_deref())
}

/// Does to the leader what the options say, and measures.
fn trial(options: &Failover, brokers: &mut Brokers, cluster: &Watched<'_>, load: &Load) -> Result<Trial, BenchError> {
    let leader = cluster.leader()?;
    let steady_ms = load.longest().as_secs_f64() * 1e3;
    let sent = load.begin();
    let begun = clock::now_ns();
    brokers.end(leader, options.action)?;
    // A second of records that were sent afterwards shows that it goes on.
    let enough = sent.saturating_add(options.rate);
    load.await_acknowledged(enough, PATIENCE)?;
    let longest_ms = load.longest().as_secs_f64() * 1e3;
    let took_ms = (clock::now_ns() - begun) as f64 / 1e6;
    brokers.bring_back(leader, options.action)?;
    Ok(Trial { leader, steady_ms, longest_ms, took_ms })
}

fn pause(time: Duration) {
    clock::sleep_until(clock::now_ns() + u64::try_from(time.as_nanos()).unwrap_or(0));
}

/// The partition under load, asked anew each time: any broker may be gone.
struct Watched<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    partition: i32,
}

impl Watched<'_> {
    /// Creates the topic when it is not there.
    fn create(&self, options: &Failover) -> Result<(), BenchError> {
        self.when("a broker that answers", |cluster| {
            if !cluster.has_topic(self.topic)? {
                cluster.create_plain(
                    self.topic,
                    self.partition + 1,
                    options.replication_factor,
                    &options.topic_config,
                )?;
            }
            Ok(Some(()))
        })
    }

    fn leader(&self) -> Result<i32, BenchError> {
        self.when("a leader", |cluster| Ok(cluster.state(self.topic, self.partition)?.map(|state| state.leader)))
    }

    /// Waits until the partition has a leader and as many replicas in sync as it has.
    fn in_order(&self, replicas: usize) -> Result<(), BenchError> {
        self.when("a partition in order", |cluster| {
            let state = cluster.state(self.topic, self.partition)?;
            Ok(state.filter(|state| state.in_sync >= replicas.min(state.replicas)).map(|_| ()))
        })
    }

    fn when<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&mut Cluster) -> Result<Option<T>, BenchError>,
    ) -> Result<T, BenchError> {
        let deadline = clock::now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        loop {
            let found = Cluster::open(self.bootstrap).and_then(|mut cluster| look(&mut cluster));
            match found {
                Ok(Some(found)) => return Ok(found),
                _ if clock::now_ns() < deadline => pause(POLL),
                Ok(None) => return Err(BenchError::Timeout { what: what.to_owned(), seconds: PATIENCE.as_secs() }),
                Err(error) => return Err(error),
            }
        }
    }
}
