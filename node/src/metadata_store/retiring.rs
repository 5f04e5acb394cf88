//! What this broker has of partitions and shall not have any more, until it is gone.
//!
//! A replica goes when it is no member any more, which may be long after the metadata say that it shall. Until then nothing
//! else of the partition begins here: a replica in its place would not know what it has promised.
//!
//! Who is no member hears nothing by itself: it has to ask who leads. Who that is, it is told along with being told to go, as far
//! as it is known here; it may not be known yet, may not be heard, or may lead no longer when it is asked. So what is to go is
//! told again, until it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_metadata::Image;
use millrace_types::{BrokerId, Instant, TopicPartition};

use super::event::MetadataEffect;
use super::replicas::{self, Part};
use crate::replica::mutation::{Mutation, broken};

/// How soon what retires is told so again.
const AGAIN: Duration = Duration::from_secs(1);

/// The replicas and witnesses that retire.
#[derive(Debug)]
pub(super) struct Retiring {
    parts: BTreeMap<TopicPartition, Part>,
    /// When they are told so again; never while there are none.
    again: Instant,
}

impl Default for Retiring {
    fn default() -> Self {
        Self { parts: BTreeMap::new(), again: Instant::NEVER }
    }
}

impl Retiring {
    /// What the process finds at its start.
    pub(super) fn left_behind(left: impl IntoIterator<Item = (TopicPartition, Part)>) -> Self {
        Self { parts: left.into_iter().collect(), ..Self::default() }
    }

    /// Tells what retires so again, when it is time.
    pub(super) fn remind(&mut self, now: Instant, image: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
        if self.parts.is_empty() || broken(Mutation::RetireOnce) {
            self.again = Instant::NEVER;
        } else if self.again == Instant::NEVER {
            self.again = now.after(AGAIN);
        } else if self.again <= now {
            self.again = now.after(AGAIN);
            let goes = |(partition, part): &(&TopicPartition, &Part)| {
                replicas::part(image, **partition, broker) != Some(**part)
            };
            let going = self.parts.iter().filter(goes).map(|(partition, _)| *partition);
            out.extend(going.map(|partition| MetadataEffect::RetireReplica { partition, retire: true }));
        }
    }

    /// When that is.
    pub(super) const fn deadline(&self) -> Instant {
        self.again
    }

    /// Starts what was left behind and is not what the image names here.
    pub(super) fn start(&mut self, image: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
        self.parts.retain(|partition, part| {
            let stays = image.topic_by_id(partition.topic).is_some();
            stays && replicas::part(image, *partition, broker) != Some(*part)
        });
        for (partition, part) in &self.parts {
            replicas::create_one(image, *partition, *part, out);
            out.push(MetadataEffect::RetireReplica { partition: *partition, retire: true });
        }
    }

    /// Lets through what may be carried out. What shall begin where something retires waits, or calls that off. `before` is the
    /// image that the changes lead away from.
    pub(super) fn filter(
        &mut self,
        before: &Image,
        changes: Vec<MetadataEffect>,
        broker: BrokerId,
        out: &mut Vec<MetadataEffect>,
    ) {
        for change in changes {
            match &change {
                MetadataEffect::CreateReplica { partition, config, .. } => match self.parts.get(partition) {
                    Some(Part::Replica) => {
                        let (partition, config) = (*partition, config.clone());
                        out.push(MetadataEffect::RetireReplica { partition, retire: false });
                        out.push(MetadataEffect::ConfigureReplica { partition, config });
                        out.push(MetadataEffect::RetargetReplica { partition });
                        continue;
                    }
                    Some(Part::Witness) => continue,
                    None => {}
                },
                MetadataEffect::CreateWitness { partition, .. } => match self.parts.get(partition) {
                    Some(Part::Witness) => {
                        out.push(MetadataEffect::RetireReplica { partition: *partition, retire: false });
                        continue;
                    }
                    Some(Part::Replica) => continue,
                    None => {}
                },
                MetadataEffect::RetireReplica { partition, retire: true } => {
                    let part = replicas::part(before, *partition, broker).unwrap_or(Part::Replica);
                    self.parts.entry(*partition).or_insert(part);
                }
                MetadataEffect::DeleteReplica { partition } => self.done(*partition),
                _ => {}
            }
            out.push(change);
        }
    }

    /// What retires goes with its topic.
    pub(super) fn forget_deleted(&mut self, image: &Image, out: &mut Vec<MetadataEffect>) {
        self.parts.retain(|partition, _| {
            let stays = image.topic_by_id(partition.topic).is_some();
            if !stays {
                out.push(MetadataEffect::DeleteReplica { partition: *partition });
            }
            stays
        });
    }

    /// It is gone.
    pub(super) fn done(&mut self, partition: TopicPartition) {
        self.parts.remove(&partition);
    }
}
