//! The actor of the metadata store: its core between the journal, the supervisor and the callers.

use std::collections::VecDeque;
use std::rc::Rc;

use millrace_node::Answer;
use millrace_node::metadata_store::{MetadataEffect, MetadataEvent, MetadataStore};
use millrace_node::peer::{Plane, PlaneMessage};
use millrace_node::peers::PeersEvent;
use millrace_node::replica::Promises;

use super::arbiter::Local;
use super::host::{After, Host, Ports};
use super::journal_thread::{JournalThread, Persist};
use super::mail::Mail;
use super::parcel::Order;
use super::supervisor::{self, Create, Supervisor};
use super::timers::Fire;
use crate::metrics::figure;

/// Starts the metadata store on the calling thread's arbiter.
pub(super) fn start(local: &Rc<Local>, store: MetadataStore, journal: JournalThread, supervisor: Supervisor) {
    let mail = Rc::new(Mail::new(local.timers.slot(), || MetadataEvent::Timer));
    let already = local.metadata.set(Rc::clone(&mail)).is_err();
    debug_assert!(!already, "a broker has one metadata store");
    let ports = MetadataPorts {
        local: Rc::clone(local),
        journal,
        supervisor,
        waiting: VecDeque::new(),
        writing: 0,
        created: Vec::new(),
        published: false,
    };
    mail.push(MetadataEvent::Start);
    Host::start(store, ports, mail, Rc::clone(local));
}

/// The effects of the metadata store.
struct MetadataPorts {
    local: Rc<Local>,
    journal: JournalThread,
    supervisor: Supervisor,
    /// Records for the journal that wait until the batch before them is durable; at most as many as there are calls.
    waiting: VecDeque<Persist>,
    /// Size of the batch that is being written.
    writing: usize,
    /// Replicas to start at the end of the turn, all at once.
    created: Vec<Create>,
    /// Whether an image was published in this turn.
    published: bool,
}

impl MetadataPorts {
    /// While one batch is flushed the next collects.
    fn write(&mut self) {
        if self.writing == 0 && !self.waiting.is_empty() {
            let batch = std::mem::take(&mut self.waiting);
            self.writing = batch.len();
            self.journal.write(batch.into());
        }
    }
}

impl Ports<MetadataStore> for MetadataPorts {
    fn took(&mut self, event: &MetadataEvent) {
        match event {
            MetadataEvent::Persisted { .. } => self.writing = self.writing.saturating_sub(1),
            MetadataEvent::ReplicaRetired { partition, promises } => {
                self.supervisor.retired(*partition, Promises::clone(promises));
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, effect: MetadataEffect, mail: &Rc<Mail<MetadataEvent>>) {
        let node = &self.local.shared.node;
        match effect {
            MetadataEffect::Persist { token, records, snapshot } => {
                self.waiting.push_back(Persist { token, records, snapshot, replaces: false });
            }
            MetadataEffect::Replace { token, snapshot } => {
                let (records, snapshot) = (Vec::new(), Some(snapshot));
                self.waiting.push_back(Persist { token, records, snapshot, replaces: true });
            }
            MetadataEffect::SendPeer { to, bytes } => {
                // A broker that is alone has nobody to send to.
                if self.local.shared.members.is_some() {
                    let message = PlaneMessage { plane: Plane::Metadata, body: bytes };
                    self.local.tell_peers(PeersEvent::SendPlane { to, message });
                }
            }
            MetadataEffect::Publish(image) => {
                node.settings.refresh(&image);
                node.directory.publish_image(image);
                self.published = true;
            }
            MetadataEffect::Registered { start } => node.producer_ids.begin(start),
            MetadataEffect::CreateReplica { partition, config, voters } => {
                self.created.push(Create { partition, config, voters });
            }
            MetadataEffect::RetireReplica { partition, retire } => {
                supervisor::order(&self.local, partition, Order::RetireReplica(partition, retire));
            }
            MetadataEffect::RetargetReplica { partition } => {
                supervisor::order(&self.local, partition, Order::RetargetReplica(partition));
            }
            MetadataEffect::CreateWitness { partition, voters } => {
                self.supervisor.witness(&self.local, partition, voters);
            }
            MetadataEffect::DeleteReplica { partition } => self.supervisor.delete(&self.local, partition),
            MetadataEffect::ConfigureReplica { partition, config } => {
                self.supervisor.configure(&self.local, partition, config);
            }
            MetadataEffect::Answer { to, result } => self.local.answer(to, Answer::Metadata(result)),
            MetadataEffect::Timer(at) => {
                let timer: Rc<dyn Fire> = Rc::<Mail<MetadataEvent>>::clone(mail);
                self.local.timers.set(&timer, at);
            }
        }
    }

    fn end_turn(&mut self, core: &MetadataStore) -> After {
        self.local.shared.meters.metadata_commands.set(figure(core.queued()));
        self.write();
        let created = std::mem::take(&mut self.created);
        if !created.is_empty() {
            self.supervisor.create(&self.local, created);
        }
        if std::mem::take(&mut self.published) {
            // The replicas of the start are asked for in the same turn as the image that holds this broker.
            self.local.shared.starting.set_registered();
        }
        After::Wait
    }
}
