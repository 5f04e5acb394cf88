//! The host of one core: log, disk, write-ahead store, and the duties that the crate's documentation lists.

use std::collections::{BTreeMap, VecDeque};

use millrace_raft::{Effect, Event, FetchBody, Message, Raft, Record, ReplicaKey, RoleKind, Span};
use millrace_types::{BrokerId, DirectoryId, Instant, Offset};

use crate::print;
use crate::store::{Disk, Rec, Records, Store, recover};
use crate::world::{Happening, World};

/// One broker with its replica of the partition.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) key: ReplicaKey,
    pub(crate) witness: bool,
    pub(crate) incarnation: u64,
    pub(crate) raft: Option<Raft>,
    pub(crate) log: Records,
    pub(crate) disk: Disk,
    pub(crate) store: Store,
    /// Puts under way: token, records, whether the start has asked for them.
    pub(crate) puts: VecDeque<(u64, Vec<Record>, bool)>,
    puts_free_at: u64,
    flush: Option<Offset>,
    cuts: u64,
    /// Whether memory was lost, and no start has noted it.
    pub(crate) unclean: bool,
    pub(crate) paused_until: u64,
    pub(crate) stalled: bool,
    timer: u64,
    /// Whether puts hang, and whether flushes do, in scripts.
    pub(crate) held: (bool, bool),
    /// The newest incarnation of each replica that has spoken to this process.
    pub(crate) heard: BTreeMap<ReplicaKey, u64>,
}

pub(crate) fn key(broker: usize, directory: u128) -> ReplicaKey {
    ReplicaKey { broker: BrokerId(broker as i32 + 1), directory: DirectoryId::from_u128(directory) }
}

impl Host {
    pub(crate) fn new(index: usize, witness: bool) -> Self {
        Self {
            key: key(index, index as u128 + 1),
            witness,
            incarnation: 0,
            raft: None,
            log: Records::default(),
            disk: Disk::default(),
            store: Store::default(),
            puts: VecDeque::new(),
            puts_free_at: 0,
            flush: None,
            cuts: 0,
            unclean: false,
            paused_until: 0,
            stalled: false,
            timer: u64::MAX,
            held: (false, false),
            heard: BTreeMap::new(),
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raft.as_ref().is_some_and(|raft| raft.status().role == RoleKind::Leader)
    }
}

impl World {
    /// Starts the process of `host`.
    pub(crate) fn boot(&mut self, at: usize) {
        let seed = self.dice.next();
        let settings = self.plan.settings;
        let host = &mut self.hosts[at];
        if host.raft.is_some() {
            return;
        }
        host.incarnation += 1;
        host.heard.clear();
        (host.stalled, host.paused_until, host.timer, host.flush) = (false, 0, u64::MAX, None);
        host.cuts += 1;
        host.disk.flushed = 0;
        let mut restored = recover(&host.store, &mut host.log, host.witness);
        host.store.undone = None;
        host.disk.durable = Records::default();
        host.disk.durable.raise_start(host.log.start);
        // What recovery has read and cut is flushed before anything counts; the scan has zeroed what lies behind.
        let end = host.log.end();
        host.disk.flush(&host.log.clone(), end);
        restored.recovering |= host.unclean && host.store.volatile;
        if !self.remembers_recovery {
            host.unclean = false;
        }
        let me = millrace_raft::Peer { key: host.key, incarnation: host.incarnation };
        self.note(format!(
            "{} starts: log {}..{} epochs [{}]{}{}",
            me.key,
            restored.log_start,
            restored.log_end,
            print::list(&restored.epochs),
            if restored.recovering { " recovering" } else { "" },
            if restored.cut { " cut" } else { "" },
        ));
        self.check_boot(at, &restored);
        self.hosts[at].raft = Some(Raft::new(me, restored, settings, seed));
        self.step_as(at, Event::Start, true, &[]);
        let end = self.hosts[at].log.end();
        self.step(at, Event::Flushed { upto: end });
    }

    pub(crate) fn step(&mut self, at: usize, event: Event) {
        self.step_as(at, event, false, &[]);
    }

    /// One step of a core with everything that its effects ask for.
    pub(crate) fn step_as(&mut self, at: usize, event: Event, is_start: bool, payload: &[Rec]) {
        if self.violation.is_some() {
            return;
        }
        let now = Instant::from_micros(self.now);
        let Some(raft) = self.hosts[at].raft.as_mut() else { return };
        self.steps += 1;
        let mut out = Vec::new();
        raft.step(now, event, &mut out);
        if let Err(violation) = raft.check() {
            return self.violated("check", format!("{} {violation:?}", self.hosts[at].key));
        }
        // What the step has decided is looked at before its effects lead to further steps.
        self.check_step(at, &out);
        for effect in out {
            self.carry_out(at, effect, is_start, payload);
        }
        self.schedule_timer(at);
        self.schedule_flush(at);
    }

    fn carry_out(&mut self, at: usize, effect: Effect, is_start: bool, payload: &[Rec]) {
        if self.keeps_trace {
            let role = self.hosts[at].raft.as_ref().map(|raft| format!("{:?}", raft.status().role).to_lowercase());
            if let Some(line) = print::effect(self.hosts[at].key, &effect, &role.unwrap_or_default(), self.talkative) {
                self.note(line);
            }
        }
        match effect {
            Effect::Put { token, records } => self.put(at, token, records, is_start),
            Effect::Send { to, message } => self.send(at, to, message, Vec::new()),
            Effect::Serve { to, mut response } => {
                let FetchBody::Records { upto, .. } = response.body else { return };
                let from = response.position.offset;
                let most = if self.plan.produce_every == u64::MAX { 100 } else { self.dice.between(1, 20) as Offset };
                let end = upto.min(from + most).min(self.hosts[at].log.end());
                response.limit(end);
                let records = self.hosts[at].log.range(from, end);
                self.send(at, to, Message::FetchResponse(response), records);
            }
            Effect::Append { from, upto } => {
                let refused = !self.healed && self.dice.chance(self.plan.refusals);
                if refused {
                    let incarnation = self.hosts[at].incarnation;
                    self.at(self.now + 200_000, Happening::Refetch { at, incarnation });
                    return self.step(at, Event::AppendRefused);
                }
                let host = &mut self.hosts[at];
                for offset in host.log.end()..upto {
                    // A broken rule may ask for an append that does not fit.
                    let Some(record) = payload.get((offset - from) as usize) else { break };
                    host.log.push(*record);
                }
                let end = host.log.end();
                self.check_append(at, from, end);
                self.step(at, Event::Appended { end });
            }
            Effect::Truncate { to, .. } => {
                self.hosts[at].log.cut(to);
                self.begin_cut(at, to);
            }
            Effect::Reset { start, .. } => {
                self.hosts[at].log.reset(start);
                self.begin_cut(at, start);
            }
            Effect::RaiseLogStart { start } => {
                self.raise_start(at, start);
                self.step(at, Event::LogStart { start });
            }
            Effect::Recovered => {
                if self.lossy == Some(at) {
                    self.lossy = None;
                }
            }
            Effect::Configured(_) => self.check_configurations(),
            Effect::HighWatermark(_)
            | Effect::Leadership { .. }
            | Effect::InSync(_)
            | Effect::ChangeRefused(_)
            | Effect::TransferRefused { .. } => {}
        }
    }

    fn put(&mut self, at: usize, token: u64, records: Vec<Record>, is_start: bool) {
        let delay = self.dice.between(self.plan.put.0, self.plan.put.1);
        let host = &mut self.hosts[at];
        host.puts.push_back((token, records, is_start));
        host.puts_free_at = host.puts_free_at.max(self.now + delay);
        let (when, incarnation) = (host.puts_free_at, host.incarnation);
        self.at(when, Happening::PutDone { at, incarnation, token });
    }

    pub(crate) fn put_done(&mut self, at: usize, token: u64) {
        let host = &mut self.hosts[at];
        while host.puts.front().is_some_and(|put| put.0 <= token) {
            let (_, records, is_start) = host.puts.pop_front().expect("there is a front");
            for record in &records {
                host.store.apply(record, is_start);
            }
            host.unclean &= !host.store.recovering;
        }
        self.step(at, Event::PutDone { token });
    }

    fn begin_cut(&mut self, at: usize, to: Offset) {
        let delay = self.dice.between(self.plan.flush.0, self.plan.flush.1);
        let host = &mut self.hosts[at];
        // A flush under way is given up: it must not be reported after the cut.
        (host.flush, host.cuts) = (None, host.cuts + 1);
        host.disk.flushed = host.disk.flushed.min(to);
        let (incarnation, cuts) = (host.incarnation, host.cuts);
        self.at(self.now + delay, Happening::CutDone { at, incarnation, to, cuts });
    }

    pub(crate) fn cut_done(&mut self, at: usize, to: Offset) {
        let host = &mut self.hosts[at];
        host.disk.cut(to);
        if to < host.disk.durable.start || host.log.start > host.disk.durable.start {
            let start = host.log.start;
            host.disk.durable.raise_start(start);
        }
        host.store.undone = None;
        self.step(at, Event::CutDone { end: to });
    }

    pub(crate) fn raise_start(&mut self, at: usize, start: Offset) {
        let host = &mut self.hosts[at];
        // That records may go is put behind what was put before.
        for (_, records, is_start) in &mut host.puts {
            records.drain(..).for_each(|record| host.store.apply(&record, *is_start));
        }
        host.log.raise_start(start);
        host.disk.durable.raise_start(start);
        host.store.log_start = host.store.log_start.max(start);
        let start = host.store.log_start;
        // Also an epoch that recovery has read from its records, which go now.
        let known = host.raft.iter().flat_map(Raft::epochs).filter(|known| known.start < start);
        host.store.epochs.extend(known.map(|known| (known.epoch, known.start)));
        let below = host.store.epochs.values().filter(|known| **known < start).count();
        for _ in 1..below {
            host.store.epochs.pop_first();
        }
    }

    /// One flush at a time, soon after an append where that is waited for, else rarely.
    pub(crate) fn schedule_flush(&mut self, at: usize) {
        let host = &self.hosts[at];
        if host.flush.is_some() || host.raft.is_none() || host.held.1 || host.disk.flushed >= host.log.end() {
            return;
        }
        let durable = self.plan.settings.flush == millrace_raft::FlushMode::Durable;
        let delay = self.dice.between(self.plan.flush.0, self.plan.flush.1);
        let scripted = self.plan.produce_every == u64::MAX;
        let rarely = if scripted { 250_000 } else { self.dice.between(20_000, 300_000) };
        let delay = if durable { delay } else { delay + rarely };
        let host = &mut self.hosts[at];
        let upto = host.log.end();
        host.flush = Some(upto);
        let (incarnation, cuts) = (host.incarnation, host.cuts);
        self.at(self.now + delay, Happening::FlushDone { at, incarnation, upto, cuts });
    }

    pub(crate) fn flush_done(&mut self, at: usize, upto: Offset, cuts: u64) {
        let host = &mut self.hosts[at];
        if host.cuts != cuts {
            return;
        }
        host.flush = None;
        let upto = upto.min(host.log.end());
        // The flushed offset is noted with the next commit: it trails by one.
        host.store.flushed = host.store.flushed.max(host.disk.flushed.min(upto));
        let log = host.log.clone();
        host.disk.flush(&log, upto);
        self.step(at, Event::Flushed { upto });
    }

    fn schedule_timer(&mut self, at: usize) {
        let Some(raft) = &self.hosts[at].raft else { return };
        let deadline = raft.deadline().as_micros();
        let host = &mut self.hosts[at];
        if deadline < host.timer || (host.timer <= self.now && deadline != u64::MAX) {
            host.timer = deadline.max(self.now + 100);
            let (when, incarnation) = (host.timer, host.incarnation);
            self.at(when, Happening::Timer { at, incarnation });
        }
    }

    pub(crate) fn timer(&mut self, at: usize) {
        if self.hosts[at].timer <= self.now {
            self.hosts[at].timer = u64::MAX;
        }
        self.step(at, Event::Timer);
    }

    /// A leader takes `count` records; returns whether it did.
    pub(crate) fn produce(&mut self, at: usize, count: u64) -> bool {
        let Some(Ok(epoch)) = self.hosts[at].raft.as_ref().map(Raft::admission) else { return false };
        let from = self.hosts[at].log.end();
        for _ in 0..count {
            self.next_value += 1;
            let value = self.next_value;
            self.hosts[at].log.push(Rec { epoch, value });
        }
        let end = self.hosts[at].log.end();
        self.check_append(at, from, end);
        self.step(at, Event::Appended { end });
        true
    }

    /// Ends the process; `power` takes the memory of the machine with it, of which writes up to `kept` had been done.
    pub(crate) fn crash(&mut self, at: usize, power: bool, kept: Offset, puts_kept: usize) {
        let host = &mut self.hosts[at];
        if host.raft.take().is_none() {
            return;
        }
        let puts: Vec<_> = host.puts.drain(..).collect();
        for (_, records, is_start) in puts.into_iter().take(puts_kept) {
            for record in &records {
                host.store.apply(record, is_start);
            }
        }
        host.unclean &= !host.store.recovering;
        host.puts_free_at = 0;
        if power {
            host.log = host.disk.after_power_loss(&host.log, kept);
            host.unclean = true;
        }
    }
}

/// The spans of records that begin at `from`.
pub(crate) fn spans(from: Offset, records: &[Rec]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (offset, record) in (from..).zip(records) {
        match spans.last_mut() {
            Some(last) if last.epoch == record.epoch => last.end = offset + 1,
            _ => spans.push(Span { base: offset, end: offset + 1, epoch: record.epoch }),
        }
    }
    spans
}
