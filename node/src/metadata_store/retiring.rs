//! What this broker has of partitions and shall not have any more, until it is gone.
//!
//! A replica goes when it is no member any more, which may be long after the metadata say that it shall. Until then nothing
//! else of the partition begins here: a replica in its place would not know what it has promised.

use std::collections::BTreeMap;

use millrace_metadata::Image;
use millrace_types::{BrokerId, TopicPartition};

use super::event::MetadataEffect;
use super::replicas::{self, Part};

/// The replicas and witnesses that retire.
#[derive(Debug, Default)]
pub(super) struct Retiring(BTreeMap<TopicPartition, Part>);

impl Retiring {
    /// What the process finds at its start.
    pub(super) fn left_behind(left: impl IntoIterator<Item = (TopicPartition, Part)>) -> Self {
        Self(left.into_iter().collect())
    }

    /// Starts what was left behind and is not what the image names here.
    pub(super) fn start(&mut self, image: &Image, broker: BrokerId, out: &mut Vec<MetadataEffect>) {
        self.0.retain(|partition, part| {
            let stays = image.topic_by_id(partition.topic).is_some();
            stays && replicas::part(image, *partition, broker) != Some(*part)
        });
        for (partition, part) in &self.0 {
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
                MetadataEffect::CreateReplica { partition, config, .. } => match self.0.get(partition) {
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
                MetadataEffect::CreateWitness { partition, .. } => match self.0.get(partition) {
                    Some(Part::Witness) => {
                        out.push(MetadataEffect::RetireReplica { partition: *partition, retire: false });
                        continue;
                    }
                    Some(Part::Replica) => continue,
                    None => {}
                },
                MetadataEffect::RetireReplica { partition, retire: true } => {
                    let part = replicas::part(before, *partition, broker).unwrap_or(Part::Replica);
                    self.0.entry(*partition).or_insert(part);
                }
                MetadataEffect::DeleteReplica { partition } => self.done(*partition),
                _ => {}
            }
            out.push(change);
        }
    }

    /// What retires goes with its topic.
    pub(super) fn forget_deleted(&mut self, image: &Image, out: &mut Vec<MetadataEffect>) {
        self.0.retain(|partition, _| {
            let stays = image.topic_by_id(partition.topic).is_some();
            if !stays {
                out.push(MetadataEffect::DeleteReplica { partition: *partition });
            }
            stays
        });
    }

    /// It is gone.
    pub(super) fn done(&mut self, partition: TopicPartition) {
        self.0.remove(&partition);
    }
}
