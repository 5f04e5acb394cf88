//! Injects what was planned, and undoes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::Admin;
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::cluster::{Cluster, POLL, ask, metric};
use super::super::draw::Draw;
use super::super::event::{Op, Phase};
use super::super::load::{GROUP, INJECTOR, Load, TOPIC};
use super::super::network::{CLIENTS, Node, Way};
use super::damage::{Damage, Segment, inflict, segments};
use super::{Kind, Planned, Target};
use crate::error::BenchError;

/// How long a broker may take to start, and to be repaired.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

const FOUND: &str = "millrace_log_damage_found_total";
const REPAIRED: &str = "millrace_log_damage_repaired_total";
const WAITING: &str = "millrace_log_damaged_ranges";

/// What was injected.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Tally {
    /// By kind.
    pub(crate) faults: BTreeMap<Kind, u64>,
    /// Sealed segments that were damaged.
    pub(crate) damaged: u64,
    /// Logs whose end was zeroed.
    pub(crate) tails: u64,
    /// Ranges that brokers found damaged, by their metric.
    pub(crate) found: u64,
    /// Ranges that brokers repaired, by their metric.
    pub(crate) repaired: u64,
    /// Damage that was not found or not repaired in time.
    pub(crate) unrepaired: Vec<String>,
    /// The longest time from damage to repair, in milliseconds; it counts from the start of a broker that was stopped.
    pub(crate) longest_repair_ms: u64,
}

/// Injects faults into a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Injector {
    cluster: Arc<Mutex<Cluster>>,
    load: Arc<Load>,
    admin: Arc<Admin>,
    tally: Arc<Mutex<Tally>>,
    brokers: Node,
}

impl Injector {
    /// An injector for a cluster under load.
    ///
    /// # Errors
    /// Settings that the client library refuses.
    pub(crate) async fn new(cluster: Arc<Mutex<Cluster>>, load: Arc<Load>) -> Result<Self, BenchError> {
        let mut settings = load.settings();
        settings.api_timeout = Duration::from_secs(2);
        let admin = Arc::new(Admin::connect(settings).await?);
        let brokers = locked(&cluster).ids().last().unwrap_or(0);
        Ok(Self { cluster, load, admin, tally: Arc::default(), brokers })
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        locked(&self.cluster)
    }

    /// What was injected so far.
    pub(crate) fn tally(&self) -> Tally {
        locked(&self.tally).clone()
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut locked(&self.tally));
    }

    fn note(&self, phase: Phase, what: &str) {
        self.load.recorder.note(INJECTOR, phase, Op::Fault { what: what.to_owned() });
    }

    /// Injects the faults of a lane, one after the other, and none that would begin after `until`.
    ///
    /// # Errors
    /// A broker does not start, or its process cannot be reached.
    pub(crate) async fn lane(self, faults: Vec<Planned>, begun: Instant, until: Duration) -> Result<(), BenchError> {
        for fault in faults {
            sleep_until(begun + fault.at).await;
            if begun.elapsed() >= until {
                return Ok(());
            }
            let broker = self.broker(&fault).await;
            self.count(|tally| *tally.faults.entry(fault.kind).or_default() += 1);
            let what = format!("{:?} of broker {broker}", fault.kind);
            self.note(Phase::Invoke, &what);
            let injected = match fault.kind {
                Kind::Kill => self.away(broker, Signal::KILL, &fault, None).await,
                Kind::Term => self.away(broker, Signal::TERM, &fault, None).await,
                Kind::Stop => self.halt(broker, fault.lasts).await,
                Kind::Partition | Kind::OneWay | Kind::Delay | Kind::Loss => {
                    self.network(broker, &fault).await;
                    Ok(())
                }
                Kind::Rot if fault.bits & 1 == 0 => self.rot(broker, &fault).await,
                Kind::Rot => self.damaged(broker, Damage::Flip, &fault).await,
                Kind::Truncate => self.damaged(broker, Damage::Truncate, &fault).await,
                Kind::Zero => self.damaged(broker, Damage::Zero, &fault).await,
                Kind::Tail => self.damaged(broker, Damage::Tail, &fault).await,
            };
            injected?;
            self.note(Phase::Ok, &what);
        }
        Ok(())
    }

    /// The broker that a fault is for.
    async fn broker(&self, fault: &Planned) -> Node {
        let any = 1 + (fault.bits >> 8) as Node % self.brokers;
        let found = match fault.target {
            Target::Broker(broker) => Some(broker),
            Target::Leader(partition) => self.leader(partition).await,
            Target::Coordinator => {
                let described = self.admin.describe_groups(&[GROUP]).await.ok();
                let group = described.and_then(|groups| groups.into_iter().next()?.1.ok());
                group.and_then(|group| Node::try_from(group.coordinator).ok())
            }
        };
        found.filter(|broker| (1..=self.brokers).contains(broker)).unwrap_or(any)
    }

    async fn leader(&self, partition: i32) -> Option<Node> {
        let topics = self.admin.describe_topics(&[TOPIC]).await.ok()?;
        let topic = topics.into_iter().next()?.1.ok()?;
        let found = topic.partitions.into_iter().find(|it| it.partition == partition)?;
        Node::try_from(found.leader).ok()
    }

    /// Ends a broker, damages it where that is asked, and starts it again.
    async fn away(
        &self,
        broker: Node,
        signal: Signal,
        fault: &Planned,
        damage: Option<Damage>,
    ) -> Result<(), BenchError> {
        self.cluster().signal(broker, signal)?;
        self.await_end(broker).await?;
        let inflicted = damage.map(|damage| self.inflict(broker, damage, fault)).transpose()?.flatten();
        if damage.is_none() {
            sleep(fault.lasts).await;
        }
        self.cluster().launch(broker)?;
        self.await_ready(broker).await?;
        // A start cannot tell the end of a log that was lost from one that was never written, above what it knows to be flushed.
        if let Some(said) = inflicted.filter(|_| damage != Some(Damage::Tail)) {
            self.await_repair(broker, said, 0).await?;
        }
        Ok(())
    }

    async fn halt(&self, broker: Node, lasts: Duration) -> Result<(), BenchError> {
        self.cluster().signal(broker, Signal::STOP)?;
        sleep(lasts).await;
        self.cluster().signal(broker, Signal::CONT)
    }

    async fn damaged(&self, broker: Node, damage: Damage, fault: &Planned) -> Result<(), BenchError> {
        let signal = if fault.bits & 2 == 0 { Signal::KILL } else { Signal::TERM };
        self.away(broker, signal, fault, Some(damage)).await
    }

    /// Flips a bit while the broker runs.
    async fn rot(&self, broker: Node, fault: &Planned) -> Result<(), BenchError> {
        let before = self.metrics(broker).await.map_or(0, |text| metric(&text, FOUND));
        let Some(said) = self.inflict(broker, Damage::Flip, fault)? else { return Ok(()) };
        self.await_repair(broker, said, before).await
    }

    /// Damages a segment of a broker, if there is one; what was done.
    fn inflict(&self, broker: Node, damage: Damage, fault: &Planned) -> Result<Option<String>, BenchError> {
        let data = self.cluster().data(broker);
        let mut draw = Draw::new(fault.bits, 0);
        let done = segments(&data, damage != Damage::Tail).and_then(|segments: Vec<Segment>| {
            draw.choose(&segments).cloned().map(|segment| inflict(damage, &segment, &mut draw)).transpose()
        });
        let done =
            done.map_err(|source| BenchError::Io { address: data.display().to_string(), operation: "damage", source })?;
        if let Some(said) = &done {
            self.note(Phase::Info, &format!("broker {broker}: {said}"));
            let is_tail = damage == Damage::Tail;
            self.count(|tally| *if is_tail { &mut tally.tails } else { &mut tally.damaged } += 1);
        }
        Ok(done)
    }

    /// Waits until a broker has found more damage than `before`, and nothing is left to repair.
    async fn await_repair(&self, broker: Node, said: String, before: u64) -> Result<(), BenchError> {
        let begun = Instant::now();
        loop {
            let text = self.metrics(broker).await.unwrap_or_default();
            let (found, repaired) = (metric(&text, FOUND), metric(&text, REPAIRED));
            let is_repaired = found > before && repaired >= found && metric(&text, WAITING) == 0;
            if is_repaired || begun.elapsed() > PATIENCE {
                self.count(|tally| {
                    tally.found += found.saturating_sub(before);
                    tally.repaired += repaired.saturating_sub(before);
                    if is_repaired {
                        tally.longest_repair_ms = tally.longest_repair_ms.max(begun.elapsed().as_millis() as u64);
                    } else {
                        let state = format!("found {found}, repaired {repaired}, {before} of them before");
                        tally.unrepaired.push(format!("broker {broker}: {said}: {state}"));
                    }
                });
                return Ok(());
            }
            self.is_running(broker)?;
            sleep(POLL * 5).await;
        }
    }

    async fn metrics(&self, broker: Node) -> Option<String> {
        let cluster = Arc::clone(&self.cluster);
        let asked = tokio::task::spawn_blocking(move || ask(locked(&cluster).network(), broker, "/metrics"));
        asked.await.ok()?.ok()
    }

    /// Waits until a broker serves clients.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub(crate) async fn await_ready(&self, broker: Node) -> Result<(), BenchError> {
        let begun = Instant::now();
        loop {
            // `/health/ready` also asks for a majority, which another fault may have taken.
            let serves = |text: String| text.lines().any(|line| line == "millrace_broker_ready 1");
            if self.metrics(broker).await.is_some_and(serves) {
                return Ok(());
            }
            self.is_running(broker)?;
            if begun.elapsed() > PATIENCE {
                let what = format!("broker {broker} serves clients");
                return Err(BenchError::Timeout { what, seconds: PATIENCE.as_secs() });
            }
            sleep(POLL).await;
        }
    }

    /// Sees that a broker's process runs.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn is_running(&self, broker: Node) -> Result<(), BenchError> {
        let mut cluster = self.cluster();
        match cluster.ended(broker)? {
            None => Ok(()),
            Some(status) => {
                let log = cluster.log(broker);
                Err(BenchError::Options(format!(
                    "broker {broker} has ended by itself: {status}; see {}",
                    log.display()
                )))
            }
        }
    }

    async fn await_end(&self, broker: Node) -> Result<(), BenchError> {
        let begun = Instant::now();
        while self.cluster().ended(broker)?.is_none() {
            if begun.elapsed() > STOP_TIMEOUT {
                let what = format!("the end of broker {broker}");
                return Err(BenchError::Timeout { what, seconds: STOP_TIMEOUT.as_secs() });
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Does something to the ways of a broker, and heals them.
    async fn network(&self, broker: Node, fault: &Planned) {
        let mut draw = Draw::new(fault.bits, 1);
        let (pairs, way) = self.affected(broker, fault.kind, &mut draw);
        self.note(Phase::Info, &format!("{way:?} on {pairs:?}"));
        let ways = Arc::clone(&self.cluster().network().ways);
        for (from, to) in pairs {
            ways.set(from, to, way);
        }
        sleep(fault.lasts).await;
        ways.heal();
    }

    /// The directed ways that a fault is about, and what becomes of them.
    fn affected(&self, broker: Node, kind: Kind, draw: &mut Draw) -> (Vec<(Node, Node)>, Way) {
        let mut others: Vec<Node> = (1..=self.brokers).filter(|other| *other != broker).collect();
        draw.shuffle(&mut others);
        if draw.one_in(3) {
            others.truncate(1);
        }
        // One time in three the clients are among the others, where they go over the same network.
        if draw.one_in(3) && self.cluster().network().carries_clients() {
            others.push(CLIENTS);
        }
        let way = match kind {
            Kind::Delay => Way { delay: Duration::from_millis(draw.between(5, 150)), ..Way::default() },
            Kind::Loss => Way { loss: draw.between(2, 25) as f64 / 100.0, ..Way::default() },
            _ => Way { is_cut: true, ..Way::default() },
        };
        let is_out = draw.one_in(2);
        let pairs = others.into_iter().flat_map(|other| [(broker, other), (other, broker)]);
        let pairs = pairs.filter(|(from, _)| kind != Kind::OneWay || (*from == broker) == is_out);
        (pairs.collect(), way)
    }
}

/// A value behind a lock, whatever became of who held it before.
pub(crate) fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
