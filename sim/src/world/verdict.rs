//! When a run is through its phases, and the checks at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::record::Batches;
use millrace_metadata::Image;
use millrace_node::PartitionView;
use millrace_types::Offset;

use super::{Phase, World};
use crate::broker::Happening;
use crate::history::Part;
use crate::invariant::{FinalLog, check_final, metadata};
use crate::workload::decode;

/// How often the world looks after its phases.
const LOOK: u64 = 20_000;
/// Bytes of the largest uncompressed batch that a reader takes.
const BATCH_MAX: usize = 16 << 20;
/// Cold ranges of one log, far above what a run can have.
const WARMED_MAX: usize = 100_000;

impl World {
    /// Looks whether the phase is over, and heals what needs a restart.
    pub(super) fn look(&mut self) {
        let late = self.micros() > self.deadline && self.phase != Phase::Safety;
        let through = match self.phase {
            Phase::Founding => self.founded(),
            Phase::Healing | Phase::Asking => self.settled(),
            Phase::Safety | Phase::Done => false,
        };
        match self.phase {
            Phase::Founding if through => self.begin_safety(),
            Phase::Healing if through => {
                self.phase = Phase::Asking;
                self.trace.line(self.micros(), format_args!("healed"));
                self.seat_readers();
            }
            Phase::Asking if through => self.verdict(),
            _ => {}
        }
        self.check_leaders();
        self.check_chains();
        if late && self.phase != Phase::Done {
            let missing = self.missing().unwrap_or_else(|| "the broker is not ready".to_owned());
            self.history.violated("liveness", format!("not healed in time: {missing}"));
        }
        if self.micros() % 10_000_000 < LOOK && self.phase != Phase::Safety {
            let missing = self.missing();
            self.trace.line(self.micros(), format_args!("missing {missing:?}"));
        }
        // An operator restarts a broker that has lost a disk operation: nothing else brings it back.
        for at in 0..self.brokers.len() {
            let hurt = self.brokers[at].process.as_deref().is_some_and(crate::broker::Process::is_hurt);
            if hurt && !self.damaged_only(at) && self.fault_dice.chance(10) {
                self.crash(at, false);
            }
        }
        if self.phase != Phase::Done {
            self.after(LOOK, Happening::Look);
        }
    }

    /// Whether what is hurt is hurt by rot, which no restart heals.
    fn damaged_only(&self, at: usize) -> bool {
        let Some(process) = &self.brokers[at].process else { return true };
        let healthy = |view: &&Arc<PartitionView>| view.readable_end() == i64::MAX;
        let failed: Vec<_> = process.views().filter(|view| !healthy(view)).map(|view| view.partition).collect();
        let rotten =
            |part: Option<Part>| part.and_then(|part| self.history.parts.get(&part)).is_some_and(|known| known.damaged);
        !failed.is_empty()
            && failed.into_iter().all(|partition| rotten(self.part(at, partition)))
            && !process.is_closed()
    }

    fn founded(&self) -> bool {
        let topics = &self.options.topics;
        let has = |image: &Image| topics.iter().all(|topic| image.topic(topic.name).is_some());
        let ready = self.brokers.iter().all(|machine| {
            machine.is_ready() && machine.process.as_deref().is_some_and(|process| has(&process.image()))
        });
        ready && self.history.churned.len() >= topics.len()
    }

    /// The view of whoever leads each partition of the topics that live through the run, in its latest epoch.
    pub(super) fn leaders(&self) -> BTreeMap<Part, Arc<PartitionView>> {
        let mut leaders: BTreeMap<Part, Arc<PartitionView>> = BTreeMap::new();
        for (at, machine) in self.brokers.iter().enumerate() {
            for view in machine.process.as_deref().into_iter().flat_map(crate::broker::Process::views) {
                let (Some(part), Some(epoch)) = (self.part(at, view.partition), view.leader_epoch()) else { continue };
                if leaders.get(&part).and_then(|known| known.leader_epoch()).is_none_or(|known| known < epoch) {
                    leaders.insert(part, Arc::clone(view));
                }
            }
        }
        leaders
    }

    /// The high watermarks of the topics that live through the run.
    fn ends(&self) -> BTreeMap<Part, Offset> {
        let whole = |part: &Part| self.history.parts.get(part).is_some_and(|known| !known.damaged);
        let leaders = self.leaders().into_iter().filter(|(part, _)| whole(part));
        leaders.map(|(part, view)| (part, view.log.high_watermark())).collect()
    }

    fn missing(&mut self) -> Option<String> {
        let ends = self.ends();
        let missing =
            self.seats.iter_mut().filter_map(|seat| seat.client.as_mut()).find_map(|client| client.missing(&ends));
        let unready = || {
            let unready = self.brokers.iter().find(|machine| !machine.is_ready())?;
            Some(format!("broker {} is not ready", unready.broker))
        };
        let missing = missing.or_else(unready).or_else(|| if self.options.copies() > 1 { self.apart() } else { None });
        missing.or_else(|| self.rotten()).or_else(|| self.unmoved()).or_else(|| self.leaderless())
    }

    /// A partition that is being handed over, or should have a leader for another reason.
    fn leaderless(&self) -> Option<String> {
        let leaders = self.leaders();
        let mut whole = self.history.parts.iter().filter(|(_, known)| !known.damaged).map(|(part, _)| part);
        whole.find(|part| !leaders.contains_key(*part)).map(|part| format!("{part} has no leader"))
    }

    /// What brokers have applied of the metadata is one history.
    fn check_chains(&mut self) {
        for machine in &self.brokers {
            let Some(process) = &machine.process else { continue };
            let image = process.image();
            let result = self.chains.check(machine.broker, image.epoch(), &image.hash());
            self.history.check(result);
        }
    }

    /// Every broker has applied the same metadata.
    fn agrees(&self) -> bool {
        let mut images = self.brokers.iter().filter_map(|machine| Some(machine.process.as_deref()?.image()));
        let Some(first) = images.next() else { return true };
        images.all(|image| (image.epoch(), image.hash()) == (first.epoch(), first.hash()))
    }

    fn settled(&mut self) -> bool {
        self.brokers.iter().all(super::machine::Machine::is_ready) && self.agrees() && self.missing().is_none()
    }

    fn verdict(&mut self) {
        self.phase = Phase::Done;
        let Some(process) = &self.brokers[0].process else { return };
        let mut logs = BTreeMap::new();
        let mut found = Vec::new();
        for (part, view) in self.leaders() {
            if self.history.parts.get(&part).is_some_and(|known| known.damaged) {
                continue;
            }
            match read_all(&view) {
                Ok(log) => drop(logs.insert(part, log)),
                Err(why) => found.push(format!("{part}: {why}")),
            }
        }
        let image = process.image();
        for part in self.history.parts.iter().filter(|(_, known)| !known.damaged).map(|(part, _)| part) {
            if !logs.contains_key(part) {
                found.push(format!("{part} is not there"));
            }
        }
        for why in found {
            self.history.violated("final log", why);
        }
        let names: Vec<String> = self.history.churned.keys().cloned().collect();
        for name in names {
            let result = metadata::check(&self.history, &name, image.topic(&name).is_some());
            self.history.check(result);
        }
        check_final(&mut self.history, &logs);
    }
}

/// Reads a log to its high watermark, as the broker serves it.
pub(super) fn read_all(view: &PartitionView) -> Result<FinalLog, String> {
    let (start, end) = (view.log.log_start(), view.log.high_watermark());
    let mut log = FinalLog { start, end, records: BTreeMap::new() };
    let (mut next, mut warmed) = (start, 0);
    while next < end {
        let slice = view.log.read(next, end, 1 << 20, true).map_err(|error| error.to_string())?;
        if let Some(job) = slice.cold {
            // A cold range has to be read in first; that it stays cold would end the run.
            job.run();
            warmed += 1;
            if warmed > WARMED_MAX {
                return Err(format!("what is at {next} stays cold"));
            }
            continue;
        }
        if slice.next <= next {
            return Err(format!("nothing can be read at {next}, the end is {end}"));
        }
        for batch in Batches::new(slice.bytes.clone()) {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.verify().map_err(|error| error.to_string())?;
            for record in batch.records(BATCH_MAX).map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                let value = record.value.as_ref().and_then(|value| decode(value));
                let value = value.ok_or_else(|| format!("broken bytes at {}", record.offset))?;
                if record.offset >= start && record.offset < end {
                    log.records.insert(record.offset, value);
                }
            }
        }
        next = slice.next;
    }
    Ok(log)
}
