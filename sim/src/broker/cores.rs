//! Steps of the cores behind the connections, and what their effects mean here.

use std::fmt::{self, Write};
use std::sync::Arc;

use millrace_node::connection::ConnectionEvent;
use millrace_node::group::{GroupCoordinator, GroupEffect, GroupEvent};
use millrace_node::leaders::LeadersEvent;
use millrace_node::metadata_store::{MetadataEffect, MetadataEvent, Part};
use millrace_node::peer::{Plane, PlaneMessage};
use millrace_node::peers::PeersEvent;
use millrace_node::replica::{Promises, Replica, ReplicaEffect, ReplicaEvent, ReplicaParts};
use millrace_node::{Answer, Call, Caller, Core, PartitionAnswer, PartitionOp, Replication, ReplyTo};
use millrace_raft::{Configuration, Settings};
use millrace_storage::{BatchHeader, Log, LogError, Recovery};
use millrace_types::{ErrorCode, Instant, TopicPartition};

use super::Notice;
use super::disk_work::Job;
use super::port::{Event, Port, Who};
use super::process::{End, Hosted, Process, Remembered};

impl Process {
    /// Lets something happen.
    pub fn handle(&mut self, port: &mut Port<'_>, event: Event) {
        match event {
            Event::Metadata(event) => self.metadata(port, event),
            Event::Replica(partition, event) => self.replica(port, partition, event),
            Event::Group(partition, event) => self.group(port, partition, event),
            Event::Connection(id, event) => return self.connection(port, id, event),
            Event::Peers(events) => self.peers(port, events),
            Event::Leaders(event) => self.leaders(port, event),
            Event::Timer(who, at) => return self.timer(port, who, at),
            Event::Flushed => self.flushes_done(port),
            Event::Committed => self.commit_done(port),
            Event::JobDone => self.job_done(port),
            Event::Journaled => self.journal_done(port),
        }
        self.go_on_stopping(port);
    }

    pub(super) fn set_timer(&mut self, port: &mut Port<'_>, who: Who, at: Instant) {
        self.timers.insert(who, at);
        if at != Instant::NEVER {
            port.at(at, Event::Timer(who, at));
        }
    }

    fn timer(&mut self, port: &mut Port<'_>, who: Who, at: Instant) {
        if self.timers.get(&who) != Some(&at) {
            return;
        }
        self.timers.remove(&who);
        match who {
            Who::Metadata => self.metadata(port, MetadataEvent::Timer),
            Who::Replica(partition) => self.replica(port, partition, ReplicaEvent::Timer),
            Who::Group(partition) => self.group(port, partition, GroupEvent::Timer),
            Who::Connection(id) => self.connection(port, id, ConnectionEvent::Timer),
            Who::Peers => self.peers(port, vec![PeersEvent::Timer]),
            Who::Leaders => self.leaders(port, LeadersEvent::Timer),
        }
    }

    /// Carries a call to its callee; when that is not hosted here, the caller is answered so.
    pub(super) fn call(&mut self, port: &mut Port<'_>, caller: Who, from: ReplyTo, call: Call) {
        let gone = match call {
            Call::Partition(partition, op) => {
                if self.replicas.contains_key(&partition) {
                    let event = Event::Replica(partition, ReplicaEvent::Call { from, op });
                    return port.mail(caller, Who::Replica(partition), event);
                }
                ErrorCode::NotLeaderOrFollower
            }
            Call::Group(partition, request) => {
                if self.groups.contains_key(&partition) {
                    let event = Event::Group(partition, GroupEvent::Request { from, request });
                    return port.mail(caller, Who::Group(partition), event);
                }
                ErrorCode::NotCoordinator
            }
            Call::Metadata(command) => {
                let event = Event::Metadata(MetadataEvent::Command { from, command });
                return port.mail(caller, Who::Metadata, event);
            }
            Call::Elect { partition, to, deadline } => {
                let event = LeadersEvent::Elect { from, partition, to, deadline };
                return port.mail(caller, Who::Leaders, Event::Leaders(event));
            }
        };
        self.answer(port, Who::Metadata, from, Answer::Gone(gone));
    }

    /// Carries an answer to the caller.
    pub(super) fn answer(&mut self, port: &mut Port<'_>, from: Who, to: ReplyTo, answer: Answer) {
        let token = to.token;
        match to.caller {
            Caller::Connection(id) => {
                let event = Event::Connection(id, ConnectionEvent::Answer { token, answer });
                port.mail(from, Who::Connection(id), event);
            }
            Caller::GroupCoordinator(partition) => {
                let event = Event::Group(partition, GroupEvent::Answer { token, answer });
                port.mail(from, Who::Group(partition), event);
            }
            Caller::Metadata => {}
        }
    }

    fn metadata(&mut self, port: &mut Port<'_>, event: MetadataEvent) {
        let mut effects = Vec::new();
        port.note(format_args!("metadata {}", name(&event)));
        self.keep_promises(&event);
        self.store.step(port.now, event, &mut effects);
        let mut turn = Vec::new();
        for effect in effects {
            match effect {
                MetadataEffect::Persist { token, records, snapshot } => {
                    self.threads.persist(token, records, snapshot);
                }
                MetadataEffect::Replace { token, snapshot } => self.threads.replace(token, snapshot),
                MetadataEffect::SendPeer { to, bytes } => {
                    let message = PlaneMessage { plane: Plane::Metadata, body: bytes };
                    turn.push(PeersEvent::SendPlane { to, message });
                }
                MetadataEffect::Publish(image) => {
                    self.shared.settings.refresh(&image);
                    self.shared.directory.publish_image(image);
                    self.registered = true;
                }
                MetadataEffect::Registered { start } => self.shared.producer_ids.begin(start),
                // The next start makes what came too late.
                MetadataEffect::CreateReplica { .. } if self.end != End::Serving => {}
                MetadataEffect::CreateReplica { partition, mut config, voters } => {
                    self.expect_nothing(port, partition);
                    self.voters.insert(partition, voters);
                    config.open_segments = self.open_segments.clone();
                    config.upkeep = self.upkeep.clone();
                    config.segment_bytes /= self.segment_divisor;
                    config.initial_segment_bytes /= self.segment_divisor;
                    let remembered = self.remembered.remove(&partition).unwrap_or_default();
                    self.opening.insert(partition);
                    self.threads.job(Job::Open(partition, Box::new(config), Box::new(remembered)));
                }
                MetadataEffect::RetargetReplica { partition } => self.retarget(port, partition),
                MetadataEffect::CreateWitness { partition, voters } => self.create_witness(port, partition, voters),
                MetadataEffect::RetireReplica { partition, retire } => self.retire(port, partition, retire),
                MetadataEffect::DeleteReplica { partition } => self.delete(port, partition),
                MetadataEffect::ConfigureReplica { partition, mut config } => {
                    config.open_segments = self.open_segments.clone();
                    config.upkeep = self.upkeep.clone();
                    config.segment_bytes /= self.segment_divisor;
                    config.initial_segment_bytes /= self.segment_divisor;
                    let (log, replication) = (Box::new(config), self.replication(partition));
                    let event = Event::Replica(partition, ReplicaEvent::Configure { log, replication });
                    port.mail(Who::Metadata, Who::Replica(partition), event);
                }
                MetadataEffect::Answer { to, result } => self.answer(port, Who::Metadata, to, Answer::Metadata(result)),
                MetadataEffect::Timer(at) => self.set_timer(port, Who::Metadata, at),
            }
        }
        self.end_turn(port, Who::Metadata, turn);
    }

    fn delete(&mut self, port: &mut Port<'_>, partition: TopicPartition) {
        self.remembered.remove(&partition);
        self.deleting.insert(partition);
        if self.replicas.contains_key(&partition) || self.witnesses.contains_key(&partition) {
            port.mail(Who::Metadata, Who::Replica(partition), Event::Replica(partition, ReplicaEvent::Stop));
        } else if !self.opening.contains(&partition) {
            self.remove(port, partition);
        }
    }

    /// Forgets a partition, then removes its data.
    pub(super) fn remove(&mut self, port: &mut Port<'_>, partition: TopicPartition) {
        port.notices.push(Notice::Removed { partition, retired: None });
        self.deleting.remove(&partition);
        self.threads.forget(partition);
    }

    /// A log has been opened, or not.
    pub(super) fn opened(
        &mut self,
        port: &mut Port<'_>,
        partition: TopicPartition,
        remembered: &Remembered,
        opened: Result<(Log, Recovery), LogError>,
    ) {
        self.opening.remove(&partition);
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                port.note(format_args!("{partition} cannot be opened: {error}"));
                port.notices.push(Notice::Offline { partition });
                self.offline = true;
                return;
            }
        };
        port.note(format_args!("{partition} opened {}..{} {recovery:?}", log.log_start(), log.log_end()));
        port.notices.push(Notice::Opened {
            partition,
            end: log.log_end(),
            suffix_lost: recovery.suffix_lost,
            damaged: recovery.damaged.is_some() || !recovery.holes.is_empty(),
        });
        if self.deleting.contains(&partition) {
            return self.remove(port, partition);
        }
        let voters = self.voters.remove(&partition).unwrap_or_default();
        let core = Replica::new(ReplicaParts {
            partition,
            log,
            recovery,
            me: self.me,
            promises: remembered.promises.clone(),
            first: Configuration::first(voters),
            replication: self.replication(partition),
            check_interval: self.shared.settings.retention_check_interval,
            timing: Settings { session_timeout: self.shared.settings.peer_session_timeout, ..self.timing },
            room: Arc::clone(&self.room),
        });
        let view = core.view();
        self.shared.directory.publish(Arc::clone(&view));
        self.replicas.insert(partition, Hosted { core, view, led: false, coordinates: false });
        let first = if self.end == End::Serving { ReplicaEvent::Start } else { ReplicaEvent::Stop };
        port.mail(Who::Metadata, Who::Replica(partition), Event::Replica(partition, first));
        self.retarget(port, partition);
        self.retire_unless(port, partition, Part::Replica);
    }

    /// Of one partition a broker runs one replica or witness at a time.
    pub(super) fn expect_nothing(&self, port: &mut Port<'_>, partition: TopicPartition) {
        let runs = self.replicas.contains_key(&partition) || self.witnesses.contains_key(&partition);
        if runs || self.opening.contains(&partition) {
            let what = format!("{partition} begins on {} where it runs already", self.broker());
            port.notices.push(Notice::Stray { what });
        }
    }

    fn replication(&self, partition: TopicPartition) -> Replication {
        let image = self.shared.directory.image();
        let topic = image.topic_by_id(partition.topic);
        topic.map_or_else(Replication::default, |topic| Replication::of(&topic.settings, &image))
    }

    fn replica(&mut self, port: &mut Port<'_>, partition: TopicPartition, event: ReplicaEvent) {
        let from = Who::Replica(partition);
        if self.witnesses.contains_key(&partition) {
            return self.witness(port, partition, event);
        }
        let Some(hosted) = self.replicas.get_mut(&partition) else {
            if let ReplicaEvent::Call { from: to, .. } = event {
                self.answer(port, from, to, Answer::Gone(ErrorCode::NotLeaderOrFollower));
            }
            return;
        };
        let mut effects = Vec::new();
        let is_start = matches!(event, ReplicaEvent::Start);
        let (view, led_by, changes) = (Arc::clone(&hosted.view), hosted.view.leader(), hosted.view.changes());
        note(port, partition, &event);
        hosted.core.step(port.now, event, &mut effects);
        let high_watermark = hosted.view.log.high_watermark();
        let (mut stopped, mut turn) = (false, Vec::new());
        turn.extend(is_start.then_some(PeersEvent::Hosted(partition)));
        for effect in effects {
            match effect {
                ReplicaEffect::Put { token, records } => self.threads.put(partition, token, records),
                ReplicaEffect::Flush(work) => self.threads.flush(partition, work),
                ReplicaEffect::Prepare(job) => self.threads.job(Job::Prepare(partition, job)),
                ReplicaEffect::Upkeep(job) => self.threads.job(Job::Upkeep(partition, job)),
                ReplicaEffect::Run(job) => self.threads.job(Job::Run(job)),
                ReplicaEffect::Cut(job) => self.threads.job(Job::Cut(partition, job)),
                ReplicaEffect::Warm { token, job } => self.threads.job(Job::WarmReplica(partition, token, job)),
                ReplicaEffect::Answer { to, answer } => {
                    if let PartitionAnswer::Refused { error, .. } = &answer {
                        port.note(format_args!("{partition} refuses: {error}"));
                    }
                    if let PartitionAnswer::Produced { base_offset, .. } = answer {
                        port.note(format_args!("{partition} acknowledges {base_offset}"));
                        port.notices.push(Notice::Acknowledged { partition, offset: base_offset, high_watermark });
                    }
                    self.answer(port, from, to, Answer::Partition(answer));
                }
                ReplicaEffect::Send { to, message, records, catch_up } => {
                    self.room.leave(to.broker, records.len());
                    turn.push(PeersEvent::Send { partition, to, message, records, catch_up });
                }
                ReplicaEffect::TargetReached { epoch, voters } => {
                    port.note(format_args!("{partition} has reached the target of {epoch}"));
                    let event = MetadataEvent::TargetReached { partition, epoch, voters };
                    port.mail(from, Who::Metadata, Event::Metadata(event));
                }
                // No operator is there.
                ReplicaEffect::Forced { .. } => {}
                ReplicaEffect::Timer(at) => self.set_timer(port, from, at),
                ReplicaEffect::Stopped => stopped = true,
            }
        }
        self.announce(port, partition);
        if view.leader() != led_by {
            if port.label.is_some() {
                port.note(format_args!("{partition} is led by {:?}, own {:?}", view.leader(), view.leader_epoch()));
            }
            turn.push(PeersEvent::Leader(partition));
        }
        if view.changes() != changes && !self.peers.is_alone() {
            port.mail(from, Who::Leaders, Event::Leaders(LeadersEvent::View(partition)));
            self.tell_coordinator(port, partition);
        }
        if stopped {
            turn.push(PeersEvent::Unhosted(partition));
            self.stopped(port, partition);
        }
        self.end_turn(port, from, turn);
    }

    /// A replica has stopped: it goes, perhaps with its data.
    fn stopped(&mut self, port: &mut Port<'_>, partition: TopicPartition) {
        let from = Who::Replica(partition);
        self.shared.directory.withdraw(&partition);
        let Some(Hosted { core, .. }) = self.replicas.remove(&partition) else { return };
        let status = Box::new(core.consensus().status());
        port.notices.push(Notice::Stopped { partition, status });
        self.timers.remove(&from);
        if !self.peers.is_alone() {
            port.mail(from, Who::Leaders, Event::Leaders(LeadersEvent::Unhosted(partition)));
        }
        if self.deleting.contains(&partition) {
            self.stop_coordinator(port, partition);
            self.remove(port, partition);
        } else if core.is_retired() {
            self.stop_coordinator(port, partition);
            self.forget_retired(port, partition, Part::Replica, Promises::of_retired(core.consensus()));
        }
    }

    /// The coordinator whose groups are in a partition hears of what has become of its leader.
    fn tell_coordinator(&self, port: &mut Port<'_>, partition: TopicPartition) {
        let number = partition.partition;
        if self.keeps_groups(partition) && self.groups.contains_key(&number) {
            port.mail(Who::Replica(partition), Who::Group(number), Event::Group(number, GroupEvent::View));
        }
    }

    /// Tells the metadata store that a partition has a leader, once; its coordinator starts with it, when that of an earlier
    /// replica has ended.
    fn announce(&mut self, port: &mut Port<'_>, partition: TopicPartition) {
        let Some(hosted) = self.replicas.get_mut(&partition) else { return };
        if hosted.coordinates || hosted.view.leader_epoch().is_none() {
            return;
        }
        let view = Arc::clone(&hosted.view);
        if !std::mem::replace(&mut hosted.led, true) {
            port.mail(Who::Replica(partition), Who::Metadata, Event::Metadata(MetadataEvent::ReplicaLed { partition }));
        }
        let (number, keeps_groups) = (partition.partition, self.keeps_groups(partition));
        if keeps_groups && self.groups.contains_key(&number) {
            return;
        }
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            hosted.coordinates = true;
        }
        if keeps_groups {
            let core = GroupCoordinator::new(view, &self.shared.settings, port.dice.number());
            self.groups.insert(number, core);
            port.mail(Who::Replica(partition), Who::Group(number), Event::Group(number, GroupEvent::Start));
        }
    }

    fn group(&mut self, port: &mut Port<'_>, partition: i32, event: GroupEvent) {
        let (from, caller) = (Who::Group(partition), Caller::GroupCoordinator(partition));
        let Some(core) = self.groups.get_mut(&partition) else {
            if let GroupEvent::Request { from: to, .. } = event {
                self.answer(port, from, to, Answer::Gone(ErrorCode::NotCoordinator));
            }
            return;
        };
        let mut effects = Vec::new();
        port.note(format_args!("group {partition} {}", name(&event)));
        core.step(port.now, event, &mut effects);
        for effect in effects {
            match effect {
                GroupEffect::Answer { to, response } => self.answer(port, from, to, Answer::Group(response)),
                GroupEffect::Call { token, call } => self.call(port, from, ReplyTo { caller, token }, call),
                GroupEffect::Warm { token, job } => self.threads.job(Job::Warm(caller, token, job)),
                GroupEffect::Timer(at) => self.set_timer(port, from, at),
                GroupEffect::Stopped => {
                    self.groups.remove(&partition);
                    self.timers.remove(&from);
                }
            }
        }
    }
}

/// A line of the trace about what happens to a replica.
pub(super) fn note(port: &mut Port<'_>, partition: TopicPartition, event: &ReplicaEvent) {
    match event {
        ReplicaEvent::Call { op: PartitionOp::Produce { batches, .. }, .. } => {
            let BatchHeader { producer_id, producer_epoch, base_sequence, records, .. } = batches.header();
            port.note(format_args!(
                "{partition} Produce of {producer_id}/{producer_epoch} at {base_sequence}, {records} records"
            ));
        }
        other => port.note(format_args!("{partition} {}", name(other))),
    }
}

/// The name of an event's kind: the start of its debug text, without what it carries.
fn name(event: &impl std::fmt::Debug) -> String {
    let mut start = Start(String::new());
    // The text is broken off where the name ends.
    let _broken_off = write!(start, "{event:?}");
    start.0
}

/// Takes a name and refuses what follows on it.
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find([' ', '(', '{']);
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}
