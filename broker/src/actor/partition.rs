//! The actor of a replica: its core between the storage threads and the callers.

use std::rc::Rc;
use std::sync::Arc;

use millrace_metadata::CONSUMER_OFFSETS;
use millrace_node::group::GroupEvent;
use millrace_node::metadata_store::{MetadataEvent, Part, part, target};
use millrace_node::peers::PeersEvent;
use millrace_node::replica::{ForceRefusal, Promises, Replica, ReplicaEffect, ReplicaEvent, ReplicaParts};
use millrace_node::{Answer, PartitionView, Replication, log_config};
use millrace_raft::{Configuration, ReplicaKey, Tally};
use millrace_storage::{DiskError, QRecord, StorageJob, remove_partition_dir};
use millrace_types::{ErrorCode, TopicPartition};

use super::arbiter::Local;
use super::countdown::Countdown;
use super::group_coordinator;
use super::host::{After, Host, Ports};
use super::mail::Mail;
use super::parcel::{Completion, OpenedLog, Order, Parcel};
use super::timers::Fire;

/// Starts the replica of an opened log on the calling thread's arbiter.
pub(super) fn start(local: &Rc<Local>, opened: OpenedLog) {
    let OpenedLog { partition, mut log, recovery, promises, voters } = opened;
    // While the log was being opened there was no replica to stop or to configure.
    let image = local.shared.node.directory.image();
    let Some(topic) = image.topic_by_id(partition.topic) else {
        return local.shared.starting.sub();
    };
    if local.connections.is_stopping() {
        return;
    }
    if local.replicas.borrow().contains_key(&partition) {
        return tracing::error!(%partition, "the replica runs already");
    }
    log.set_config(log_config(&topic.settings, &image));
    report(local, partition, &recovery);
    let shared = &local.shared;
    let settings = &shared.node.settings;
    let core = Replica::new(ReplicaParts {
        partition,
        log,
        recovery,
        me: shared.me(),
        promises,
        first: Configuration::first(voters),
        replication: Replication::of(&topic.settings, &image),
        check_interval: settings.retention_check_interval,
        timing: millrace_raft::Settings {
            session_timeout: settings.peer_session_timeout,
            ..millrace_raft::Settings::default()
        },
        room: Arc::clone(&shared.room),
    });
    let view = core.view();
    let mail = Rc::new(Mail::new(local.timers.slot(), || ReplicaEvent::Timer));
    local.replicas.borrow_mut().insert(partition, Rc::clone(&mail));
    let has_peers = shared.members.is_some();
    if has_peers {
        local.tell_peers(PeersEvent::Hosted(partition));
    }
    shared.node.directory.publish(Arc::clone(&view));
    mail.push(ReplicaEvent::Start);
    if local.unwell.get() {
        mail.push(ReplicaEvent::Unwell(true));
    }
    retarget(local, partition, &mail);
    retire_unless(local, partition, Part::Replica, &mail);
    let ports = ReplicaPorts {
        partition,
        local: Rc::clone(local),
        view,
        has_peers,
        keeps_groups: &*topic.name == CONSUMER_OFFSETS,
        told: 0,
        led: false,
        coordinates: false,
        tally: Tally::default(),
        disk: (false, false),
        stopped: false,
    };
    Host::start(core, ports, mail, Rc::clone(local));
}

/// Tells a replica which voters the metadata name for its partition.
pub(super) fn retarget(local: &Local, partition: TopicPartition, mail: &Mail<ReplicaEvent>) {
    let image = local.shared.node.directory.image();
    if let Some(topic) = image.topic_by_id(partition.topic) {
        mail.push(ReplicaEvent::Target(target(topic, partition.partition, &image)));
    }
}

/// Tells a replica or a witness whether it goes when it is no member any more. Who leads is told along: it may be nobody that
/// this one knows, and says who the members are.
pub(super) fn retire(local: &Local, partition: TopicPartition, retire: bool, mail: &Mail<ReplicaEvent>) {
    mail.push(ReplicaEvent::Retire(retire));
    let directory = &local.shared.node.directory;
    let leader = directory.leader(&partition).filter(|leader| retire && leader.broker != local.shared.me().key.broker);
    if let Some(leader) = leader
        && let Some(registered) = directory.image().broker(leader.broker)
    {
        let key = ReplicaKey { broker: leader.broker, directory: registered.directory };
        mail.push(ReplicaEvent::Hint { leader: key, epoch: leader.epoch });
    }
}

/// Has what starts here go again, unless the metadata name it.
pub(super) fn retire_unless(local: &Local, partition: TopicPartition, is: Part, mail: &Mail<ReplicaEvent>) {
    let image = local.shared.node.directory.image();
    if part(&image, partition, local.shared.me().key.broker) != Some(is) {
        retire(local, partition, true, mail);
    }
}

/// Stops a replica or a witness; its data goes when it has stopped.
pub(super) fn delete(local: &Rc<Local>, partition: TopicPartition) {
    local.deleting.borrow_mut().insert(partition);
    match local.replica(&partition) {
        Some(mail) => mail.push(ReplicaEvent::Stop),
        None => remove(local, partition),
    }
}

/// Stops every replica and witness of the arbiter; `countdown` is dropped when all have stopped.
pub(super) fn stop_all(local: &Rc<Local>, countdown: Countdown) {
    let mut partitions: Vec<TopicPartition> = local.replicas.borrow().keys().copied().collect();
    partitions.sort_unstable();
    for mail in partitions.iter().filter_map(|partition| local.replica(partition)) {
        mail.push(ReplicaEvent::Stop);
    }
    *local.stopping.borrow_mut() = Some(countdown);
    local.drop_countdowns_if_done();
}

fn report(local: &Local, partition: TopicPartition, recovery: &millrace_storage::Recovery) {
    if let Some(cut) = &recovery.cut {
        local.shared.meters.recovery_cuts.increment(1);
        tracing::info!(%partition, to = cut.to, bytes = cut.bytes, reason = cut.reason, "cut an incomplete end");
    }
    if recovery.suffix_lost {
        local.shared.meters.recovery_losses.increment(1);
        tracing::warn!(%partition, "records acknowledged from the page cache may be lost by the power failure");
    }
    if let Some(rot) = &recovery.damaged {
        tracing::error!(%partition, "{rot}");
    }
    if recovery.damaged.is_some() || !recovery.holes.is_empty() {
        local.shared.meters.logs_damaged.increment(1);
    }
}

/// The effects of a replica.
struct ReplicaPorts {
    partition: TopicPartition,
    local: Rc<Local>,
    view: Arc<PartitionView>,
    /// Whether there are other brokers.
    has_peers: bool,
    /// Whether a group coordinator has its groups in this partition.
    keeps_groups: bool,
    /// Which of the view's changes have been told to all who depend on them.
    told: u64,
    /// Whether the metadata store knows that the partition has a leader.
    led: bool,
    /// Whether the coordinator that has its groups here was started.
    coordinates: bool,
    /// What has been counted of the consensus.
    tally: Tally,
    /// What was counted of its disk: whether it hangs, and whether it has no room.
    disk: (bool, bool),
    stopped: bool,
}

impl ReplicaPorts {
    /// Tells of a change in who leads: the sessions with other brokers, those who wait for the first leader, and the group
    /// coordinator.
    fn announce(&mut self) {
        let changes = self.view.changes();
        if std::mem::replace(&mut self.told, changes) == changes {
            return;
        }
        if self.has_peers {
            self.local.tell_peers(PeersEvent::Leader(self.partition));
        }
        if !self.led && self.view.leader().is_some() {
            self.led = true;
            self.local.shared.starting.sub();
            let metadata = self.local.shared.placement.metadata();
            self.local.post(metadata, Parcel::Order(Order::ReplicaLed(self.partition)));
        }
        if self.keeps_groups {
            self.tell_coordinator();
        }
    }

    /// Counts and tells what has happened to the consensus.
    fn count(&mut self, core: &Replica) {
        let tally = core.consensus().tally();
        let before = std::mem::replace(&mut self.tally, tally);
        if before == tally {
            return;
        }
        let shared = &self.local.shared;
        let image = shared.node.directory.image();
        let name = image.topic_by_id(self.partition.topic).map_or("", |topic| &*topic.name);
        let state = core.consensus().status();
        shared.replication.tell(shared.clock.instant(), (name, self.partition), &before, &tally, &state);
    }

    /// Counts the replica among those whose disk hangs, or has no room, while it is there.
    fn count_disk(&mut self) {
        let is = if self.stopped { (false, false) } else { (self.view.is_hung(), self.view.is_full()) };
        let was = std::mem::replace(&mut self.disk, is);
        self.local.shared.pulse.replica(was, is);
    }

    fn tell_coordinator(&mut self) {
        if !self.coordinates && self.view.leader_epoch().is_some() {
            group_coordinator::start(&self.local, &self.view);
            self.coordinates = true;
        }
        if let Some(mail) = self.local.groups.borrow().get(&self.partition.partition) {
            mail.push(GroupEvent::View);
        }
    }
}

impl Ports<Replica> for ReplicaPorts {
    fn carry_out(&mut self, effect: ReplicaEffect, mail: &Rc<Mail<ReplicaEvent>>) {
        let (local, partition) = (&self.local, self.partition);
        match effect {
            ReplicaEffect::Put { token, records } => local.storage.put(partition, token, records),
            ReplicaEffect::Flush(work) => local.storage.flush(partition, work),
            ReplicaEffect::Prepare(job) => local.storage.prepare(partition, job),
            ReplicaEffect::Upkeep(job) => local.storage.upkeep(partition, job),
            ReplicaEffect::Run(job) => local.storage.run(job),
            ReplicaEffect::Cut(job) => local.storage.cut(partition, job),
            ReplicaEffect::Warm { token, job } => local.storage.warm_replica(partition, token, job),
            ReplicaEffect::Answer { to, answer } => local.answer(to, Answer::Partition(answer)),
            ReplicaEffect::Send { to, message, records, catch_up } if self.has_peers => {
                local.send(partition, to, message, records, catch_up);
            }
            // A message may be lost, and nobody is there to take it.
            ReplicaEffect::Send { to, .. } => {
                tracing::error!(%partition, %to, "a replica without peers has sent a message")
            }
            ReplicaEffect::Timer(at) => {
                let timer: Rc<dyn Fire> = Rc::<Mail<ReplicaEvent>>::clone(mail);
                local.timers.set(&timer, at);
            }
            ReplicaEffect::TargetReached { epoch, voters } => {
                local.tell_metadata(MetadataEvent::TargetReached { partition, epoch, voters });
            }
            ReplicaEffect::Forced { token, result } => local.forcing.answer(token, result),
            ReplicaEffect::Stopped => self.stopped = true,
        }
    }

    fn end_turn(&mut self, core: &Replica) -> After {
        self.count(core);
        self.announce();
        self.count_disk();
        if !self.stopped {
            return After::Wait;
        }
        if !self.led {
            self.local.shared.starting.sub();
        }
        let deleted = self.local.deleting.borrow().contains(&self.partition);
        if !deleted && !core.is_retired() && !core.is_flushed() {
            self.local.shared.set_unflushed();
        }
        self.local.shared.node.directory.withdraw(&self.partition);
        self.local.replicas.borrow_mut().remove(&self.partition);
        if self.has_peers {
            self.local.tell_peers(PeersEvent::Unhosted(self.partition));
        }
        if self.keeps_groups && (deleted || core.is_retired()) {
            group_coordinator::stop(&self.local, self.partition.partition);
        }
        if deleted {
            remove(&self.local, self.partition);
        } else if core.is_retired() {
            forget(&self.local, self.partition, Promises::of_retired(core.consensus()));
        }
        self.local.drop_countdowns_if_done();
        After::Stop
    }

    fn discard(&mut self, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Call { from, .. } => self.local.answer(from, Answer::Gone(ErrorCode::NotLeaderOrFollower)),
            ReplicaEvent::Force { token, .. } => self.local.forcing.answer(token, Err(ForceRefusal::NotHere)),
            _ => {}
        }
    }
}

/// Forgets a partition and removes its data.
pub(super) fn remove(local: &Rc<Local>, partition: TopicPartition) {
    local.deleting.borrow_mut().remove(&partition);
    clear(local, partition, "a deleted partition", vec![QRecord::Forget { tp: partition }], || {});
}

/// Leaves nothing of a replica or a witness that has retired but its word in elections, and removes its data. The metadata store
/// is told when that is done; where it fails, the next start finds what is left.
pub(super) fn forget(local: &Rc<Local>, partition: TopicPartition, promises: Promises) {
    let inbox = Arc::clone(local.shared.inbox(local.shared.placement.metadata()));
    let records = promises.retirement(partition);
    clear(local, partition, "a retired replica", records, move || {
        inbox.complete(Completion::Retired { partition, promises: Box::new(promises) });
    });
}

/// Puts `records` in place of what is remembered of `what`, then removes its data, and says so by `done`. The order matters: data
/// without a memory of it is removed at the next start, a memory without its data would be taken for a loss.
fn clear(
    local: &Rc<Local>,
    partition: TopicPartition,
    what: &'static str,
    records: Vec<QRecord>,
    done: impl FnOnce() + Send + 'static,
) {
    let (disk, storage) = (Arc::clone(&local.shared.disk), local.shared.storage.clone());
    let job = StorageJob::new("forget partition", move || {
        let removal = move |result: Result<(), DiskError>| {
            if let Err(error) = result {
                return tracing::error!(%partition, %error, "{what} cannot be forgotten");
            }
            if let Err(error) = remove_partition_dir(&*disk, partition) {
                return tracing::error!(%partition, %error, "the data of {what} cannot be removed");
            }
            tracing::debug!(%partition, "{what} is removed");
            done();
        };
        if let Err(error) = storage.put(records, Box::new(removal)) {
            // The next start finds the directory and removes it.
            tracing::warn!(%partition, %error, "the data of {what} stays until the next start");
        }
    });
    local.storage.run(job);
}
